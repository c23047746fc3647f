//! Which instances of a generation may serve another call.

use std::sync::atomic::Ordering::Relaxed;

use super::Generation;
use crate::{instance::Instance, retirement::Retirement, spec::Mode};

impl Generation {
    /// Copies of calls come from here on. What instances hold that have answered calls, a socket maybe, no copy is to
    /// find: those that are idle end at once, the others with the call that they answer.
    pub(crate) fn begin_copies(&self) {
        let cohort = self.cohort.fetch_add(1, Relaxed).wrapping_add(1);
        let n_retired = self.pool.retire(|instance| instance.cohort != cohort);
        let stats = &self.guest.stats;
        stats.on_retired(Retirement::Copies, n_retired);
    }

    /// Whether no copies have begun to come since `instance` was made. Asked of each that comes from the pool: one may
    /// be put back while the others end.
    pub(crate) fn is_current(&self, instance: &Instance) -> bool {
        instance.cohort == self.cohort.load(Relaxed)
    }

    /// Why an instance may serve no other call; `None` where it may.
    pub(crate) fn unfit(&self, instance: &Instance) -> Option<Retirement> {
        if !self.is_current(instance) {
            return Some(Retirement::Copies);
        }
        let instances = &self.guest.spec.instances;
        match instances.mode {
            Mode::Single => None,
            Mode::Isolated => Some(Retirement::Isolated),
            Mode::Pooled if instance.n_calls >= instances.calls_max => Some(Retirement::Calls),
            Mode::Pooled => {
                (instance.growth_bytes() > instances.growth_bytes_max).then_some(Retirement::Growth)
            }
        }
    }
}
