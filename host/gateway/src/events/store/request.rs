//! What the writer is asked, and why something was not written.

use std::sync::{Arc, Weak};

use postern_core::{
    Error, Text,
    event::durable::{ConsumerId, ConsumerSettings, EventReceipt, LogFull, Position},
};
use postern_wasm::StoreError;
use tokio::sync::oneshot;

use super::log_core::LogCore;

/// What the writer is asked.
pub(super) enum Request {
    Append(AppendRequest),
    Consumer(ConsumerRequest),
    Delete {
        log: Arc<LogCore>,
        name: Text,
        done: Done<bool>,
    },
    /// Consumers of the log have changed.
    Sync(Arc<LogCore>),
    /// Events of the log may have become too old, or too many.
    Trim(Weak<LogCore>),
}

pub(super) struct AppendRequest {
    pub log: Arc<LogCore>,
    pub record: Vec<u8>,
    /// Kept beside the event.
    pub receipt: Option<EventReceipt>,
    pub done: Done<Position>,
}

pub(super) struct ConsumerRequest {
    pub log: Arc<LogCore>,
    pub settings: ConsumerSettings,
    pub done: Done<ConsumerId>,
}

pub(super) type Done<T> = oneshot::Sender<Result<T, WriteFailure>>;

/// Why something was not written.
#[derive(Debug, Clone)]
pub(super) enum WriteFailure {
    Full(LogFull),
    Store(StoreError),
}

/// Whoever waits until a consumer's state is on disk.
pub(super) type Waiting = oneshot::Sender<Result<(), StoreError>>;

impl From<StoreError> for WriteFailure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl WriteFailure {
    pub(super) fn to_error(&self, log: &Text) -> Error {
        match self {
            Self::Full(full) => full.to_error(log),
            Self::Store(error) => error.to_error(),
        }
    }
}
