//! A log of the store, as publishers and consumers have it.

use std::sync::Arc;

use postern_core::{
    Blame, BoxFuture, Error, Kind, Text,
    event::{
        Event, OWN_TOPICS,
        durable::{
            ConsumerInfo, ConsumerSettings, EventConsumer, EventLog, EventReceipt, LogInfo,
            LogLimits, LogState, MemberId, Position, StoredEvent, encode_event,
        },
    },
    mqtt::{Receipt, client_of, receipt_of},
};
use postern_system::clock;

use super::{
    log_core::{LogCore, QUEUED_UNITS_MAX, READ_BYTES_MAX, UNIT_BYTES},
    member::LocalConsumer,
    request::{AppendRequest, ConsumerRequest, Request},
};

/// A log of the embedded store. Clones of the pointer are the same log.
#[derive(Debug)]
pub(crate) struct LocalLog {
    core: Arc<LogCore>,
}

impl LocalLog {
    pub(super) const fn new(core: Arc<LogCore>) -> Self {
        Self { core }
    }
}

impl LogCore {
    async fn append(self: Arc<Self>, event: Event) -> Result<Position, Error> {
        let stored_at_ms = clock::unix_time_ms();
        let record = encode_event(stored_at_ms, &event);
        let receipt = self.receipt_of(&event);
        drop(event);
        let n_units = record.len().div_ceil(UNIT_BYTES).max(1);
        let n_units = u32::try_from(n_units.min(QUEUED_UNITS_MAX)).unwrap_or(u32::MAX);
        let log = Arc::clone(&self);
        self.ask(n_units, move |done| {
            Request::Append(AppendRequest {
                log,
                record,
                receipt,
                done,
            })
        })
        .await
    }

    /// Which publication of a client's it is; a log of the configuration keeps none.
    fn receipt_of(&self, event: &Event) -> Option<EventReceipt> {
        if self.pattern.is_some() {
            return None;
        }
        let Receipt { number, packet_id } = receipt_of(event)?;
        Some(EventReceipt {
            client: client_of(event)?,
            number,
            packet_id,
        })
    }

    async fn receipts(self: Arc<Self>) -> Result<Vec<EventReceipt>, Error> {
        let receipts = self.store.disk.receipts(&self.tables).await;
        receipts.map_err(|error| error.to_error(&self.name))
    }

    async fn consumer(self: Arc<Self>, settings: ConsumerSettings) -> Result<LocalConsumer, Error> {
        settings.check()?;
        self.admit(&settings.name)?;
        let name = settings.name.clone();
        let log = Arc::clone(&self);
        let id = self
            .ask(0, move |done| {
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

    /// Names are kept for ever, so there is a bound; consumers by interest are counted by who has them.
    fn admit(&self, name: &Text) -> Result<(), Error> {
        let is_full = self.lock().set.is_full_for(name, CONSUMERS_MAX);
        if self.pattern.is_none() || !is_full {
            return Ok(());
        }
        let log = &self.name;
        let message = format!(
            "the log {log} has {CONSUMERS_MAX} durable names, which is the limit; `postern topics forget` \
             takes one away"
        );
        Err(Error::new(Kind::ResourceExhausted, Blame::Gateway, message))
    }

    async fn delete_consumer(self: Arc<Self>, name: Text) -> Result<bool, Error> {
        let log = Arc::clone(&self);
        self.ask(0, move |done| Request::Delete { log, name, done })
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
        self.core.store.disk.file.tell(trim);
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

    fn receipts(&self) -> BoxFuture<Result<Vec<EventReceipt>, Error>> {
        Box::pin(Arc::clone(&self.core).receipts())
    }

    fn info(&self) -> BoxFuture<Result<LogInfo, Error>> {
        let core = Arc::clone(&self.core);
        Box::pin(std::future::ready(Ok(core.info())))
    }
}

/// Durable names of one log. Each is some hundred octets in memory and a row in the file.
const CONSUMERS_MAX: usize = 10_000;
