//! What a method takes, as far as its schema says: how parameters are read, and what messages are held
//! to. Schemas themselves are the gateway's: it knows the services.

use std::{
    collections::BTreeMap,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use http::StatusCode;
use postern_core::{
    Blame, BodySource, BodyStream, Error, Headers, Text, json,
    route::{HttpRoute, MethodEnd, ParamType},
};

use crate::{ConnectionBytes, http::request::Refusal};

/// What one method takes.
pub trait RequestSchema: fmt::Debug + Send + Sync {
    /// How a member of its message is written in a path, a query or a form.
    fn shape(&self, member: &str) -> ParamShape;

    /// Compares a message, which may be no JSON, with the schema.
    ///
    /// # Errors
    /// At least one fault; few where there are many.
    fn check(&self, message: &[u8]) -> Result<(), Vec<SchemaFault>>;
}

/// The schemas of routes to methods, by the names of the routes.
pub type RouteSchemas = BTreeMap<Text, Arc<dyn RequestSchema>>;

/// How a parameter is read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ParamShape {
    /// What it may be, in this order: the first that its text reads as. None: any text.
    pub kinds: Vec<ParamType>,
    /// It is a list, also where it comes once.
    pub is_list: bool,
}

/// What of a message does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaFault {
    /// Where in the message: a JSON Pointer (RFC 6901), empty for the whole.
    pub pointer: String,
    pub detail: String,
}

/// Types of parameters: those that the route states, then those of the schema.
#[derive(Clone, Copy)]
pub(super) struct ParamTypes<'a> {
    pub(super) stated: &'a BTreeMap<Text, ParamType>,
    pub(super) schema: Option<&'a dyn RequestSchema>,
}

impl ParamTypes<'_> {
    pub(super) fn of(&self, name: &str) -> ParamShape {
        let schema = || self.schema.map(|schema| schema.shape(name));
        let shape = schema().unwrap_or_default();
        match self.stated.get(name) {
            Some(kind) => ParamShape {
                kinds: vec![*kind],
                ..shape
            },
            None => shape,
        }
    }
}

impl SchemaFault {
    /// Of a member of the message itself.
    pub(super) fn of_member(name: &str, detail: String) -> Self {
        let escaped = name.replace('~', "~0").replace('/', "~1");
        Self {
            pointer: format!("/{escaped}"),
            detail,
        }
    }
}

/// What a checked message is held to.
///
/// # Errors
/// `unavailable` where the route checks messages and no schema is known: nothing passes unseen.
pub(super) fn required(
    route: &HttpRoute,
    end: &MethodEnd,
    schema: Option<Arc<dyn RequestSchema>>,
) -> Result<Option<Arc<dyn RequestSchema>>, Refusal> {
    match (end.is_checked, schema) {
        (false, _) => Ok(None),
        (true, Some(schema)) => Ok(Some(schema)),
        (true, None) => {
            let MethodEnd {
                service, method, ..
            } = end;
            let message = format!(
                "route {} checks requests, and what {service}/{method} takes is not known",
                route.name
            );
            Err(Error::unavailable(Blame::Gateway, message).into())
        }
    }
}

/// Compares a whole message with the schema; a long one on a thread that may take its time.
///
/// # Errors
/// 413 for a message that is too long to be checked, 422 with all that does not fit.
pub(super) async fn check(
    schema: &Arc<dyn RequestSchema>,
    message: &Bytes,
    bytes: &ConnectionBytes,
) -> Result<(), Refusal> {
    let (length, limit) = (message.len(), CHECKED_BYTES_MAX);
    if length > limit {
        let text = format!(
            "body of {length} octets exceeds the limit of {limit} of bodies that are checked; send less"
        );
        let error = Error::invalid_argument(text).with_too_large();
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error));
    }
    let _held = bytes.hold(length.saturating_mul(VALUE_BYTES))?;
    let checked = if length <= AT_ONCE_BYTES_MAX {
        schema.check(message)
    } else {
        let (schema, message) = (Arc::clone(schema), message.clone());
        let checking = tokio::task::spawn_blocking(move || schema.check(&message));
        let checked = checking.await;
        checked.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    };
    checked.map_err(|faults| misfit(&faults))
}

/// The refusal of a message for its faults.
fn misfit(faults: &[SchemaFault]) -> Refusal {
    let named = |fault: &SchemaFault| match &*fault.pointer {
        "" => fault.detail.clone(),
        pointer => format!("{pointer}: {}", fault.detail),
    };
    let first = faults.first().map(named).unwrap_or_default();
    let message = match faults.len() {
        0 | 1 => format!("the request does not fit its schema: {first}"),
        n => format!(
            "the request does not fit its schema: {first}; and {} more",
            n - 1
        ),
    };
    let refusal = Refusal::invalid(StatusCode::UNPROCESSABLE_ENTITY, message);
    refusal.with_errors(to_json(faults))
}

/// Each fault as `{"pointer","detail"}`, in one list.
pub(super) fn to_json(faults: &[SchemaFault]) -> Bytes {
    let mut out = vec![b'['];
    for fault in faults {
        if out.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"pointer\":");
        json::push_string(&mut out, &fault.pointer);
        out.extend_from_slice(b",\"detail\":");
        json::push_string(&mut out, &fault.detail);
        out.push(b'}');
    }
    out.push(b']');
    out.into()
}

/// The messages of a stream, each compared with the schema before the method sees it. The first that
/// does not fit ends the stream.
pub(super) struct CheckedMessages {
    messages: BodyStream,
    schema: Arc<dyn RequestSchema>,
    n_passed: usize,
}

impl CheckedMessages {
    pub(super) const fn new(messages: BodyStream, schema: Arc<dyn RequestSchema>) -> Self {
        Self {
            messages,
            schema,
            n_passed: 0,
        }
    }

    fn check(&mut self, message: &Bytes) -> Result<(), Error> {
        self.n_passed += 1;
        let (number, length, limit) = (self.n_passed, message.len(), AT_ONCE_BYTES_MAX);
        if length > limit {
            let text = format!(
                "message {number} of {length} octets exceeds the limit of {limit} of messages that are checked"
            );
            return Err(Error::invalid_argument(text).with_too_large());
        }
        self.schema.check(message).map_err(|faults| {
            let Refusal { error, .. } = misfit(&faults);
            let text = format!("message {number}: {}", error.message);
            Error::invalid_argument(text).with_details(to_json(&faults))
        })
    }
}

impl Stream for CheckedMessages {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(Pin::new(&mut self.messages).poll_next(cx));
        let Some(Ok(message)) = next else {
            return Poll::Ready(next);
        };
        Poll::Ready(Some(self.check(&message).map(|()| message)))
    }
}

impl BodySource for CheckedMessages {
    fn trailers(mut self: Pin<&mut Self>) -> Option<Headers> {
        self.messages.trailers()
    }

    fn keep(mut self: Pin<&mut Self>, n_octets: usize) -> Result<(), Error> {
        self.messages.keep(n_octets)
    }
}

/// Longest message that is checked, in octets: it is taken apart for that.
const CHECKED_BYTES_MAX: usize = 1024 * 1024;
/// Longest one that is checked in place. A check costs less than 1 us for 10 octets.
const AT_ONCE_BYTES_MAX: usize = 64 * 1024;
/// What an octet of JSON may become in memory: `0,` is a value of 32 octets.
const VALUE_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_with_their_places() {
        let faults = [
            SchemaFault::of_member("a/b~c", "it is missing".into()),
            SchemaFault {
                pointer: String::new(),
                detail: "\"x\"".into(),
            },
        ];
        assert_eq!(
            to_json(&faults),
            "[{\"pointer\":\"/a~1b~0c\",\"detail\":\"it is missing\"},\
             {\"pointer\":\"\",\"detail\":\"\\\"x\\\"\"}]"
        );
        let refusal = misfit(&faults);
        assert_eq!(
            refusal.error.message,
            "the request does not fit its schema: /a~1b~0c: it is missing; and 1 more"
        );
    }

    #[test]
    fn a_type_that_the_route_states_comes_before_the_schema() {
        #[derive(Debug)]
        struct Lists;
        impl RequestSchema for Lists {
            fn shape(&self, _: &str) -> ParamShape {
                ParamShape {
                    kinds: vec![ParamType::Number],
                    is_list: true,
                }
            }

            fn check(&self, _: &[u8]) -> Result<(), Vec<SchemaFault>> {
                Ok(())
            }
        }
        let stated = [("n".into(), ParamType::Int)].into();
        let types = ParamTypes {
            stated: &stated,
            schema: Some(&Lists),
        };
        let shape = |kind, is_list| ParamShape {
            kinds: vec![kind],
            is_list,
        };
        assert_eq!(types.of("n"), shape(ParamType::Int, true));
        assert_eq!(types.of("m"), shape(ParamType::Number, true));
        let types = ParamTypes {
            schema: None,
            ..types
        };
        assert_eq!(types.of("m"), ParamShape::default());
    }
}
