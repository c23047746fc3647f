//! Services with many instances: which of them gets a call, and what happens when it fails.
//!
//! ```text
//! directory snapshot ─┐
//! policies ───────────┼─▶ Clusters::rebuild ─▶ a Picture in each Cluster ─▶ way.rs, per call
//! connect ────────────┘
//! ```
//!
//! | what | file |
//! |---|---|
//! | the way of a call; one round of it | `way.rs`, `race.rs` |
//! | one try, and what its end says | `attempt.rs`, `verdict.rs` |
//! | the set of instances at one moment, and the pick | `picture.rs`, `placing.rs`, `key.rs` |
//! | what outlives pictures | `endpoint.rs`, `breaking.rs`, `machines.rs`, `gate.rs` |
//! | what is told | `trail.rs`, `numbers.rs`, `refusal.rs` |
//!
//! The decisions are those of `postern_core::{balance, resilience, registry}`; here are their clock,
//! their locks and the futures. No lock is held across an await. Whatever is admitted has a guard:
//! a call that is dropped gives its place at the gate, its breaker's pass and its place in flight
//! back.

mod attempt;
mod breaking;
mod building;
mod chance;
mod counts;
mod endpoint;
mod gate;
mod key;
mod machines;
mod numbers;
mod pattern;
mod picture;
mod placing;
mod policy;
mod race;
mod refusal;
mod replies;
mod service;
#[cfg(test)]
mod tests;
mod trail;
mod verdict;
mod way;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use postern_core::{
    Handler, Text,
    registry::{Instance, Snapshot},
};

use self::building::Slot;
pub(crate) use self::chance::now;
pub use self::{
    key::HashOn,
    numbers::{InstanceNumbers, ServiceNumbers},
    pattern::Pattern,
    placing::{BalancerSource, Pick, Picker, PlacedBalance},
    policy::{Fallback, Policies, ServicePolicy, SubsetRule},
    service::{Cluster, Witness},
    trail::{Note, Trail, Why},
    verdict::Verdict,
};

/// Every service of the directory as a cluster, by name.
pub(super) type Siblings = ArcSwap<BTreeMap<Text, Arc<Cluster>>>;

/// The clusters of a gateway, and what is known of every instance.
pub struct Clusters {
    clusters: Arc<Siblings>,
    slots: Mutex<BTreeMap<Text, Slot>>,
    source: Option<Arc<dyn BalancerSource>>,
    witness: Option<Arc<dyn Witness>>,
    /// Numbers endpoints.
    next_number: AtomicU64,
}

/// How an instance is reached: its plugin, or an upstream to its addresses. `None` while it cannot
/// be; then it takes no calls, and is asked for again at the next rebuild unless it has addresses
/// that the gateway does not dial.
pub type Connect<'a> = dyn Fn(&Instance) -> Option<Arc<dyn Handler>> + 'a;

impl Clusters {
    /// `source` makes balancers of plugins; `witness` is told how instances do.
    #[must_use]
    pub fn new(source: Option<Arc<dyn BalancerSource>>, witness: Option<Arc<dyn Witness>>) -> Self {
        Self {
            clusters: Arc::default(),
            slots: Mutex::default(),
            source,
            witness,
            next_number: AtomicU64::new(0),
        }
    }

    /// Makes the clusters follow the directory and the policies. A service of which neither changed
    /// is not touched. One that is there stays the same `Cluster`; instances keep what was learned of
    /// them; calls under way end where they are.
    pub fn rebuild(
        &self,
        snapshot: &Snapshot,
        policies: &Policies,
        connect: &Connect<'_>,
    ) -> BTreeMap<Text, Arc<Cluster>> {
        let mut slots = self.slots.lock();
        let mut before = std::mem::take(&mut *slots);
        let now = now();
        for service in snapshot.services() {
            let policy = policies.of(service.name());
            let known = before.remove(service.name());
            let slot = match known {
                Some(slot) if slot.is_current(service, policy, policies.zone()) => slot,
                known => self.build(known, service, policies, connect, now),
            };
            slots.insert(service.name().clone(), slot);
        }
        let all = slots.iter();
        let all: BTreeMap<_, _> = all
            .map(|(name, slot)| (name.clone(), Arc::clone(slot.cluster())))
            .collect();
        self.clusters.store(Arc::new(all.clone()));
        all
    }

    /// The cluster of a service, as the last rebuild left it.
    #[must_use]
    pub fn get(&self, service: &str) -> Option<Arc<Cluster>> {
        self.clusters.load().get(service).cloned()
    }

    /// All of them, as the last rebuild left them.
    #[must_use]
    pub fn all(&self) -> Arc<BTreeMap<Text, Arc<Cluster>>> {
        self.clusters.load_full()
    }

    /// Counters and states of every service, by name.
    #[must_use]
    pub fn numbers(&self) -> Vec<ServiceNumbers> {
        let clusters = self.clusters.load();
        clusters.values().map(|cluster| cluster.numbers()).collect()
    }

    fn number(&self) -> u64 {
        self.next_number.fetch_add(1, Relaxed)
    }
}

impl std::fmt::Debug for Clusters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clusters").finish_non_exhaustive()
    }
}
