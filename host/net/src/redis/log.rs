//! A stream as a log of events.
//!
//! ```text
//! PREFIX log:{NAME}          the entries            (core::redis::entry says what stands in them)
//! PREFIX log:{NAME}:dead     its dead letters: the same fields, and group, reason, deliveries, entry
//! ```
//! The braces keep both on one node of a cluster. An event is kept when the server has answered; whether it
//! is on the server's disk then, the server's `appendfsync` says.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use postern_core::{
    Blame, BoxFuture, Error, Kind, Text,
    event::{
        Event,
        durable::{
            ConsumerInfo, ConsumerSettings, EventConsumer, EventLog, LogInfo, Position, StoredEvent,
        },
    },
    redis::{event_of, fields_of, position_of, stored_at_ms, stream_id},
};
use postern_system::clock;
use redis::Value;

use super::{
    config::RedisLogConfig,
    consumer::RedisConsumer,
    counts::count,
    group::Group,
    log_stream::{DeadLetters, LogStream},
    routing::{Repeat, Routing},
    stream_replies::{entries, number, pending, text, value_of},
};

/// A log of one store. Clones are the same.
#[derive(Debug, Clone)]
pub struct RedisLog {
    shared: Arc<SharedLog>,
}

/// A log and its groups.
struct SharedLog {
    stream: Arc<LogStream>,
    groups: Mutex<HashMap<Text, Weak<Group>>>,
    n_appended: AtomicU64,
}

impl RedisLog {
    pub(super) fn new(
        routing: Arc<Routing>,
        config: RedisLogConfig,
        dead_letters: Option<DeadLetters>,
    ) -> Self {
        Self {
            shared: Arc::new(SharedLog {
                stream: Arc::new(LogStream::new(routing, config, dead_letters)),
                groups: Mutex::default(),
                n_appended: AtomicU64::new(0),
            }),
        }
    }
}

impl EventLog for RedisLog {
    fn wants(&self, topic: &str) -> bool {
        let mut patterns = self.shared.stream.config.patterns.iter();
        patterns.any(|pattern| pattern.matches(topic))
    }

    fn append(&self, event: Event) -> BoxFuture<Result<Position, Error>> {
        Box::pin(Arc::clone(&self.shared).append(event))
    }

    fn consumer(
        &self,
        settings: ConsumerSettings,
    ) -> BoxFuture<Result<Box<dyn EventConsumer>, Error>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let group = shared.group(settings).await?;
            Ok(Box::new(RedisConsumer::new(group)) as Box<dyn EventConsumer>)
        })
    }

    fn delete_consumer(&self, name: &Text) -> BoxFuture<Result<bool, Error>> {
        let (shared, name) = (Arc::clone(&self.shared), name.clone());
        Box::pin(async move { shared.delete_group(&name).await })
    }

    fn read(
        &self,
        from: Position,
        events_max: usize,
    ) -> BoxFuture<Result<Vec<StoredEvent>, Error>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { shared.read(from, events_max).await })
    }

    fn info(&self) -> BoxFuture<Result<LogInfo, Error>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { shared.info().await })
    }
}

impl SharedLog {
    async fn append(self: Arc<Self>, event: Event) -> Result<Position, Error> {
        let mut command = redis::cmd("XADD");
        command.arg(&self.stream.key);
        match (self.stream.config.events_max, self.oldest_kept()) {
            (Some(events_max), _) => {
                command.arg("MAXLEN").arg("~").arg(events_max);
            }
            (None, Some(oldest)) => {
                command.arg("MINID").arg("~").arg(oldest);
            }
            (None, None) => {}
        }
        command.arg("*");
        for (name, value) in fields_of(&event) {
            command.arg(&name[..]).arg(&value[..]);
        }
        let reply = self.stream.ask(command, Repeat::Never).await?;
        count(&self.stream.routing.counters.appended);
        let id = text(reply).unwrap_or_default();
        let position = position_of(&id).ok_or_else(|| {
            let message = format!("the server gives the entry the id {id:?}, which is no position");
            Error::new(Kind::Internal, Blame::Upstream, message)
        })?;
        self.trim_by_age().await;
        Ok(position)
    }

    /// Where both bounds are set, a command has room for one of them.
    async fn trim_by_age(&self) {
        let n_appended = self.n_appended.fetch_add(1, Relaxed);
        if self.stream.config.events_max.is_none() || !n_appended.is_multiple_of(TRIM_EVERY) {
            return;
        }
        if let Some(oldest) = self.oldest_kept() {
            let mut command = redis::cmd("XTRIM");
            command
                .arg(&self.stream.key)
                .arg("MINID")
                .arg("~")
                .arg(oldest);
            // What is not trimmed this time is next time.
            drop(self.stream.ask(command, Repeat::Harmless).await);
        }
    }

    /// The id from which on entries are young enough.
    fn oldest_kept(&self) -> Option<String> {
        let age_max = self.stream.config.age_max?;
        let oldest = clock::unix_time().saturating_sub(age_max);
        Some(format!("{}-0", oldest.as_millis()))
    }

    async fn group(self: Arc<Self>, settings: ConsumerSettings) -> Result<Arc<Group>, Error> {
        if settings.name.is_empty() || settings.name.len() > NAME_BYTES_MAX {
            let length = settings.name.len();
            let message =
                format!("a consumer's name of {length} octets is not within 1 to {NAME_BYTES_MAX}");
            return Err(Error::invalid_argument(message));
        }
        let name = settings.name.clone();
        if let Some(group) = self.known_group(&name) {
            group.apply(&settings);
            return Ok(group);
        }
        Group::create(&self.stream, &settings).await?;
        let mut groups = self.groups.lock();
        groups.retain(|_, group| group.strong_count() > 0);
        // Somebody else may have been faster.
        if let Some(group) = groups.get(&name).and_then(Weak::upgrade) {
            group.apply(&settings);
            return Ok(group);
        }
        let group = Group::start(Arc::clone(&self.stream), &settings);
        groups.insert(name, Arc::downgrade(&group));
        Ok(group)
    }

    fn known_group(&self, name: &Text) -> Option<Arc<Group>> {
        let group = self.groups.lock().get(name).and_then(Weak::upgrade);
        group.filter(|group| !group.is_deleted())
    }

    async fn delete_group(&self, name: &Text) -> Result<bool, Error> {
        let mut command = redis::cmd("XGROUP");
        command
            .arg("DESTROY")
            .arg(&self.stream.key)
            .arg(name.as_str());
        let destroyed = self.stream.ask(command, Repeat::Harmless).await;
        let is_gone = match destroyed {
            Ok(reply) => number(reply) == Some(1),
            // There is no stream, and so no group of it.
            Err(error) if is_no_stream(&error) => false,
            Err(error) => return Err(error),
        };
        let known = self.groups.lock().remove(name);
        if let Some(group) = known.and_then(|group| group.upgrade()) {
            group.on_deleted();
        }
        Ok(is_gone)
    }

    async fn read(&self, from: Position, events_max: usize) -> Result<Vec<StoredEvent>, Error> {
        let mut command = redis::cmd("XRANGE");
        command.arg(&self.stream.key).arg(stream_id(from)).arg("+");
        command.arg("COUNT").arg(events_max.min(READ_MAX));
        let reply = self.stream.ask(command, Repeat::Harmless).await?;
        let events = entries(reply).into_iter().filter_map(|entry| {
            let position = entry.position()?;
            Some(StoredEvent {
                position,
                stored_at_ms: stored_at_ms(position),
                n_deliveries: 0,
                event: event_of(entry.fields?).ok()?,
            })
        });
        Ok(events.collect())
    }

    async fn info(&self) -> Result<LogInfo, Error> {
        let mut about = redis::cmd("XINFO");
        about.arg("STREAM").arg(&self.stream.key);
        let stream = match self.stream.ask(about, Repeat::Harmless).await {
            Ok(stream) => stream,
            Err(error) if is_no_stream(&error) => Value::Nil,
            Err(error) => return Err(error),
        };
        let is_there = stream != Value::Nil;
        let consumers = if is_there {
            self.consumers().await?
        } else {
            Vec::new()
        };
        let mut usage = redis::cmd("MEMORY");
        usage.arg("USAGE").arg(&self.stream.key);
        let n_bytes = self
            .stream
            .ask(usage, Repeat::Harmless)
            .await
            .ok()
            .and_then(number);
        let position = |name: &str| {
            let entry = value_of(&stream, name)?.into_sequence().ok()?;
            position_of(&text(entry.into_iter().next()?)?)
        };
        Ok(LogInfo {
            name: self.stream.config.name.clone(),
            store: self.stream.routing.config().name.clone(),
            n_events: value_of(&stream, "length")
                .and_then(number)
                .unwrap_or_default(),
            n_bytes: n_bytes.unwrap_or_default(),
            first: position("first-entry").unwrap_or_default(),
            last: position("last-entry").unwrap_or_default(),
            consumers,
        })
    }

    async fn consumers(&self) -> Result<Vec<ConsumerInfo>, Error> {
        let mut about = redis::cmd("XINFO");
        about.arg("GROUPS").arg(&self.stream.key);
        let groups = self.stream.ask(about, Repeat::Harmless).await?;
        let groups = groups.into_sequence().unwrap_or_default();
        let mut consumers = Vec::new();
        for group in groups.into_iter().take(CONSUMERS_SHOWN_MAX) {
            let Some(name) = value_of(&group, "name").and_then(text) else {
                continue;
            };
            let number_of =
                |name: &str| value_of(&group, name).and_then(number).unwrap_or_default();
            let last = value_of(&group, "last-delivered-id").and_then(text);
            let last = last.and_then(|id| position_of(&id)).unwrap_or_default();
            let oldest = self.oldest_pending(&name).await?;
            let name = Text::from(name);
            let here = self.known_group(&name).map(|group| group.numbers());
            let here = here.unwrap_or_default();
            let n_pending = number_of("pending");
            consumers.push(ConsumerInfo {
                name,
                patterns: here.patterns,
                acknowledged: oldest.map_or(last, |oldest| Position(oldest.0.saturating_sub(1))),
                // What was read and is with nobody waits as well.
                n_pending: number_of("lag") + n_pending.saturating_sub(here.n_in_flight),
                n_in_flight: here.n_in_flight,
                n_redelivered: here.n_redelivered,
                n_dead: here.n_dead,
                n_members: here.n_members,
            });
        }
        Ok(consumers)
    }

    async fn oldest_pending(&self, group: &str) -> Result<Option<Position>, Error> {
        let mut command = redis::cmd("XPENDING");
        command
            .arg(&self.stream.key)
            .arg(group)
            .arg("-")
            .arg("+")
            .arg(1);
        let reply = self.stream.ask(command, Repeat::Harmless).await?;
        let first = pending(reply).into_iter().next();
        Ok(first.and_then(|first| position_of(&first.id)))
    }
}

impl fmt::Debug for SharedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedLog")
            .field("key", &self.stream.key)
            .finish_non_exhaustive()
    }
}

/// Whether a server says that there is no such key.
fn is_no_stream(error: &Error) -> bool {
    error.message.contains("no such key") || error.message.contains("requires the key to exist")
}

/// Octets of a consumer's name.
const NAME_BYTES_MAX: usize = 255;
/// Entries that one look at the log gives.
const READ_MAX: usize = 10_000;
/// Consumers that are shown of one log.
const CONSUMERS_SHOWN_MAX: usize = 1000;
/// Appends from one look at the age of entries to the next.
const TRIM_EVERY: u64 = 256;
