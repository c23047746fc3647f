//! Messages of a service with a schema, from the form in which a caller has them to the form that a
//! handler wants, and back.
//!
//! | who | says its form by |
//! | --- | --- |
//! | caller | header `content-type` of the call; JSON where it names none |
//! | handler | its own setting; header `content-type` of a reply, where that names one |
//!
//! Whoever answers converts: fronts pass on what they were sent and get back what they sent. Messages
//! that have the wanted form already are not looked at. What the forms of one type are is the codec's
//! business; what becomes of the bodies and headers around the messages is decided here.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;

use crate::{
    body::{Body, BodySource, BodyStream},
    call::{Call, Reply},
    error::{Blame, Error, Kind},
    headers::Headers,
    service::{CallKind, MethodInfo},
    text::Text,
};

/// How a message of a type of a schema is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageForm {
    /// Protobuf's wire format. No octets are an empty message.
    Protobuf,
    /// The JSON mapping of proto3.
    Json,
}

/// Which of a method's two types a message has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    Request,
    Response,
}

/// What the schemas of some services say. Shared by all calls of those services.
pub trait MessageCodec: Send + Sync + fmt::Debug {
    /// Whether the schemas have a service of that name. A method that it does not have then is none.
    fn has_service(&self, service: &str) -> bool;

    /// What the schema says of a method; `None` where it does not know it.
    fn method(&self, service: &str, method: &str) -> Option<&MethodInfo>;

    /// One whole message from the form `from` to the other one.
    ///
    /// # Errors
    /// `invalid-argument` that names the field and what is wrong with it, whoever sent the message:
    /// the one who asks knows whose fault it is. One that is too long in the other form says so by
    /// `is_too_large`.
    fn convert(
        &self,
        service: &str,
        method: &str,
        direction: Direction,
        from: MessageForm,
        message: &Bytes,
    ) -> Result<Bytes, Error>;
}

/// How a handler wants the messages of its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandlerForm {
    pub form: MessageForm,
    /// Longest message that is collected from a body of octets.
    pub message_bytes_max: usize,
    /// Who is to blame for a reply that is no message of its type.
    pub blame: Blame,
}

/// What is to be done with the messages of one call.
#[derive(Debug, Clone)]
pub struct Conversion {
    codec: Arc<dyn MessageCodec>,
    service: Text,
    method: Text,
    kind: CallKind,
    caller: MessageForm,
    handler: HandlerForm,
}

impl MessageForm {
    /// The form of messages with that content type; parameters and case do not count. `None` where it
    /// names neither.
    #[must_use]
    pub fn from_content_type(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let is = |name: &&str| essence.eq_ignore_ascii_case(name);
        let ends_with = |suffix: &str| {
            let start = essence.len().checked_sub(suffix.len());
            let end = start.and_then(|start| essence.get(start..));
            end.is_some_and(|end| end.eq_ignore_ascii_case(suffix))
        };
        if PROTOBUF_TYPES.iter().any(is) {
            Some(Self::Protobuf)
        } else if JSON_TYPES.iter().any(is) || ends_with("+json") {
            Some(Self::Json)
        } else {
            None
        }
    }

    /// The form that `headers` name.
    #[must_use]
    pub fn of_headers(headers: &Headers) -> Option<Self> {
        Self::from_content_type(&headers.get_str(CONTENT_TYPE)?)
    }

    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/protobuf",
            Self::Json => "application/json",
        }
    }

    /// The name in manifests: `protobuf`, `json`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Protobuf => "protobuf",
            Self::Json => "json",
        }
    }

    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Protobuf => Self::Json,
            Self::Json => Self::Protobuf,
        }
    }
}

impl Direction {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
        }
    }

    /// Whether a method of `kind` sends any number of messages this way.
    #[must_use]
    pub const fn is_streamed(self, kind: CallKind) -> bool {
        match (self, kind) {
            (_, CallKind::Bidirectional)
            | (Self::Request, CallKind::ClientStream)
            | (Self::Response, CallKind::ServerStream) => true,
            (_, CallKind::Unary)
            | (Self::Request, CallKind::ServerStream)
            | (Self::Response, CallKind::ClientStream) => false,
        }
    }
}

impl Conversion {
    /// What is to be done for `call`, which a handler is to answer that wants messages as `handler`
    /// says. `None` where `codec` has no such service, and for a request of HTTP that is handed on as it
    /// is: their octets are nobody's messages.
    ///
    /// # Errors
    /// `unimplemented` where the schema has the service and not the method.
    pub fn of(
        codec: &Arc<dyn MessageCodec>,
        call: &Call,
        handler: HandlerForm,
    ) -> Result<Option<Self>, Error> {
        if call.is_forwarded() {
            return Ok(None);
        }
        let Some(info) = codec.method(&call.service, &call.method) else {
            if codec.has_service(&call.service) {
                let (service, method) = (&call.service, &call.method);
                let message = format!("the schema of service {service} has no method {method:?}");
                return Err(Error::new(Kind::Unimplemented, Blame::Client, message));
            }
            return Ok(None);
        };
        Ok(Some(Self {
            codec: Arc::clone(codec),
            service: call.service.clone(),
            method: call.method.clone(),
            kind: info.kind.unwrap_or(CallKind::Unary),
            caller: MessageForm::of_headers(&call.headers).unwrap_or(MessageForm::Json),
            handler,
        }))
    }

    /// The form in which the caller has its messages and gets those of the reply.
    #[must_use]
    pub const fn caller(&self) -> MessageForm {
        self.caller
    }

    /// `body`, of messages in the form `from`, in the form `to`.
    fn convert_body(
        &self,
        direction: Direction,
        (from, to): (MessageForm, MessageForm),
        body: Body,
    ) -> Result<Body, Error> {
        if from == to {
            return Ok(body);
        }
        let bytes_max = self.handler.message_bytes_max;
        let stream = |source: BodyStream| {
            BodyStream::from_source(ConvertedStream {
                source,
                conversion: self.clone(),
                direction,
                from,
                n_messages: 0,
                is_over: false,
            })
        };
        match body {
            // No message at all, where there may be any number.
            Body::Empty if direction.is_streamed(self.kind) => Ok(Body::Empty),
            Body::Empty => self.convert(direction, from, &Bytes::new()).map(Body::One),
            Body::One(message) => self.convert(direction, from, &message).map(Body::One),
            Body::Messages(messages) => Ok(Body::Messages(stream(messages))),
            body @ Body::Octets(_) => Ok(Body::Octets(stream(body.into_messages(bytes_max)))),
        }
    }

    fn convert(
        &self,
        direction: Direction,
        from: MessageForm,
        message: &Bytes,
    ) -> Result<Bytes, Error> {
        if message.is_empty() && from == MessageForm::Json {
            // No JSON at all stands for `{}`, and that is an empty message.
            return Ok(Bytes::new());
        }
        let (service, method) = (&self.service, &self.method);
        let converted = (self.codec).convert(service, method, direction, from, message);
        converted.map_err(|error| self.blamed(direction, error))
    }

    /// What a message is called that is none of its type: what the caller sent is its fault, what the
    /// handler answered is not.
    fn blamed(&self, direction: Direction, error: Error) -> Error {
        match direction {
            Direction::Request => error,
            Direction::Response => {
                let (service, method) = (&self.service, &self.method);
                let message = format!("response of {service}/{method}: {}", error.message);
                Error {
                    is_too_large: error.is_too_large,
                    source: error.source,
                    ..Error::new(Kind::Internal, self.handler.blame, message)
                }
            }
        }
    }
}

/// `call` as its handler wants it: every message in the handler's form, `content-type` naming it.
///
/// # Errors
/// `invalid-argument` where the message at hand is none of the method's request. Those of a stream fail
/// when they are read, with their number in the stream.
pub fn convert_call(conversion: &Conversion, mut call: Call) -> Result<Call, Error> {
    let forms = (conversion.caller, conversion.handler.form);
    if forms.0 != forms.1 {
        call.body = conversion.convert_body(Direction::Request, forms, call.body)?;
        call.headers = with_form(&call.headers, forms.1);
    }
    Ok(call)
}

/// `reply` as the caller wants it: every message in the caller's form, `content-type` naming it.
///
/// # Errors
/// `internal` where the message at hand is none of the method's response. Those of a stream fail when
/// they are read, with their number in the stream.
pub fn convert_reply(conversion: &Conversion, mut reply: Reply) -> Result<Reply, Error> {
    let said = MessageForm::of_headers(&reply.headers);
    let forms = (said.unwrap_or(conversion.handler.form), conversion.caller);
    reply.body = conversion.convert_body(Direction::Response, forms, reply.body)?;
    // Nobody has to be told that an answer is JSON which was JSON all the way.
    if said != Some(forms.1) && (forms.0 != forms.1 || forms.1 == MessageForm::Protobuf) {
        reply.headers = with_form(&reply.headers, forms.1);
    }
    Ok(reply)
}

/// `headers` with the content type of `form` in the place of any other.
fn with_form(headers: &Headers, form: MessageForm) -> Headers {
    let mut named = headers.without(|name| name.eq_ignore_ascii_case(CONTENT_TYPE.as_bytes()));
    // Only a section that is full to its last octet has no room for it; the form is then the usual one.
    drop(named.push(CONTENT_TYPE, form.content_type()));
    named
}

/// The messages of a body, each converted when it is taken. The first that is none of its type ends
/// the stream.
struct ConvertedStream {
    source: BodyStream,
    conversion: Conversion,
    direction: Direction,
    from: MessageForm,
    /// Messages that were taken.
    n_messages: u64,
    is_over: bool,
}

impl Stream for ConvertedStream {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let next = ready!(Pin::new(&mut self.source).poll_next(cx));
        let Some(Ok(message)) = next else {
            self.is_over = true;
            return Poll::Ready(next);
        };
        self.n_messages += 1;
        let number = self.n_messages;
        let converted = (self.conversion).convert(self.direction, self.from, &message);
        let converted = converted.map_err(|error| {
            let message = format!("message {number} of the stream: {}", error.message);
            Error {
                message: message.into(),
                ..error
            }
        });
        self.is_over = converted.is_err();
        Poll::Ready(Some(converted))
    }
}

impl BodySource for ConvertedStream {
    fn trailers(mut self: Pin<&mut Self>) -> Option<Headers> {
        self.source.trailers()
    }

    fn keep(mut self: Pin<&mut Self>, n_octets: usize) -> Result<(), Error> {
        self.source.keep(n_octets)
    }
}

const CONTENT_TYPE: &str = "content-type";

/// What clients send for protobuf: no name is registered. Connect has the second.
const PROTOBUF_TYPES: [&str; 4] = [
    "application/protobuf",
    "application/proto",
    "application/x-protobuf",
    "application/vnd.google.protobuf",
];

/// RFC 8259; and messages of which each is a line.
const JSON_TYPES: [&str; 2] = ["application/json", "application/x-ndjson"];

#[cfg(test)]
mod tests;
