//! Whoever has the fewest calls in flight for its weight. Among equals chance decides by weight, so
//! that an idle set is loaded by weight and not from the front.

use std::{
    cmp::Ordering::{self, Equal, Greater, Less},
    sync::Arc,
};

use super::{Balance, PickRequest, Set, hash};

pub(super) struct LeastConnections {
    set: Arc<Set>,
}

impl LeastConnections {
    pub(super) const fn new(set: Arc<Set>) -> Self {
        Self { set }
    }
}

impl Balance for LeastConnections {
    fn pick(&self, ask: &PickRequest<'_>) -> Option<usize> {
        // Calls in flight and weight of the least loaded so far, and the weight of all its equals.
        let mut least: Option<(u32, u64)> = None;
        let mut equals_weight = 0;
        let mut picked = None;
        for (member_idx, weight) in self.set.weights(ask.now).of_all(ask) {
            let in_flight = self.set.get(member_idx)?.load.in_flight();
            let order = least.map_or(Less, |least| compare((in_flight, weight), least));
            match order {
                Less => {
                    least = Some((in_flight, weight));
                    (picked, equals_weight) = (Some(member_idx), weight);
                }
                Equal => {
                    // A newcomer takes over with its share of the weight of all equals.
                    equals_weight += weight;
                    let number = hash::nth(ask.random, member_idx as u64);
                    if hash::below(number, equals_weight) < weight {
                        picked = Some(member_idx);
                    }
                }
                Greater => {}
            }
        }
        picked.or_else(|| self.set.any(ask.random, ask))
    }
}

/// Calls in flight for their weight, as fractions.
fn compare((calls_a, weight_a): (u32, u64), (calls_b, weight_b): (u32, u64)) -> Ordering {
    let [left, right] = [(calls_a, weight_b), (calls_b, weight_a)]
        .map(|(calls, weight)| u128::from(calls) * u128::from(weight));
    left.cmp(&right)
}

#[cfg(test)]
mod tests;
