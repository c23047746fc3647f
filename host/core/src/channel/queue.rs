//! Events on their way out of a channel: which one is sent next, and what becomes of one that failed.
//!
//! ```text
//! push ─▶ waiting ─ poll_send ─▶ in flight ─ on_acknowledged ─▶ done
//!            ▲                       │
//!            └──── may be repeated ──┴─ on_failed ─▶ given up
//! ```
//!
//! After a failure nothing is sent until what is in flight has ended, and what failed goes back to where
//! it was in the order. So the order of those that failed is kept; one that was acknowledged meanwhile is
//! ahead of them.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

/// What becomes of an event of which nobody knows whether it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChannelDelivery {
    /// It is not sent again.
    #[default]
    AtMostOnce,
    /// It is sent again until a broker acknowledges it.
    AtLeastOnce,
}

/// Why an event was not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendFailure {
    /// Nothing of it left: there was no connection.
    NotSent,
    /// It was sent, or may have been.
    Unknown,
    /// It is the event that cannot be taken, wherever it is sent.
    Refused,
}

/// How much may be under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelQueueBounds {
    /// Events that were sent and not acknowledged.
    pub in_flight_max: usize,
    /// Events that wait, those in flight left out.
    pub waiting_max: usize,
}

/// Events of one channel, each under a number that counts up.
#[derive(Debug)]
pub struct ChannelQueue<T> {
    delivery: ChannelDelivery,
    bounds: ChannelQueueBounds,
    waiting: VecDeque<Pending<T>>,
    in_flight: BTreeMap<u64, Pending<T>>,
    next_number: u64,
    /// Something has failed, and what is in flight has not ended.
    is_held: bool,
}

#[derive(Debug)]
struct Pending<T> {
    number: u64,
    item: T,
    deadline: Option<Instant>,
}

impl<T> ChannelQueue<T> {
    #[must_use]
    pub fn new(delivery: ChannelDelivery, bounds: ChannelQueueBounds) -> Self {
        Self {
            delivery,
            bounds,
            waiting: VecDeque::new(),
            in_flight: BTreeMap::new(),
            next_number: 0,
            is_held: false,
        }
    }

    #[must_use]
    pub fn has_room(&self) -> bool {
        self.waiting.len() < self.bounds.waiting_max
    }

    #[must_use]
    pub fn n_waiting(&self) -> usize {
        self.waiting.len()
    }

    #[must_use]
    pub fn n_in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Takes an event, to be given up when it is not acknowledged by `deadline`.
    ///
    /// # Errors
    /// The event itself where there is no room.
    pub fn try_push(&mut self, item: T, deadline: Option<Instant>) -> Result<(), T> {
        if !self.has_room() {
            return Err(item);
        }
        let number = self.next_number;
        self.next_number += 1;
        self.waiting.push_back(Pending {
            number,
            item,
            deadline,
        });
        Ok(())
    }

    /// The next event to be sent and its number; none where nothing waits or may leave. To be asked only
    /// while a broker is well.
    pub fn poll_send(&mut self) -> Option<(u64, &T)> {
        self.is_held &= !self.in_flight.is_empty();
        if self.is_held || self.in_flight.len() >= self.bounds.in_flight_max {
            return None;
        }
        let pending = self.waiting.pop_front()?;
        let number = pending.number;
        let pending = self.in_flight.entry(number).or_insert(pending);
        Some((number, &pending.item))
    }

    /// A broker has acknowledged event `number`. Gives it back; none where it has ended before.
    pub fn on_acknowledged(&mut self, number: u64) -> Option<T> {
        self.in_flight.remove(&number).map(|pending| pending.item)
    }

    /// Event `number` was not acknowledged. Gives it back where it is given up.
    pub fn on_failed(&mut self, number: u64, failure: SendFailure) -> Option<T> {
        let pending = self.in_flight.remove(&number)?;
        let is_repeated = match (failure, self.delivery) {
            (SendFailure::Refused, _) => return Some(pending.item),
            (SendFailure::NotSent, _) => true,
            (SendFailure::Unknown, ChannelDelivery::AtLeastOnce) => true,
            (SendFailure::Unknown, ChannelDelivery::AtMostOnce) => false,
        };
        self.is_held = true;
        if !is_repeated {
            return Some(pending.item);
        }
        let at = self.waiting.partition_point(|other| other.number < number);
        self.waiting.insert(at, pending);
        None
    }

    /// Events whose time is over and that are not in flight. Those in flight are told by their broker.
    pub fn take_expired(&mut self, now: Instant) -> Vec<T> {
        let is_over = |pending: &Pending<T>| pending.deadline.is_some_and(|at| now >= at);
        if !self.waiting.iter().any(is_over) {
            return Vec::new();
        }
        let waiting = std::mem::take(&mut self.waiting);
        let (expired, left): (VecDeque<_>, VecDeque<_>) = waiting.into_iter().partition(is_over);
        self.waiting = left;
        expired.into_iter().map(|pending| pending.item).collect()
    }

    /// When the next event that waits is given up.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadlines = self.waiting.iter().filter_map(|pending| pending.deadline);
        deadlines.min()
    }

    /// Everything that has not ended, in order: the channel closes.
    pub fn drain(&mut self) -> Vec<T> {
        let in_flight = std::mem::take(&mut self.in_flight).into_values();
        let mut all: Vec<_> = in_flight.chain(self.waiting.drain(..)).collect();
        all.sort_by_key(|pending| pending.number);
        all.into_iter().map(|pending| pending.item).collect()
    }
}

#[cfg(test)]
mod tests;
