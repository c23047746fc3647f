//! A service as the host sees it: named methods, what they are called with, whether they can serve.
//! `#[postern_guest::service]` implements [`Service`]; nothing here is written by hand.

use crate::{
    body::{Decode, Encode},
    failure::Failure,
    stream,
};

/// What `#[postern_guest::service]` makes of an `impl` block.
pub trait Service: 'static {
    const NAME: &'static str;
    /// A semantic version.
    const VERSION: &'static str;
    /// One sentence for people.
    const SUMMARY: &'static str;
    const METHODS: &'static [Method];
    /// Whether unary messages are text, taken by the role `text-handler`.
    const IS_TEXT: bool = false;

    /// Answers one unary call.
    ///
    /// # Errors
    /// `not-found` for an unknown method, `unimplemented` for a streaming one, `invalid-argument`
    /// for a message that is not what the method takes, and whatever the method fails with.
    fn call(method: &str, message: Vec<u8>) -> Result<Vec<u8>, Failure>;

    /// Answers one call of many messages. Unary methods are served as well: one message in, one
    /// out.
    ///
    /// # Errors
    /// As [`Service::call`], and whatever ends the streams.
    fn call_stream(method: &str) -> Result<(), Failure>;

    /// Whether the plugin can serve.
    fn health() -> Health;

    /// Names and JSON Schemas of the types that the methods take and give, as far as the types have
    /// them.
    fn schemas() -> Vec<(String, String)>;
}

/// One method of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    pub name: &'static str,
    /// One sentence for people.
    pub summary: &'static str,
    pub shape: Shape,
    /// Name of the request's type; empty when it takes none.
    pub request: &'static str,
    /// Name of the reply's type; empty when it gives none.
    pub response: &'static str,
    /// Whether a second identical call changes nothing more: such calls may be retried.
    pub idempotent: bool,
}

/// How many messages go in and out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Unary,
    ClientStream,
    ServerStream,
    Bidirectional,
}

/// Whether a plugin can serve. Asked before a generation takes traffic, and then periodically.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Takes traffic.
    Serving,
    /// Takes traffic, and someone should look.
    Degraded(String),
    /// Takes no traffic.
    NotServing(String),
}

impl From<Result<(), Failure>> for Health {
    fn from(outcome: Result<(), Failure>) -> Self {
        match outcome {
            Ok(()) => Self::Serving,
            Err(failure) => Self::NotServing(failure.to_string()),
        }
    }
}

/// The request of a unary method.
#[doc(hidden)]
pub fn request<T: Decode>(message: Vec<u8>) -> Result<T, Failure> {
    T::decode(message)
}

/// The reply of a unary method.
#[doc(hidden)]
pub fn reply<T: Encode>(value: T) -> Result<Vec<u8>, Failure> {
    value.encode()
}

/// The request of a method that takes one message and streams its reply.
#[doc(hidden)]
pub fn stream_request<T: Decode>() -> Result<T, Failure> {
    T::decode(stream::next_octets()?.unwrap_or_default())
}

/// The reply of a method that takes a stream and gives one message.
#[doc(hidden)]
pub fn stream_reply<T: Encode>(value: T) -> Result<(), Failure> {
    stream::send_octets(&value.encode()?)
}

/// A streaming front calls a unary method: one message in, one out.
#[doc(hidden)]
pub fn unary_over_stream<S: Service>(method: &str) -> Result<(), Failure> {
    let message = stream::next_octets()?.unwrap_or_default();
    let reply = S::call(method, message)?;
    stream::send_octets(&reply)
}

/// A unary call whose messages are text. The text is moved, and looked at once more when it goes out: a
/// method may give [`Octets`](crate::Octets).
#[doc(hidden)]
pub fn call_text<S: Service>(method: &str, body: String) -> Result<String, Failure> {
    let reply = S::call(method, body.into_bytes())?;
    String::from_utf8(reply).map_err(|_| {
        Failure::internal(format!(
            "reply of method `{method}` is not UTF-8: a service marked with `text` gives text"
        ))
    })
}

/// Stands for the exports where there are none.
#[doc(hidden)]
pub const fn exported<S: Service>() {}

#[doc(hidden)]
#[must_use]
#[cold]
pub fn unknown_method<S: Service>(method: &str) -> Failure {
    let known = S::METHODS
        .iter()
        .map(|method| method.name)
        .collect::<Vec<_>>()
        .join(", ");
    let service = S::NAME;
    Failure::not_found(format!(
        "service `{service}` has no method `{method}`; it has {known}"
    ))
}

#[doc(hidden)]
#[must_use]
#[cold]
pub fn needs_stream<S: Service>(method: &str) -> Failure {
    let service = S::NAME;
    Failure::unimplemented(format!(
        "method `{method}` of service `{service}` is streaming"
    ))
}
