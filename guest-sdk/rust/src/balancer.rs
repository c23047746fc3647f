//! Role `balancer`: decides which instance of a service gets a call.
//!
//! ```
//! use postern_guest::{Balancer, Candidates, Instance};
//!
//! #[derive(Default)]
//! struct ByKey {
//!     n_instances: usize,
//! }
//!
//! impl Balancer for ByKey {
//!     fn update(&mut self, instances: Vec<Instance>) {
//!         self.n_instances = instances.len();
//!     }
//!     fn pick(&mut self, key: u64, candidates: &Candidates) -> Option<usize> {
//!         let first = usize::try_from(key % self.n_instances.max(1) as u64).ok()?;
//!         candidates.first_usable(first, self.n_instances)
//!     }
//! }
//!
//! postern_guest::export!(ByKey: Balancer);
//! ```

use std::time::Duration;

use crate::{host, plugin::Plugin};

/// Places calls. There is one value per worker thread and service. Entered directly, within the
/// manifest's `budgets.balancer`; a pick that is late, traps or is nonsense is made by the gateway's
/// own balancer instead.
pub trait Balancer: Plugin {
    /// All instances that there are, before the first pick and whenever the set changes. Indices
    /// count from here until the next update.
    fn update(&mut self, instances: Vec<Instance>);

    /// The index of the instance that is to get a call; `None` leaves it to the gateway's own
    /// balancer. `key` is equal for calls that belong together and chance for those that do not.
    /// The call itself is asked of [`call`](crate::call).
    fn pick(&mut self, key: u64, candidates: &Candidates) -> Option<usize>;

    /// Tells how a call that `pick` has placed ended. Calls of an older set are not told.
    fn done(&mut self, index: usize, outcome: Outcome, time: Duration) {
        let _ = (index, outcome, time);
    }
}

/// One thing that can answer for the service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Instance {
    /// Its name in the directory; the same for as long as it lives.
    pub id: String,
    /// Its share relative to the others; 100 is the usual one, 0 means no new calls.
    pub weight: u32,
    /// Where it stands: a region or a data centre.
    pub zone: Option<String>,
    /// A semantic version.
    pub version: Option<String>,
    /// What its owner says about it, in the order of the keys.
    pub metadata: Vec<(String, String)>,
}

/// How a call ended, as far as the instance is to blame for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It answered; also with a failure that is the caller's fault.
    Success,
    /// It failed.
    Failure,
    /// It did not answer in time.
    Timeout,
}

/// What the gateway knows of the instances while it asks for a pick.
#[derive(Debug)]
pub struct Candidates(());

impl Candidates {
    /// One per pick.
    pub(crate) const fn of_pick() -> Self {
        Self(())
    }

    /// Whether the instance may get this call: it is not ejected, not draining, and was not tried
    /// for this call before.
    #[must_use]
    pub fn usable(&self, index: usize) -> bool {
        u32::try_from(index).is_ok_and(host::candidates::usable)
    }

    /// The first usable one of `n_instances` from `first` on, going round.
    #[must_use]
    pub fn first_usable(&self, first: usize, n_instances: usize) -> Option<usize> {
        let mut round = (first..n_instances).chain(0..first.min(n_instances));
        round.find(|index| self.usable(*index))
    }

    /// A random number, new at every pick.
    #[must_use]
    pub fn random(&self) -> u64 {
        host::candidates::random()
    }
}

impl Instance {
    /// What its owner says under `key`.
    #[must_use]
    pub fn metadata(&self, key: &str) -> Option<&str> {
        let mut entries = self.metadata.iter();
        entries
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }
}
