//! A request of gRPC in, a `Call` out.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderMap, request};
use http_body::Body as HttpBody;
use postern_core::{Blame, Body, BodyStream, Call, Error, Kind, Peer, Text, service::CallKind};
use postern_system::{clock, wait};
use tokio::task::yield_now;

use super::{
    coding::{self, UnpackLimits},
    content_type::GrpcContent,
    messages::Messages,
    metadata,
    timeout::read_timeout,
};
use crate::{
    ConnectionBytes,
    byte_budget::Kept,
    http::{
        HttpConfig,
        compression::Coding,
        config::MESSAGE_BYTES_KEY,
        fields,
        path::{self, PathError},
        pieces::Silence,
        present::Present,
        request::{self as requests, CallBytes},
    },
};

/// Service and method that a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) struct RpcPath {
    pub(in crate::http) service: Text,
    pub(in crate::http) method: Text,
}

/// Why a path names no method.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::http) enum RpcPathError {
    #[error("path {path:?} is not /SERVICE/METHOD")]
    Malformed { path: String },
    #[error(transparent)]
    Segment(#[from] PathError),
}

/// What a call is read with.
pub(in crate::http) struct CallReader<'a> {
    pub(in crate::http) config: &'a HttpConfig,
    pub(in crate::http) peer: &'a Arc<Peer>,
    pub(in crate::http) bytes: &'a ConnectionBytes,
    /// How many messages go each way, where somebody says.
    pub(in crate::http) kind: Option<CallKind>,
}

/// How a body is taken.
enum Taking {
    /// It is one message; the call begins when that is whole.
    One,
    /// It may be one message, where that is at hand.
    AtHand,
    Stream,
}

impl RpcPath {
    /// Service and method are what stands before and behind the last slash.
    ///
    /// # Errors
    /// A path that names none.
    pub(in crate::http) fn parse(path: &str) -> Result<Self, RpcPathError> {
        let rest = path.strip_prefix('/');
        let names = rest.and_then(|rest| rest.rsplit_once('/'));
        match names {
            Some((service, method)) if !service.is_empty() && !method.is_empty() => Ok(Self {
                service: path::decode(service)?,
                method: path::decode(method)?,
            }),
            Some(_) | None => Err(RpcPathError::Malformed {
                path: path.chars().take(SHOWN_CHARS_MAX).collect(),
            }),
        }
    }
}

/// The coding of the messages of a request.
///
/// # Errors
/// `unimplemented`, with the codings that are known.
pub(super) fn coding_of(headers: &HeaderMap) -> Result<Option<Coding>, Error> {
    let coding = coding::coding_of(headers.get(ENCODING));
    coding.map_err(|error| Error::new(Kind::Unimplemented, Blame::Client, error.to_string()))
}

impl CallReader<'_> {
    /// Reads a call of the method at `path`: the head first, so that nothing is read of a body that will
    /// be refused. What headers and body take counts as held until the caller is done with the call.
    ///
    /// # Errors
    /// What is wrong with head or body.
    pub(in crate::http) async fn read<B>(
        &self,
        path: RpcPath,
        content: &GrpcContent,
        coding: Option<Coding>,
        head: &request::Parts,
        body: B,
    ) -> Result<(Call, CallBytes), Error>
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let present = Present::of(&head.headers);
        let kept = Kept::new(self.bytes.hold(fields::n_octets(&head.headers))?);
        let headers = metadata::of_map(&head.headers, Some(&content.of_message()));
        let headers = headers
            .map_err(|error| Error::new(Kind::Internal, Blame::Client, error.to_string()))?;
        let timeout = match head.headers.get(TIMEOUT) {
            None => None,
            Some(value) => {
                let timeout = read_timeout(value.as_bytes());
                Some(timeout.map_err(|error| Error::invalid_argument(error.to_string()))?)
            }
        };
        let of_context = present.difference(Present::TIMEOUT);
        let context = requests::context_of(&head.headers, of_context, Arc::clone(self.peer));
        let mut context = context.map_err(|refusal| refusal.error)?;
        context.deadline = timeout.and_then(|left| clock::now().checked_add(left));
        // A caller that says none waits for as long as something comes.
        context.is_deadline_of_head = timeout.is_none();
        let body = self.body(body, coding, &kept).await?;
        let http = fields::facts(&head.method, &head.uri, &head.headers);
        let call = Call {
            service: path.service,
            method: path.method,
            version: requests::version(&head.headers, present),
            headers,
            body,
            context,
            http: Some(Box::new(http)),
        };
        Ok((call, CallBytes::Shared(kept)))
    }

    /// The messages of a body, flagged ones of which are in `coding`: one, where the method takes one.
    ///
    /// # Errors
    /// What is wrong with the body, where it is read before the call.
    pub(in crate::http) async fn body<B>(
        &self,
        body: B,
        coding: Option<Coding>,
        kept: &Kept,
    ) -> Result<Body, Error>
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let config = self.config;
        let limits = UnpackLimits {
            message_bytes_max: config.grpc.message_bytes_max,
            ratio_max: config.compression.ratio_max,
            key: MESSAGE_BYTES_KEY,
            blame: Blame::Client,
        };
        let silence = Silence::new(Some(config.body_timeout), Blame::Client);
        let mut messages = Messages::new(body, coding, limits, silence, self.bytes, kept.clone())?;
        match Taking::of(self.kind) {
            Taking::One => {
                let reading = only_message(&mut messages);
                let limit = config.body_timeout;
                let message = wait::within(limit, reading).await.unwrap_or_else(|| {
                    let limit = limit.as_millis();
                    let told = format!("the message did not arrive within {limit} ms");
                    Err(Error::deadline_exceeded(Blame::Client, told))
                })?;
                kept.grow(message.len())?;
                return Ok(Body::One(message));
            }
            Taking::AtHand => {
                if let Some(message) = message_at_hand(&mut messages).await? {
                    kept.grow(message.len())?;
                    return Ok(Body::One(message));
                }
            }
            Taking::Stream => {}
        }
        Ok(Body::Messages(BodyStream::from_source(messages)))
    }
}

impl Taking {
    const fn of(kind: Option<CallKind>) -> Self {
        match kind {
            Some(CallKind::Unary | CallKind::ServerStream) => Self::One,
            Some(CallKind::ClientStream | CallKind::Bidirectional) => Self::Stream,
            None => Self::AtHand,
        }
    }
}

/// The message of a body that has one.
///
/// # Errors
/// `unimplemented` where it has none or several (`grpc/doc/statuscodes.md`).
async fn only_message<B>(messages: &mut Messages<B>) -> Result<Bytes, Error>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let violated = |told| Err(Error::new(Kind::Unimplemented, Blame::Client, told));
    let Some(message) = messages.next().await.transpose()? else {
        return violated("the method takes one message, the request has none");
    };
    match messages.next().await.transpose()? {
        None => Ok(message),
        Some(_) => violated("the method takes one message, the request has more"),
    }
}

/// The message of a body that has one, where body and end are there already, or are read with what comes
/// next. What else is there stays to be read.
async fn message_at_hand<B>(messages: &mut Messages<B>) -> Result<Option<Bytes>, Error>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Some(Some(message)) = at_hand(messages).await else {
        return Ok(None);
    };
    let message = message?;
    match at_hand(messages).await {
        Some(None) => Ok(Some(message)),
        Some(Some(Err(error))) => Err(error),
        Some(Some(Ok(second))) => {
            messages.put_back([message, second]);
            Ok(None)
        }
        None => {
            messages.put_back([message]);
            Ok(None)
        }
    }
}

/// What comes next without waiting. Clients write head, message and end at once, and hyper may not have
/// read all of it when it tells of the head.
async fn at_hand<B>(messages: &mut Messages<B>) -> Option<Option<Result<Bytes, Error>>>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if let Some(next) = messages.next().now_or_never() {
        return Some(next);
    }
    yield_now().await;
    messages.next().now_or_never()
}

pub(super) const ENCODING: &str = "grpc-encoding";
pub(super) const ACCEPT_ENCODING: &str = "grpc-accept-encoding";
const TIMEOUT: &str = "grpc-timeout";
const SHOWN_CHARS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_and_method_stand_around_the_last_slash() {
        for (path, service, method) in [
            ("/user.UserService/GetUser", "user.UserService", "GetUser"),
            ("/users/get", "users", "get"),
            ("/a/b/c", "a/b", "c"),
            ("/a%20b/%c3%a9", "a b", "é"),
        ] {
            let (service, method) = (service.into(), method.into());
            assert_eq!(
                RpcPath::parse(path),
                Ok(RpcPath { service, method }),
                "{path}"
            );
        }
    }

    #[test]
    fn a_path_that_names_no_method_is_refused() {
        for path in ["", "/", "/a", "/a/", "//a", "a/b", "*", "/%/a"] {
            assert!(RpcPath::parse(path).is_err(), "{path}");
        }
    }
}
