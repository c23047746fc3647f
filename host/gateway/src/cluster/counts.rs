//! What happened to the calls of one service, in plain atomics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use postern_core::resilience::{bulkhead::ShedReason, retry::RetryReason};

/// Since the service is known.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) calls: Count,
    /// First tries, retries and hedges.
    pub(super) tries: Count,
    pub(super) retries: Count,
    pub(super) hedges_sent: Count,
    pub(super) hedges_won: Count,
    /// Retries and hedges that the budget refused.
    pub(super) budget_refusals: Count,
    pub(super) waited: Count,
    pub(super) fallbacks: Count,
    pub(super) picks_component: Count,
    pub(super) picks_native: Count,
    /// Picks that a component left to its native fallback.
    pub(super) picks_left: Count,
    pub(super) picks_in_panic: Count,
    pub(super) picks_out_of_subset: Count,
    pub(super) picks_ejected: Count,
    /// Calls for which nobody could be picked.
    pub(super) nobody: Count,
    stops: [Count; STOPS.len()],
    sheds: [Count; SHEDS.len()],
}

#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

/// In the order of `Counts::stops`.
const STOPS: [RetryReason; 7] = [
    RetryReason::Attempts,
    RetryReason::Client,
    RetryReason::Kind,
    RetryReason::Never,
    RetryReason::Unsafe,
    RetryReason::Later,
    RetryReason::Deadline,
];
/// In the order of `Counts::sheds`.
const SHEDS: [ShedReason; 4] = [
    ShedReason::QueueFull,
    ShedReason::WaitTooLong,
    ShedReason::Displaced,
    ShedReason::Expired,
];

impl Count {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub(super) fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Counts {
    pub(super) fn count_stop(&self, reason: RetryReason) {
        let index = STOPS.iter().position(|known| *known == reason);
        if let Some(count) = index.and_then(|index| self.stops.get(index)) {
            count.add();
        }
    }

    pub(super) fn count_shed(&self, reason: ShedReason) {
        let index = SHEDS.iter().position(|known| *known == reason);
        if let Some(count) = index.and_then(|index| self.sheds.get(index)) {
            count.add();
        }
    }

    pub(super) fn stops(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = STOPS.iter().map(|reason| reason.name());
        names.zip(self.stops.iter().map(Count::read))
    }

    pub(super) fn sheds(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = SHEDS.iter().map(|reason| reason.name());
        names.zip(self.sheds.iter().map(Count::read))
    }
}
