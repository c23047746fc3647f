//! Calls: who gets a session, who waits, and where room is made.

use std::time::Instant;

use super::{Accounting, Admission, HostId, Step};
use crate::pool::{
    host::{Host, Ticket},
    refusal::{Refusal, Shortage},
};

impl<S: Clone> Accounting<S> {
    /// A call asks for a session. What it is granted is given back by `finish`.
    pub(in crate::pool) fn admit(&mut self, id: HostId, now: Instant) -> Admission<S> {
        let Some(host) = self.hosts.get_mut(&id).filter(|_| !self.is_closing) else {
            return Admission::Refused(Refusal::Closed);
        };
        let is_asked_often = host.is_wanted(now, &self.config);
        host.on_wanted(now);
        // Room goes to those who wait first, so there is none while somebody does.
        if let Some((key, session)) = host.take_session() {
            return Admission::Granted(key, session);
        }
        if is_asked_often {
            // The attempt that is due begins, and this call does not wait for it.
            self.try_again(id, now);
        }
        let Some(host) = self.hosts.get_mut(&id) else {
            return Admission::Refused(Refusal::Closed);
        };
        if let Some(down) = host.refuses(now) {
            let refusal = Refusal::Down {
                reason: down.reason.clone(),
                n_failures: host.n_failures,
                retry_in: down.until.saturating_duration_since(now),
            };
            host.counts.refused += 1;
            return Admission::Refused(refusal);
        }
        let limit = self.config.waiting_max;
        if host.waiting.len() >= limit {
            host.counts.refused += 1;
            return Admission::Refused(Refusal::Full { limit });
        }
        let ticket = Ticket(self.draw());
        if let Some(host) = self.hosts.get_mut(&id) {
            host.waiting.push_back(ticket);
            self.n_waiting += 1;
        }
        self.open_for(id, now);
        self.make_room(now);
        Admission::Waits(ticket)
    }

    /// Whoever held the ticket does not wait any more.
    pub(in crate::pool) fn abandon(&mut self, id: HostId, ticket: Ticket) {
        if let Some(host) = self.hosts.get_mut(&id) {
            let n_before = host.waiting.len();
            host.waiting.retain(|waiting| *waiting != ticket);
            self.n_waiting -= n_before - host.waiting.len();
        }
        self.close_unneeded(id);
    }

    /// Whoever held the ticket has waited in vain; says for what.
    pub(in crate::pool) fn give_up(&mut self, id: HostId, ticket: Ticket) -> Shortage {
        let shortage = self.shortage(id);
        if let Some(host) = self.hosts.get_mut(&id) {
            host.counts.timed_out += 1;
        }
        self.abandon(id, ticket);
        shortage
    }

    fn shortage(&self, id: HostId) -> Shortage {
        let config = &self.config;
        let Some(host) = self.hosts.get(&id) else {
            return Shortage::Connecting;
        };
        if host.n_open() == 0 && host.n_connecting() > 0 {
            return Shortage::Connecting;
        }
        if host.slots.len() >= config.connections_per_host_max {
            return Shortage::OfHost {
                limit: config.connections_per_host_max,
                n_calls: host.n_calls(),
            };
        }
        if self.n_sessions >= config.connections_max {
            return Shortage::InAll {
                limit: config.connections_max,
            };
        }
        Shortage::Connecting
    }

    /// Gives room on this host's sessions to those who wait, in order, and opens more if need be.
    pub(super) fn serve(&mut self, id: HostId, now: Instant) {
        let Some(host) = self.hosts.get_mut(&id) else {
            return;
        };
        while !host.waiting.is_empty()
            && let Some((key, session)) = host.take_session()
            && let Some(ticket) = host.waiting.pop_front()
        {
            self.n_waiting -= 1;
            self.steps.push(Step::Grant(ticket, id, key, session));
        }
        self.open_for(id, now);
    }

    /// Opens as many sessions as those who wait need and the limits allow.
    pub(super) fn open_for(&mut self, id: HostId, now: Instant) {
        while self.n_sessions < self.config.connections_max
            && let Some(host) = self.hosts.get(&id)
            && host.wants_session(now, &self.config)
        {
            self.connect(id, now);
        }
    }

    /// There may be room for another session: it belongs to whoever waits longest for one.
    pub(super) fn serve_longest(&mut self, now: Instant) {
        while self.n_sessions < self.config.connections_max
            && let Some(id) = self.longest_waiting(now)
        {
            self.connect(id, now);
        }
    }

    /// Nobody can be served: those who wait are told, unless an attempt is under way.
    pub(super) fn refuse_hopeless(&mut self, id: HostId, now: Instant) {
        let Some(host) = self.hosts.get_mut(&id) else {
            return;
        };
        let Some(down) = host.down.clone() else {
            return;
        };
        if host.n_open() > 0 || host.n_connecting() > 0 {
            return;
        }
        host.counts.refused += host.waiting.len() as u64;
        self.n_waiting -= host.waiting.len();
        for ticket in std::mem::take(&mut host.waiting) {
            let refusal = Refusal::Down {
                reason: down.reason.clone(),
                n_failures: host.n_failures,
                retry_in: down.until.saturating_duration_since(now),
            };
            self.steps.push(Step::Refuse(ticket, refusal));
        }
    }

    /// Where all `connections_max` are in use, closes one for whoever waits longest, unless enough are
    /// being closed already.
    pub(super) fn make_room(&mut self, now: Instant) {
        if self.n_waiting == 0 || self.n_sessions < self.config.connections_max {
            return;
        }
        let wants = |host: &&Host<S>| host.wants_session(now, &self.config);
        let n_wanting = self.hosts.values().filter(wants).count();
        let n_closing: usize = self.hosts.values().map(Host::n_closing).sum();
        if n_wanting <= n_closing {
            return;
        }
        let Some(for_whom) = self.longest_waiting(now) else {
            return;
        };
        let has_none = |host: &Host<S>| host.slots.is_empty();
        let is_starved = self.hosts.get(&for_whom).is_some_and(has_none);
        let victim = self.longest_idle(for_whom).or_else(|| {
            is_starved
                .then(|| self.least_busy_of_the_richest())
                .flatten()
        });
        if let Some((id, slot_idx)) = victim
            && let Some(host) = self.hosts.get_mut(&id)
            && let Some(slot) = host.slots.get_mut(slot_idx)
        {
            let session = slot.begin_closing(true);
            self.steps.extend(session.map(Step::Close));
        }
    }

    /// A host without any session comes before those that can serve somebody, or what was taken from
    /// the richest for it would go straight back.
    fn longest_waiting(&self, now: Instant) -> Option<HostId> {
        let wanting = self
            .hosts
            .iter()
            .filter(|(_, host)| host.wants_session(now, &self.config));
        let (id, _) = wanting
            .min_by_key(|(_, host)| (!host.slots.is_empty(), host.waiting.front().copied()))?;
        Some(*id)
    }

    fn longest_idle(&self, except: HostId) -> Option<(HostId, usize)> {
        let others = self.hosts.iter().filter(|(id, _)| **id != except);
        let slots = others.flat_map(|(id, host)| {
            let slots = host.slots.iter().enumerate();
            slots.map(move |(slot_idx, slot)| (*id, slot_idx, slot))
        });
        let idle = slots.filter(|(_, _, slot)| slot.is_idle());
        let (id, slot_idx, _) = idle.min_by_key(|(_, _, slot)| slot.idle_since)?;
        Some((id, slot_idx))
    }

    fn least_busy_of_the_richest(&self) -> Option<(HostId, usize)> {
        let (id, host) = self
            .hosts
            .iter()
            .filter(|(_, host)| host.n_open() > 1)
            .max_by_key(|(_, host)| host.n_open())?;
        let open = host
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.is_open());
        let (slot_idx, _) = open.min_by_key(|(_, slot)| slot.n_calls)?;
        Some((*id, slot_idx))
    }
}
