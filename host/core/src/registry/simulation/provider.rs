//! A remote provider: registers with one gateway, sends heartbeats, dies, comes back, moves.

use std::time::{Duration, Instant};

use super::{TTL_MAX, TTL_MIN, gateway::Gateway};
use crate::{
    registry::{
        address::Address,
        directory::RenewError,
        entry::{Draft, Entry},
        lease::Ttl,
        owner::{EntryKey, Incarnation, Owner},
    },
    testing::Rng,
};

#[derive(Debug)]
pub(super) struct Provider {
    owner: Owner,
    draft: Draft,
    ttl: Ttl,
    pub(super) home: usize,
    is_alive: bool,
    /// Has not registered in this life.
    is_new: bool,
    next_beat: Instant,
    /// When the gateway last heard of it.
    heard_at: Option<Instant>,
}

impl Provider {
    pub(super) fn new(rng: &mut Rng, now: Instant, n: usize, home: usize) -> Self {
        let mut draft = Draft::new(format!("p{n}"), format!("s{}", rng.below(2)));
        let address = format!("tcp://p{n}:9090");
        draft.addresses = vec![Address::parse(&address).expect("an address")];
        draft.incarnation = Incarnation(1);
        if rng.chance(30) {
            draft.permissions = ["trade".into()].into();
        }
        let millis = u64::try_from((TTL_MAX - TTL_MIN).as_millis()).expect("short");
        let ttl = TTL_MIN + Duration::from_millis(rng.below(millis + 1));
        Self {
            owner: Owner::Registered(format!("provider-{n}").into()),
            draft,
            ttl: Ttl::new(ttl).expect("within bounds"),
            home,
            is_alive: true,
            is_new: true,
            next_beat: now,
            heard_at: None,
        }
    }

    /// What its gateway must have at `now`: the lease runs since it was last heard.
    pub(super) fn expected(&self, now: Instant) -> Option<EntryKey> {
        let is_leased = self
            .heard_at
            .is_some_and(|at| now < at + self.ttl.duration());
        is_leased.then(|| self.key())
    }

    /// Sends a heartbeat when it is time, registers when the gateway does not know it.
    pub(super) fn step(&mut self, rng: &mut Rng, now: Instant, home: &mut Gateway, loss: u64) {
        if !self.is_alive || now < self.next_beat {
            return;
        }
        self.next_beat = now + self.ttl.heartbeat_interval();
        if rng.chance(loss) {
            return;
        }
        let (instance, life) = (&self.draft.instance, self.draft.incarnation);
        match home.directory.heartbeat(now, &self.owner, instance, life) {
            Ok(_) => {
                if self.is_new {
                    self.register(now, home);
                }
            }
            Err(RenewError::NotHeld { .. }) => self.register(now, home),
            Err(RenewError::StaleIncarnation { .. }) => panic!("nobody else has its name"),
        }
        self.heard_at = Some(now);
        self.is_new = false;
    }

    /// Something happens to it.
    pub(super) fn trouble(&mut self, rng: &mut Rng, now: Instant, gateways: &mut [Gateway]) {
        if !self.is_alive {
            self.start(now);
            return;
        }
        match rng.below(5) {
            // Killed.
            0 | 1 => self.is_alive = false,
            // Restarted at once, perhaps with other content.
            2 => {
                self.draft.weight = 1 + u32::try_from(rng.below(3)).expect("small");
                self.start(now);
            }
            // Ends in good order.
            3 => {
                self.is_alive = false;
                let (instance, life) = (&self.draft.instance, self.draft.incarnation);
                let home = &mut gateways[self.home].directory;
                let told = home.unregister(&self.owner, instance, life);
                assert_eq!(
                    told.is_ok(),
                    self.heard_at
                        .is_some_and(|at| now < at + self.ttl.duration())
                );
                self.heard_at = None;
            }
            // Goes to another gateway; the old one hears nothing more.
            _ => {
                self.home = (self.home + 1) % gateways.len();
                self.heard_at = None;
                self.start(now);
            }
        }
    }

    /// Its gateway has lost what it knew.
    pub(super) fn on_forgotten(&mut self) {
        self.heard_at = None;
    }

    fn start(&mut self, now: Instant) {
        (self.is_alive, self.is_new) = (true, true);
        self.draft.incarnation.0 += 1;
        self.next_beat = now;
    }

    fn register(&self, now: Instant, home: &mut Gateway) {
        let entry = Entry::new(&self.draft).expect("a good entry");
        let registered = home
            .directory
            .register(now, &self.owner, entry, Some(self.ttl));
        registered.expect("nobody else has its name, and there is room");
    }

    fn key(&self) -> EntryKey {
        EntryKey {
            owner: self.owner.clone(),
            instance: self.draft.instance.clone(),
        }
    }
}
