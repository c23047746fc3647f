//! Connections with one node that are shared by commands: one usually, and more while those that are open
//! are busy.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use postern_core::{Blame, Error, Kind, redis::RedisNode};
use postern_system::{clock, random};
use tokio::sync::Semaphore;

use super::{
    config::RedisConfig,
    connection::{Dialing, RedisConnection},
    counts::{StoreCounters, count},
};
use crate::pool::backoff;

/// The connections of commands with one node.
#[derive(Debug)]
pub(super) struct NodePool {
    node: RedisNode,
    state: Mutex<State>,
    /// Held by whoever opens a connection; others wait for what comes of it.
    opening: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    connections: Vec<Arc<RedisConnection>>,
    n_failures: u32,
    /// The node is left alone until then, and why.
    away: Option<(Instant, Arc<str>)>,
}

/// What a pool opens connections with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening<'a> {
    pub(super) config: &'a RedisConfig,
    pub(super) dialing: &'a Dialing,
    pub(super) counters: &'a StoreCounters,
    pub(super) permits: &'a Arc<Semaphore>,
}

/// Which connection a command may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// The one with the fewest commands on their way.
    LeastBusy,
    /// Always the same while it is open, so that commands arrive in their order.
    Same,
}

impl NodePool {
    pub(super) fn new(node: RedisNode) -> Self {
        Self {
            node,
            state: Mutex::default(),
            opening: tokio::sync::Mutex::new(()),
        }
    }

    /// A connection that is open.
    ///
    /// # Errors
    /// `unavailable` when there is none and none can be opened, at once while the node is left alone;
    /// `resource-exhausted` when as many are open as may be, or too many commands wait.
    pub(super) async fn acquire(
        &self,
        opening: Opening<'_>,
        choice: Choice,
    ) -> Result<Arc<RedisConnection>, Error> {
        if let Some(connection) = self.open_one(choice)
            && (choice == Choice::Same || connection.n_in_flight() < BUSY)
        {
            return Ok(connection);
        }
        let Ok(_opening) = self.opening_within(choice).await else {
            return self.busy_one(choice);
        };
        // Somebody may have opened one meanwhile.
        if let Some(connection) = self.open_one(choice)
            && (choice == Choice::Same || connection.n_in_flight() < BUSY)
        {
            return Ok(connection);
        }
        let has_one = self.open_one(choice).is_some();
        let Ok(permit) = Arc::clone(opening.permits).try_acquire_owned() else {
            return match has_one {
                true => self.busy_one(choice),
                false => Err(exhausted(opening.config)),
            };
        };
        if let Some(error) = self.away(opening.config) {
            return if has_one {
                self.busy_one(choice)
            } else {
                Err(error)
            };
        }
        let opened = opening.dialing.open(&self.node, None, vec![permit]).await;
        match opened {
            Ok(connection) => Ok(self.on_opened(connection, opening.counters)),
            Err(error) => {
                self.on_failed(&error, opening);
                if has_one {
                    self.busy_one(choice)
                } else {
                    Err(error)
                }
            }
        }
    }

    /// Closes what nobody has used for a while, but for one, and forgets what is closed.
    pub(super) fn tidy(&self) {
        let mut state = self.state.lock();
        state.connections.retain(|one| !one.is_closed());
        let mut n_kept = 0;
        state.connections.retain(|one| {
            let is_kept = n_kept == 0 || one.n_in_flight() > 0 || one.idle() < IDLE_MAX;
            n_kept += usize::from(is_kept);
            is_kept
        });
    }

    /// Closes all once their commands have ended.
    pub(super) fn close(&self) {
        self.state.lock().connections.clear();
    }

    pub(super) fn n_in_flight(&self) -> usize {
        let state = self.state.lock();
        state.connections.iter().map(|one| one.n_in_flight()).sum()
    }

    pub(super) fn n_open(&self) -> usize {
        let state = self.state.lock();
        let open = state.connections.iter().filter(|one| !one.is_closed());
        open.count()
    }

    fn open_one(&self, choice: Choice) -> Option<Arc<RedisConnection>> {
        let mut state = self.state.lock();
        if state.connections.iter().any(|one| one.is_closed()) {
            state.connections.retain(|one| !one.is_closed());
        }
        let connections = state.connections.iter();
        let chosen = match choice {
            Choice::Same => state.connections.first(),
            Choice::LeastBusy => connections.min_by_key(|one| one.n_in_flight()),
        };
        chosen.cloned()
    }

    /// The right to open one; an error where whoever asks has a connection and somebody else opens.
    async fn opening_within(&self, choice: Choice) -> Result<tokio::sync::MutexGuard<'_, ()>, ()> {
        match self.open_one(choice) {
            Some(_) => self.opening.try_lock().map_err(drop),
            None => Ok(self.opening.lock().await),
        }
    }

    fn busy_one(&self, choice: Choice) -> Result<Arc<RedisConnection>, Error> {
        let connection = self.open_one(choice).ok_or_else(|| {
            let message = format!("the connection with {} has broken", self.node);
            Error::unavailable(Blame::Upstream, message)
        })?;
        if connection.n_in_flight() < IN_FLIGHT_MAX {
            return Ok(connection);
        }
        let message = format!(
            "{IN_FLIGHT_MAX} commands wait on each connection with {}; raise connections-max, or ask less",
            self.node
        );
        Err(Error::new(Kind::ResourceExhausted, Blame::Gateway, message))
    }

    fn away(&self, config: &RedisConfig) -> Option<Error> {
        let state = self.state.lock();
        let (until, reason) = state.away.as_ref()?;
        let left = until.saturating_duration_since(clock::now());
        (!left.is_zero()).then(|| {
            let message = format!(
                "{reason}; it is tried again within {:?}",
                config.reconnect_max
            );
            Error::unavailable(Blame::Upstream, message)
        })
    }

    fn on_opened(
        &self,
        connection: RedisConnection,
        counters: &StoreCounters,
    ) -> Arc<RedisConnection> {
        count(&counters.connects);
        let connection = Arc::new(connection);
        let mut state = self.state.lock();
        state.n_failures = 0;
        state.away = None;
        state.connections.push(Arc::clone(&connection));
        connection
    }

    fn on_failed(&self, error: &Error, opening: Opening<'_>) {
        count(&opening.counters.connects_failed);
        let config = opening.config;
        let mut state = self.state.lock();
        state.n_failures = state.n_failures.saturating_add(1);
        let (min, max) = (config.reconnect_min, config.reconnect_max);
        let pause = backoff::pause(min, max, state.n_failures, random::even());
        state.away = Some((clock::now() + pause, error.message.as_ref().into()));
    }
}

fn exhausted(config: &RedisConfig) -> Error {
    let RedisConfig {
        name,
        connections_max,
        ..
    } = config;
    let message = format!(
        "store {name}: its {connections_max} connections are in use; raise stores.{name}.connections-max"
    );
    Error::new(Kind::ResourceExhausted, Blame::Gateway, message)
}

/// Commands on their way over a connection from which another one is opened: replies come in order, so
/// that a large one holds up what is behind it.
const BUSY: usize = 64;
/// Commands on their way over one connection; one more is refused.
const IN_FLIGHT_MAX: usize = 1024;
/// How long a connection beside the first is kept without being used.
const IDLE_MAX: Duration = Duration::from_secs(60);
