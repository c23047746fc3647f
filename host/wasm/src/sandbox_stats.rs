//! What became of a plugin's grants and bounds that no trap tells of, over all its generations.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::on_trap::TrapState;

/// Keys of `[grants]` for want of which something was refused.
const GRANTS: [&str; 5] = ["directory", "events", "http", "services", "sockets"];

/// Counters of one plugin.
#[derive(Debug, Default)]
pub(crate) struct SandboxStats {
    denied: [AtomicU64; GRANTS.len()],
    host_calls_in_flight: AtomicUsize,
    host_calls_refused: AtomicU64,
    host_calls_late: AtomicU64,
    trap_changes: [AtomicU64; TrapState::ALL.len()],
}

/// The counters at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxSnapshot {
    /// What was asked for and not granted, by the key of `[grants]`.
    pub denied: [(&'static str, u64); GRANTS.len()],
    /// Calls of `client` and `kv` under way.
    pub host_calls_in_flight: usize,
    /// Such calls over the bound of those in flight.
    pub host_calls_refused: u64,
    /// Such calls that took longer than one may.
    pub host_calls_late: u64,
    /// Changes to each state of the policy on traps.
    pub trap_changes: [(&'static str, u64); TrapState::ALL.len()],
}

impl SandboxStats {
    pub(crate) fn on_denied(&self, grant: &str) {
        let mut counts = GRANTS.iter().zip(&self.denied);
        if let Some((_, count)) = counts.find(|(name, _)| **name == grant) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Counts a call of the host as under way, unless `most` are.
    pub(crate) fn try_begin_host_call(&self, most: usize) -> bool {
        let add = |count: usize| (count < most).then_some(count + 1);
        let begun = self
            .host_calls_in_flight
            .fetch_update(Relaxed, Relaxed, add);
        if begun.is_err() {
            self.host_calls_refused.fetch_add(1, Relaxed);
        }
        begun.is_ok()
    }

    pub(crate) fn end_host_call(&self) {
        self.host_calls_in_flight.fetch_sub(1, Relaxed);
    }

    pub(crate) fn on_host_call_late(&self) {
        self.host_calls_late.fetch_add(1, Relaxed);
    }

    pub(crate) fn on_trap_change(&self, state: TrapState) {
        if let Some(count) = self.trap_changes.get(state as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn snapshot(&self) -> SandboxSnapshot {
        let mut denied = GRANTS.map(|grant| (grant, 0));
        for ((_, sum), count) in denied.iter_mut().zip(&self.denied) {
            *sum = count.load(Relaxed);
        }
        let mut trap_changes = TrapState::ALL.map(|state| (state.name(), 0));
        for ((_, sum), count) in trap_changes.iter_mut().zip(&self.trap_changes) {
            *sum = count.load(Relaxed);
        }
        SandboxSnapshot {
            denied,
            host_calls_in_flight: self.host_calls_in_flight.load(Relaxed),
            host_calls_refused: self.host_calls_refused.load(Relaxed),
            host_calls_late: self.host_calls_late.load(Relaxed),
            trap_changes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_host_calls_are_under_way_as_may_be_and_not_one_more() {
        let stats = SandboxStats::default();
        assert!(stats.try_begin_host_call(2) && stats.try_begin_host_call(2));
        assert!(!stats.try_begin_host_call(2));
        stats.end_host_call();
        assert!(stats.try_begin_host_call(2));
        let snapshot = stats.snapshot();
        let counts = (snapshot.host_calls_in_flight, snapshot.host_calls_refused);
        assert_eq!(counts, (2, 1));
    }

    #[test]
    fn what_is_denied_counts_under_its_key() {
        let stats = SandboxStats::default();
        for grant in GRANTS {
            stats.on_denied(grant);
        }
        assert_eq!(stats.snapshot().denied, GRANTS.map(|grant| (grant, 1)));
    }
}
