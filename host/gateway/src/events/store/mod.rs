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
mod log_core;
mod maintenance;
mod member;
mod recent;
mod request;
mod settings;
#[cfg(test)]
mod tests;

use std::{
    path::Path,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use postern_wasm::{GroupCommit, STORE_CACHE_BYTES, StoreError, StoreHealth};
use redb::{Database, DatabaseError};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use self::{
    batch::LogBatches,
    disk::Disk,
    log_core::{LogCore, StoreShared},
    request::Request,
};
pub(crate) use self::{
    log::LocalLog,
    settings::{DeadLetterSink, EventStoreError, LogSettings, LogTopics},
};

/// An open store. It must be made on a runtime, whose task looks after what is due.
#[derive(Debug)]
pub(crate) struct EventStore {
    shared: Arc<StoreShared>,
    _maintenance: AbortOnDropHandle<()>,
}

impl EventStore {
    /// Opens or creates the file; `health` is told when it fails and when that is over.
    pub(crate) fn open(path: &Path, health: &Arc<StoreHealth>) -> Result<Self, EventStoreError> {
        Self::over(path, GroupCommit::open::<LogBatches>(path, health)?)
    }

    fn over(path: &Path, file: GroupCommit<Request>) -> Result<Self, EventStoreError> {
        let disk = Disk { file };
        disk.check_format(path)?;
        let shared = Arc::new(StoreShared {
            disk,
            logs: Mutex::default(),
            dying: Notify::new(),
            dead_letters: Mutex::default(),
        });
        let maintaining = maintenance::run(Arc::downgrade(&shared));
        Ok(Self {
            shared,
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
        let database = Database::builder()
            .set_cache_size(STORE_CACHE_BYTES)
            .open(path);
        match database {
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
        self.shared.disk.file.close();
    }
}

impl Drop for EventStore {
    fn drop(&mut self) {
        self.close();
    }
}
