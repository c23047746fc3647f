//! Of two members by chance, the one that costs less: the power of two choices (Mitzenmacher 2001)
//! with the peak EWMA of response time, as in Finagle and linkerd.
//!
//! ```text
//! cost = max(response time, 1 us) * (calls in flight + 1) / weight
//! ```
//!
//! Looking at two is enough to avoid the slow and the busy, and unlike looking at all it never
//! sends every caller to the same best member at once.

use std::{sync::Arc, time::Instant};

use super::{Balance, PickRequest, Set, hash};

pub(super) struct P2c {
    set: Arc<Set>,
}

impl P2c {
    pub(super) const fn new(set: Arc<Set>) -> Self {
        Self { set }
    }

    /// The cost of a member, times its weight.
    fn toll(&self, member_idx: usize, now: Instant) -> f64 {
        let Some(member) = self.set.get(member_idx) else {
            return f64::INFINITY;
        };
        // What was forgotten costs no less than this, so that calls in flight still count.
        let latency_us = f64::from(member.load.latency_us(now).max(1.0));
        latency_us * (f64::from(member.load.in_flight()) + 1.0)
    }

    fn is_candidate(&self, member_idx: usize, ask: &PickRequest<'_>) -> bool {
        self.set.takes_part(member_idx) && ask.may(member_idx)
    }

    /// Two different places, each pair as likely as any other.
    fn draw(&self, ask: &PickRequest<'_>) -> Option<(usize, usize)> {
        let n_members = self.set.len();
        if n_members < 2 {
            return None;
        }
        let first = hash::place(hash::nth(ask.random, 1), n_members);
        let second = hash::place(hash::nth(ask.random, 2), n_members - 1);
        let second = second + usize::from(second >= first);
        let is_pair = self.is_candidate(first, ask) && self.is_candidate(second, ask);
        is_pair.then_some((first, second))
    }

    /// As `draw`, among those that may be picked. The second is absent when there is only one.
    fn draw_around(&self, ask: &PickRequest<'_>) -> Option<(usize, Option<usize>)> {
        let mut first = None;
        let mut second = None;
        let mut n_seen = 0;
        for member_idx in (0..self.set.len()).filter(|idx| self.is_candidate(*idx, ask)) {
            n_seen += 1;
            // A sample of two in one pass (Vitter's algorithm R).
            let number = hash::nth(ask.random, 2 + n_seen);
            match hash::below(number, n_seen) {
                _ if first.is_none() => first = Some(member_idx),
                _ if second.is_none() => second = Some(member_idx),
                0 => first = Some(member_idx),
                1 => second = Some(member_idx),
                _ => {}
            }
        }
        match (first?, second) {
            // In the order of the set so far; a draw has none.
            (first, Some(second)) if ask.random.is_multiple_of(2) => Some((second, Some(first))),
            (first, second) => Some((first, second)),
        }
    }
}

impl Balance for P2c {
    fn pick(&self, ask: &PickRequest<'_>) -> Option<usize> {
        let (first, second) = match self.draw(ask) {
            Some((first, second)) => (first, second),
            None => match self.draw_around(ask) {
                Some((first, Some(second))) => (first, second),
                Some((only, None)) => return Some(only),
                None => return self.set.any(ask.random, ask),
            },
        };
        // Equal costs leave the first: which of a pair is first is chance.
        let weights = self.set.weights(ask.now);
        let [first_weight, second_weight] = [first, second].map(|idx| weights.of(idx) as f64);
        let [first_toll, second_toll] = [first, second].map(|idx| self.toll(idx, ask.now));
        // Both sides times both weights: two divisions less.
        let is_second = second_toll * first_weight < first_toll * second_weight;
        Some(if is_second { second } else { first })
    }
}

#[cfg(test)]
mod tests;
