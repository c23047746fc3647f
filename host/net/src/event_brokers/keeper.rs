//! How it stands with a connection that is made anew whenever it is lost.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use postern_core::{Blame, Error, Retry, Text, event::broker::BrokerStanding};
use postern_system::{clock, random};

use crate::pool::backoff;

/// Shared by a broker and the task that keeps its connection.
#[derive(Debug)]
pub(super) struct Keeper {
    /// As people read it.
    name: Text,
    state: Mutex<KeeperState>,
}

#[derive(Debug)]
struct KeeperState {
    standing: BrokerStanding,
    changed_at: Instant,
    /// In a row.
    n_failures: u32,
}

impl Keeper {
    pub(super) fn new(name: String) -> Self {
        let state = KeeperState {
            standing: BrokerStanding::default(),
            changed_at: clock::now(),
            n_failures: 0,
        };
        Self {
            name: name.into(),
            state: Mutex::new(state),
        }
    }

    pub(super) fn on_connected(&self) {
        let mut state = self.state.lock();
        state.standing.is_connected = true;
        state.standing.fault = None;
        state.standing.n_connects += 1;
        state.n_failures = 0;
        state.changed_at = clock::now();
        drop(state);
        tracing::info!(broker = %self.name, "connected");
    }

    /// A connection was lost or not made. Gives the pause before the next try.
    pub(super) fn on_lost(&self, fault: &str) -> Duration {
        let mut state = self.state.lock();
        let was_connected = std::mem::take(&mut state.standing.is_connected);
        if was_connected {
            state.changed_at = clock::now();
        }
        let is_news = state
            .standing
            .fault
            .as_ref()
            .is_none_or(|known| known != fault);
        state.standing.fault = Some(fault.into());
        state.n_failures = state.n_failures.saturating_add(1);
        let n_failures = state.n_failures;
        drop(state);
        if is_news {
            tracing::warn!(broker = %self.name, fault, was_connected, "not connected");
        }
        backoff::pause(PAUSE_MIN, PAUSE_MAX, n_failures, random::even())
    }

    pub(super) fn on_dropped(&self, n_events: u64) {
        self.state.lock().standing.n_dropped += n_events;
    }

    pub(super) fn standing(&self, n_queued: u64) -> BrokerStanding {
        let state = self.state.lock();
        BrokerStanding {
            since: clock::since(state.changed_at),
            n_queued,
            ..state.standing.clone()
        }
    }

    /// Nothing was sent: there is no connection.
    pub(super) fn away(&self) -> Error {
        let state = self.state.lock();
        let reason = state.standing.fault.as_ref();
        let reason = reason.map_or("no connection was made", |fault| fault.as_str());
        Error::unavailable(Blame::Upstream, format!("{} is away: {reason}", self.name))
    }

    /// The connection was lost, and nobody knows what became of what was sent.
    pub(super) fn lost(&self) -> Error {
        let message = format!("the connection to {} was lost", self.name);
        Error::unavailable(Blame::Upstream, message).with_retry(Retry::IfIdempotent)
    }
}

/// Pauses before a connection is made anew: the first, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);
