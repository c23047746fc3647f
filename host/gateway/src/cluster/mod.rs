//! Services with many instances: which of them gets a call, and what happens when it fails.
//!
//! ```text
//! directory snapshot ─┐
//! policies ───────────┼─▶ Clusters::rebuild ─▶ a ClusterSnapshot in each Cluster ─▶ call_path.rs, per call
//! connect ────────────┘
//! ```
//!
//! | what | file |
//! |---|---|
//! | the path of a call; a call under way; one round of it | `call_path.rs`, `ongoing.rs`, `race.rs` |
//! | one try, and what its end says | `attempt.rs`, `verdict.rs` |
//! | the set of instances at one moment, and the pick | `snapshot.rs`, `placing.rs`, `key.rs` |
//! | what outlives snapshots | `endpoint.rs`, `breaking.rs`, `policy_state.rs`, `admission.rs` |
//! | what is told | `decision_log.rs`, `numbers.rs`, `refusal.rs` |
//!
//! The decisions are those of `postern_core::{balance, resilience, registry}`; here are their clock,
//! their locks and the futures. No lock is held across an await. Whatever is admitted has a guard:
//! a call that is dropped gives its permit, its breaker's pass and its place in flight back.

mod admission;
mod attempt;
mod breaking;
mod building;
mod call_path;
mod counts;
mod decision_log;
mod endpoint;
mod key;
mod lent;
mod numbers;
mod ongoing;
mod pattern;
mod placing;
mod policy;
mod policy_state;
mod race;
mod refusal;
mod replies;
mod service;
mod snapshot;
#[cfg(test)]
mod tests;
mod verdict;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use postern_core::{
    Handler, Text,
    registry::{ServiceInstance, ServiceInstances, Snapshot},
};
use postern_system::clock;

use self::{building::BuiltService, service::Siblings};
pub(crate) use self::{
    decision_log::{DecisionLog, Decisions},
    key::HashOn,
    numbers::{InstanceNumbers, ServiceNumbers},
    pattern::Pattern,
    placing::{BalancerSource, Pick, Picker, PlacedBalance},
    policy::{Fallback, Policies, ServicePolicy, SubsetRule},
    service::{Cluster, Witness},
    verdict::Verdict,
};

/// The clusters of a gateway, and what is known of every instance.
pub(crate) struct Clusters {
    clusters: Arc<Siblings>,
    slots: Mutex<BTreeMap<Text, BuiltService>>,
    source: Option<Arc<dyn BalancerSource>>,
    witness: Option<Arc<dyn Witness>>,
    /// Numbers endpoints.
    next_number: AtomicU64,
}

/// How an instance is reached: its plugin, or an upstream to its addresses. `None` while it cannot
/// be; then it takes no calls, and is asked for again at the next rebuild or change of the service,
/// unless it has addresses that the gateway does not dial.
pub(crate) type Connect<'a> = dyn Fn(&ServiceInstance) -> Option<Arc<dyn Handler>> + 'a;

impl Clusters {
    /// `source` makes balancers of plugins; `witness` is told how instances do.
    #[must_use]
    pub(crate) fn new(
        source: Option<Arc<dyn BalancerSource>>,
        witness: Option<Arc<dyn Witness>>,
    ) -> Self {
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
    pub(crate) fn rebuild(
        &self,
        snapshot: &Snapshot,
        policies: &Policies,
        connect: &Connect<'_>,
    ) -> BTreeMap<Text, Arc<Cluster>> {
        let mut slots = self.slots.lock();
        let mut before = std::mem::take(&mut *slots);
        for service in snapshot.services() {
            let known = before.remove(service.name());
            let slot = self.follow(known, service, policies, connect);
            slots.insert(service.name().clone(), slot);
        }
        for name in before.keys() {
            self.clusters.remove(name);
        }
        let all = slots.iter();
        all.map(|(name, slot)| (name.clone(), Arc::clone(slot.cluster())))
            .collect()
    }

    /// As `rebuild`, for the service `name` alone, which is `service` from here on.
    pub(crate) fn update(
        &self,
        name: &Text,
        service: Option<&Arc<ServiceInstances>>,
        policies: &Policies,
        connect: &Connect<'_>,
    ) -> Option<Arc<Cluster>> {
        let mut slots = self.slots.lock();
        let known = slots.remove(name);
        let Some(service) = service else {
            self.clusters.remove(name);
            return None;
        };
        let slot = self.follow(known, service, policies, connect);
        let cluster = Arc::clone(slot.cluster());
        slots.insert(name.clone(), slot);
        Some(cluster)
    }

    /// Plugins of this gateway are reached otherwise than before: services that they answer for, or pick the
    /// instances of, are built anew at the next rebuild or change.
    pub(crate) fn reconnect(&self, plugins: &BTreeSet<String>) {
        if plugins.is_empty() {
            return;
        }
        let mut slots = self.slots.lock();
        let affected = slots.values_mut().filter(|slot| slot.is_of(plugins));
        affected.for_each(BuiltService::unsettle);
    }

    /// What is known of a service, brought to what it is.
    fn follow(
        &self,
        known: Option<BuiltService>,
        service: &Arc<ServiceInstances>,
        policies: &Policies,
        connect: &Connect<'_>,
    ) -> BuiltService {
        let policy = policies.of(service.name());
        match known {
            Some(slot) if slot.is_current(service, policy, policies.zone()) => slot,
            known => {
                let is_new = known.is_none();
                let slot = self.build(known, service, policies, connect, clock::now());
                if is_new {
                    self.clusters.insert(service.name(), slot.cluster());
                }
                slot
            }
        }
    }

    /// Counters and states of every service, by name.
    #[must_use]
    pub(crate) fn numbers(&self) -> Vec<ServiceNumbers> {
        let clusters = self.clusters.all();
        clusters.values().map(|cluster| cluster.numbers()).collect()
    }

    /// The cluster of a service, as the last change left it.
    #[cfg(test)]
    pub(crate) fn get(&self, service: &str) -> Option<Arc<Cluster>> {
        self.clusters.get(&service.into())
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
