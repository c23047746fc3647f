//! Links between gateways that lose, delay and reorder messages, and that can be cut.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::DELAY_MAX;
use crate::{
    registry::{
        directory::{PeerChange, ToldEntry},
        watch::Cursor,
    },
    testing::Rng,
};

/// What one gateway says to another.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) from: usize,
    pub(super) to: usize,
    /// The life of whoever asked, and which of its questions this is.
    pub(super) question: (u64, u64),
    pub(super) body: Body,
}

#[derive(Debug, Clone)]
pub(super) enum Body {
    Hello,
    Welcome,
    /// Changes since there, or everything.
    Ask(Option<Cursor>),
    Snapshot(Vec<ToldEntry>, Cursor),
    Changes(Cursor, Vec<PeerChange>, Cursor),
}

#[derive(Debug)]
pub(super) struct Network {
    n: usize,
    links: Vec<Link>,
    on_the_way: BTreeMap<(Instant, u64), Message>,
    next_serial: u64,
}

/// One direction between two gateways.
#[derive(Debug, Clone, Copy)]
struct Link {
    is_cut: bool,
    loss_percent: u64,
    /// Since when it is neither cut nor loses anything.
    good_since: Option<Instant>,
}

impl Network {
    pub(super) fn new(now: Instant, n: usize) -> Self {
        let link = Link {
            is_cut: false,
            loss_percent: 0,
            good_since: Some(now),
        };
        Self {
            n,
            links: vec![link; n * n],
            on_the_way: BTreeMap::new(),
            next_serial: 0,
        }
    }

    /// Changes the link both ways, or one way.
    pub(super) fn set(&mut self, now: Instant, from: usize, to: usize, is_cut: bool, loss: u64) {
        let link = &mut self.links[from * self.n + to];
        let is_good = !is_cut && loss == 0;
        let good_since = link.good_since.unwrap_or(now);
        *link = Link {
            is_cut,
            loss_percent: loss,
            good_since: is_good.then_some(good_since),
        };
    }

    pub(super) fn heal(&mut self, now: Instant) {
        for from in 0..self.n {
            for to in 0..self.n {
                self.set(now, from, to, false, 0);
            }
        }
    }

    /// Since when both directions are good.
    pub(super) fn good_since(&self, a: usize, b: usize) -> Option<Instant> {
        let there = self.links[a * self.n + b].good_since?;
        let back = self.links[b * self.n + a].good_since?;
        Some(there.max(back))
    }

    pub(super) fn send(&mut self, now: Instant, rng: &mut Rng, message: Message) {
        let link = self.links[message.from * self.n + message.to];
        if link.is_cut || rng.chance(link.loss_percent) {
            return;
        }
        let millis = u64::try_from(DELAY_MAX.as_millis()).expect("short");
        self.next_serial += 1;
        let arrival = now + Duration::from_millis(rng.below(millis + 1));
        self.on_the_way.insert((arrival, self.next_serial), message);
    }

    /// A message that has arrived at `now`. A cut takes what is under way.
    pub(super) fn receive(&mut self, now: Instant) -> Option<Message> {
        loop {
            let arrival = self.on_the_way.first_entry()?;
            if arrival.key().0 > now {
                return None;
            }
            let message = arrival.remove();
            if !self.links[message.from * self.n + message.to].is_cut {
                return Some(message);
            }
        }
    }
}
