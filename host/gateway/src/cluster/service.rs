//! One service with its instances. Its calls are answered in `call_path.rs`.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use arc_swap::ArcSwap;
use postern_core::{
    Blame, Handler, Text,
    registry::{EntryKey, HealthOutcome},
};

use super::{
    counts::Counts,
    numbers::ServiceNumbers,
    snapshot::{Candidate, ClusterSnapshot},
};
use crate::name_table::NameTable;

/// Every service of the directory as a cluster, by name.
pub(super) type Siblings = NameTable<Arc<Cluster>>;

/// Answers the calls of one service by one of its instances. Stays the same while its instances and
/// its policy change.
pub(crate) struct Cluster {
    service: Text,
    snapshot: ArcSwap<ClusterSnapshot>,
    pub(super) counts: Counts,
    siblings: Weak<Siblings>,
    witness: Option<Arc<dyn Witness>>,
}

/// Is told how the instances of services do.
pub(crate) trait Witness: Send + Sync {
    /// A call showed that the instance failed, or that it answers again. Of an instance that goes on
    /// answering nothing is told.
    fn on_outcome(&self, key: &EntryKey, outcome: HealthOutcome);
}

impl Cluster {
    pub(super) fn new(
        snapshot: ClusterSnapshot,
        siblings: Weak<Siblings>,
        witness: Option<Arc<dyn Witness>>,
    ) -> Self {
        Self {
            service: snapshot.service.clone(),
            snapshot: ArcSwap::from_pointee(snapshot),
            counts: Counts::default(),
            siblings,
            witness,
        }
    }

    /// The handler that may be called in the cluster's stead: of a plugin of this gateway that is the
    /// only instance, under a policy that does nothing for a lone one. Asked anew after each rebuild.
    #[must_use]
    pub(crate) fn direct(&self) -> Option<Arc<dyn Handler>> {
        let snapshot = self.snapshot.load();
        let [only] = &snapshot.candidates[..] else {
            return None;
        };
        let is_direct = snapshot.is_plain
            && snapshot.n_known == 1
            && only.is_local()
            && only.record.entry.permissions.is_empty();
        is_direct.then(|| Arc::clone(&only.handler))
    }

    /// Whether a try at one of the instances may be made of `method` again.
    #[cfg(test)]
    pub(crate) fn is_idempotent(&self, method: &Text) -> bool {
        self.snapshot.load().is_idempotent(method)
    }

    /// Whose fault it is that no answer comes: that of an instance elsewhere, where there is one.
    #[must_use]
    pub(crate) fn blame(&self) -> Blame {
        let snapshot = self.snapshot.load();
        match &snapshot.candidates[..] {
            [] => Blame::Gateway,
            candidates if candidates.iter().all(Candidate::is_local) => Blame::Guest,
            _ => Blame::Upstream,
        }
    }

    /// Counters and states at this moment.
    #[must_use]
    pub(crate) fn numbers(&self) -> ServiceNumbers {
        ServiceNumbers::of(&self.snapshot.load(), &self.counts)
    }

    pub(super) fn snapshot(&self) -> Arc<ClusterSnapshot> {
        self.snapshot.load_full()
    }

    pub(super) fn show(&self, snapshot: ClusterSnapshot) {
        self.snapshot.store(Arc::new(snapshot));
    }

    pub(super) fn witness(&self) -> Option<&dyn Witness> {
        self.witness.as_deref()
    }

    /// The handle that the gateway's other parts have; `None` once the service is gone.
    pub(super) fn handle(&self) -> Option<Arc<Self>> {
        self.sibling(&self.service)
    }

    pub(super) const fn name(&self) -> &Text {
        &self.service
    }

    /// Another service of the same gateway.
    pub(super) fn sibling(&self, name: &Text) -> Option<Arc<Self>> {
        self.siblings.upgrade()?.get(name)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}
