//! Which member of a service gets a call. A pick reads an immutable set and a few atomics, and
//! allocates nothing.
//!
//! | policy | picks | file |
//! |---|---|---|
//! | `round-robin` | one after the other | `round_robin.rs` |
//! | `weighted` | by weight, exact over a period, interleaved | `weighted.rs` |
//! | `least-connections` | the fewest calls in flight by weight | `least_connections.rs` |
//! | `p2c-ewma` | of two by chance, the one with the smaller response time times load | `p2c.rs` |
//! | `hash` | by key, with a bound on the load | `hash_ring.rs` |
//! | `sticky` | by key, kept when others join | `sticky.rs` |
//!
//! Around each of them: `zone.rs` (own zone first), `split.rs` (shares of versions). Beside them:
//! `subset.rs` (by metadata and version), `slow_start.rs` (new members take little at first).
//! [`Plan`] puts them together.
//!
//! **Invariant:** no balancer answers with a member that may not be picked, and none answers `None`
//! while one may. Weights, zones, shares and bounds are wishes; that a call finds somebody is not.

mod hash;
mod hash_ring;
mod least_connections;
mod load;
mod p2c;
mod policy;
mod round_robin;
mod set;
mod slow_start;
mod split;
mod sticky;
mod subset;
#[cfg(test)]
mod tests;
mod weighted;
mod zone;

use std::{sync::Arc, time::Instant};

pub use self::{
    hash::{hash, mix},
    load::{InFlight, Load, Smoothing},
    policy::{Plan, Policy, UnknownPolicy},
    set::{Member, Set},
    slow_start::SlowStart,
    split::{SplitBy, TrafficSplit, TrafficSplitError},
    sticky::StickyTable,
    subset::Subset,
    zone::Spill,
};
use crate::text::Text;

/// Decides which member gets a call.
pub trait Balance: Send + Sync {
    /// The place in the set of a member for which `ask.may` holds; `None` when it holds for nobody.
    fn pick(&self, ask: &PickRequest<'_>) -> Option<usize>;

    /// What a balancer over the next set should know of this one.
    fn memory(&self) -> BalancerMemory {
        BalancerMemory::default()
    }
}

/// What a pick may depend on.
#[derive(Clone, Copy)]
pub struct PickRequest<'a> {
    pub now: Instant,
    /// Chance: even over 64 bits, new for each pick.
    pub random: u64,
    /// [`hash()`] of what the call is to be kept by. Policies by key use `random` when it is
    /// absent.
    pub key: Option<u64>,
    /// Whether the member at that place can be picked: alive, breaker closed, not tried yet. Asked
    /// several times in a pick, at times under a lock: it must be quick, change nothing and not
    /// pick itself.
    pub may: &'a dyn Fn(usize) -> bool,
}

/// What outlives a set: turns, debts and places by name. Taken from one balancer and given to the
/// next; what the next has no use for is dropped.
#[derive(Debug, Clone, Default)]
pub struct BalancerMemory {
    /// Round robin: the members in the order of their turns.
    turns: Vec<Text>,
    /// What each member, or each version, is owed.
    credits: Vec<(Text, i64)>,
    /// Sticky: which key is where.
    table: Option<Arc<StickyTable>>,
    /// Of the balancers inside, by what each is for.
    inner: Vec<(Text, Self)>,
}

impl PickRequest<'_> {
    fn may(&self, member_idx: usize) -> bool {
        (self.may)(member_idx)
    }
}

impl BalancerMemory {
    /// The memory of the balancer inside that is for `name`. When zones or a split have just come
    /// up, that of what was there before them.
    fn of(&self, name: &str) -> Self {
        let found = self.inner.iter().find(|(known, _)| *known == name);
        match (found, self.inner.first()) {
            (Some((_, memory)), _) => memory.clone(),
            (None, Some((_, first))) => first.of(name),
            (None, None) => self.clone(),
        }
    }

    /// The memory of a policy itself. When zones or a split have just gone, that of the first
    /// inside.
    fn innermost(&self) -> &Self {
        let first = self.inner.first();
        first.map_or(self, |(_, memory)| memory.innermost())
    }
}
