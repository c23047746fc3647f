//! Logs and consumers under random steps, with a crash at any of them, against what must hold: nothing
//! that was stored is lost before it was acknowledged or its dead letter kept, nothing is delivered once
//! its acknowledgement is on disk, and events of one key come in their order.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::*;
use crate::testing::{Rng, epoch};

const KEYS: u64 = 3;
const MEMBERS: u64 = 2;

/// What is on disk: events, and consumers as they were encoded.
#[derive(Clone, Default)]
struct Disk {
    events: BTreeMap<Position, u64>,
    consumer: Vec<u8>,
    state: LogState,
}

struct Simulation {
    rng: Rng,
    now: Instant,
    retention: Retention,
    is_ordered: bool,
    disk: Disk,
    set: ConsumerSet,
    id: ConsumerId,
    held: BTreeMap<Position, MemberId>,
    /// Acknowledged in memory, not on disk yet.
    acknowledging: BTreeSet<Position>,
    /// On disk as acknowledged or dead.
    done: BTreeSet<Position>,
    stored: BTreeSet<Position>,
}

impl Simulation {
    fn new(seed: u64, retention: Retention, is_ordered: bool) -> Self {
        let mut set = ConsumerSet::new(retention);
        let (id, _) = set.open(settings(is_ordered), Position(0));
        let disk = Disk {
            consumer: set.state(id).expect("opened").encode(),
            ..Disk::default()
        };
        Self {
            rng: Rng::new(seed),
            now: epoch(),
            retention,
            is_ordered,
            disk,
            set,
            id,
            held: BTreeMap::new(),
            acknowledging: BTreeSet::new(),
            done: BTreeSet::new(),
            stored: BTreeSet::new(),
        }
    }

    fn step(&mut self) {
        match self.rng.below(100) {
            0..25 => self.append(),
            25..55 => self.take(),
            55..75 => self.acknowledge(),
            75..82 => self.refuse(),
            82..86 => self.leave(),
            86..94 => self.commit(),
            94..97 => self.now += Duration::from_millis(self.rng.below(4000)),
            97..99 => self.bury(),
            _ => self.crash(),
        }
    }

    fn append(&mut self) {
        let limits = LogLimits::default();
        let position = self.disk.state.admit(&limits, 1).expect("there is room");
        let key = self.rng.below(KEYS);
        self.disk.events.insert(position, key);
        self.stored.insert(position);
        self.set.on_stored(position, "t", OrderKey(key), |_| {});
    }

    fn take(&mut self) {
        let wanted = usize::try_from(self.rng.below(6)).expect("small");
        let member = MemberId(self.rng.below(MEMBERS));
        let state = self.set.state_mut(self.id).expect("opened");
        state.handle_timeout(self.now);
        match self.retention {
            Retention::Interest { .. } => self.set.look(self.id, wanted),
            Retention::Limits => {
                let (from, n) = (state.looked().next(), state.room(wanted));
                for (position, key) in self.disk.events.range(from..).take(n) {
                    state.offer(*position, OrderKey(*key));
                }
            }
        }
        let state = self.set.state_mut(self.id).expect("opened");
        for (position, n) in state.deliver(self.now, member, wanted) {
            assert!(n >= 1 && self.stored.contains(&position));
            assert!(
                !self.done.contains(&position),
                "{position} was acknowledged"
            );
            assert!(!self.acknowledging.contains(&position), "{position} again");
            if self.is_ordered {
                self.check_order(position);
            }
            self.held.insert(position, member);
        }
    }

    /// Every event of the same key before it is acknowledged.
    fn check_order(&self, position: Position) {
        let key = self.disk.events.get(&position);
        for (before, _) in self
            .disk
            .events
            .range(..position)
            .filter(|(_, of)| Some(*of) == key)
        {
            let is_over = self.done.contains(before) || self.acknowledging.contains(before);
            assert!(is_over, "{position} before {before}");
        }
    }

    fn pick(&mut self) -> Option<(Position, MemberId)> {
        let n = self.rng.below(self.held.len() as u64);
        let n = usize::try_from(n).expect("small");
        self.held.iter().nth(n).map(|(at, member)| (*at, *member))
    }

    fn acknowledge(&mut self) {
        if let Some((position, _)) = self.pick() {
            self.held.remove(&position);
            let n = self.set.acknowledge(self.id, &[position]);
            assert!(n <= 1);
            if n == 1 {
                self.acknowledging.insert(position);
            }
        }
    }

    fn refuse(&mut self) {
        let ways = [Redelivery::BackOff, Redelivery::Released, Redelivery::Never];
        let way = usize::try_from(self.rng.below(3)).expect("small");
        if let Some((position, _)) = self.pick() {
            self.held.remove(&position);
            let state = self.set.state_mut(self.id).expect("opened");
            state.refuse(self.now, position, ways[way], "no".into());
        }
    }

    fn leave(&mut self) {
        let member = MemberId(self.rng.below(MEMBERS));
        self.set.state_mut(self.id).expect("opened").release(member);
        self.held.retain(|_, holder| *holder != member);
    }

    fn commit(&mut self) {
        let freed = self.set.take_freed();
        for position in freed {
            self.disk.events.remove(&position);
        }
        self.disk.consumer = self.set.state(self.id).expect("opened").encode();
        self.done.append(&mut self.acknowledging);
    }

    /// Dead letters are kept, and then their events are done with.
    fn bury(&mut self) {
        let state = self.set.state_mut(self.id).expect("opened");
        state.handle_timeout(self.now);
        for dead in state.poll_dead() {
            if self.rng.chance(30) {
                let state = self.set.state_mut(self.id).expect("opened");
                state.on_dead_letter_failed(self.now, dead.position);
            } else {
                self.set.on_dead_letter_kept(self.id, dead.position);
                self.acknowledging.insert(dead.position);
                self.held.remove(&dead.position);
            }
        }
    }

    /// All that is not on disk is forgotten.
    fn crash(&mut self) {
        self.set = ConsumerSet::new(self.retention);
        let restored = self.set.restore("c".into(), &self.disk.consumer);
        self.id = restored.expect("as written");
        if matches!(self.retention, Retention::Interest { .. }) {
            for (position, key) in &self.disk.events {
                self.set.restore_event(*position, "t", OrderKey(*key));
            }
        }
        let last = self.disk.state.last;
        let (id, is_changed) = self.set.open(settings(self.is_ordered), last);
        assert_eq!((id, is_changed), (self.id, false));
        self.held.clear();
        self.acknowledging.clear();
    }

    /// All members behave from here on: everything that was stored is acknowledged in the end.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            self.now += Duration::from_secs(10);
            self.take();
            for position in std::mem::take(&mut self.held).into_keys() {
                if self.set.acknowledge(self.id, &[position]) == 1 {
                    self.acknowledging.insert(position);
                }
            }
            self.bury();
            self.commit();
            if self.done.len() == self.stored.len() {
                break;
            }
        }
        assert_eq!(self.done, self.stored);
        if matches!(self.retention, Retention::Interest { .. }) {
            assert!(self.disk.events.is_empty(), "{:?}", self.disk.events);
        }
        let state = self.set.state(self.id).expect("opened");
        assert_eq!(state.acknowledged(), self.disk.state.last);
        assert_eq!((state.n_waiting(), state.n_in_flight()), (0, 0));
    }
}

fn settings(is_ordered: bool) -> ConsumerSettings {
    ConsumerSettings {
        name: "c".into(),
        patterns: vec![TopicPattern::new("t").expect("a pattern")],
        start: ConsumerStart::First,
        ack_wait: Duration::from_secs(3),
        back_off: vec![Duration::from_millis(500), Duration::from_secs(2)],
        deliveries_max: 4,
        in_flight_max: 5,
        is_ordered,
    }
}

fn check(retention: Retention, is_ordered: bool) {
    for seed in 0..200 {
        let mut simulation = Simulation::new(seed, retention, is_ordered);
        for _ in 0..400 {
            simulation.step();
        }
        simulation.settle();
    }
}

#[test]
fn a_log_by_limits_loses_nothing() {
    check(Retention::Limits, false);
}

#[test]
fn a_log_by_limits_keeps_the_order_of_keys() {
    check(Retention::Limits, true);
}

#[test]
fn a_log_by_interest_loses_nothing() {
    check(
        Retention::Interest {
            pending_max: usize::MAX,
        },
        false,
    );
}

#[test]
fn a_log_by_interest_keeps_the_order_of_keys() {
    check(
        Retention::Interest {
            pending_max: usize::MAX,
        },
        true,
    );
}
