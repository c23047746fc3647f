//! The embedded store of events: one file of redb for all logs that are kept here.
//!
//! ```text
//! append, acknowledge ─▶ queue ─▶ writer: one commit for all that waits ─▶ told, once it is on disk
//!                                                   │
//! members of consumers ◀── woken ── log in memory ◀─┘      older events are read from the file
//! ```
//!
//! A log in memory is what was committed and what its consumers have done since: they and the writer
//! meet in `LogCore`, under its lock. What must hold is in `core::event::durable`; here is the file.

mod batch;
mod disk;
mod log;
mod maintenance;
mod member;
mod recent;
mod sync;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Weak},
    thread::{self, JoinHandle},
};

use parking_lot::Mutex;
use postern_core::{
    BoxFuture, Error, Text,
    event::{
        Event, TopicPattern,
        durable::{LogLimits, RecordError, Retention},
    },
};
use postern_wasm::{StoreError, StoreFile, StoreHealth, StoreRecovery};
use redb::{Database, DatabaseError};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;

pub(crate) use self::log::LocalLog;
use self::{
    disk::Disk,
    log::LogCore,
    writer::{Request, Writer},
};

/// An open store. It must be made on a runtime, whose task looks after what is due.
#[derive(Debug)]
pub(crate) struct EventStore {
    shared: Arc<StoreShared>,
    writer: Mutex<Option<JoinHandle<()>>>,
    _maintenance: AbortOnDropHandle<()>,
}

/// What the store's logs have in common.
pub(super) struct StoreShared {
    disk: Disk,
    requests: mpsc::UnboundedSender<Request>,
    /// Units of `UNIT_BYTES` that may wait for the writer.
    room: Arc<Semaphore>,
    logs: Mutex<HashMap<Text, Weak<LogCore>>>,
    /// An event is to be put aside.
    dying: Notify,
    dead_letters: Mutex<Option<DeadLetterSink>>,
}

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

impl EventStore {
    /// Opens or creates the file; `health` is told when it fails and when that is over.
    pub(crate) fn open(path: &Path, health: &Arc<StoreHealth>) -> Result<Self, EventStoreError> {
        let owned = path.to_owned();
        Self::open_with(path, health, move || {
            Database::builder()
                .set_cache_size(CACHE_BYTES)
                .create(&owned)
        })
    }

    fn open_with(
        path: &Path,
        health: &Arc<StoreHealth>,
        open: impl Fn() -> Result<Database, DatabaseError> + Send + Sync + 'static,
    ) -> Result<Self, EventStoreError> {
        let failed = |source| StoreError::Open {
            path: path.to_owned(),
            source: Arc::new(source),
        };
        let thread = |error| StoreError::Thread(Arc::new(error));
        let file = Arc::new(StoreFile::new(open).map_err(failed)?);
        let (requests, queue) = mpsc::unbounded_channel();
        let disk = Disk::new(Arc::clone(&file), Arc::clone(health), requests.downgrade());
        disk.check_format(path)?;
        let recovery = StoreRecovery::new(file, Arc::clone(health));
        let writer = Writer::new(recovery, queue).map_err(thread)?;
        let writer = thread::Builder::new()
            .name("postern-events".to_owned())
            .spawn(move || writer.run())
            .map_err(thread)?;
        let shared = Arc::new(StoreShared {
            disk,
            requests,
            room: Arc::new(Semaphore::new(QUEUED_UNITS_MAX)),
            logs: Mutex::default(),
            dying: Notify::new(),
            dead_letters: Mutex::default(),
        });
        let maintaining = maintenance::run(Arc::downgrade(&shared));
        Ok(Self {
            shared,
            writer: Mutex::new(Some(writer)),
            _maintenance: AbortOnDropHandle::new(tokio::spawn(maintaining)),
        })
    }

    /// Whether a store could be opened at `path`; one that is not there could be made, and one that
    /// another process has open is good.
    ///
    /// # Errors
    /// As `open`.
    pub(crate) fn check(path: &Path) -> Result<(), EventStoreError> {
        if !path.exists() {
            return Ok(());
        }
        match Database::builder().set_cache_size(CACHE_BYTES).open(path) {
            Ok(database) => disk::check_format(&database, path),
            Err(DatabaseError::DatabaseAlreadyOpen) => Ok(()),
            Err(source) => Err(EventStoreError::Store(StoreError::Open {
                path: path.to_owned(),
                source: Arc::new(source),
            })),
        }
    }

    /// The log of that name. One that is open keeps its settings until `EventLog::apply`; another is read
    /// from the file.
    pub(crate) async fn open_log(
        &self,
        settings: LogSettings,
    ) -> Result<Arc<LocalLog>, EventStoreError> {
        let known = self.shared.logs.lock().get(&settings.name).cloned();
        if let Some(core) = known.as_ref().and_then(Weak::upgrade) {
            return Ok(Arc::new(LocalLog::new(core)));
        }
        let name = settings.name.clone();
        let core = LogCore::load(settings, Arc::clone(&self.shared)).await?;
        let mut logs = self.shared.logs.lock();
        logs.retain(|_, core| core.strong_count() > 0);
        logs.insert(name, Arc::downgrade(&core));
        drop(logs);
        Ok(Arc::new(LocalLog::new(core)))
    }

    /// Where events go that nobody handles. Until then they wait.
    pub(crate) fn set_dead_letters(&self, sink: DeadLetterSink) {
        *self.shared.dead_letters.lock() = Some(sink);
        self.shared.dying.notify_one();
    }

    /// Writes what waits and closes the file. Its logs refuse from then on. It waits for the disk.
    pub(crate) fn close(&self) {
        self.shared.dead_letters.lock().take();
        // The writer may have ended by itself, on a panic that has been printed.
        drop(self.shared.requests.send(Request::Close));
        let writer = self.writer.lock().take();
        if let Some(writer) = writer {
            drop(writer.join());
        }
        self.shared.disk.close();
    }
}

impl Drop for EventStore {
    fn drop(&mut self) {
        self.close();
    }
}

impl LogSettings {
    const fn retention(&self) -> Retention {
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
            Self::Format { .. } | Self::Record { .. } => Error::new(
                postern_core::Kind::DataLoss,
                postern_core::Blame::Gateway,
                self.to_string(),
            ),
        }
    }
}

impl std::fmt::Debug for StoreShared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let logs = self.logs.lock();
        f.debug_set().entries(logs.keys()).finish()
    }
}

/// What the file says it is.
const FORMAT: &str = "postern-events 1";
/// Pages kept in memory, in octets.
const CACHE_BYTES: usize = 64 * 1024 * 1024;
/// What events that wait for the writer are counted in.
const UNIT_BYTES: usize = 1024;
/// 64 MiB; a publisher beyond waits.
const QUEUED_UNITS_MAX: usize = 64 * 1024;
