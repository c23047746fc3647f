//! Why the store failed, as callers and operators are told: of which kind, and when to come again.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use postern_core::{Blame, Error, Kind, Retry};
use tokio::sync::watch;

use super::recovery::PAUSE_MAX;

/// Why the store failed. Shared by all writes of a commit.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error("store {path}: {source}")]
    Open {
        path: PathBuf,
        source: Arc<redb::DatabaseError>,
    },
    /// The disk failed. The file is opened again by itself; until then nothing is written.
    #[error("store: {reason}")]
    Failed {
        fault: StoreFault,
        reason: Arc<str>,
        /// When it may work again.
        retry_after: Duration,
    },
    #[error("store: {0}")]
    Database(Arc<redb::Error>),
    #[error("store: {0}")]
    Thread(Arc<io::Error>),
    #[error("the store is closed")]
    Closed,
    #[error(
        "the copy of a call would have written {n_keys} keys of {n_bytes} octets to the store, and may write \
         {KEYS_OF_COPY_MAX} keys of {BYTES_OF_COPY_MAX} octets together; it is not compared"
    )]
    CopyFull { n_keys: usize, n_bytes: usize },
    /// What a store of others says.
    #[error("{message}")]
    Other {
        kind: Kind,
        message: Arc<str>,
        retry: Retry,
    },
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        Self::Other {
            kind: error.kind,
            message: error.message.into(),
            retry: error.retry,
        }
    }
}

/// What the copy of a call may write to the store: keys, and octets of keys and values together. As many copies
/// as `canary.shadow-calls` hold so much at one time.
pub(crate) const KEYS_OF_COPY_MAX: usize = 1000;
pub(crate) const BYTES_OF_COPY_MAX: usize = 2 * 1024 * 1024;

impl StoreError {
    /// Whether another process has the store open.
    #[must_use]
    pub fn is_open_elsewhere(&self) -> bool {
        match self {
            Self::Open { source, .. } => {
                matches!(**source, redb::DatabaseError::DatabaseAlreadyOpen)
            }
            Self::Failed { .. }
            | Self::Database(_)
            | Self::Thread(_)
            | Self::Closed
            | Self::CopyFull { .. }
            | Self::Other { .. } => false,
        }
    }
}

/// What is wrong with the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreFault {
    /// No room is left, or a quota is used up.
    Full,
    Io,
    Corrupted,
}

/// How the store is, for the gateway's readiness and metrics. Lives as long as the runtime, whether
/// the store is open or not.
#[derive(Debug, Default)]
pub struct StoreHealth {
    /// Why writes fail at present.
    outage: watch::Sender<Option<Arc<str>>>,
    failures: AtomicU64,
    reopened: AtomicU64,
}

impl StoreError {
    /// The disk failed; it is tried again by itself.
    #[must_use]
    pub const fn failed(fault: StoreFault, reason: Arc<str>) -> Self {
        Self::Failed {
            fault,
            reason,
            retry_after: RETRY_AFTER,
        }
    }

    /// What a call is told that could not do without the store.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Failed { fault, .. } => match fault {
                StoreFault::Full => Kind::ResourceExhausted,
                StoreFault::Io => Kind::Unavailable,
                StoreFault::Corrupted => Kind::DataLoss,
            },
            Self::Open { .. } | Self::Thread(_) | Self::Closed => Kind::Unavailable,
            Self::Database(_) => Kind::Internal,
            Self::CopyFull { .. } => Kind::ResourceExhausted,
            Self::Other { kind, .. } => *kind,
        }
    }

    /// As the error of a call.
    #[must_use]
    pub fn to_error(&self) -> Error {
        let error = Error::new(self.kind(), Blame::Gateway, self.to_string());
        match self {
            Self::Failed { retry_after, .. } => error.with_retry(Retry::After(*retry_after)),
            Self::Other { retry, .. } => error.with_retry(*retry),
            Self::Open { .. }
            | Self::Thread(_)
            | Self::Closed
            | Self::Database(_)
            | Self::CopyFull { .. } => error,
        }
    }
}

impl StoreHealth {
    /// Why writes fail, at each change.
    #[must_use]
    pub fn outage(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.outage.subscribe()
    }

    #[must_use]
    pub fn is_failed(&self) -> bool {
        self.outage.borrow().is_some()
    }

    /// Times that the disk failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// Times that the file was opened again.
    #[must_use]
    pub fn reopened(&self) -> u64 {
        self.reopened.load(Relaxed)
    }

    pub(super) fn on_failure(&self, reason: &Arc<str>) {
        self.failures.fetch_add(1, Relaxed);
        self.outage.send_replace(Some(Arc::clone(reason)));
    }

    pub(super) fn on_reopened(&self) {
        self.reopened.fetch_add(1, Relaxed);
    }

    pub(super) fn on_recovery(&self) {
        self.outage.send_replace(None);
    }

    /// What a read is told while the file is not open.
    #[must_use]
    pub fn refusal(&self) -> StoreError {
        let reason = self.outage.borrow().clone();
        let reason = reason.unwrap_or_else(|| "it is being opened again".into());
        StoreError::failed(StoreFault::Io, reason)
    }
}

/// What is wrong with the disk; `None` where the database is well and the change was at fault.
pub(super) fn fault(error: &redb::Error) -> Option<StoreFault> {
    use redb::Error as E;
    if let E::Io(error) = error {
        return Some(io_fault(error));
    }
    if matches!(error, E::Corrupted(_)) {
        return Some(StoreFault::Corrupted);
    }
    let is_shut = matches!(
        error,
        E::PreviousIo | E::DatabaseClosed | E::LockPoisoned(_)
    );
    is_shut.then_some(StoreFault::Io)
}

fn io_fault(error: &io::Error) -> StoreFault {
    let is_full = matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    );
    if is_full {
        StoreFault::Full
    } else {
        StoreFault::Io
    }
}

/// What callers are told to wait: within it the writer has tried again.
const RETRY_AFTER: Duration = PAUSE_MAX.saturating_add(Duration::from_secs(1));
