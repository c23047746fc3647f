//! What the tasks of one channel share, and what goes between them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use parking_lot::Mutex;
use postern_core::{
    Blame, BoxFuture, Error, Kind, Retry, Text,
    channel::{ChannelSelector, EVENT_CHANNEL, RecentIds, SendFailure},
    event::{Event, Hub, TopicPattern, durable::EventLog},
};
use tokio::sync::{mpsc, oneshot, watch};

use super::member::Member;
use crate::config::ChannelSettings;

/// Where events of channels come from and go to.
pub(crate) trait ChannelEvents: Send + Sync {
    /// Hands an event that came in to its subscribers, and keeps it where its topic is durable.
    fn publish(&self, event: Event) -> BoxFuture<Result<u32, Error>>;

    /// Hands on what the gateway itself has to tell.
    fn publish_own(&self, event: Event);

    /// Whose subscriptions tell what is published here.
    fn hub(&self) -> &Hub;

    /// Logs of durable topics of which `patterns` may match an event, by the name of each.
    fn logs(&self, patterns: &[TopicPattern]) -> Vec<(String, Arc<dyn EventLog>)>;

    /// Tells when other topics are durable than before.
    fn changes(&self) -> watch::Receiver<()>;
}

/// What the tasks of a channel share.
pub(crate) struct EventChannel {
    pub(super) name: Text,
    pub(super) settings: ChannelSettings,
    pub(super) patterns: Vec<TopicPattern>,
    pub(super) members: Vec<Member>,
    pub(super) selector: Mutex<ChannelSelector>,
    /// Ids of events that came in.
    pub(super) received: Mutex<RecentIds>,
    pub(super) outbound: mpsc::Sender<Outbound>,
    pub(super) counts: ChannelCounts,
}

/// Events since the channel began.
#[derive(Debug, Default)]
pub(super) struct ChannelCounts {
    pub(super) acknowledged: AtomicU64,
    /// Sent once more.
    pub(super) repeated: AtomicU64,
    /// Given up: nobody knows, or nobody took them in time.
    pub(super) lost: AtomicU64,
    /// Not taken by a broker for what they are.
    pub(super) refused: AtomicU64,
    pub(super) received: AtomicU64,
    /// Came in again, or were our own.
    pub(super) duplicates: AtomicU64,
    pub(super) switches: AtomicU64,
    pub(super) waiting: AtomicU64,
    pub(super) in_flight: AtomicU64,
}

impl EventChannel {
    /// Whether an event of `topic` is one of those that it carries.
    pub(super) fn carries(&self, topic: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(topic))
    }

    /// Whether an event came in over this channel.
    pub(super) fn came_in(&self, event: &Event) -> bool {
        let channel = event.headers.get(EVENT_CHANNEL.as_bytes());
        channel.is_some_and(|channel| &*channel == self.name.as_bytes())
    }

    /// The channel has no room for one more event.
    pub(super) fn full(&self) -> Error {
        let limit = self.settings.queue_max;
        let message = format!(
            "{limit} events wait in channel {}, which is its limit (queue-max)",
            self.name
        );
        Error::new(Kind::ResourceExhausted, Blame::Gateway, message)
    }
}

/// An event that is to go out.
pub(super) struct Outbound {
    pub(super) event: Event,
    /// Told when a broker has acknowledged it, or it is given up. None where nobody waits.
    pub(super) done: Option<oneshot::Sender<Result<(), Error>>>,
    /// When it is given up at the latest.
    pub(super) deadline: Option<Instant>,
}

impl Outbound {
    pub(super) fn tell(self, outcome: Result<(), Error>) {
        if let Some(done) = self.done {
            // Whoever waited may have gone.
            let _ = done.send(outcome);
        }
    }
}

impl ChannelCounts {
    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }
}

/// What an error says of the event and of the broker.
pub(super) fn failure_of(error: &Error) -> SendFailure {
    match error.kind {
        Kind::Unavailable
        | Kind::DeadlineExceeded
        | Kind::Cancelled
        | Kind::Aborted
        | Kind::ResourceExhausted
        | Kind::Unknown
        | Kind::Internal
        | Kind::DataLoss => match error.retry {
            _ if error.is_too_large => SendFailure::Refused,
            Retry::Elsewhere => SendFailure::NotSent,
            Retry::Never | Retry::IfIdempotent | Retry::After(_) | Retry::Forbidden => {
                SendFailure::Unknown
            }
        },
        Kind::InvalidArgument
        | Kind::NotFound
        | Kind::AlreadyExists
        | Kind::PermissionDenied
        | Kind::FailedPrecondition
        | Kind::OutOfRange
        | Kind::Unimplemented
        | Kind::Unauthenticated => SendFailure::Refused,
    }
}
