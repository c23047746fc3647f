//! One message on its way: which of its fragments are still to be sent, are on their way, or lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::Sack;
use crate::wire::{
    endpoint::SendId,
    fragment::{Numbering, Split},
};

/// A datagram is lost when one sent this much later has arrived (RFC 9002 section 6.1.1).
const REORDERING: u64 = 3;

#[derive(Debug)]
pub(super) struct Message {
    pub(super) send_id: SendId,
    pub(super) split: Split,
    pub(super) numbering: Numbering,
    /// Fragments from here on were not sent yet.
    pub(super) next_new: u32,
    pub(super) lost: BTreeSet<u32>,
    /// On their way, with feature `wide`.
    pub(super) flights: BTreeMap<u32, Flight>,
    /// Waits in vain since the peer last reported something new.
    pub(super) n_silent: u32,
    pub(super) deadline: Option<Instant>,
    /// When the peer last reported something new, or the first transmission.
    pub(super) progress_at: Option<Instant>,
    /// Of the receiver's last report.
    pub(super) epoch: u64,
    pub(super) is_ready: bool,
}

/// One datagram on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flight {
    pub(super) sequence: u64,
    pub(super) at: Instant,
    pub(super) is_repeated: bool,
}

impl Message {
    pub(super) const fn new(send_id: SendId, split: Split, numbering: Numbering) -> Self {
        Self {
            send_id,
            split,
            numbering,
            next_new: 0,
            lost: BTreeSet::new(),
            flights: BTreeMap::new(),
            n_silent: 0,
            deadline: None,
            progress_at: None,
            epoch: 0,
            is_ready: true,
        }
    }

    pub(super) fn has_next(&self) -> bool {
        !self.lost.is_empty() || self.next_new < self.split.total()
    }

    /// The next fragment to transmit, and whether it was transmitted before.
    pub(super) fn next_fragment(&mut self) -> Option<(u32, bool)> {
        if let Some(index) = self.lost.pop_first() {
            return Some((index, true));
        }
        if self.next_new >= self.split.total() {
            return None;
        }
        self.next_new += 1;
        Some((self.next_new - 1, self.n_silent > 0))
    }

    /// Everything is to be sent again; how many datagrams were on their way.
    pub(super) fn restart(&mut self) -> usize {
        let n_flights = self.flights.len();
        self.flights.clear();
        self.lost.clear();
        self.next_new = 0;
        n_flights
    }

    /// What is known to have arrived is not on its way and not to be sent again.
    pub(super) fn take_arrived(&mut self, sack: &Sack) -> Vec<Flight> {
        self.lost.retain(|index| !sack.has(*index));
        self.flights
            .extract_if(.., |index, _| sack.has(*index))
            .map(|(_, flight)| flight)
            .collect()
    }

    /// What was sent well before `sequence`, which has arrived, and no later than `at`, is to be
    /// sent again.
    pub(super) fn take_lost_before(&mut self, sequence: u64, at: Instant) -> Vec<u64> {
        let is_lost = |_: &u32, flight: &mut Flight| {
            flight.sequence + REORDERING <= sequence && flight.at <= at
        };
        let lost: Vec<(u32, Flight)> = self.flights.extract_if(.., is_lost).collect();
        self.lost.extend(lost.iter().map(|(index, _)| *index));
        lost.into_iter()
            .map(|(_, flight)| flight.sequence)
            .collect()
    }
}
