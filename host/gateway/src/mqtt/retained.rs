//! Retained messages: read from memory, kept on disk.
//!
//! ```text
//! set ─▶ in memory ─▶ unwritten, the newest of each topic ─▶ writer ─▶ on disk ─▶ whoever waits
//! ```
//! Of a topic that changes faster than the disk takes it, only the newest message is written.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::Arc,
    time::{Duration, Instant, UNIX_EPOCH},
};

use futures_util::future::join_all;
use parking_lot::{Mutex, RwLock};
use postern_core::{
    Blame, BoxFuture, Error, Text,
    mqtt::{Publication, Reason, TopicFilter},
};
use postern_net::mqtt::MqttRefusal;
use postern_system::clock;
use postern_wasm::{Records, StoreError};
use tokio::sync::{Notify, oneshot};
use tracing::warn;

use super::record::{RetainedRecord, read_retained, write_retained};

/// How many messages may be retained, and how large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RetainedBounds {
    pub messages_max: usize,
    pub bytes_max: usize,
}

/// All retained messages.
pub(super) struct RetainedMessages {
    held: RwLock<Held>,
    bounds: RwLock<RetainedBounds>,
    unwritten: Mutex<Unwritten>,
    /// Something is unwritten.
    changed: Notify,
    records: Records,
}

#[derive(Default)]
struct Held {
    by_name: BTreeMap<Text, Arc<Publication>>,
    bytes: usize,
}

/// What the disk does not have yet.
#[derive(Default)]
struct Unwritten {
    /// By topic; none of one that is to be removed.
    records: HashMap<Text, Option<Vec<u8>>>,
    waiting: Vec<oneshot::Sender<Result<(), StoreError>>>,
}

impl RetainedMessages {
    /// Those that `records` has. What cannot be read is told and left out.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn open(records: Records, bounds: RetainedBounds) -> Result<Self, StoreError> {
        let mut held = Held::default();
        let (now, now_ms) = (clock::now(), wall_ms());
        for (name, record) in records.load_all().await? {
            match read_retained(record) {
                Ok(record) => held.insert(at(record, now, now_ms)),
                Err(error) => warn!(topic = %name, %error, "a retained message cannot be read"),
            }
        }
        Ok(Self {
            held: RwLock::new(held),
            bounds: RwLock::new(bounds),
            unwritten: Mutex::default(),
            changed: Notify::new(),
            records,
        })
    }

    pub(super) fn set_bounds(&self, bounds: RetainedBounds) {
        *self.bounds.write() = bounds;
    }

    /// Retains `publication` in place of what its topic had; an empty payload removes that. The future
    /// is ready when the disk has it.
    ///
    /// # Errors
    /// `QUOTA_EXCEEDED` for one message too many.
    pub(super) fn set(
        self: &Arc<Self>,
        publication: &Arc<Publication>,
    ) -> Result<BoxFuture<Result<(), Error>>, MqttRefusal> {
        let name = publication.topic.name.clone();
        // Kept until the change is noted, so that the disk gets changes in the order of memory.
        let mut held = self.held.write();
        let record = if publication.payload.is_empty() {
            if !held.remove(&name) {
                return Ok(Box::pin(std::future::ready(Ok(()))));
            }
            None
        } else {
            held.check(publication, *self.bounds.read())?;
            held.insert(Arc::clone(publication));
            Some(write_retained(publication, expires_at_ms(publication)))
        };
        let (done, written) = oneshot::channel();
        let mut unwritten = self.unwritten.lock();
        unwritten.records.insert(name, record);
        unwritten.waiting.push(done);
        drop((unwritten, held));
        self.changed.notify_one();
        Ok(Box::pin(async move {
            match written.await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(unavailable(&error)),
                Err(_) => Err(unavailable(&StoreError::Closed)),
            }
        }))
    }

    /// Each message that `filter` wants.
    pub(super) fn find(&self, filter: &TopicFilter, found: &mut dyn FnMut(Arc<Publication>)) {
        let now = clock::now();
        let held = self.held.read();
        let mut tell = |publication: &Arc<Publication>| {
            if !publication.is_expired(now) {
                found(Arc::clone(publication));
            }
        };
        let text = filter.as_str();
        let Some(sign) = text.find(['+', '#']) else {
            held.by_name.get(text).into_iter().for_each(&mut tell);
            return;
        };
        // Names in order: what begins as the filter does stands together. `a/#` has `a` as well.
        let prefix = text.get(..sign).unwrap_or_default();
        let above = prefix.strip_suffix('/').filter(|_| text.ends_with("/#"));
        let above = above.filter(|above| above.len() + 2 == text.len());
        let above = above.and_then(|above| held.by_name.get(above));
        above.into_iter().for_each(&mut tell);
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let all = held.by_name.range::<str, _>(from);
        all.take_while(|(name, _)| name.as_str().starts_with(prefix))
            .filter(|(name, _)| filter.matches(name.as_str()))
            .for_each(|(_, publication)| tell(publication));
    }

    pub(super) fn len(&self) -> usize {
        self.held.read().by_name.len()
    }

    /// Octets of all of them.
    pub(super) fn bytes(&self) -> usize {
        self.held.read().bytes
    }

    /// Writes what is unwritten and forgets what has expired. Never completes.
    pub(super) async fn run(&self) {
        let mut interval = tokio::time::interval(EXPIRY_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.changed.notified() => self.write().await,
                _ = interval.tick() => self.forget_expired(),
            }
        }
    }

    /// Writes what is unwritten, so that nothing is lost at an orderly end.
    pub(super) async fn write(&self) {
        loop {
            let Unwritten { records, waiting } = std::mem::take(&mut *self.unwritten.lock());
            if records.is_empty() {
                return;
            }
            let store = &self.records;
            let writes = records.into_iter().map(|(name, record)| async move {
                let name = name.to_string();
                match record {
                    Some(record) => store.put(name, record).await,
                    None => store.delete(name).await.map(drop),
                }
            });
            // The store commits them together.
            let result: Result<(), StoreError> = join_all(writes).await.into_iter().collect();
            for done in waiting {
                // One that does not wait any more is served, too.
                let _ = done.send(result.clone());
            }
        }
    }

    fn forget_expired(&self) {
        let now = clock::now();
        let mut held = self.held.write();
        let names: Vec<_> = held
            .by_name
            .values()
            .filter(|publication| publication.is_expired(now))
            .map(|publication| publication.topic.name.clone())
            .collect();
        if names.is_empty() {
            return;
        }
        for name in &names {
            held.remove(name);
        }
        let mut unwritten = self.unwritten.lock();
        let removed = names.into_iter().map(|name| (name, None));
        unwritten.records.extend(removed);
        drop((unwritten, held));
        self.changed.notify_one();
    }
}

impl Held {
    fn check(&self, publication: &Publication, bounds: RetainedBounds) -> Result<(), MqttRefusal> {
        let refused = |text: String| Err(MqttRefusal::new(Reason::QUOTA_EXCEEDED, text));
        let before = self.by_name.get(&publication.topic.name);
        let limit = bounds.messages_max;
        if before.is_none() && self.by_name.len() >= limit {
            return refused(format!("{limit} messages are retained, mqtt.retained-max"));
        }
        let bytes = self.bytes - before.map_or(0, |before| before.bytes()) + publication.bytes();
        let limit = bounds.bytes_max;
        if bytes > limit {
            return refused(format!(
                "retained messages of {bytes} octets exceed mqtt.retained-bytes-max ({limit})"
            ));
        }
        Ok(())
    }

    fn insert(&mut self, publication: Arc<Publication>) {
        self.bytes += publication.bytes();
        let name = publication.topic.name.clone();
        if let Some(before) = self.by_name.insert(name, publication) {
            self.bytes -= before.bytes();
        }
    }

    fn remove(&mut self, name: &Text) -> bool {
        let removed = self.by_name.remove(name);
        self.bytes -= removed.as_ref().map_or(0, |removed| removed.bytes());
        removed.is_some()
    }
}

impl std::fmt::Debug for RetainedMessages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RetainedMessages")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// What whoever has something kept is told of the store.
pub(super) fn unavailable(error: &StoreError) -> Error {
    Error::unavailable(Blame::Gateway, format!("the store: {error}"))
}

/// A record's message, whose time is that of this machine's run.
fn at(record: RetainedRecord, now: Instant, now_ms: u64) -> Arc<Publication> {
    let RetainedRecord {
        mut publication,
        expires_at_ms,
    } = record;
    if expires_at_ms > 0 {
        let left = Duration::from_millis(expires_at_ms.saturating_sub(now_ms));
        publication.expires_at = Some(now + left);
    }
    Arc::new(publication)
}

fn expires_at_ms(publication: &Publication) -> u64 {
    publication.expires_at.map_or(0, |at| {
        let left = at.saturating_duration_since(clock::now());
        // 0 would be never.
        (wall_ms() + u64::try_from(left.as_millis()).unwrap_or(u64::MAX / 2)).max(1)
    })
}

/// Milliseconds since 1970.
pub(super) fn wall_ms() -> u64 {
    let since = clock::wall().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}

/// How often expired messages are looked for; until then nobody gets them.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(10);
