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

mod balancer;
mod hash;
mod hash_ring;
mod least_connections;
mod load;
mod p2c;
mod policy;
mod request;
mod round_robin;
mod set;
mod slow_start;
mod split;
mod sticky;
mod sticky_table;
mod subset;
#[cfg(test)]
mod tests;
mod weighted;
mod zone;

pub use self::{
    balancer::{Balance, BalancerMemory},
    hash::{hash, mix},
    load::{InFlight, Load, Smoothing},
    policy::{Plan, Policy, UnknownPolicy},
    request::PickRequest,
    set::{Member, Set},
    slow_start::SlowStart,
    split::{SplitBy, TrafficSplit, TrafficSplitError},
    sticky_table::StickyTable,
    subset::Subset,
    zone::Spill,
};
