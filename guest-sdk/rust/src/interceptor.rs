//! Roles `request-interceptor` and `response-interceptor`: see calls on their way in, and what became
//! of them on their way out. A plugin that has no use for one of the two leaves it out, and costs half
//! as much.
//!
//! ```
//! use postern_guest::{Action, Request, RequestInterceptor, Result};
//!
//! #[derive(Default)]
//! struct Mark;
//!
//! impl RequestInterceptor for Mark {
//!     fn on_request(&mut self, request: &mut Request) -> Result<Action> {
//!         request.set_header("x-mark", "edge")?;
//!         Ok(Action::Proceed)
//!     }
//! }
//!
//! postern_guest::export!(Mark: RequestInterceptor);
//! ```

use std::time::Duration;

use crate::{
    body::{Decode, Encode, Octets},
    failure::Failure,
    host,
    plugin::Plugin,
};

/// Sees calls on their way in. Without imports that wait (`kv`, `client`) it is entered directly,
/// within the manifest's `budgets.interceptor`. What else is known of the call is in
/// [`call`](crate::call).
pub trait RequestInterceptor: Plugin {
    /// A call has come.
    ///
    /// # Errors
    /// A failure refuses the call.
    fn on_request(&mut self, request: &mut Request) -> Result<Action, Failure>;
}

/// Sees what became of calls, on their way out. Entered as a [`RequestInterceptor`]; a plugin that is
/// both has a value for each, and may not find in one what it left in the other.
pub trait ResponseInterceptor: Plugin {
    /// The call has ended, well or not.
    ///
    /// # Errors
    /// A failure takes the place of the outcome.
    fn on_response(&mut self, request: &Request, response: &mut Response) -> Result<(), Failure>;
}

/// What happens to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It goes on, with what was changed in the request.
    Proceed,
    /// It is answered by this, and goes no further.
    Answer(Reply),
}

/// An answer made by an interceptor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// One value for each name.
    pub headers: Vec<(String, String)>,
    pub payload: Octets,
}

/// The call on its way to its handler. Everything may be asked at any time; changes are for
/// `on_request`.
#[derive(Debug)]
pub struct Request(());

/// What the call came to.
#[derive(Debug)]
pub struct Response(());

impl Request {
    /// The current call's. One per entry.
    pub(crate) const fn of_call() -> Self {
        Self(())
    }

    #[must_use]
    pub fn service(&self) -> String {
        host::request::service()
    }

    #[must_use]
    pub fn method(&self) -> String {
        host::request::method()
    }

    /// The first value of a header; absent also when it is not UTF-8.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        host::request::header(name)
    }

    /// All headers in order, duplicates included.
    #[must_use]
    pub fn headers(&self) -> Vec<(String, Vec<u8>)> {
        host::request::headers()
    }

    /// Puts a header in the place of all of that name.
    ///
    /// # Errors
    /// `invalid-argument` when the name is not 1 to 255 octets, or when all headers together pass
    /// 65,535; `failed-precondition` once the call has ended.
    pub fn set_header(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        host::request::set_header(name, value)
    }

    /// Adds a header beside those of that name.
    ///
    /// # Errors
    /// As [`Request::set_header`].
    pub fn add_header(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        host::request::add_header(name, value)
    }

    /// Takes all headers of that name away.
    ///
    /// # Errors
    /// `failed-precondition` once the call has ended.
    pub fn remove_header(&mut self, name: &str) -> Result<(), Failure> {
        host::request::remove_header(name)
    }

    /// The message of a unary call, as octets or as JSON. Only here does it cross into the
    /// component.
    ///
    /// # Errors
    /// `failed-precondition` for a streaming call and once the call has ended, `invalid-argument`
    /// when the message is not a `T`.
    pub fn payload<T: Decode>(&self) -> Result<T, Failure> {
        T::decode(host::request::payload()?)
    }

    /// Puts another message in place, octets or JSON.
    ///
    /// # Errors
    /// `failed-precondition` for a streaming call and once the call has ended.
    pub fn set_payload(&mut self, payload: impl Encode) -> Result<(), Failure> {
        host::request::set_payload(&payload.encode()?)
    }
}

impl Response {
    /// The current call's. One per entry.
    pub(crate) const fn of_call() -> Self {
        Self(())
    }

    /// Why the call failed; `None` when it did not.
    #[must_use]
    pub fn failed(&self) -> Option<Failure> {
        host::response::failed()
    }

    /// Since the call came in. In whole microseconds.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Duration::from_micros(host::response::elapsed_micros())
    }

    /// The first value of a header; absent also when it is not UTF-8.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        host::response::header(name)
    }

    /// All headers in order, duplicates included.
    #[must_use]
    pub fn headers(&self) -> Vec<(String, Vec<u8>)> {
        host::response::headers()
    }

    /// Puts a header in the place of all of that name.
    ///
    /// # Errors
    /// As [`Request::set_header`]; `failed-precondition` for a failure, which has none.
    pub fn set_header(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        host::response::set_header(name, value)
    }

    /// Adds a header beside those of that name.
    ///
    /// # Errors
    /// As [`Response::set_header`].
    pub fn add_header(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        host::response::add_header(name, value)
    }

    /// Takes all headers of that name away.
    ///
    /// # Errors
    /// `failed-precondition` for a failure, which has none.
    pub fn remove_header(&mut self, name: &str) -> Result<(), Failure> {
        host::response::remove_header(name)
    }

    /// The message of a unary reply, as octets or as JSON. Only here does it cross into the
    /// component. That of a failure is empty.
    ///
    /// # Errors
    /// `failed-precondition` for a streaming reply, `invalid-argument` when the message is not a
    /// `T`.
    pub fn payload<T: Decode>(&self) -> Result<T, Failure> {
        T::decode(host::response::payload()?)
    }

    /// Puts another message in place, octets or JSON; it makes an answer of a failure.
    ///
    /// # Errors
    /// `failed-precondition` for a streaming reply.
    pub fn set_payload(&mut self, payload: impl Encode) -> Result<(), Failure> {
        host::response::set_payload(&payload.encode()?)
    }
}

impl Reply {
    /// An answer of octets or JSON.
    ///
    /// # Errors
    /// `internal` when the value has no form in JSON.
    pub fn new(payload: impl Encode) -> Result<Self, Failure> {
        let payload = Octets(payload.encode()?);
        Ok(Self {
            headers: Vec::new(),
            payload,
        })
    }

    /// The same with one header more.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

impl From<Octets> for Reply {
    fn from(payload: Octets) -> Self {
        Self {
            headers: Vec::new(),
            payload,
        }
    }
}
