//! One address as the pool's accounting sees it: its sessions, who waits for one, and how it has failed. Pure.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{backoff, config::PoolConfig};

/// Names a session among all of a pool, from its first attempt to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SessionKey(pub(super) u64);

/// A place in the row of those who wait. Smaller numbers came first, whatever they wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ticket(pub(super) u64);

#[derive(Debug)]
pub(super) struct Host<S> {
    pub(super) slots: Vec<Slot<S>>,
    pub(super) waiting: VecDeque<Ticket>,
    /// Failures since an answer came.
    pub(super) n_failures: u32,
    pub(super) down: Option<Down>,
    /// When a call last asked for this host.
    wanted_at: Option<Instant>,
    /// Upstreams that call this address.
    pub(super) n_users: usize,
    /// No session was opened since one was lost or an attempt failed.
    pub(super) has_fallen: bool,
    pub(super) counts: Counts,
}

/// The last attempt failed, or the last session was of no use.
#[derive(Debug, Clone)]
pub(super) struct Down {
    pub(super) reason: Arc<str>,
    /// Nothing is tried before.
    pub(super) until: Instant,
}

/// One session.
///
/// ```text
/// Connecting ──▶ Open ──idle, drain, BYE of the peer──▶ Closing ──▶ (gone)
///     └──failed────┴──────────────broken────────────────────────────▶┘
/// ```
#[derive(Debug)]
pub(super) struct Slot<S> {
    pub(super) key: SessionKey,
    pub(super) state: State<S>,
    pub(super) n_calls: usize,
    n_calls_max: usize,
    /// Since when it has had no call.
    pub(super) idle_since: Instant,
    /// Some call was answered, so that the session was of use.
    pub(super) has_answered: bool,
}

#[derive(Debug)]
pub(super) enum State<S> {
    Connecting,
    Open(S),
    /// Begins no more calls. `by_us` when this end said so.
    Closing {
        by_us: bool,
    },
}

/// What has happened with one address since the pool knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    pub(super) opened: u64,
    pub(super) failed: u64,
    pub(super) lost: u64,
    pub(super) reconnects: u64,
    pub(super) refused: u64,
    pub(super) timed_out: u64,
}

impl<S: Clone> Host<S> {
    pub(super) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            waiting: VecDeque::new(),
            n_failures: 0,
            down: None,
            wanted_at: None,
            n_users: 0,
            has_fallen: false,
            counts: Counts {
                opened: 0,
                failed: 0,
                lost: 0,
                reconnects: 0,
                refused: 0,
                timed_out: 0,
            },
        }
    }

    pub(super) const fn on_wanted(&mut self, now: Instant) {
        self.wanted_at = Some(now);
    }

    /// Whether to go on trying while it is down.
    pub(super) fn is_wanted(&self, now: Instant, config: &PoolConfig) -> bool {
        let is_called = self
            .wanted_at
            .is_some_and(|at| now.saturating_duration_since(at) < config.idle_timeout);
        self.n_users > 0 && (config.warm > 0 || is_called || !self.waiting.is_empty())
    }

    /// Counts a call on the least busy session that has room for it.
    pub(super) fn take_session(&mut self) -> Option<(SessionKey, S)> {
        let open = self.slots.iter_mut().filter(|slot| slot.has_room());
        let slot = open.min_by_key(|slot| slot.n_calls)?;
        let State::Open(session) = &slot.state else {
            return None;
        };
        slot.n_calls += 1;
        Some((slot.key, session.clone()))
    }

    /// A session to ask something that is no call, however busy it is.
    pub(super) fn peek_session(&self) -> Option<S> {
        let open = self.slots.iter().filter_map(|slot| match &slot.state {
            State::Open(session) => Some((slot.n_calls, session)),
            State::Connecting | State::Closing { .. } => None,
        });
        let (_, session) = open.min_by_key(|(n_calls, _)| *n_calls)?;
        Some(session.clone())
    }

    pub(super) fn slot(&mut self, key: SessionKey) -> Option<&mut Slot<S>> {
        self.slots.iter_mut().find(|slot| slot.key == key)
    }

    pub(super) fn remove(&mut self, key: SessionKey) -> Option<Slot<S>> {
        let at = self.slots.iter().position(|slot| slot.key == key)?;
        Some(self.slots.remove(at))
    }

    pub(super) fn n_open(&self) -> usize {
        self.slots.iter().filter(|slot| slot.is_open()).count()
    }

    pub(super) fn n_connecting(&self) -> usize {
        let connecting = |slot: &&Slot<S>| matches!(slot.state, State::Connecting);
        self.slots.iter().filter(connecting).count()
    }

    pub(super) fn n_closing(&self) -> usize {
        self.slots.len() - self.n_open() - self.n_connecting()
    }

    pub(super) fn n_calls(&self) -> usize {
        self.slots.iter().map(|slot| slot.n_calls).sum()
    }

    pub(super) fn n_calls_on(&self, key: SessionKey) -> usize {
        let slot = self.slots.iter().find(|slot| slot.key == key);
        slot.map_or(0, |slot| slot.n_calls)
    }

    /// Whether another session should be opened for those who wait, and may be as far as this host
    /// goes.
    pub(super) fn wants_session(&self, now: Instant, config: &PoolConfig) -> bool {
        let n_connecting = self.n_connecting();
        let is_short = self.waiting.len() > n_connecting * config.calls_per_session_max;
        let may_try = match &self.down {
            Some(down) => now >= down.until && n_connecting == 0,
            None => true,
        };
        is_short && may_try && self.slots.len() < config.connections_per_host_max
    }

    /// Why calls are refused at once: nothing is open, and it is not the time to try.
    pub(super) fn refuses(&self, now: Instant) -> Option<&Down> {
        let down = self.down.as_ref()?;
        let waits = now < down.until || self.n_connecting() > 0;
        (waits && self.n_open() == 0).then_some(down)
    }

    /// Notes a failure and leaves the address alone for a while.
    pub(super) fn on_failure(
        &mut self,
        now: Instant,
        reason: Arc<str>,
        random: u64,
        config: &PoolConfig,
    ) {
        self.n_failures = self.n_failures.saturating_add(1);
        self.has_fallen = true;
        let (min, max) = (config.backoff_min, config.backoff_max);
        let until = now + backoff::pause(min, max, self.n_failures, random);
        self.down = Some(Down { reason, until });
    }

    /// The address is well: a call was answered, or somebody says so.
    pub(super) fn on_answer(&mut self) {
        self.n_failures = 0;
        self.down = None;
    }

    /// When the next session that may be closed for idleness is due.
    pub(super) fn idle_at(&self, idle_timeout: Duration, warm: usize) -> Option<Instant> {
        if self.n_users > 0 && self.n_open() <= warm {
            return None;
        }
        let idle = self.slots.iter().filter(|slot| slot.is_idle());
        idle.map(|slot| slot.idle_since + idle_timeout).min()
    }

    /// Nobody calls it and nothing is left of it.
    pub(super) fn is_gone(&self) -> bool {
        self.n_users == 0 && self.slots.is_empty() && self.waiting.is_empty()
    }
}

impl<S> Slot<S> {
    pub(super) const fn connecting(key: SessionKey, now: Instant) -> Self {
        Self {
            key,
            state: State::Connecting,
            n_calls: 0,
            n_calls_max: 0,
            idle_since: now,
            has_answered: false,
        }
    }

    pub(super) fn open(&mut self, now: Instant, session: S, n_calls_max: usize) {
        self.state = State::Open(session);
        self.n_calls_max = n_calls_max;
        self.idle_since = now;
    }

    pub(super) const fn upgrade(&mut self, n_calls_max: usize) {
        self.n_calls_max = n_calls_max;
    }

    /// Begins no more calls; gives the session when it was open.
    pub(super) fn begin_closing(&mut self, by_us: bool) -> Option<S> {
        if !self.is_open() {
            return None;
        }
        match std::mem::replace(&mut self.state, State::Closing { by_us }) {
            State::Open(session) => Some(session),
            State::Connecting | State::Closing { .. } => None,
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    pub(super) const fn is_idle(&self) -> bool {
        self.is_open() && self.n_calls == 0
    }

    const fn has_room(&self) -> bool {
        self.is_open() && self.n_calls < self.n_calls_max
    }
}
