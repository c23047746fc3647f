//! What stores count: calls of imported functions by interface, and the memory of instances.
//!
//! A guest may call the host a hundred times in an entry. A store counts in plain fields of its own, and
//! what it has counted goes to the shared counters once an entry, only for interfaces that were called.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use postern_system::shard::{CachePadded, Sharded};

/// An interface whose functions a guest calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostImport {
    Call,
    /// `request` and `response`.
    Exchange,
    Frame,
    Candidates,
    Config,
    Log,
    Kv,
    Client,
    Events,
    Metrics,
    Directory,
}

/// Counters of all stores of one generation.
#[derive(Debug)]
pub(crate) struct StoreStats {
    shards: Sharded<CachePadded<Shard>>,
    /// Memory of the instances alive, together, in octets.
    memory_bytes: AtomicUsize,
    /// The most memory that any one instance has had, in octets.
    memory_bytes_high: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shard {
    calls: [AtomicU64; HostImport::ALL.len()],
    nanos: [AtomicU64; HostImport::ALL.len()],
}

/// What one store has counted and the counters of its generation do not have yet. Dropping it hands that
/// in.
#[derive(Debug)]
pub(crate) struct HostCallTally {
    stats: Arc<StoreStats>,
    counts: [u32; HostImport::ALL.len()],
    /// One bit for each interface that was called.
    called: u16,
}

/// The memory of one store in the counters of its generation, for as long as this lives.
#[derive(Debug)]
pub(crate) struct CountedMemory {
    stats: Arc<StoreStats>,
    bytes: usize,
}

impl HostImport {
    pub const ALL: [Self; 11] = [
        Self::Call,
        Self::Exchange,
        Self::Frame,
        Self::Candidates,
        Self::Config,
        Self::Log,
        Self::Kv,
        Self::Client,
        Self::Events,
        Self::Metrics,
        Self::Directory,
    ];

    /// As the WIT names the interface.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Exchange => "request",
            Self::Frame => "frame",
            Self::Candidates => "candidates",
            Self::Config => "config",
            Self::Log => "log",
            Self::Kv => "kv",
            Self::Client => "client",
            Self::Events => "events",
            Self::Metrics => "metrics",
            Self::Directory => "directory",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl StoreStats {
    /// Counts that a guest waited for the host.
    pub(crate) fn on_wait(&self, import: HostImport, time: Duration) {
        if let Some(nanos) = self.shards.mine().nanos.get(import as usize) {
            let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
            nanos.fetch_add(time, Relaxed);
        }
    }

    /// Counts a call that no tally has.
    pub(crate) fn on_call(&self, import: HostImport) {
        if let Some(count) = self.shards.mine().calls.get(import as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Calls of imported functions, in the order of `HostImport::ALL`.
    pub(crate) fn calls(&self) -> [u64; HostImport::ALL.len()] {
        self.sum(|shard| &shard.calls)
    }

    /// Time in which guests waited for them, in nanoseconds, in the same order.
    pub(crate) fn nanos(&self) -> [u64; HostImport::ALL.len()] {
        self.sum(|shard| &shard.nanos)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_bytes.load(Relaxed)
    }

    pub(crate) fn memory_bytes_high(&self) -> usize {
        self.memory_bytes_high.load(Relaxed)
    }

    fn sum(
        &self,
        of: impl Fn(&Shard) -> &[AtomicU64; HostImport::ALL.len()],
    ) -> [u64; HostImport::ALL.len()] {
        let mut sums = [0; _];
        for shard in &self.shards {
            for (sum, count) in Iterator::zip(sums.iter_mut(), of(shard)) {
                *sum += count.load(Relaxed);
            }
        }
        sums
    }
}

impl Default for StoreStats {
    fn default() -> Self {
        Self {
            shards: Sharded::per_thread(CachePadded::default),
            memory_bytes: AtomicUsize::new(0),
            memory_bytes_high: AtomicUsize::new(0),
        }
    }
}

impl HostCallTally {
    pub(crate) fn new(stats: &Arc<StoreStats>) -> Self {
        Self {
            stats: Arc::clone(stats),
            counts: [0; _],
            called: 0,
        }
    }

    pub(crate) fn stats(&self) -> &StoreStats {
        &self.stats
    }

    /// Counts one call.
    pub(crate) fn count(&mut self, import: HostImport) {
        if let Some(count) = self.counts.get_mut(import as usize) {
            *count = count.saturating_add(1);
            self.called |= import.bit();
        }
    }

    /// Hands in what was counted.
    pub(crate) fn hand_in(&mut self) {
        let called = std::mem::take(&mut self.called);
        if called != 0 {
            self.hand_in_those(called);
        }
    }

    fn hand_in_those(&mut self, mut called: u16) {
        let shard = self.stats.shards.mine();
        while called != 0 {
            let index = called.trailing_zeros() as usize;
            called &= called - 1;
            if let (Some(sum), Some(count)) = (shard.calls.get(index), self.counts.get_mut(index)) {
                sum.fetch_add(u64::from(std::mem::take(count)), Relaxed);
            }
        }
    }
}

impl Drop for HostCallTally {
    fn drop(&mut self) {
        self.hand_in();
    }
}

impl CountedMemory {
    pub(crate) fn new(stats: &Arc<StoreStats>) -> Self {
        Self {
            stats: Arc::clone(stats),
            bytes: 0,
        }
    }

    /// The store has `bytes` of memory.
    pub(crate) fn set(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        let stats = &self.stats;
        match bytes.checked_sub(before) {
            Some(more) => stats.memory_bytes.fetch_add(more, Relaxed),
            None => stats.memory_bytes.fetch_sub(before - bytes, Relaxed),
        };
        stats.memory_bytes_high.fetch_max(bytes, Relaxed);
    }
}

impl Drop for CountedMemory {
    fn drop(&mut self) {
        self.stats.memory_bytes.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_stand_where_their_names_do() {
        for (index, import) in HostImport::ALL.into_iter().enumerate() {
            assert_eq!(import as usize, index);
        }
    }

    #[test]
    fn calls_are_handed_in_once_whether_asked_or_dropped() {
        let stats = Arc::new(StoreStats::default());
        let mut tally = HostCallTally::new(&stats);
        for import in [HostImport::Kv, HostImport::Kv, HostImport::Directory] {
            tally.count(import);
        }
        assert_eq!(stats.calls().iter().sum::<u64>(), 0);
        tally.hand_in();
        tally.hand_in();
        tally.count(HostImport::Kv);
        drop(tally);
        let calls = stats.calls();
        assert_eq!(calls[HostImport::Kv as usize], 3);
        assert_eq!(calls[HostImport::Directory as usize], 1);
        assert_eq!(calls.iter().sum::<u64>(), 4);
    }

    #[test]
    fn memory_is_that_of_the_stores_alive_and_the_peak_that_of_one() {
        let stats = Arc::new(StoreStats::default());
        let (mut one, mut other) = (CountedMemory::new(&stats), CountedMemory::new(&stats));
        one.set(300);
        other.set(200);
        one.set(100);
        assert_eq!(
            (stats.memory_bytes(), stats.memory_bytes_high()),
            (300, 300)
        );
        drop(one);
        assert_eq!(stats.memory_bytes(), 200);
        drop(other);
        assert_eq!((stats.memory_bytes(), stats.memory_bytes_high()), (0, 300));
    }
}
