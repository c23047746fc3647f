//! One after the other, whatever they weigh.
//!
//! A pick claims the next turn. Who may not be picked loses its turn, and the pick claims one more,
//! so that the rest share its calls evenly instead of its neighbour getting all of them. Claims of
//! several threads interleave; after as many claims as there are members a pick looks around.
//!
//! A member in slow start takes its turn with the chance that is its share.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use super::{Balance, BalancerMemory, PickRequest, Set};
use crate::text::Text;

pub(super) struct RoundRobin {
    set: Arc<Set>,
    turn: AtomicUsize,
}

impl RoundRobin {
    pub(super) fn new(set: Arc<Set>, memory: &BalancerMemory) -> Self {
        // The first of those whose turn it was that is still there.
        let place = |id: &Text| set.members().iter().position(|member| member.id == *id);
        let turn = memory.turns.iter().find_map(place).unwrap_or(0);
        Self {
            set,
            turn: AtomicUsize::new(turn),
        }
    }
}

impl Balance for RoundRobin {
    fn pick(&self, ask: &PickRequest<'_>) -> Option<usize> {
        let n_members = self.set.len();
        let weights = self.set.weights(ask.now);
        for _ in 0..n_members {
            // Wrapping loses the order once in 2^64 picks.
            let member_idx = self.turn.fetch_add(1, Relaxed) % n_members;
            if weights.takes_turn(member_idx, ask.random) && ask.may(member_idx) {
                return Some(member_idx);
            }
        }
        self.set.any(ask.random, ask)
    }

    fn memory(&self) -> BalancerMemory {
        let members = self.set.members();
        let next = self.turn.load(Relaxed) % members.len().max(1);
        let turns = members.iter().cycle().skip(next).take(members.len());
        BalancerMemory {
            turns: turns.map(|member| member.id.clone()).collect(),
            ..BalancerMemory::default()
        }
    }
}

#[cfg(test)]
mod tests;
