//! By weight, exactly: of as many picks as the weights add up to, each member gets its weight,
//! spread over the period (3:2:1 is `a b a c b a`, not `a a a b b c`). nginx's smooth weighted
//! round robin: each pick owes every member its weight, takes whom it owes most, and lets that one
//! pay for all.
//!
//! The debts stand behind a mutex: they must change together, or two threads pick the same member
//! and the shares are exact no more. It is held for a few nanoseconds per member and never across
//! an await. A table of the period read by an atomic counter would do without, but it would be as
//! long as the weights are large, and weights change with time in slow start.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Balance, BalancerMemory, PickRequest, Set};
use crate::text::Text;

pub(super) struct Weighted {
    set: Arc<Set>,
    credits: Mutex<Credits>,
}

/// What is owed to each of several parties.
#[derive(Debug)]
pub(super) struct Credits(Vec<i64>);

impl Weighted {
    pub(super) fn new(set: Arc<Set>, memory: &BalancerMemory) -> Self {
        let ids = set.members().iter().map(|member| &member.id);
        let credits = Credits::new(ids, &memory.credits);
        Self {
            set,
            credits: Mutex::new(credits),
        }
    }
}

impl Balance for Weighted {
    fn pick(&self, ask: &PickRequest<'_>) -> Option<usize> {
        let weights = self.set.weights(ask.now).of_all(ask);
        // A panic in `may` leaves debts that add up to something else; shares suffer for a period.
        let mut credits = self.credits.lock().unwrap_or_else(PoisonError::into_inner);
        let picked = credits.take(weights);
        drop(credits);
        picked.or_else(|| self.set.any(ask.random, ask))
    }

    fn memory(&self) -> BalancerMemory {
        let credits = self.credits.lock().unwrap_or_else(PoisonError::into_inner);
        let ids = self.set.members().iter().map(|member| &member.id);
        BalancerMemory {
            credits: credits.by_name(ids),
            ..BalancerMemory::default()
        }
    }
}

impl Credits {
    /// Nothing owed, or what `memory` says is owed to parties of the same name.
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a Text>, memory: &[(Text, i64)]) -> Self {
        let owed = |name: &Text| {
            let found = memory.iter().find(|(known, _)| known == name);
            found.map_or(0, |(_, owed)| *owed)
        };
        Self(names.map(owed).collect())
    }

    pub(super) fn by_name<'a>(&self, names: impl Iterator<Item = &'a Text>) -> Vec<(Text, i64)> {
        names.cloned().zip(self.0.iter().copied()).collect()
    }

    /// The next of the parties that take part, given with their weights above 0. The others are
    /// owed nothing meanwhile.
    pub(super) fn take(&mut self, weights: impl Iterator<Item = (usize, u64)>) -> Option<usize> {
        let mut total = 0_i64;
        let mut most = None;
        let mut highest = i64::MIN;
        for (index, weight) in weights {
            let owed = self.0.get_mut(index)?;
            // At most 2^32 * 1024 each, so that 2^20 of them add up.
            *owed = owed.saturating_add_unsigned(weight);
            total = total.saturating_add_unsigned(weight);
            if *owed > highest {
                (most, highest) = (Some(index), *owed);
            }
        }
        let owed = self.0.get_mut(most?)?;
        *owed = owed.saturating_sub(total);
        most
    }
}

#[cfg(test)]
mod tests;
