//! A call: one request head plus a body of one or many messages, and its reply.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{self, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_core::Stream;

use crate::{
    error::Error,
    event::{Outbox, Publisher},
    headers::Headers,
    peer::{Peer, Principal},
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
    /// Metadata as the caller sent it. The keys of the VSP itself (`service`, `correlation-id`, ...)
    /// may still be there; backs leave them out when they write a request of their own.
    pub headers: Headers,
    pub body: Body,
    pub context: Context,
}

/// What the gateway knows about a call beside what was sent.
#[derive(Debug, Clone)]
pub struct Context {
    /// When the caller stops waiting. `None` until the pipeline sets its default.
    pub deadline: Option<Instant>,
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
}

/// What a handler answers.
#[derive(Debug)]
pub struct Reply {
    pub headers: Headers,
    pub body: Body,
}

/// None, one or many messages. Unary calls never pay for streams.
#[derive(Debug, Default)]
pub enum Body {
    #[default]
    Empty,
    One(Bytes),
    Many(BodyStream),
}

/// Messages that arrive over time. An error ends the stream.
pub struct BodyStream(Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>);

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

impl Default for Context {
    fn default() -> Self {
        Self {
            deadline: None,
            peer: Arc::default(),
            outbox: Outbox::closed(),
            principal: None,
            correlation: Text::default(),
            trace: None,
            priority: Self::USUAL_PRIORITY,
            depth: 0,
        }
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
    pub fn one(body: impl Into<Bytes>) -> Self {
        Self {
            headers: Headers::new(),
            body: Body::One(body.into()),
        }
    }
}

impl Body {
    /// The single message of a unary body; no octets when it is empty.
    ///
    /// # Errors
    /// `invalid-argument` when a stream holds more than one message or passes `bytes_max`, and
    /// whatever error ends the stream.
    pub async fn into_one(self, bytes_max: usize) -> Result<Bytes, Error> {
        let first = match self {
            Self::Empty => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Many(mut stream) => {
                let first = stream.next().await.transpose()?.unwrap_or_default();
                if stream.next().await.transpose()?.is_some() {
                    return Err(Error::invalid_argument(
                        "a unary call takes one message, the stream holds more",
                    ));
                }
                first
            }
        };
        if first.len() > bytes_max {
            let length = first.len();
            let message = format!("message of {length} octets exceeds the limit of {bytes_max}");
            return Err(Error::invalid_argument(message).with_too_large());
        }
        Ok(first)
    }
}

impl BodyStream {
    #[must_use]
    pub fn new(stream: impl Stream<Item = Result<Bytes, Error>> + Send + 'static) -> Self {
        Self(Box::pin(stream))
    }

    /// The next message; `None` after the last or after an error.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        std::future::poll_fn(|cx| self.0.as_mut().poll_next(cx)).await
    }
}

impl Stream for BodyStream {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(ready!(self.0.as_mut().poll_next(cx)))
    }
}

impl fmt::Debug for BodyStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BodyStream")
    }
}
