//! The log of a durable topic that a store of others keeps. The store is looked up with each use: a change of
//! the configuration may open another one under the same name, and the log is a stream of that from then on.

use std::{fmt, sync::Arc};

use parking_lot::Mutex;
use postern_core::{
    BoxFuture, Error, Text,
    event::{
        Event, TopicPattern,
        durable::{
            ConsumerSettings, DeadLetter, EventConsumer, EventLog, LogInfo, LogLimits, Position,
            StoredEvent,
        },
    },
};
use postern_net::redis::{DeadLetters, RedisLog, RedisStore};

use super::{Stores, StreamSettings};
use crate::events::{DeadLetterSink, NamedLogs};

/// A log by the name of its store.
pub(crate) struct NamedStoreLog {
    stores: Arc<Stores>,
    store: String,
    pattern: TopicPattern,
    dead_letters: DeadLetterSink,
    state: Mutex<State>,
}

struct State {
    limits: LogLimits,
    dead_letter: Option<Text>,
    /// With the store that it is of.
    current: Option<(Arc<RedisStore>, RedisLog)>,
}

impl NamedStoreLog {
    /// A log of `pattern` in `store`. Nothing is asked of the store yet.
    pub(crate) fn new(
        stores: Arc<Stores>,
        store: &str,
        pattern: TopicPattern,
        (limits, dead_letter): (LogLimits, Option<Text>),
        dead_letters: DeadLetterSink,
    ) -> Self {
        Self {
            stores,
            store: store.to_owned(),
            pattern,
            dead_letters,
            state: Mutex::new(State {
                limits,
                dead_letter,
                current: None,
            }),
        }
    }

    fn log(&self) -> Result<RedisLog, Error> {
        let store = self.stores.open(&self.store)?;
        let mut state = self.state.lock();
        if let Some((of, log)) = &state.current
            && Arc::ptr_eq(of, &store)
        {
            return Ok(log.clone());
        }
        let stream = StreamSettings {
            name: self.pattern.as_str().into(),
            patterns: vec![self.pattern.clone()],
            events_max: Some(state.limits.events_max),
            age_max: state.limits.age_max,
        };
        let dead_letters = self.dead_letters(state.dead_letter.clone());
        let log = self.stores.stream(&self.store, stream, dead_letters)?;
        state.current = Some((store, log.clone()));
        Ok(log)
    }

    fn dead_letters(&self, topic: Option<Text>) -> DeadLetters {
        let sink = Arc::clone(&self.dead_letters);
        Arc::new(move |stored: StoredEvent, consumer: Text, reason: Text| {
            let letter = DeadLetter {
                consumer,
                reason,
                n_deliveries: stored.n_deliveries,
            };
            sink(letter.event(topic.as_ref(), &stored))
        })
    }
}

impl NamedLogs for Stores {
    fn open_log(
        self: Arc<Self>,
        store: &str,
        pattern: TopicPattern,
        limits: (LogLimits, Option<Text>),
        dead_letters: DeadLetterSink,
    ) -> Result<Arc<dyn EventLog>, Error> {
        let log = NamedStoreLog::new(self, store, pattern, limits, dead_letters);
        Ok(Arc::new(log))
    }
}

impl EventLog for NamedStoreLog {
    fn wants(&self, topic: &str) -> bool {
        self.pattern.matches(topic)
    }

    fn apply(&self, limits: LogLimits, dead_letter: Option<Text>) {
        let mut state = self.state.lock();
        if state.limits != limits || state.dead_letter != dead_letter {
            state.limits = limits;
            state.dead_letter = dead_letter;
            // Consumers go on as they were opened.
            state.current = None;
        }
    }

    fn append(&self, event: Event) -> BoxFuture<Result<Position, Error>> {
        let log = self.log();
        Box::pin(async move { log?.append(event).await })
    }

    fn consumer(
        &self,
        settings: ConsumerSettings,
    ) -> BoxFuture<Result<Box<dyn EventConsumer>, Error>> {
        let log = settings.check().and_then(|()| self.log());
        Box::pin(async move { log?.consumer(settings).await })
    }

    fn delete_consumer(&self, name: &Text) -> BoxFuture<Result<bool, Error>> {
        let (log, name) = (self.log(), name.clone());
        Box::pin(async move { log?.delete_consumer(&name).await })
    }

    fn read(
        &self,
        from: Position,
        events_max: usize,
    ) -> BoxFuture<Result<Vec<StoredEvent>, Error>> {
        let log = self.log();
        Box::pin(async move { log?.read(from, events_max).await })
    }

    fn info(&self) -> BoxFuture<Result<LogInfo, Error>> {
        let log = self.log();
        Box::pin(async move { log?.info().await })
    }
}

impl fmt::Debug for NamedStoreLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedStoreLog")
            .field("store", &self.store)
            .field("pattern", &self.pattern)
            .finish_non_exhaustive()
    }
}
