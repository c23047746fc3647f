//! What has become of the messages of one bridge.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts since the start of the bridge.
#[derive(Debug, Default)]
pub(super) struct BridgeCounts {
    pub(super) taken: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) ignored: AtomicU64,
    pub(super) looped: AtomicU64,
    pub(super) missed: AtomicU64,
    pub(super) connects: AtomicU64,
    pub(super) losses: AtomicU64,
}

/// Messages of one bridge, by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct BridgeNumbers {
    pub is_connected: bool,
    /// In: published here.
    pub taken: u64,
    /// In: refused here for good.
    pub refused: u64,
    /// In: no rule wants them.
    pub ignored: u64,
    /// In: they were here before, or have crossed too many bridges.
    pub looped: u64,
    /// Out: acknowledged by the broker.
    pub sent: u64,
    /// Out: refused by the broker.
    pub unsent: u64,
    /// Out: the queue had no room.
    pub dropped: u64,
    /// Out: they wait, or are not acknowledged yet.
    pub queued: u64,
    pub connects: u64,
    pub losses: u64,
}

impl BridgeCounts {
    pub(super) fn count(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Relaxed);
    }
}
