//! What a test says to the fake host, and asks of it.

use std::{marker::PhantomData, rc::Rc, time::Duration};

use crate::{
    body::{Encode, Octets},
    call::{BodyKind, Http, Peer, Principal},
    failure::Failure,
    fake::state::{self, ClientCall, Line, State},
    log::Level,
    service::{self, Service},
};

/// This thread's host. Making one empties it; dropping it empties it again.
#[derive(Debug)]
#[must_use = "dropping the host empties it"]
pub struct Host {
    /// Bound to the thread.
    thread: PhantomData<Rc<()>>,
}

impl Host {
    /// An empty host: no config, no keys, nothing granted, 1,000 ms left for the call, transport
    /// `memory`, every log level kept.
    #[expect(
        clippy::new_without_default,
        reason = "making one has an effect on the thread"
    )]
    pub fn new() -> Self {
        state::with(|state| *state = State::default());
        Self {
            thread: PhantomData,
        }
    }

    /// Sets a key of the manifest's table `config`: text as it is, everything else as JSON.
    pub fn config(&self, key: &str, value: &str) -> &Self {
        state::with(|state| state.config.insert(key.to_owned(), value.to_owned()));
        self
    }

    /// Answers calls that the plugin makes to `service`/`method`; this also grants the service.
    pub fn answer(
        &self,
        service: &str,
        method: &str,
        answer: impl Fn(&ClientCall) -> Result<Octets, Failure> + 'static,
    ) -> &Self {
        let target = (service.to_owned(), method.to_owned());
        state::with(|state| state.answers.insert(target, Rc::new(answer)));
        self
    }

    /// Answers calls to `service`/`method` with one JSON value.
    pub fn answer_json(&self, service: &str, method: &str, value: impl serde::Serialize) -> &Self {
        let json = value.encode().map(Octets);
        self.answer(service, method, move |_| json.clone())
    }

    /// Lets every use of `kv` fail, or with `None` succeed again.
    pub fn fail_kv(&self, failure: impl Into<Option<Failure>>) -> &Self {
        let failure = failure.into();
        state::with(|state| state.kv_failure = failure);
        self
    }

    /// Keeps only log lines of this level and above.
    pub fn log_level(&self, level: Level) -> &Self {
        state::with(|state| state.level = level);
        self
    }

    /// Adds a header to the current call.
    pub fn header(&self, name: &str, value: impl Into<Vec<u8>>) -> &Self {
        let header = (name.to_owned(), value.into());
        state::with(|state| state.request_headers.push(header));
        self
    }

    /// Says that the call came by HTTP, and how.
    pub fn http(&self, http: Http) -> &Self {
        state::with(|state| state.http = Some(http));
        self
    }

    /// Says what the body of the request is.
    pub fn request_kind(&self, kind: BodyKind) -> &Self {
        state::with(|state| state.request_kind = kind);
        self
    }

    /// Adds a trailer to the request.
    pub fn trailer(&self, name: &str, value: impl Into<Vec<u8>>) -> &Self {
        let trailer = (name.to_owned(), value.into());
        state::with(|state| state.request_trailers.push(trailer));
        self
    }

    /// Says who is at the other end.
    pub fn peer(&self, transport: &str, address: Option<&str>) -> &Self {
        let peer = Peer {
            transport: transport.to_owned(),
            address: address.map(ToOwned::to_owned),
        };
        state::with(|state| state.peer = peer);
        self
    }

    /// Says who calls.
    pub fn principal(&self, name: &str, roles: &[&str]) -> &Self {
        let roles = roles.iter().map(|&role| role.to_owned()).collect();
        state::with(|state| {
            state.principal = Some(Principal {
                name: name.to_owned(),
                roles,
            })
        });
        self
    }

    /// Says how long the caller still waits. In whole milliseconds.
    pub fn remaining(&self, remaining: Duration) -> &Self {
        let remaining_ms = u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX);
        state::with(|state| state.remaining_ms = remaining_ms);
        self
    }

    /// Sets what the caller chose to correlate the call by.
    pub fn correlation_id(&self, id: &str) -> &Self {
        state::with(|state| id.clone_into(&mut state.correlation_id));
        self
    }

    /// Sets the W3C trace context.
    pub fn traceparent(&self, traceparent: &str) -> &Self {
        state::with(|state| state.traceparent = Some(traceparent.to_owned()));
        self
    }

    /// Adds a message to the request of a streaming call.
    pub fn incoming(&self, message: impl Encode) -> &Self {
        let message = message.encode();
        state::with(|state| state.incoming.push_back(message));
        self
    }

    /// Ends the request of a streaming call with a failure.
    pub fn incoming_fails(&self, failure: Failure) -> &Self {
        state::with(|state| state.incoming.push_back(Err(failure)));
        self
    }

    /// Calls a service as the gateway does: by method name, with octets in and out.
    ///
    /// # Errors
    /// What the service fails with.
    pub fn call<S: Service>(
        &self,
        method: &str,
        message: impl Into<Octets>,
    ) -> Result<Octets, Failure> {
        let Octets(message) = message.into();
        if !S::IS_TEXT {
            return S::call(method, message).map(Octets);
        }
        let body = String::from_utf8(message);
        let body = body.map_err(|_| Failure::invalid_argument("message is not UTF-8"))?;
        service::call_text::<S>(method, body).map(Octets::from)
    }

    /// Calls a service with the messages given to [`Host::incoming`]; returns what it sent.
    ///
    /// # Errors
    /// What the service fails with; what it sent before stays in [`Host::outgoing`].
    pub fn call_stream<S: Service>(&self, method: &str) -> Result<Vec<Octets>, Failure> {
        state::with(|state| state.is_streaming = true);
        let called = S::call_stream(method);
        state::with(|state| state.is_streaming = false);
        called?;
        Ok(self.outgoing())
    }

    /// The lines that the plugin wrote so far.
    #[must_use]
    pub fn log(&self) -> Vec<Line> {
        state::with(|state| state.lines.clone())
    }

    /// The calls that the plugin made so far, answered or not.
    #[must_use]
    pub fn client_calls(&self) -> Vec<ClientCall> {
        state::with(|state| state.client_calls.clone())
    }

    /// The headers that the plugin added to its reply, those with text.
    #[must_use]
    pub fn reply_headers(&self) -> Vec<(String, String)> {
        state::with(|state| texts(&state.reply_headers))
    }

    /// The headers that the plugin added to its reply, all of them.
    #[must_use]
    pub fn binary_reply_headers(&self) -> Vec<(String, Vec<u8>)> {
        state::with(|state| state.reply_headers.clone())
    }

    /// The status that the plugin set for its reply.
    #[must_use]
    pub fn reply_status(&self) -> Option<u16> {
        state::with(|state| state.reply_status)
    }

    /// The trailers that the plugin added to its reply, those with text.
    #[must_use]
    pub fn reply_trailers(&self) -> Vec<(String, String)> {
        state::with(|state| texts(&state.reply_trailers))
    }

    /// The trailers that the plugin added to its reply, all of them.
    #[must_use]
    pub fn binary_reply_trailers(&self) -> Vec<(String, Vec<u8>)> {
        state::with(|state| state.reply_trailers.clone())
    }

    /// What the plugin's reply is, as far as it said so.
    #[must_use]
    pub fn replies_octets(&self) -> bool {
        state::with(|state| state.replies_octets)
    }

    /// The messages that the plugin sent; they are taken out.
    #[must_use]
    pub fn outgoing(&self) -> Vec<Octets> {
        state::with(|state| std::mem::take(&mut state.outgoing))
    }

    /// All keys of the store, in order.
    #[must_use]
    pub fn kv_keys(&self) -> Vec<String> {
        state::with(|state| state.kv.keys().cloned().collect())
    }
}

/// Those of `headers` whose values are text.
fn texts(headers: &[(String, Vec<u8>)]) -> Vec<(String, String)> {
    let text = |(name, value): &(String, Vec<u8>)| {
        let value = std::str::from_utf8(value).ok()?;
        Some((name.clone(), value.to_owned()))
    };
    headers.iter().filter_map(text).collect()
}

impl Drop for Host {
    fn drop(&mut self) {
        state::with(|state| *state = State::default());
    }
}
