//! What a log of the store is to be, and why there is none.

use std::sync::Arc;

use postern_core::{
    Blame, BoxFuture, Error, Kind, Text,
    event::{
        Event, TopicPattern,
        durable::{LogLimits, RecordError, Retention},
    },
};
use postern_wasm::StoreError;

/// Where events go that nobody handles. Resolves once it is kept.
pub(crate) type DeadLetterSink = Arc<dyn Fn(Event) -> BoxFuture<Result<(), Error>> + Send + Sync>;

/// What a log of the store is to be.
#[derive(Debug, Clone)]
pub(crate) struct LogSettings {
    /// Its name in the store and for operators; a topic pattern of the configuration.
    pub name: Text,
    pub keeps: LogTopics,
    pub limits: LogLimits,
    /// The topic of its dead letters; none puts `dead-letter.` before an event's own.
    pub dead_letter: Option<Text>,
}

/// Which events a log keeps, and until when.
#[derive(Debug, Clone)]
pub(crate) enum LogTopics {
    /// Those of the pattern, within the limits.
    Of(TopicPattern),
    /// Those that its consumers have asked for, until they have acknowledged them. At most so many wait
    /// for one consumer.
    Asked { pending_max: usize },
}

/// Why there is no store, or no log in it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EventStoreError {
    #[error("events: {0}")]
    Store(#[from] StoreError),
    #[error(
        "{path}: format {found:?} is not {FORMAT:?}, the only one that is known; it was written by another version, or is no store of events"
    )]
    Format { path: String, found: String },
    #[error("events: log {log}: {what}: {source}")]
    Record {
        log: Text,
        what: String,
        source: RecordError,
    },
}

impl LogSettings {
    pub(super) const fn retention(&self) -> Retention {
        match self.keeps {
            LogTopics::Of(_) => Retention::Limits,
            LogTopics::Asked { pending_max } => Retention::Interest { pending_max },
        }
    }
}

impl EventStoreError {
    /// As the error of a call.
    #[must_use]
    pub(crate) fn to_error(&self) -> Error {
        match self {
            Self::Store(error) => error.to_error(),
            Self::Format { .. } | Self::Record { .. } => {
                Error::new(Kind::DataLoss, Blame::Gateway, self.to_string())
            }
        }
    }
}

/// What the file says it is.
pub(super) const FORMAT: &str = "postern-events 1";
