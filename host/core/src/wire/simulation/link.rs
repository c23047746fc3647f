//! A link in memory that loses, repeats, reorders and delays datagrams, as its seed has it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::testing::Rng;

/// How bad a link is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Faults {
    pub(super) loss_percent: u64,
    pub(super) duplicate_percent: u64,
    /// These datagrams are held back for another three delays.
    pub(super) reorder_percent: u64,
    pub(super) delay_us_max: u64,
}

#[derive(Debug)]
pub(super) struct Link {
    faults: Faults,
    rng: Rng,
    on_the_way: BTreeMap<(Instant, u64), Datagram>,
    next_serial: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Datagram {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) octets: Bytes,
}

impl Faults {
    pub(super) const TEN_PERCENT: Self = Self {
        loss_percent: 10,
        duplicate_percent: 10,
        reorder_percent: 10,
        delay_us_max: 2_000,
    };

    pub(super) fn random(rng: &mut Rng) -> Self {
        Self {
            loss_percent: rng.below(21),
            duplicate_percent: rng.below(21),
            reorder_percent: rng.below(21),
            delay_us_max: 1 + rng.below(40_000),
        }
    }
}

impl Link {
    pub(super) fn new(faults: Faults, seed: u64) -> Self {
        let rng = Rng::new(seed);
        Self {
            faults,
            rng,
            on_the_way: BTreeMap::new(),
            next_serial: 0,
        }
    }

    pub(super) fn send(&mut self, now: Instant, datagram: Datagram) {
        let faults = self.faults;
        let copies = 1 + u64::from(self.rng.chance(faults.duplicate_percent));
        for _ in 0..copies {
            if self.rng.chance(faults.loss_percent) {
                continue;
            }
            let mut delay_us = 1 + self.rng.below(faults.delay_us_max);
            if self.rng.chance(faults.reorder_percent) {
                delay_us += 3 * faults.delay_us_max;
            }
            self.next_serial += 1;
            let key = (now + Duration::from_micros(delay_us), self.next_serial);
            self.on_the_way.insert(key, datagram.clone());
        }
    }

    pub(super) fn next_arrival(&self) -> Option<Instant> {
        self.on_the_way.first_key_value().map(|((at, _), _)| *at)
    }

    /// A datagram that arrives at `now` or before.
    pub(super) fn receive(&mut self, now: Instant) -> Option<Datagram> {
        let arrival = self.on_the_way.first_entry()?;
        (arrival.key().0 <= now).then(|| arrival.remove())
    }
}
