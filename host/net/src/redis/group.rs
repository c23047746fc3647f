//! A consumer group as this gateway takes part in it. All members here are one consumer for the server,
//! under a name that no other gateway and no other life of this one has.
//!
//! ```text
//! reader  ── XREADGROUP, on a connection of its own ─▶ Deliveries ─▶ members
//! keeper  ── XCLAIM … JUSTID: it is alive · XAUTOCLAIM: entries of the dead · dead letters
//! member  ── XACK
//! ```
//! What is read and not acknowledged stays with the server. When this gateway dies, another takes it over
//! after `claim_idle`; when the connection breaks, the reader asks for what it was given and had not seen.

mod keeping;
mod reading;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use postern_core::{
    Blame, Error, Kind, Text,
    event::{
        TopicPattern,
        durable::{ConsumerSettings, ConsumerStart, Position, Redelivery, StoredEvent},
    },
    redis::{Deliveries, DeliverySettings, event_of, stream_id},
};
use postern_system::{clock, random};
use redis::Cmd;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use super::{
    log_stream::LogStream,
    routing::Repeat,
    stream_replies::{StreamEntry, number},
};

/// A group with its tasks, which end with it.
pub(super) struct Group {
    shared: Arc<SharedGroup>,
    _reader: AbortOnDropHandle<()>,
    _keeper: AbortOnDropHandle<()>,
}

/// What members and tasks share.
struct SharedGroup {
    log: Arc<LogStream>,
    name: Text,
    /// This gateway, as the server knows it.
    consumer: String,
    state: Mutex<GroupState>,
    /// Something may be taken.
    changed: Notify,
    /// The keeper has something to do.
    work: Notify,
    /// The reader has room.
    room: Notify,
    is_deleted: AtomicBool,
    n_dead: AtomicU64,
}

struct GroupState {
    deliveries: Deliveries,
    patterns: Vec<TopicPattern>,
    next_member: u64,
    n_members: u64,
    /// Deliveries that the server is to be told of, since it counts only what it gives out itself.
    recounts: BTreeMap<Position, u32>,
    /// Entries that are for nobody here: acknowledged by the keeper.
    unwanted: Vec<String>,
}

/// A group, for whoever looks at it.
#[derive(Debug, Clone, Default)]
pub(super) struct GroupNumbers {
    pub(super) patterns: Vec<TopicPattern>,
    pub(super) n_in_flight: u64,
    pub(super) n_redelivered: u64,
    pub(super) n_dead: u64,
    pub(super) n_members: u64,
}

impl Group {
    /// Makes the group on the server where there is none, and the stream with it.
    pub(super) async fn create(log: &LogStream, settings: &ConsumerSettings) -> Result<(), Error> {
        let start = match settings.start {
            ConsumerStart::First => "0".to_owned(),
            ConsumerStart::New => "$".to_owned(),
            ConsumerStart::After(position) => stream_id(position),
        };
        let mut command = redis::cmd("XGROUP");
        command
            .arg("CREATE")
            .arg(&log.key)
            .arg(settings.name.as_str());
        command.arg(start).arg("MKSTREAM");
        match log.ask(command, Repeat::Harmless).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind == Kind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn start(log: Arc<LogStream>, settings: &ConsumerSettings) -> Arc<Self> {
        let shared = Arc::new(SharedGroup {
            log,
            name: settings.name.clone(),
            consumer: format!("postern-{:032x}", random::secret()),
            state: Mutex::new(GroupState {
                deliveries: Deliveries::new(DeliverySettings::of(settings)),
                patterns: settings.patterns.clone(),
                next_member: 0,
                n_members: 0,
                recounts: BTreeMap::new(),
                unwanted: Vec::new(),
            }),
            changed: Notify::new(),
            work: Notify::new(),
            room: Notify::new(),
            is_deleted: AtomicBool::new(false),
            n_dead: AtomicU64::new(0),
        });
        let reader = tokio::spawn(Arc::clone(&shared).read());
        let keeper = tokio::spawn(Arc::clone(&shared).keep());
        Arc::new(Self {
            shared,
            _reader: AbortOnDropHandle::new(reader),
            _keeper: AbortOnDropHandle::new(keeper),
        })
    }

    /// Gives out events as `settings` says from here on.
    pub(super) fn apply(&self, settings: &ConsumerSettings) {
        let mut state = self.shared.state.lock();
        state.patterns.clone_from(&settings.patterns);
        state.deliveries.apply(DeliverySettings::of(settings));
        drop(state);
        self.shared.on_changed();
    }

    pub(super) fn join(&self) -> u64 {
        let mut state = self.shared.state.lock();
        state.n_members += 1;
        state.next_member += 1;
        state.next_member
    }

    pub(super) fn leave(&self, member: u64) {
        let mut state = self.shared.state.lock();
        state.n_members = state.n_members.saturating_sub(1);
        state.deliveries.on_member_gone(member);
        drop(state);
        self.shared.on_changed();
    }

    /// The next events for `member`. It waits while the server is away, too.
    pub(super) async fn take(
        &self,
        member: u64,
        events_max: usize,
    ) -> Result<Vec<StoredEvent>, Error> {
        loop {
            // Asked for before the look, so that no change between the two is missed.
            let changed = self.shared.changed.notified();
            if self.is_deleted() {
                return Err(self.shared.gone());
            }
            let taken = self.shared.try_take(member, events_max.max(1));
            if !taken.is_empty() {
                return Ok(taken);
            }
            let closed = &self.shared.log.routing.closed;
            tokio::select! {
                () = changed => {}
                () = closed.cancelled() => return Err(self.shared.closed()),
            }
        }
    }

    pub(super) async fn acknowledge(&self, positions: Vec<Position>) -> Result<u64, Error> {
        let known = self.shared.state.lock().deliveries.known(&positions);
        for chunk in known.chunks(IDS_MAX) {
            let command = self
                .shared
                .command("XACK", chunk.iter().map(|one| stream_id(*one)));
            self.shared.log.ask(command, Repeat::Harmless).await?;
        }
        let mut state = self.shared.state.lock();
        let n_forgotten = state.deliveries.forget(&known);
        for position in &known {
            state.recounts.remove(position);
        }
        drop(state);
        self.shared.on_changed();
        Ok(n_forgotten)
    }

    pub(super) fn refuse(&self, position: Position, redelivery: Redelivery, reason: Text) {
        let mut state = self.shared.state.lock();
        state
            .deliveries
            .refuse(position, redelivery, reason, clock::now());
        drop(state);
        self.shared.on_changed();
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.shared.is_deleted.load(Relaxed)
    }

    pub(super) fn on_deleted(&self) {
        self.shared.on_deleted();
    }

    pub(super) fn numbers(&self) -> GroupNumbers {
        let state = self.shared.state.lock();
        GroupNumbers {
            patterns: state.patterns.clone(),
            n_in_flight: state.deliveries.n_in_flight() as u64,
            n_redelivered: state.deliveries.n_redelivered(),
            n_dead: self.shared.n_dead.load(Relaxed),
            n_members: state.n_members,
        }
    }
}

impl SharedGroup {
    fn try_take(&self, member: u64, events_max: usize) -> Vec<StoredEvent> {
        let mut state = self.state.lock();
        let taken = state.deliveries.take(member, events_max, clock::now());
        for one in &taken {
            if one.n_deliveries > 1 {
                state.recounts.insert(one.position, one.n_deliveries);
            }
        }
        let has_recounts = !state.recounts.is_empty();
        let has_timer = state.deliveries.poll_timeout().is_some();
        drop(state);
        if has_recounts || (has_timer && !taken.is_empty()) {
            self.work.notify_one();
        }
        taken
    }

    /// Takes over entries that the server has given, with the deliveries that it counted before.
    fn insert(&self, entries: Vec<StreamEntry>, n_deliveries: impl Fn(&str) -> u32) {
        let mut state = self.state.lock();
        for entry in entries {
            let position = entry.position();
            let event = entry.fields.map(event_of);
            let wanted = match (position, event) {
                (Some(position), Some(Ok(event))) => {
                    let mut patterns = state.patterns.iter();
                    let is_wanted = patterns.any(|pattern| pattern.matches(&event.topic));
                    is_wanted.then_some((position, event))
                }
                (_, Some(Err(error))) => {
                    tracing::warn!(key = %self.log.key, id = entry.id, %error, "an entry is no event: passed over");
                    None
                }
                // It was deleted or trimmed while somebody had it.
                (None, _) | (_, None) => None,
            };
            match wanted {
                Some((position, event)) => {
                    let n_deliveries = n_deliveries(&entry.id);
                    state.deliveries.insert(position, event, n_deliveries);
                }
                None => state.unwanted.push(entry.id),
            }
        }
        drop(state);
        self.on_changed();
    }

    fn on_changed(&self) {
        self.changed.notify_waiters();
        self.work.notify_one();
        self.room.notify_one();
    }

    fn on_deleted(&self) {
        self.is_deleted.store(true, Relaxed);
        self.on_changed();
    }

    fn closed(&self) -> Error {
        let message = format!("store {} is closed", self.log.routing.config().name);
        Error::unavailable(Blame::Gateway, message)
    }

    fn gone(&self) -> Error {
        let (name, key) = (&self.name, &self.log.key);
        let message = format!("consumer {name} of {key} was deleted");
        Error::new(Kind::NotFound, Blame::Client, message)
    }

    /// `NAME key group` and what comes behind.
    fn command(&self, name: &str, arguments: impl IntoIterator<Item = String>) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(&self.log.key).arg(self.name.as_str());
        for argument in arguments {
            command.arg(argument);
        }
        command
    }

    async fn acknowledge_ids(&self, ids: &[String]) -> Result<u64, Error> {
        let mut n_acknowledged = 0;
        for chunk in ids.chunks(IDS_MAX) {
            let command = self.command("XACK", chunk.iter().cloned());
            let reply = self.log.ask(command, Repeat::Harmless).await?;
            n_acknowledged += number(reply).unwrap_or_default();
        }
        Ok(n_acknowledged)
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SharedGroup { name, consumer, .. } = &*self.shared;
        f.debug_struct("Group")
            .field("name", name)
            .field("consumer", consumer)
            .finish_non_exhaustive()
    }
}

/// Entries that one command names.
const IDS_MAX: usize = 1000;
