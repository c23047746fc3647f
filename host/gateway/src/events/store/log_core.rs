//! What the publishers, the consumers and the writer of a log share.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, Weak},
};

use parking_lot::{Mutex, MutexGuard};
use postern_core::{
    BoxFuture, Error, Text,
    event::{
        TopicPattern,
        durable::{
            ConsumerId, ConsumerSet, EventMark, LogLimits, LogState, MemberId, Position,
            StoredEvent,
        },
    },
};
use postern_wasm::StoreError;
use tokio::sync::{Notify, oneshot};

use super::{
    disk::{Disk, LoadedLog, LogTables},
    recent::RecentEvents,
    request::{Done, Request, Waiting, WriteFailure},
    settings::{DeadLetterSink, EventStoreError, LogSettings, LogTopics},
};

/// What the store's logs have in common.
pub(super) struct StoreShared {
    pub disk: Disk<Request>,
    pub logs: Mutex<HashMap<Text, Weak<LogCore>>>,
    /// An event is to be put aside.
    pub dying: Notify,
    pub dead_letters: Mutex<Option<DeadLetterSink>>,
}

/// A log in memory.
pub(super) struct LogCore {
    pub name: Text,
    pub tables: Arc<LogTables>,
    /// The pattern of its topics; none where consumers say what it keeps.
    pub pattern: Option<TopicPattern>,
    pub store: Arc<StoreShared>,
    inner: Mutex<LogInner>,
    /// Itself.
    this: Weak<Self>,
}

/// A log as it was committed, and what its consumers have done since.
pub(super) struct LogInner {
    pub limits: LogLimits,
    pub dead_letter: Option<Text>,
    pub state: LogState,
    pub oldest: Option<EventMark>,
    pub set: ConsumerSet,
    pub recent: RecentEvents,
    pub members: HashMap<ConsumerId, Arc<Members>>,
    /// Consumers of which the file does not have all.
    pub unsynced: HashSet<ConsumerId>,
    /// Whoever waits until it has.
    pub waiting: Vec<Waiting>,
    /// Whether the writer has been asked to see to that.
    pub is_sync_requested: bool,
    pub next_member: u64,
}

/// Who takes from one consumer.
#[derive(Debug, Default)]
pub(super) struct Members {
    pub told: Notify,
    /// Held by the one that looks for events.
    pub looking: tokio::sync::Mutex<()>,
    /// Their ids.
    pub ids: Mutex<HashSet<MemberId>>,
}

impl Members {
    /// There is something to take. One member alone might not be about to take anything.
    pub(super) fn tell_all(&self) {
        self.told.notify_waiters();
        // Whoever looks at this moment looks once more.
        self.told.notify_one();
    }
}

impl LogCore {
    /// Reads what the file has of it.
    pub(super) async fn load(
        settings: LogSettings,
        store: Arc<StoreShared>,
    ) -> Result<Arc<Self>, EventStoreError> {
        let retention = settings.retention();
        let tables = Arc::new(LogTables::new(&settings.name));
        let name = settings.name.clone();
        let loaded = store.disk.load(name, &tables, retention).await?;
        let LoadedLog {
            state,
            oldest,
            consumers,
            events,
        } = loaded;
        let mut set = ConsumerSet::new(retention);
        for (name, record) in consumers {
            let what = format!("consumer {name}");
            set.restore(name, &record)
                .map_err(|source| EventStoreError::Record {
                    log: settings.name.clone(),
                    what,
                    source,
                })?;
        }
        for (position, topic, key) in events {
            set.restore_event(position, &topic, key);
        }
        let inner = LogInner {
            limits: settings.limits,
            dead_letter: settings.dead_letter,
            oldest,
            state,
            set,
            recent: RecentEvents::default(),
            members: HashMap::new(),
            unsynced: HashSet::new(),
            waiting: Vec::new(),
            is_sync_requested: false,
            next_member: 1,
        };
        let pattern = match settings.keeps {
            LogTopics::Of(pattern) => Some(pattern),
            LogTopics::Asked { .. } => None,
        };
        Ok(Arc::new_cyclic(|this| Self {
            name: settings.name,
            tables,
            pattern,
            store,
            inner: Mutex::new(inner),
            this: Weak::clone(this),
        }))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, LogInner> {
        self.inner.lock()
    }

    /// Itself, as others keep it. It is there: somebody calls it.
    pub(super) fn this(&self) -> Weak<Self> {
        Weak::clone(&self.this)
    }

    /// Asks the writer, who answers once; it waits until there are `n_units` of room.
    pub(super) async fn ask<T>(
        &self,
        n_units: u32,
        request: impl FnOnce(Done<T>) -> Request,
    ) -> Result<T, Error> {
        let result = self.store.disk.file.ask(n_units, request).await;
        result.map_err(|failure: WriteFailure| failure.to_error(&self.name))
    }

    /// The event at `position`, where it is still kept.
    pub(super) async fn event_at(&self, position: Position) -> Result<Option<StoredEvent>, Error> {
        if let Some(event) = self.lock().recent.find(position) {
            return Ok(Some(event.clone()));
        }
        let read = self.store.disk.events(&self.tables, vec![position]).await;
        let mut events = read.map_err(|error| error.to_error(&self.name))?;
        Ok(events.pop())
    }

    /// Has the writer see to consumers of which the file does not have all: those that have just changed,
    /// and those whose commit failed.
    pub(super) fn sync_again(self: &Arc<Self>, inner: &mut LogInner) {
        if !inner.unsynced.is_empty() && !inner.is_sync_requested {
            inner.is_sync_requested = true;
            // A store that is closed drops whoever waits, which is the answer.
            let request = Request::Sync(Arc::clone(self));
            self.store.disk.file.tell(request);
        }
    }

    /// Has the state of `id` written. What is returned need not be polled for that.
    pub(super) fn sync(
        self: &Arc<Self>,
        inner: &mut LogInner,
        id: ConsumerId,
    ) -> BoxFuture<Result<(), Error>> {
        let (done, written) = oneshot::channel();
        inner.unsynced.insert(id);
        inner.waiting.push(done);
        self.sync_again(inner);
        Box::pin(async move {
            let written = written.await.unwrap_or(Err(StoreError::Closed));
            written.map_err(|error| error.to_error())
        })
    }
}

impl LogInner {
    /// The first position that the log may have an event at.
    pub(super) fn first(&self) -> Position {
        let behind = || self.state.last.next();
        self.oldest.map_or_else(behind, |oldest| oldest.position)
    }

    /// Whether a commit would take events out.
    pub(super) fn is_excess(&self, now_ms: u64) -> bool {
        let oldest = self.oldest.as_ref();
        self.set.has_freed()
            || oldest.is_some_and(|oldest| self.state.is_excess(&self.limits, oldest, now_ms))
    }
}

impl fmt::Debug for LogCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogCore").field(&self.name).finish()
    }
}

impl fmt::Debug for StoreShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let logs = self.logs.lock();
        f.debug_set().entries(logs.keys()).finish()
    }
}

/// Octets of the events that one read gives, about.
pub(super) const READ_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What events that wait for the writer are counted in.
pub(super) const UNIT_BYTES: usize = 1024;
/// 64 MiB; a publisher beyond waits.
pub(super) const QUEUED_UNITS_MAX: usize = 64 * 1024;
