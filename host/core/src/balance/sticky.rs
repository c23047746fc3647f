//! A key keeps its member while that one is available.
//!
//! A key that is new goes where weighted rendezvous hashing sends it: gateways that share no state
//! agree, and a restart changes nothing. From then on a table remembers its member, because hashing
//! alone would move one key in n to each member that joins, and back when it leaves. When the
//! member may not be picked, the key goes where hashing sends it among the rest, and stays there: a
//! retry elsewhere moves it too, since that is where the caller's state is from then on.
//!
//! The table is bounded: 16384 slots, 128 KiB for a service, handed on to the next set. Two keys
//! that meet in a slot push each other out; the one that is out goes by hashing, and moves only if
//! the set has changed since. Two keys that are confused (32 bits of hash beside the slot's 14)
//! share a member, which does no harm.
//!
//! A member of weight 0 keeps the keys that it has and gets no new ones: it drains. Slow start does
//! not apply. A call without a key goes by chance and is not remembered.

use std::sync::Arc;

use super::{
    Balance, BalancerMemory, PickRequest, Set, hash,
    sticky_table::{StickyTable, half},
};

pub(super) struct Sticky {
    set: Arc<Set>,
    /// Of the members' ids, in the set's order.
    hashes: Box<[u64]>,
    table: Arc<StickyTable>,
}

impl Sticky {
    pub(super) fn new(set: Arc<Set>, memory: &BalancerMemory) -> Self {
        let ids = set.members().iter().map(|member| member.id.as_bytes());
        Self {
            hashes: ids.map(hash).collect(),
            table: memory.table.clone().unwrap_or_default(),
            set,
        }
    }

    fn remembered(&self, key: u64, ask: &PickRequest<'_>) -> Option<usize> {
        let member = self.table.find(key)?;
        let is_it = |member_idx: &usize| {
            let hash = self.hashes.get(*member_idx);
            hash.is_some_and(|hash| half(*hash) == member) && ask.may(*member_idx)
        };
        (0..self.hashes.len()).find(is_it)
    }

    /// Weighted rendezvous hashing: each member draws a waiting time from the key, shorter for the
    /// heavier; the first to come gets the key, with a chance in proportion to its weight.
    fn hashed(&self, key: u64, ask: &PickRequest<'_>) -> Option<usize> {
        let mut first = None;
        let mut soonest = f64::INFINITY;
        for (member_idx, member) in self.set.members().iter().enumerate() {
            if member.weight == 0 || !ask.may(member_idx) {
                continue;
            }
            let hash = self.hashes.get(member_idx)?;
            let time = waiting_time(hash::mix(key ^ hash)) / f64::from(member.weight);
            if time < soonest {
                (first, soonest) = (Some(member_idx), time);
            }
        }
        first
    }
}

impl Balance for Sticky {
    fn pick(&self, ask: &PickRequest<'_>) -> Option<usize> {
        let Some(key) = ask.key.map(hash::mix) else {
            return self
                .hashed(ask.random, ask)
                .or_else(|| self.set.any(ask.random, ask));
        };
        if let Some(member_idx) = self.remembered(key, ask) {
            return Some(member_idx);
        }
        let picked = self.hashed(key, ask).or_else(|| self.set.any(key, ask))?;
        self.table.keep(key, half(*self.hashes.get(picked)?));
        Some(picked)
    }

    fn memory(&self) -> BalancerMemory {
        BalancerMemory {
            table: Some(Arc::clone(&self.table)),
            ..BalancerMemory::default()
        }
    }
}

/// Exponentially distributed with mean 1, for a number that is even over 64 bits.
fn waiting_time(number: u64) -> f64 {
    // The upper 53 bits are what an f64 holds; the half keeps clear of ln 0.
    let even = ((number >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -even.ln()
}

#[cfg(test)]
mod tests;
