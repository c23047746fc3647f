//! Which sessions a pool has, who uses them and who waits for one. Pure: time and random numbers are
//! passed in, and what is to be done comes out of `take_steps`.
//!
//! A call goes to the least busy session of its address. When all carry `calls_per_session_max` it
//! waits in a row, and as many more sessions are opened as the row needs and the limits allow. Room
//! on a session goes to the first of the row before anybody else can see it, so that nobody overtakes.
//!
//! `connections_max` is shared by all addresses. When it is reached, a session without calls is closed
//! for whoever waits longest; and an address without any session gets one of those of the address that
//! has most, when the calls on it are done.
//!
//! An address that fails is left alone for a pause that grows with every failure. Meanwhile its calls
//! are refused at once, and the next attempt costs none of them its time.

mod admission;
#[cfg(test)]
mod tests;
mod upkeep;

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use super::{
    config::PoolConfig,
    host::{Host, SessionKey, Slot, State, Ticket},
    refusal::Refusal,
};

/// Names an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct HostId(u64);

/// What a pool knows. `S` is a handle to a session.
#[derive(Debug)]
pub(super) struct Accounting<S> {
    config: PoolConfig,
    hosts: BTreeMap<HostId, Host<S>>,
    next_id: u64,
    /// Sessions of all hosts, those being opened and closed included.
    n_sessions: usize,
    /// Calls that wait, whatever for.
    n_waiting: usize,
    is_closing: bool,
    steps: Vec<Step<S>>,
}

/// What becomes of a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission<S> {
    Granted(SessionKey, S),
    Waits(Ticket),
    Refused(Refusal),
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<S> {
    Connect(HostId, SessionKey),
    /// Whoever holds the ticket has its session.
    Grant(Ticket, HostId, SessionKey, S),
    Refuse(Ticket, Refusal),
    /// Close this session in order.
    Close(S),
}

/// Whether the peer answered a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answered {
    Yes,
    No,
}

impl<S: Clone> Accounting<S> {
    pub(super) const fn new(config: PoolConfig) -> Self {
        Self {
            config,
            hosts: BTreeMap::new(),
            next_id: 0,
            n_sessions: 0,
            n_waiting: 0,
            is_closing: false,
            steps: Vec::new(),
        }
    }

    /// What has come to be done since the last time.
    pub(super) fn take_steps(&mut self) -> Vec<Step<S>> {
        std::mem::take(&mut self.steps)
    }

    /// An address that nobody has named yet.
    pub(super) fn add(&mut self) -> HostId {
        let id = HostId(self.draw());
        self.hosts.insert(id, Host::new());
        id
    }

    /// One more upstream calls this address.
    pub(super) fn hold(&mut self, id: HostId, now: Instant) {
        if let Some(host) = self.hosts.get_mut(&id) {
            host.n_users += 1;
        }
        self.keep_warm(id, now);
    }

    /// Somebody knows that the address is well, whatever failed there before.
    pub(super) fn revive(&mut self, id: HostId, now: Instant) {
        if let Some(host) = self.hosts.get_mut(&id) {
            host.on_answer();
        }
        self.keep_warm(id, now);
    }

    /// One upstream less. With the last its sessions are closed when their calls are done.
    pub(super) fn release(&mut self, id: HostId) {
        let Some(host) = self.hosts.get_mut(&id) else {
            return;
        };
        host.n_users = host.n_users.saturating_sub(1);
        if host.n_users == 0 {
            self.close_idle(id);
        }
    }

    /// Forgets an address of which nothing is left. True when it is forgotten.
    pub(super) fn forget(&mut self, id: HostId) -> bool {
        let is_gone = self.hosts.get(&id).is_some_and(Host::is_gone);
        if is_gone {
            self.hosts.remove(&id);
        }
        is_gone
    }

    pub(super) fn on_connected(
        &mut self,
        id: HostId,
        key: SessionKey,
        session: S,
        n_calls_max: usize,
        now: Instant,
    ) {
        let Some(host) = self.hosts.get_mut(&id) else {
            return;
        };
        host.counts.opened += 1;
        host.down = None;
        host.counts.reconnects += u64::from(std::mem::take(&mut host.has_fallen));
        if let Some(slot) = host.slot(key) {
            slot.open(now, session, n_calls_max);
        }
        self.serve(id, now);
        self.close_unneeded(id);
    }

    /// A session takes more calls than it did.
    pub(super) fn on_upgraded(
        &mut self,
        id: HostId,
        key: SessionKey,
        n_calls_max: usize,
        now: Instant,
    ) {
        let Some(host) = self.hosts.get_mut(&id) else {
            return;
        };
        if let Some(slot) = host.slot(key) {
            slot.upgrade(n_calls_max);
        }
        self.serve(id, now);
    }

    pub(super) fn on_connect_failed(
        &mut self,
        id: HostId,
        key: SessionKey,
        reason: Arc<str>,
        now: Instant,
        random: u64,
    ) {
        let Some(host) = self.hosts.get_mut(&id) else {
            return;
        };
        self.n_sessions -= usize::from(host.remove(key).is_some());
        host.counts.failed += 1;
        host.on_failure(now, reason, random, &self.config);
        self.refuse_hopeless(id, now);
        self.serve_longest(now);
    }

    /// The peer begins nothing more on this session.
    pub(super) fn on_closing(&mut self, id: HostId, key: SessionKey, now: Instant) {
        if let Some(host) = self.hosts.get_mut(&id)
            && let Some(slot) = host.slot(key)
        {
            slot.begin_closing(false);
            self.refuse_hopeless(id, now);
            self.open_for(id, now);
        }
    }

    /// A session is over. One that this end did not close and that answered nothing is a failure.
    pub(super) fn on_ended(
        &mut self,
        id: HostId,
        key: SessionKey,
        reason: Arc<str>,
        now: Instant,
        random: u64,
    ) {
        let Some(host) = self.hosts.get_mut(&id) else {
            return;
        };
        let Some(slot) = host.remove(key) else {
            return;
        };
        self.n_sessions -= 1;
        if !matches!(slot.state, State::Closing { by_us: true }) {
            host.counts.lost += 1;
            host.has_fallen = true;
            if !slot.has_answered {
                host.on_failure(now, reason, random, &self.config);
            }
        }
        self.refuse_hopeless(id, now);
        self.serve_longest(now);
        self.keep_warm(id, now);
    }

    /// A call is done.
    pub(super) fn finish(&mut self, id: HostId, key: SessionKey, answered: Answered, now: Instant) {
        let Some(host) = self.hosts.get_mut(&id) else {
            return;
        };
        if answered == Answered::Yes {
            host.on_answer();
        }
        let Some(slot) = host.slot(key) else { return };
        slot.has_answered |= answered == Answered::Yes;
        slot.n_calls = slot.n_calls.saturating_sub(1);
        slot.idle_since = now;
        self.serve(id, now);
        self.close_unneeded(id);
        self.make_room(now);
    }

    /// No new calls; those that wait and those under way are finished.
    pub(super) fn close(&mut self) {
        self.is_closing = true;
        for id in self.hosts.keys().copied().collect::<Vec<_>>() {
            self.close_unneeded(id);
        }
    }

    pub(super) fn host(&self, id: HostId) -> Option<&Host<S>> {
        self.hosts.get(&id)
    }

    pub(super) fn hosts(&self) -> impl Iterator<Item = (HostId, &Host<S>)> {
        self.hosts.iter().map(|(id, host)| (*id, host))
    }

    pub(super) const fn n_sessions(&self) -> usize {
        self.n_sessions
    }

    /// Closed, and nothing is left to be finished.
    pub(super) const fn is_closed(&self) -> bool {
        self.is_closing && self.n_sessions == 0 && self.n_waiting == 0
    }

    fn connect(&mut self, id: HostId, now: Instant) {
        let key = SessionKey(self.draw());
        if let Some(host) = self.hosts.get_mut(&id) {
            host.slots.push(Slot::connecting(key, now));
            self.n_sessions += 1;
            self.steps.push(Step::Connect(id, key));
        }
    }

    const fn draw(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}
