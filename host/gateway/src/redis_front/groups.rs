//! Consumer groups: each is one consumer of a log, whose one member is this gateway. Which client has
//! what is kept here, so that an entry can be claimed from one by another.

use std::{collections::HashMap, sync::Arc, task::Poll, time::Duration};

use parking_lot::Mutex;
use postern_core::{
    Blame, BoxFuture, Error, Kind, Text,
    event::durable::{
        ConsumerInfo, ConsumerSettings, ConsumerStart, EventConsumer, LogInfo, Position,
        Redelivery, StoredEvent,
    },
};
use postern_system::clock;

use super::{pending::PendingEntries, stream::Stream};

/// Groups that clients have used since the gateway started.
#[derive(Debug, Default)]
pub(super) struct Groups {
    open: tokio::sync::Mutex<HashMap<GroupKey, Arc<Group>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct GroupKey {
    log: Text,
    name: Text,
}

/// One group of a stream.
pub(super) struct Group {
    consumer: Box<dyn EventConsumer>,
    /// Of the consumer.
    name: Text,
    pub pending: Mutex<PendingEntries>,
    /// Events on their way out of the log. They outlive whoever asked for them.
    taking: tokio::sync::Mutex<Option<Taking>>,
}

type Taking = BoxFuture<Result<Vec<StoredEvent>, Error>>;

/// How long a reader waits for new events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GroupWait {
    /// As long as it takes to look.
    None,
    For(Duration),
    ForEver,
}

impl Groups {
    /// The group of `stream`, where there is one.
    pub(super) async fn find(
        &self,
        stream: &Stream,
        group: &str,
        in_flight_max: usize,
    ) -> Result<Option<Arc<Group>>, Error> {
        let key = GroupKey::of(stream, group);
        let mut open = self.open.lock().await;
        if let Some(group) = open.get(&key) {
            return Ok(Some(Arc::clone(group)));
        }
        let info = stream.log.info().await?;
        if !info
            .consumers
            .iter()
            .any(|consumer| consumer.name == key.name)
        {
            return Ok(None);
        }
        let settings = settings(stream, &key.name, ConsumerStart::New, in_flight_max);
        let group = Arc::new(Group::open(stream, settings).await?);
        open.insert(key, Arc::clone(&group));
        Ok(Some(group))
    }

    /// Makes the group; false where there is one.
    pub(super) async fn create(
        &self,
        stream: &Stream,
        group: &str,
        start: ConsumerStart,
        in_flight_max: usize,
    ) -> Result<bool, Error> {
        let key = GroupKey::of(stream, group);
        let mut open = self.open.lock().await;
        let info = stream.log.info().await?;
        if info
            .consumers
            .iter()
            .any(|consumer| consumer.name == key.name)
        {
            return Ok(false);
        }
        let settings = settings(stream, &key.name, start, in_flight_max);
        let group = Arc::new(Group::open(stream, settings).await?);
        open.insert(key, group);
        Ok(true)
    }

    /// Deletes the group, and what its consumers have; whether there was one.
    pub(super) async fn destroy(&self, stream: &Stream, group: &str) -> Result<bool, Error> {
        let key = GroupKey::of(stream, group);
        let mut open = self.open.lock().await;
        open.remove(&key);
        stream.log.delete_consumer(&key.name).await
    }
}

impl GroupKey {
    fn of(stream: &Stream, group: &str) -> Self {
        Self {
            log: stream.log_name.clone(),
            name: Text::from(format!("{}{group}", prefix_of(stream))),
        }
    }
}

/// Groups of `stream` that a log knows, with the names that clients know them by.
pub(super) fn groups_of<'i>(
    stream: &Stream,
    info: &'i LogInfo,
) -> Vec<(&'i str, &'i ConsumerInfo)> {
    let prefix = prefix_of(stream);
    let named = info.consumers.iter().filter_map(|consumer| {
        let name = consumer.name.as_str().strip_prefix(prefix.as_str())?;
        Some((name, consumer))
    });
    named.collect()
}

/// How consumers of a log are called that are groups of a stream.
fn prefix_of(stream: &Stream) -> String {
    format!("redis:{}:", stream.key)
}

fn settings(
    stream: &Stream,
    name: &Text,
    start: ConsumerStart,
    in_flight_max: usize,
) -> ConsumerSettings {
    ConsumerSettings {
        name: name.clone(),
        patterns: vec![stream.pattern.clone()],
        start,
        // As Redis has it: an entry is with its consumer until it acknowledges it, or another claims it.
        ack_wait: Duration::ZERO,
        back_off: Vec::new(),
        deliveries_max: 0,
        in_flight_max,
        is_ordered: false,
    }
}

impl Group {
    async fn open(stream: &Stream, settings: ConsumerSettings) -> Result<Self, Error> {
        let name = settings.name.clone();
        Ok(Self {
            consumer: stream.log.consumer(settings).await?,
            name,
            pending: Mutex::default(),
            taking: tokio::sync::Mutex::new(None),
        })
    }

    /// Up to `count` events that no consumer has had, given to `consumer`.
    pub(super) async fn read_new(
        &self,
        stream: &Stream,
        consumer: &[u8],
        count: usize,
        wait: GroupWait,
        is_acknowledged: bool,
    ) -> Result<Vec<StoredEvent>, Error> {
        let given = || {
            let now_ms = clock::unix_time_ms();
            self.pending
                .lock()
                .give(consumer, count, now_ms, is_acknowledged)
        };
        let kept = given();
        let given = if kept.is_empty() {
            let waiting = self.fill(stream, count, wait);
            match wait {
                GroupWait::For(time) => match tokio::time::timeout(time, waiting).await {
                    Ok(filled) => filled?,
                    Err(_) => return Ok(Vec::new()),
                },
                GroupWait::None | GroupWait::ForEver => waiting.await?,
            }
            given()
        } else {
            kept
        };
        if is_acknowledged && !given.is_empty() {
            let positions = given.iter().map(|stored| stored.position).collect();
            self.consumer.acknowledge(positions).await?;
        }
        Ok(given)
    }

    /// Takes events out of the log, unless somebody else has meanwhile. What is taken stays here where
    /// whoever waits has left.
    async fn fill(&self, stream: &Stream, count: usize, wait: GroupWait) -> Result<(), Error> {
        let mut taking = self.taking.lock().await;
        let take = taking.get_or_insert_with(|| self.consumer.take(count));
        let taken = if wait == GroupWait::None {
            let looked = std::future::poll_fn(|cx| Poll::Ready(take.as_mut().poll(cx))).await;
            if let Poll::Ready(taken) = looked {
                taken
            } else {
                if !self.is_waiting(stream).await? {
                    return Ok(());
                }
                match tokio::time::timeout(LOOK_TIME, take).await {
                    Ok(taken) => taken,
                    Err(_) => return Ok(()),
                }
            }
        } else {
            take.await
        };
        *taking = None;
        let taken = taken?;
        self.pending.lock().keep(taken);
        Ok(())
    }

    /// Whether the log has events for this group.
    async fn is_waiting(&self, stream: &Stream) -> Result<bool, Error> {
        let info = stream.log.info().await?;
        let mut consumers = info.consumers.iter();
        let own = consumers.find(|consumer| consumer.name == self.name);
        Ok(own.is_some_and(|consumer| consumer.n_pending > 0))
    }

    /// Entries were handled; how many of them were not before.
    pub(super) async fn acknowledge(&self, positions: Vec<Position>) -> Result<u64, Error> {
        let n_acknowledged = self.consumer.acknowledge(positions.clone()).await?;
        self.pending.lock().forget(&positions);
        Ok(n_acknowledged)
    }

    /// Entries go back into the log, to be given out once more.
    pub(super) async fn release(&self, positions: Vec<Position>) -> Result<(), Error> {
        for position in positions {
            let reason = Text::from_static("its consumer was deleted");
            self.consumer
                .refuse(position, Redelivery::Released, reason)
                .await?;
        }
        Ok(())
    }

    /// Adds a consumer; whether it is new.
    ///
    /// # Errors
    /// `resource-exhausted` when there are too many.
    pub(super) fn see(&self, consumer: &[u8], now_ms: u64) -> Result<bool, Error> {
        let mut pending = self.pending.lock();
        let (n, limit) = (pending.n_consumers(), CONSUMERS_MAX);
        if n >= limit && !pending.has_consumer(consumer) {
            let message = format!("the group has {limit} consumers, which is the limit");
            return Err(Error::new(Kind::ResourceExhausted, Blame::Client, message));
        }
        Ok(pending.see(consumer, now_ms))
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// How long a reader that does not wait does so for events that the log says it has.
const LOOK_TIME: Duration = Duration::from_secs(1);
/// Consumers of one group.
const CONSUMERS_MAX: usize = 1024;
