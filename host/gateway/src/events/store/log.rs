//! A log of the store: what its publishers, its consumers and the writer share.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, Weak},
};

use parking_lot::{Mutex, MutexGuard};
use postern_core::{
    BoxFuture, Error, Text,
    event::{
        Event, OWN_TOPICS, TopicPattern,
        durable::{
            ConsumerId, ConsumerInfo, ConsumerSet, ConsumerSettings, EventConsumer, EventLog,
            EventMark, LogInfo, LogLimits, LogState, MemberId, Position, StoredEvent, encode_event,
        },
    },
};
use postern_system::clock;
use postern_wasm::StoreError;
use tokio::sync::{Notify, oneshot};

use super::{
    EventStoreError, LogSettings, LogTopics, StoreShared, UNIT_BYTES,
    disk::{LoadedLog, LogTables},
    member::LocalConsumer,
    recent::RecentEvents,
    sync::Waiting,
    writer::{AppendRequest, ConsumerRequest, Request, WriteFailure},
};

/// A log of the embedded store. Clones of the pointer are the same log.
#[derive(Debug)]
pub(crate) struct LocalLog {
    core: Arc<LogCore>,
}

pub(super) struct LogCore {
    pub name: Text,
    pub tables: Arc<LogTables>,
    /// The pattern of its topics; none where consumers say what it keeps.
    pattern: Option<TopicPattern>,
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
    next_member: u64,
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

impl LocalLog {
    pub(super) const fn new(core: Arc<LogCore>) -> Self {
        Self { core }
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

    /// Asks the writer, who answers once.
    pub(super) async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, WriteFailure>>) -> Request,
    ) -> Result<T, Error> {
        let (done, result) = oneshot::channel();
        let closed = |_| StoreError::Closed.to_error();
        let sent = self.store.requests.send(request(done));
        sent.map_err(|_| StoreError::Closed.to_error())?;
        let result = result.await.map_err(closed)?;
        result.map_err(|failure| failure.to_error(&self.name))
    }

    async fn append(self: Arc<Self>, event: Event) -> Result<Position, Error> {
        let stored_at_ms = u64::try_from(clock::unix_time().as_millis()).unwrap_or(u64::MAX);
        let record = encode_event(stored_at_ms, &event);
        drop(event);
        let n_units = record.len().div_ceil(UNIT_BYTES).max(1);
        let n_units = u32::try_from(n_units.min(super::QUEUED_UNITS_MAX)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.store.room);
        let permit = room.acquire_many_owned(n_units).await;
        let permit = permit.map_err(|_| StoreError::Closed.to_error())?;
        let log = Arc::clone(&self);
        self.ask(move |done| {
            Request::Append(AppendRequest {
                log,
                record,
                done,
                _permit: permit,
            })
        })
        .await
    }

    async fn consumer(self: Arc<Self>, settings: ConsumerSettings) -> Result<LocalConsumer, Error> {
        settings.check()?;
        let name = settings.name.clone();
        let log = Arc::clone(&self);
        let id = self
            .ask(move |done| {
                Request::Consumer(ConsumerRequest {
                    log,
                    settings,
                    done,
                })
            })
            .await?;
        let mut inner = self.lock();
        let member = MemberId(inner.next_member);
        inner.next_member += 1;
        let members = Arc::clone(inner.members.entry(id).or_default());
        drop(inner);
        members.ids.lock().insert(member);
        Ok(LocalConsumer::new(self, id, member, members, name))
    }

    async fn delete_consumer(self: Arc<Self>, name: Text) -> Result<bool, Error> {
        let log = Arc::clone(&self);
        self.ask(move |done| Request::Delete { log, name, done })
            .await
    }

    async fn read(
        self: Arc<Self>,
        from: Position,
        events_max: usize,
    ) -> Result<Vec<StoredEvent>, Error> {
        let bounds = (events_max, READ_BYTES_MAX);
        let range = self.store.disk.range(&self.tables, from, bounds).await;
        let range = range.map_err(|error| error.to_error(&self.name))?;
        Ok(range.events)
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

    fn info(&self) -> LogInfo {
        let inner = self.lock();
        let LogState {
            last,
            n_events,
            n_bytes,
        } = inner.state;
        let consumers = inner.set.iter();
        let consumers = consumers.filter_map(|(name, id)| {
            let state = inner.set.state(id)?;
            let members = inner.members.get(&id);
            Some(ConsumerInfo {
                name: name.clone(),
                patterns: state.settings().patterns.clone(),
                acknowledged: state.acknowledged(),
                n_pending: inner.set.n_pending(id, last),
                n_in_flight: state.n_in_flight() as u64,
                n_redelivered: state.counts().n_redelivered,
                n_dead: state.counts().n_dead,
                n_members: members.map_or(0, |members| members.ids.lock().len() as u64),
            })
        });
        LogInfo {
            name: self.name.clone(),
            store: Text::from_static("local"),
            n_events,
            n_bytes,
            first: inner
                .oldest
                .map(|oldest| oldest.position)
                .unwrap_or_default(),
            last,
            consumers: consumers.collect(),
        }
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

impl EventLog for LocalLog {
    fn wants(&self, topic: &str) -> bool {
        match &self.core.pattern {
            Some(pattern) => pattern.matches(topic) && !topic.starts_with(OWN_TOPICS),
            None => self.core.lock().set.wants(topic),
        }
    }

    fn apply(&self, limits: LogLimits, dead_letter: Option<Text>) {
        let mut inner = self.core.lock();
        inner.limits = limits;
        inner.dead_letter = dead_letter;
        drop(inner);
        let trim = Request::Trim(self.core.this());
        drop(self.core.store.requests.send(trim));
    }

    fn append(&self, event: Event) -> BoxFuture<Result<Position, Error>> {
        Box::pin(Arc::clone(&self.core).append(event))
    }

    fn consumer(
        &self,
        settings: ConsumerSettings,
    ) -> BoxFuture<Result<Box<dyn EventConsumer>, Error>> {
        let opening = Arc::clone(&self.core).consumer(settings);
        Box::pin(async move { Ok(Box::new(opening.await?) as Box<dyn EventConsumer>) })
    }

    fn delete_consumer(&self, name: &Text) -> BoxFuture<Result<bool, Error>> {
        Box::pin(Arc::clone(&self.core).delete_consumer(name.clone()))
    }

    fn read(
        &self,
        from: Position,
        events_max: usize,
    ) -> BoxFuture<Result<Vec<StoredEvent>, Error>> {
        Box::pin(Arc::clone(&self.core).read(from, events_max))
    }

    fn info(&self) -> BoxFuture<Result<LogInfo, Error>> {
        let core = Arc::clone(&self.core);
        Box::pin(std::future::ready(Ok(core.info())))
    }
}

impl fmt::Debug for LogCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogCore").field(&self.name).finish()
    }
}

/// Octets of the events that one read gives, about.
pub(super) const READ_BYTES_MAX: usize = 4 * 1024 * 1024;
