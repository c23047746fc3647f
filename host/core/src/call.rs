//! A call: one request head plus a body, and its reply. Wide enough for every protocol; what a
//! protocol does not have costs it nothing.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    body::Body,
    event::{Outbox, Publisher},
    headers::Headers,
    http::{HttpFacts, HttpStatus},
    peer::{Peer, Principal},
    shadow::ShadowMark,
    text::Text,
    trace::TraceContext,
};

/// What a front asks of a handler.
#[derive(Debug)]
pub struct Call {
    pub service: Text,
    pub method: Text,
    /// The version asked for; any version serves when absent.
    pub version: Option<Text>,
    /// Metadata as the caller sent it. In a section the keys of the VSP itself (`service`,
    /// `correlation-id`, ...) may still be there; backs leave them out when they write a request of
    /// their own. Fields are all the application's.
    pub headers: Headers,
    pub body: Body,
    pub context: Context,
    /// Where it came by HTTP, here or at a gateway before this one.
    pub http: Option<Box<HttpFacts>>,
}

/// What the gateway knows about a call beside what was sent.
#[derive(Debug, Clone)]
pub struct Context {
    /// When the caller stops waiting. `None` until the pipeline sets its default.
    pub deadline: Option<Instant>,
    /// The deadline is that of the head of the reply: a stream of which it is the head takes as long as it
    /// flows. Otherwise all of the reply is to be there by then.
    pub is_deadline_of_head: bool,
    pub peer: Arc<Peer>,
    /// Where events for the caller go, beside the reply.
    pub outbox: Outbox,
    /// Who calls, once an authenticator has said so.
    pub principal: Option<Arc<Principal>>,
    /// Chosen by the caller; unique among what is in flight on its session.
    pub correlation: Text,
    /// As received or as begun by the pipeline.
    pub trace: Option<TraceContext>,
    /// 0 to 255, larger is more urgent. DATA is 50.
    pub priority: u8,
    /// How many plugins and gateways stand between the first caller and this call. 0 from outside.
    pub depth: u8,
    /// Of a copy, whose answer goes to nobody.
    pub shadow: Option<Arc<ShadowMark>>,
}

/// What a handler answers.
#[derive(Debug)]
pub struct Reply {
    /// As those of a call.
    pub headers: Headers,
    pub body: Body,
    /// For a client that came by HTTP; 200 when absent.
    pub status: Option<HttpStatus>,
}

impl Call {
    /// A call of `service`/`method` with one message, from nowhere in particular.
    #[must_use]
    pub fn unary(
        service: impl Into<Text>,
        method: impl Into<Text>,
        body: impl Into<Bytes>,
    ) -> Self {
        Self {
            service: service.into(),
            method: method.into(),
            version: None,
            headers: Headers::new(),
            body: Body::One(body.into()),
            context: Context::default(),
            http: None,
        }
    }

    /// Whether it is a request of HTTP that is handed on as it is.
    #[must_use]
    pub fn is_forwarded(&self) -> bool {
        self.http.as_ref().is_some_and(|http| http.is_forwarded)
    }

    /// The call once more, for another try; `None` where its body can be read once only.
    #[must_use]
    pub fn try_clone(&self) -> Option<Self> {
        Some(self.with_body(self.body.try_clone()?))
    }

    /// The same call of another body.
    #[must_use]
    pub fn with_body(&self, body: Body) -> Self {
        Self {
            service: self.service.clone(),
            method: self.method.clone(),
            version: self.version.clone(),
            headers: self.headers.clone(),
            body,
            context: self.context.clone(),
            http: self.http.clone(),
        }
    }
}

impl Context {
    /// Urgency of a call that says nothing of it.
    pub const USUAL_PRIORITY: u8 = Publisher::USUAL_PRIORITY;

    /// What is left of the deadline at `now`; `None` when there is no deadline.
    #[must_use]
    pub fn remaining(&self, now: Instant) -> Option<Duration> {
        self.deadline
            .map(|deadline| deadline.saturating_duration_since(now))
    }
}

impl Context {
    /// Of a call by `peer` that says nothing else.
    #[must_use]
    pub fn of(peer: Arc<Peer>) -> Self {
        Self {
            deadline: None,
            is_deadline_of_head: false,
            peer,
            outbox: Outbox::closed(),
            principal: None,
            correlation: Text::default(),
            trace: None,
            priority: Self::USUAL_PRIORITY,
            depth: 0,
            shadow: None,
        }
    }
}

impl Default for Context {
    fn default() -> Self {
        Self::of(Arc::default())
    }
}

/// What a handler of an event works in: the publisher's call, which is over.
impl From<Publisher> for Context {
    fn from(publisher: Publisher) -> Self {
        let Publisher {
            peer,
            principal,
            trace,
            priority,
            depth,
        } = publisher;
        Self {
            peer,
            principal,
            trace,
            priority,
            depth,
            ..Self::default()
        }
    }
}

/// What of a call is told to subscribers.
impl From<Context> for Publisher {
    fn from(context: Context) -> Self {
        Self {
            peer: context.peer,
            principal: context.principal,
            trace: context.trace,
            priority: context.priority,
            depth: context.depth,
        }
    }
}

impl Reply {
    #[must_use]
    pub fn new(headers: Headers, body: Body) -> Self {
        Self {
            headers,
            body,
            status: None,
        }
    }

    #[must_use]
    pub fn one(body: impl Into<Bytes>) -> Self {
        Self::new(Headers::new(), Body::One(body.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::BodyStream;

    /// What a unary call pays for what only other protocols have is seen here.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn calls_and_replies_stay_small() {
        assert_eq!(size_of::<Headers>(), 40);
        assert_eq!(size_of::<Body>(), 40);
        assert_eq!(size_of::<Reply>(), 88);
        // Three names, headers, body, a pointer, and 8 octets that align the number of a trace.
        let beside_context = size_of::<Call>() - size_of::<Context>();
        assert_eq!(beside_context, 3 * 32 + 40 + 40 + 8 + 8);
    }

    #[test]
    fn a_call_is_there_twice_unless_its_body_is_a_stream() {
        let mut call = Call::unary("users", "find", "7");
        call.http = Some(Box::default());
        let copy = call.try_clone().expect("one message");
        assert_eq!((&copy.service, &copy.http), (&call.service, &call.http));
        for body in [
            Body::Messages(BodyStream::empty()),
            Body::Octets(BodyStream::empty()),
        ] {
            assert!(call.with_body(body).try_clone().is_none());
        }
    }
}
