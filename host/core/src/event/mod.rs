//! Events: topics and patterns, who subscribed to what, and a bounded queue per subscriber.
//!
//! A topic is a name in levels, parted by dots: `user.created`. A pattern may hold `*` for exactly one
//! level and end with `>` for one or more. These are the signs of NATS, whose topics have dots as
//! those of the documents; an MQTT front maps `/ + #` onto `. * >` (there `a/#` means `a` as well,
//! so it subscribes to `a` and `a.>`).
//!
//! ```text
//! publish ── Table ──▶ Mailbox ──▶ Subscription ──▶ Outbox of a session, a plugin's handler, a stream
//!  never waits         bounded      read by one
//! ```
//!
//! Delivery is at most once, but for topics that are `durable`. A full mailbox loses its *oldest* event: a subscriber that lags gets
//! what is news, and since the loss lies before the event that it reads next, the number it missed
//! can be told with that very event. Were the newest lost, nobody would learn of it until another came.

pub mod broker;
pub mod durable;
mod hub;
mod mailbox;
mod outbox;
mod pattern;
mod queue;
mod shared_queue;
mod table;
mod tap;
mod wakes;

use std::{fmt, sync::Arc};

use bytes::Bytes;

use crate::{
    boxed::BoxFuture,
    error::Error,
    headers::Headers,
    peer::{Peer, Principal},
    text::Text,
    trace::TraceContext,
};

pub use self::{
    hub::{
        ChangingSubscription, EndNotice, EventFeed, Hub, HubConfig, HubTotals, Subscription,
        SubscriptionInfo,
    },
    mailbox::Mailbox,
    outbox::{Outbox, Push},
    pattern::{TopicError, TopicPattern, check_topic},
    queue::{EventCounts, EventQueue, QueueBounds},
    shared_queue::QueueTaken,
    table::{PatternInfo, SubscriptionTable},
    tap::EventTap,
    wakes::wake_together,
};

/// The service that takes `publish`, `subscribe` and `unsubscribe`.
pub const SERVICE: &str = "events";
/// Its method for which an event frame is a call without an answer.
pub const PUBLISH: &str = "publish";

/// How topics begin that only the gateway publishes under. Everybody may subscribe to them.
pub const OWN_TOPICS: &str = "postern.";

/// Longest topic or pattern, in octets: what fits into one entry of a header section.
pub const TOPIC_BYTES_MAX: usize = 255;
/// Levels of a topic or pattern.
pub const LEVELS_MAX: usize = 32;
/// Charged for an event beside its topic, headers and payload. No less than it takes in memory, nor
/// than what a frame adds to it.
pub const EVENT_OVERHEAD_BYTES: usize = 512;

/// Something that has happened. Its content type is the header `content-type`.
#[derive(Debug, Clone)]
pub struct Event {
    pub topic: Text,
    pub headers: Headers,
    pub payload: Bytes,
    pub publisher: Publisher,
}

/// Who published an event, and in what. It outlives the call in which that was done.
#[derive(Debug, Clone)]
pub struct Publisher {
    pub peer: Arc<Peer>,
    pub principal: Option<Arc<Principal>>,
    pub trace: Option<TraceContext>,
    /// Of the call, 0 to 255.
    pub priority: u8,
    /// How many plugins and gateways stand between the first cause and the event.
    pub depth: u8,
}

/// Where events are published.
pub trait EventSink: Send + Sync {
    /// Puts the event into the queue of every subscriber of its topic. It neither waits nor runs a
    /// subscriber: a full queue misses the event. One of a durable topic is stored first.
    ///
    /// # Errors
    /// Why the event was not taken at all.
    fn publish(&self, event: Event) -> Result<Published, Error>;
}

/// What has become of an event.
pub enum Published {
    /// So many subscribers are told; nothing had to be stored.
    Told(u32),
    /// Nothing has happened yet. Once this has resolved the event is stored and its subscribers are told;
    /// it gives how many, or why the event was not kept.
    Storing(BoxFuture<Result<u32, Error>>),
}

impl Published {
    /// How many subscribers are told, once the event is stored.
    ///
    /// # Errors
    /// Why it was not kept.
    pub async fn stored(self) -> Result<u32, Error> {
        match self {
            Self::Told(n_told) => Ok(n_told),
            Self::Storing(storing) => storing.await,
        }
    }
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Told(n_told) => f.debug_tuple("Told").field(n_told).finish(),
            Self::Storing(_) => f.write_str("Storing"),
        }
    }
}

/// An event on its way to one subscriber.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub event: Event,
    /// Events for this subscriber that were lost since the delivery before this one.
    pub missed: u64,
    /// The subscription's id; empty where there is none.
    pub subscription: Text,
}

impl Publisher {
    /// Urgency of a call that says nothing of it.
    pub const USUAL_PRIORITY: u8 = 50;

    /// Of whom nothing is known but the connection.
    #[must_use]
    pub const fn of(peer: Arc<Peer>) -> Self {
        Self {
            peer,
            principal: None,
            trace: None,
            priority: Self::USUAL_PRIORITY,
            depth: 0,
        }
    }
}

/// Nobody in particular.
impl Default for Publisher {
    fn default() -> Self {
        Self::of(Arc::default())
    }
}

impl Event {
    /// What the gateway itself has to tell, in JSON: `topic` stands below `OWN_TOPICS`.
    #[must_use]
    pub fn own(topic: &str, json: String) -> Self {
        let mut headers = Headers::new();
        // Two dozen octets fit.
        let _ = headers.push("content-type", "application/json");
        Self {
            topic: format!("{OWN_TOPICS}{topic}").into(),
            headers,
            payload: json.into(),
            publisher: Publisher::default(),
        }
    }

    /// The event in buffers of its own, with the headers that go along (`is_carried`): what waits must not
    /// hold the much larger buffer of the connection that it came from.
    #[must_use]
    pub fn into_compact(self) -> Self {
        let headers = match self.headers.is_empty() {
            true => self.headers,
            // What was a section stays one.
            false => self
                .headers
                .without(|key| !is_carried(key))
                .to_owned_buffer(),
        };
        Self {
            topic: Text::from(self.topic.as_str()),
            headers,
            payload: Bytes::copy_from_slice(&self.payload),
            publisher: self.publisher,
        }
    }
}

impl Delivery {
    /// What it is charged for in queues; at least the octets of its frame.
    #[must_use]
    pub fn bytes(&self) -> usize {
        bytes_of(&self.event)
    }
}

/// Whether a publisher's header goes with the event to its subscribers: what describes the event
/// (`content-type`, `event-*`, and `ce-*` of CloudEvents) and the trace, not what is about the
/// publisher's own hop, credentials or browser.
#[must_use]
pub fn is_carried(key: &[u8]) -> bool {
    match key {
        b"content-type" | b"tracestate" | b"baggage" => true,
        b"event-type" => false,
        _ => key.starts_with(b"event-") || key.starts_with(b"ce-"),
    }
}

fn bytes_of(event: &Event) -> usize {
    EVENT_OVERHEAD_BYTES + event.topic.len() + event.headers.section().len() + event.payload.len()
}

#[cfg(test)]
mod tests;
