//! What happens without calls: idle sessions are closed, warm ones kept, addresses tried again.

use std::time::Instant;

use super::{Accounting, HostId, Step};
use crate::pool::host::{Down, Host};

impl<S: Clone> Accounting<S> {
    /// When `handle_timeout` is due next.
    pub(in crate::pool) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let hosts = self.hosts.values();
        hosts.filter_map(|host| self.host_timeout(host, now)).min()
    }

    /// Does what is due at `now`.
    pub(in crate::pool) fn handle_timeout(&mut self, now: Instant) {
        for id in self.hosts.keys().copied().collect::<Vec<_>>() {
            self.close_expired(id, now);
            self.try_again(id, now);
            self.put_off(id, now);
            self.keep_warm(id, now);
        }
    }

    /// Opens what is missing of `warm`; never at the price of others.
    pub(super) fn keep_warm(&mut self, id: HostId, now: Instant) {
        while !self.is_closing
            && self.n_sessions < self.config.connections_max
            && let Some(host) = self.hosts.get(&id)
            && host.n_users > 0
            && host.down.is_none()
            && host.slots.len() < self.config.warm
        {
            self.connect(id, now);
        }
    }

    /// Closes sessions without calls of a host that nobody calls, or of a pool that is closing.
    pub(super) fn close_unneeded(&mut self, id: HostId) {
        let needs = |host: &Host<S>| host.n_users > 0 || !host.waiting.is_empty();
        let Some(host) = self.hosts.get(&id) else {
            return;
        };
        if (self.is_closing && host.waiting.is_empty()) || !needs(host) {
            self.close_idle(id);
        }
    }

    pub(super) fn close_idle(&mut self, id: HostId) {
        let Some(host) = self.hosts.get_mut(&id) else {
            return;
        };
        let idle = host.slots.iter_mut().filter(|slot| slot.is_idle());
        let sessions = idle.filter_map(|slot| slot.begin_closing(true));
        self.steps.extend(sessions.map(Step::Close));
    }

    fn host_timeout(&self, host: &Host<S>, now: Instant) -> Option<Instant> {
        let idle = host.idle_at(self.config.idle_timeout, self.config.warm);
        let again = host
            .down
            .as_ref()
            .filter(|down| self.waits_for_pause(host, down, now))
            .map(|down| down.until);
        [idle, again].into_iter().flatten().min()
    }

    /// Whether the end of the pause is a reason to try again.
    fn waits_for_pause(&self, host: &Host<S>, down: &Down, now: Instant) -> bool {
        // Those who wait for room after the pause get it from `serve_longest`.
        let waits_for_room = !host.waiting.is_empty() && down.until <= now;
        !self.is_closing
            && !waits_for_room
            && host.n_open() + host.n_connecting() == 0
            && host.is_wanted(now, &self.config)
    }

    fn close_expired(&mut self, id: HostId, now: Instant) {
        let (timeout, warm) = (self.config.idle_timeout, self.config.warm);
        while let Some(host) = self.hosts.get_mut(&id)
            && host.idle_at(timeout, warm).is_some_and(|at| at <= now)
        {
            let idle = host.slots.iter_mut().filter(|slot| slot.is_idle());
            let Some(slot) = idle.min_by_key(|slot| slot.idle_since) else {
                return;
            };
            let session = slot.begin_closing(true);
            self.steps.extend(session.map(Step::Close));
        }
    }

    /// Tries an address again whose pause is over, so that the next call finds it open.
    pub(super) fn try_again(&mut self, id: HostId, now: Instant) {
        if self.n_sessions < self.config.connections_max && self.is_due(id, now) {
            self.connect(id, now);
        }
    }

    /// There is no room for an attempt that no call waits for.
    fn put_off(&mut self, id: HostId, now: Instant) {
        if self.is_due(id, now)
            && let Some(host) = self.hosts.get_mut(&id)
            && let Some(down) = &mut host.down
        {
            down.until = now + self.config.backoff_max;
        }
    }

    /// Whether the pause is over and nothing is tried yet.
    fn is_due(&self, id: HostId, now: Instant) -> bool {
        let Some(host) = self.hosts.get(&id) else {
            return false;
        };
        let due = host.down.as_ref().filter(|down| down.until <= now);
        due.is_some_and(|down| self.waits_for_pause(host, down, now))
    }
}
