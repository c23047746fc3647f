//! Whoever has the fewest calls in flight for its weight. Among equals chance decides by weight, so
//! that an idle set is loaded by weight and not from the front.

use std::sync::Arc;

use super::{Ask, Balance, Set, hash};

pub(super) struct LeastConnections {
    set: Arc<Set>,
}

impl LeastConnections {
    pub(super) const fn new(set: Arc<Set>) -> Self {
        Self { set }
    }
}

impl Balance for LeastConnections {
    fn pick(&self, ask: &Ask<'_>) -> Option<usize> {
        let mut least = f64::INFINITY;
        let mut picked = None;
        // Of the equals so far: a newcomer takes over with its share of their weight.
        let mut equals_weight = 0;
        for (member_idx, member) in self.set.members().iter().enumerate() {
            let weight = self.set.weight_at(member, ask.now);
            if weight == 0 || !ask.may(member_idx) {
                continue;
            }
            // Equal fractions are equal numbers: a division is rounded correctly.
            let load = f64::from(member.load.in_flight()) / weight as f64;
            if load > least {
                continue;
            }
            if load < least {
                (least, equals_weight) = (load, 0);
            }
            equals_weight += weight;
            let number = hash::nth(ask.random, member_idx as u64);
            if hash::below(number, equals_weight) < weight {
                picked = Some(member_idx);
            }
        }
        picked.or_else(|| self.set.any(ask.random, ask))
    }
}

#[cfg(test)]
mod tests;
