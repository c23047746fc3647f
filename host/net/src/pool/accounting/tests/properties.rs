//! Claims that hold whatever happens, in whatever order.

use super::*;

/// A world that does something at random, and what must be true after it.
struct World {
    fixture: Fixture,
    rng: Rng,
    hosts: Vec<HostId>,
    /// Sessions that are open or closing, as their tasks know them.
    live: Vec<(HostId, SessionKey)>,
    /// Calls under way.
    calls: Vec<(HostId, SessionKey)>,
    /// Calls that wait, and for which host.
    waiting: BTreeSet<(HostId, Ticket)>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut fixture = Fixture::new(config());
        let hosts = (0..4).map(|_| fixture.host()).collect();
        Self {
            fixture,
            rng: Rng::new(seed),
            hosts,
            live: Vec::new(),
            calls: Vec::new(),
            waiting: BTreeSet::new(),
        }
    }

    fn pick(&mut self, n: usize) -> usize {
        usize::try_from(self.rng.below(n as u64)).expect("below a length")
    }

    fn act(&mut self) {
        match self.rng.below(8) {
            0..=2 => {
                let host_idx = self.pick(self.hosts.len());
                let host = self.hosts[host_idx];
                match self.fixture.admit(host) {
                    Admission::Granted(key, _) => self.calls.push((host, key)),
                    Admission::Waits(ticket) => {
                        self.waiting.insert((host, ticket));
                    }
                    Admission::Refused(_) => {}
                }
            }
            3 if !self.calls.is_empty() => {
                let call_idx = self.pick(self.calls.len());
                let (host, key) = self.calls.swap_remove(call_idx);
                self.fixture.finish(host, key);
            }
            4 if !self.fixture.connecting.is_empty() => {
                let (host, _) = self.fixture.connecting[0];
                let key = self.fixture.connect();
                self.live.push((host, key));
            }
            5 if !self.fixture.connecting.is_empty() => self.fixture.fail(),
            6 if !self.live.is_empty() => {
                let live_idx = self.pick(self.live.len());
                let (host, key) = self.live[live_idx];
                let is_closing = self.fixture.closing.contains(&key.0);
                // Most sessions end because they are closed.
                if is_closing || self.rng.chance(10) {
                    self.live.swap_remove(live_idx);
                    self.calls.retain(|(_, on)| *on != key);
                    self.fixture.end(host, key);
                }
            }
            7 if self.rng.chance(20) => {
                if let Some((host, ticket)) = self.waiting.pop_first() {
                    self.fixture.accounting.abandon(host, ticket);
                    self.fixture.settle();
                }
            }
            _ => {
                let time = ms(self.rng.below(40_000));
                self.fixture.pass(time);
            }
        }
        self.collect();
    }

    fn collect(&mut self) {
        for (ticket, host, key) in std::mem::take(&mut self.fixture.granted) {
            assert!(self.waiting.remove(&(host, ticket)), "granted once");
            let is_first = self
                .waiting
                .iter()
                .all(|(other, waits)| *other != host || *waits > ticket);
            assert!(is_first, "{ticket:?} overtook somebody");
            self.calls.push((host, key));
        }
        for (ticket, _) in std::mem::take(&mut self.fixture.refused) {
            self.waiting.retain(|(_, waits)| *waits != ticket);
        }
    }

    fn check(&self) {
        let config = config();
        let accounting = &self.fixture.accounting;
        let n_all = self.live.len() + self.fixture.connecting.len();
        assert_eq!(accounting.n_sessions(), n_all);
        assert!(n_all <= config.connections_max);
        assert_eq!(accounting.n_waiting, self.waiting.len());
        for (id, host) in accounting.hosts() {
            assert!(host.slots.len() <= config.connections_per_host_max);
            assert!(host.waiting.len() <= config.waiting_max);
            assert_eq!(
                host.n_calls(),
                self.calls.iter().filter(|(on, _)| *on == id).count()
            );
            for slot in &host.slots {
                assert!(slot.n_calls <= config.calls_per_session_max);
                let has_room = slot.is_open() && slot.n_calls < config.calls_per_session_max;
                assert!(
                    !has_room || host.waiting.is_empty(),
                    "room is left, somebody waits"
                );
            }
        }
    }

    /// Calls end, attempts succeed, sessions close: everybody who waits must be served.
    fn calm(&mut self) {
        for _ in 0..1000 {
            if self.waiting.is_empty() {
                return;
            }
            if !self.fixture.connecting.is_empty() {
                let (host, _) = self.fixture.connecting[0];
                let key = self.fixture.connect();
                self.live.push((host, key));
            }
            if let Some((host, key)) = self.calls.pop() {
                self.fixture.finish(host, key);
            }
            let closing = self.fixture.closing.clone();
            for (host, key) in self.live.clone() {
                let is_idle = self.calls.iter().all(|(_, on)| *on != key);
                if closing.contains(&key.0) && is_idle {
                    self.live.retain(|(_, live)| *live != key);
                    self.fixture.end(host, key);
                }
            }
            self.fixture.pass(ms(1000));
            self.collect();
        }
        panic!(
            "{:?} still wait: {:?}",
            self.waiting, self.fixture.accounting
        );
    }
}

#[test]
fn limits_hold_nobody_overtakes_and_nobody_is_forgotten() {
    for seed in 0..2000 {
        let mut world = World::new(seed);
        for _ in 0..200 {
            world.act();
            world.check();
        }
        world.calm();
    }
}

#[test]
fn the_next_timeout_is_never_in_the_past_after_it_was_handled() {
    for seed in 0..500 {
        let mut world = World::new(seed);
        for _ in 0..200 {
            world.act();
            world.fixture.pass(Duration::ZERO);
            world.collect();
            let next = world.fixture.accounting.poll_timeout(world.fixture.now);
            assert!(next.is_none_or(|next| next > world.fixture.now));
        }
    }
}
