//! Events that are not lost: logs of what was published, and consumers that acknowledge.
//!
//! ```text
//! publish ─▶ EventLog::append ─▶ on disk ─▶ EventConsumer::take ─▶ acknowledge
//!                                              ▲        │ refuse, or no word for `ack_wait`
//!                                              └─ back-off ─ after `deliveries_max`: dead letter
//! ```
//!
//! A log keeps the events of the topics that it wants, each at a [`Position`]. A consumer has a name
//! and remembers by it what was acknowledged, so whoever comes again under that name goes on there.
//! Several members may take from one consumer; each event is with one of them at a time.

mod consumer;
mod consumer_set;
mod dead_letter;
mod log;
mod order;
mod receipt;
mod record;
#[cfg(test)]
mod simulation;
mod stored_event;

use std::{fmt, time::Duration};

pub use self::{
    consumer::{ConsumerCounts, ConsumerState, MemberId, WAITING_MAX},
    consumer_set::{ConsumerId, ConsumerSet, Retention},
    dead_letter::{DEAD_LETTERS, DeadEvent, DeadLetter, is_dead_letter},
    log::{EventMark, LogFull, LogLimits, LogState, RECORD_OVERHEAD_BYTES, WhenFull},
    order::OrderKey,
    receipt::EventReceipt,
    record::{RecordError, VERSION, decode_event, encode_event, stored_at_ms},
    stored_event::{Position, StoredEvent},
};
use super::{Event, TopicPattern};
use crate::{boxed::BoxFuture, error::Error, text::Text};

/// Where a consumer begins when there is none of its name yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConsumerStart {
    /// With the oldest event that the log keeps.
    First,
    /// With what is stored from here on.
    #[default]
    New,
    /// Behind this position.
    After(Position),
}

/// What a consumer is, and how it is given events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerSettings {
    /// Unique within its log. At most 255 octets.
    pub name: Text,
    /// Which of the log's events it gets. Replaced when a consumer of that name is opened again.
    pub patterns: Vec<TopicPattern>,
    pub start: ConsumerStart,
    /// How long a member may keep an event before it counts as not handled. Zero: for ever, until the
    /// member releases it.
    pub ack_wait: Duration,
    /// Waits before the second, third … delivery; the last one repeats.
    pub back_off: Vec<Duration>,
    /// Deliveries before an event goes to the dead letters. 0: no bound.
    pub deliveries_max: u32,
    /// Events that are with members at a time.
    pub in_flight_max: usize,
    /// Whether an event waits for the ones before it of the same publisher and key (the header
    /// `event-key`; without it, the topic) to be acknowledged.
    pub is_ordered: bool,
}

impl ConsumerSettings {
    /// Of a consumer that nobody has opened since the gateway started: it is given nothing.
    #[must_use]
    pub const fn restored(name: Text, patterns: Vec<TopicPattern>) -> Self {
        Self {
            name,
            patterns,
            start: ConsumerStart::First,
            ack_wait: Duration::ZERO,
            back_off: Vec::new(),
            deliveries_max: 0,
            in_flight_max: 0,
            is_ordered: false,
        }
    }

    /// # Errors
    /// `invalid-argument` for a name or patterns that cannot be.
    pub fn check(&self) -> Result<(), Error> {
        let length = self.name.len();
        if length == 0 || length > CONSUMER_NAME_BYTES_MAX {
            return Err(Error::invalid_argument(format!(
                "a durable name has 1 to {CONSUMER_NAME_BYTES_MAX} octets, this one has {length}"
            )));
        }
        if let Some(found) = self.name.chars().find(|c| c.is_control()) {
            return Err(Error::invalid_argument(format!(
                "the durable name holds {found:?}, which no name may"
            )));
        }
        let n = self.patterns.len();
        if n > PATTERNS_MAX {
            return Err(Error::invalid_argument(format!(
                "{n} patterns exceed the limit of {PATTERNS_MAX} for one consumer"
            )));
        }
        if self.in_flight_max == 0 {
            let message = "a consumer of which nothing is in flight gets nothing";
            return Err(Error::invalid_argument(message));
        }
        Ok(())
    }
}

/// Longest name of a consumer, in octets.
pub const CONSUMER_NAME_BYTES_MAX: usize = 255;
/// Patterns of one consumer.
pub const PATTERNS_MAX: usize = 10_000;

/// What is to become of an event that was not handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redelivery {
    /// It comes again after the consumer's back-off.
    BackOff,
    /// It comes again at once, and this delivery does not count: the member went away.
    Released,
    /// It goes to the dead letters.
    Never,
}

/// Events of some topics, kept. Implementations are shared: a log outlives its callers.
pub trait EventLog: Send + Sync + fmt::Debug {
    /// Whether an event of `topic` is to be appended here.
    fn wants(&self, topic: &str) -> bool;

    /// Other limits are in force from here on, and another topic of dead letters. Which topics a log keeps
    /// belongs to its name. By default both are those that it was opened with.
    fn apply(&self, _limits: LogLimits, _dead_letter: Option<Text>) {}

    /// Keeps an event. It is on disk, or with whoever keeps the log, when this resolves.
    ///
    /// # Errors
    /// Why it was not kept: `resource-exhausted` when the log is full and refuses, `unavailable`
    /// when the store cannot write.
    fn append(&self, event: Event) -> BoxFuture<Result<Position, Error>>;

    /// The consumer of that name, made where there is none.
    ///
    /// # Errors
    /// `invalid-argument` for settings that cannot be met; what the store says.
    fn consumer(
        &self,
        settings: ConsumerSettings,
    ) -> BoxFuture<Result<Box<dyn EventConsumer>, Error>>;

    /// Forgets a consumer and what it was to get. Says whether there was one.
    ///
    /// # Errors
    /// What the store says.
    fn delete_consumer(&self, name: &Text) -> BoxFuture<Result<bool, Error>>;

    /// At most `events_max` events from `from` on, for whoever looks at the log.
    ///
    /// # Errors
    /// What the store says.
    fn read(&self, from: Position, events_max: usize)
    -> BoxFuture<Result<Vec<StoredEvent>, Error>>;

    /// Receipts of the newest events that were appended with one, in their order: each is on disk with its
    /// event, and stays when that goes. By default a log keeps none.
    ///
    /// # Errors
    /// What the store says.
    fn receipts(&self) -> BoxFuture<Result<Vec<EventReceipt>, Error>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// # Errors
    /// What the store says.
    fn info(&self) -> BoxFuture<Result<LogInfo, Error>>;
}

/// One member of a consumer. Dropping it releases what it has not acknowledged.
pub trait EventConsumer: Send + Sync + fmt::Debug {
    /// The next events for this member, at least one and at most `events_max`; waits for the first.
    ///
    /// # Errors
    /// What the store says; `not-found` once the consumer was deleted.
    fn take(&self, events_max: usize) -> BoxFuture<Result<Vec<StoredEvent>, Error>>;

    /// Events that were handled. Says how many of them were with this consumer's members. It is on
    /// disk when this resolves; a caller to whom a repetition does no harm need not wait.
    ///
    /// # Errors
    /// What the store says.
    fn acknowledge(&self, positions: Vec<Position>) -> BoxFuture<Result<u64, Error>>;

    /// An event that was not handled, with the reason that a dead letter has.
    ///
    /// # Errors
    /// What the store says.
    fn refuse(
        &self,
        position: Position,
        redelivery: Redelivery,
        reason: Text,
    ) -> BoxFuture<Result<(), Error>>;
}

/// A log, for whoever looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogInfo {
    /// The configuration's name of it: its pattern.
    pub name: Text,
    /// What keeps it: `local`, or the name of a store.
    pub store: Text,
    pub n_events: u64,
    pub n_bytes: u64,
    /// Positions of the oldest and the newest event; 0 where there is none.
    pub first: Position,
    pub last: Position,
    pub consumers: Vec<ConsumerInfo>,
}

/// A consumer, for whoever looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerInfo {
    pub name: Text,
    pub patterns: Vec<TopicPattern>,
    /// Everything up to here was acknowledged.
    pub acknowledged: Position,
    /// Events that wait for a member, those that wait for their next delivery included.
    pub n_pending: u64,
    pub n_in_flight: u64,
    pub n_redelivered: u64,
    pub n_dead: u64,
    pub n_members: u64,
}
