//! What a plugin's calls came to, counted without a lock or a shared cache line on the hot path.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use postern_system::shard::{CachePadded, Sharded};

use crate::{
    call_path::Bailout,
    outcome::{EntryOutcome, Outcome, TrapReason},
    role::Role,
};

/// Upper bounds of the buckets of call time, in microseconds; a last bucket holds the rest.
pub const BUCKETS_MICROS: [u64; 8] = [10, 50, 100, 500, 1_000, 10_000, 100_000, 1_000_000];

/// Counters of one plugin over all its generations.
#[derive(Debug)]
pub struct PluginStats {
    shards: Sharded<CachePadded<Shard>>,
    traps: [AtomicU64; TrapReason::ALL.len()],
    /// The most memory that any one instance has had, in octets.
    pub memory_bytes_high: AtomicUsize,
    /// Instances alive, of all generations.
    pub instances_live: AtomicUsize,
    /// Instances made.
    pub instances_created: AtomicU64,
    /// Calls waiting for an instance.
    pub queue_length: AtomicUsize,
    /// Calls that had to wait for an instance.
    pub queue_waits: AtomicU64,
    /// How long they waited together, in nanoseconds.
    pub queue_wait_nanos: AtomicU64,
    /// Calls that were to be answered together and were then made one by one: such batches.
    pub batches_undone: AtomicU64,
    /// Entries that left the inline path because they called what has an effect or may wait.
    pub bailouts_host_call: AtomicU64,
    /// Entries that left the inline path because they took longer than a tick.
    pub bailouts_overran: AtomicU64,
    pub reloads_ok: AtomicU64,
    pub reloads_refused: AtomicU64,
    pub log_lines: AtomicU64,
    /// Log lines over the rate.
    pub log_lines_dropped: AtomicU64,
    /// Direct entries, by role.
    pub(crate) entries: EntryStats,
}

#[derive(Debug, Default)]
struct Shard {
    outcomes: [AtomicU64; Outcome::ALL.len()],
    batches: AtomicU64,
    batched_calls: AtomicU64,
    nanos: AtomicU64,
    buckets: [AtomicU64; BUCKETS_MICROS.len() + 1],
}

/// All counters at one time.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct StatsSnapshot {
    /// Calls by outcome, in the order of `Outcome::ALL`.
    pub calls: [u64; Outcome::ALL.len()],
    /// Time in the guest, its own waiting included, over all calls, in nanoseconds.
    pub call_nanos: u64,
    /// Calls by time, not cumulative; bounds are `BUCKETS_MICROS`.
    pub call_buckets: [u64; BUCKETS_MICROS.len() + 1],
    /// Stopped instances by reason, in the order of `TrapReason::ALL`.
    pub traps: [u64; TrapReason::ALL.len()],
    pub memory_bytes_high: usize,
    pub instances_live: usize,
    pub instances_created: u64,
    pub queue_length: usize,
    pub queue_waits: u64,
    pub queue_wait_nanos: u64,
    /// Entries that answered several calls.
    pub batches: u64,
    /// Calls that were answered by them; they count among `calls` as well.
    pub batched_calls: u64,
    /// Entries that were to answer several calls and did not; the calls were made one by one.
    pub batches_undone: u64,
    /// Entries that left the inline path because they called what has an effect or may wait.
    pub bailouts_host_call: u64,
    /// Entries that left the inline path because they took longer than a tick.
    pub bailouts_overran: u64,
    pub reloads_ok: u64,
    pub reloads_refused: u64,
    pub log_lines: u64,
    pub log_lines_dropped: u64,
    /// Direct entries, by role; roles never entered are left out.
    pub entries: Vec<Entries>,
}

impl PluginStats {
    /// Counts a call that was handed to a guest.
    pub(crate) fn on_call(&self, outcome: Outcome, time: Duration) {
        let shard = self.shards.mine();
        shard.count(outcome, 1);
        shard.count_time(1, time);
    }

    /// Counts calls that were answered in one entry, `n_failed` of them by a failure; `time` is that
    /// of each.
    pub(crate) fn on_batch(&self, n_calls: usize, n_failed: usize, time: Duration) {
        let shard = self.shards.mine();
        let (n_calls, n_failed) = (n_calls as u64, n_failed as u64);
        shard.batches.fetch_add(1, Relaxed);
        shard.batched_calls.fetch_add(n_calls, Relaxed);
        shard.count(Outcome::Ok, n_calls.saturating_sub(n_failed));
        if n_failed > 0 {
            shard.count(Outcome::Failed, n_failed);
        }
        shard.count_time(n_calls, time);
    }

    /// Counts a batch whose calls are made one by one.
    pub(crate) fn on_batch_undone(&self) {
        self.batches_undone.fetch_add(1, Relaxed);
    }

    /// Counts an entry that left the inline path.
    pub(crate) fn on_bailout(&self, bailout: Bailout) {
        let count = match bailout {
            Bailout::HostCall => &self.bailouts_host_call,
            Bailout::Overran => &self.bailouts_overran,
        };
        count.fetch_add(1, Relaxed);
    }

    /// Counts a call that never reached a guest.
    pub(crate) fn on_refused(&self) {
        self.shards.mine().count(Outcome::Refused, 1);
    }

    pub(crate) fn on_trap(&self, reason: TrapReason) {
        if let Some(count) = self.traps.get(reason as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Told on every call, so a load comes first: the maximum seldom moves.
    pub(crate) fn on_memory(&self, bytes: usize) {
        if bytes > self.memory_bytes_high.load(Relaxed) {
            self.memory_bytes_high.fetch_max(bytes, Relaxed);
        }
    }

    pub(crate) fn on_queue_wait(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.queue_waits.fetch_add(1, Relaxed);
        self.queue_wait_nanos.fetch_add(nanos, Relaxed);
    }

    /// All counters, each read once.
    #[must_use]
    pub fn snapshot(&self) -> StatsSnapshot {
        let mut snapshot = StatsSnapshot {
            calls: [0; _],
            call_nanos: 0,
            call_buckets: [0; _],
            traps: self.traps.each_ref().map(|count| count.load(Relaxed)),
            memory_bytes_high: self.memory_bytes_high.load(Relaxed),
            instances_live: self.instances_live.load(Relaxed),
            instances_created: self.instances_created.load(Relaxed),
            queue_length: self.queue_length.load(Relaxed),
            queue_waits: self.queue_waits.load(Relaxed),
            queue_wait_nanos: self.queue_wait_nanos.load(Relaxed),
            batches: 0,
            batched_calls: 0,
            batches_undone: self.batches_undone.load(Relaxed),
            bailouts_host_call: self.bailouts_host_call.load(Relaxed),
            bailouts_overran: self.bailouts_overran.load(Relaxed),
            reloads_ok: self.reloads_ok.load(Relaxed),
            reloads_refused: self.reloads_refused.load(Relaxed),
            log_lines: self.log_lines.load(Relaxed),
            log_lines_dropped: self.log_lines_dropped.load(Relaxed),
            entries: self.entries.snapshot(),
        };
        for shard in &self.shards {
            add(&mut snapshot.calls, &shard.outcomes);
            add(&mut snapshot.call_buckets, &shard.buckets);
            snapshot.call_nanos += shard.nanos.load(Relaxed);
            snapshot.batches += shard.batches.load(Relaxed);
            snapshot.batched_calls += shard.batched_calls.load(Relaxed);
        }
        snapshot
    }
}

impl Default for PluginStats {
    fn default() -> Self {
        Self {
            shards: Sharded::per_thread(CachePadded::default),
            traps: Default::default(),
            memory_bytes_high: AtomicUsize::new(0),
            instances_live: AtomicUsize::new(0),
            instances_created: AtomicU64::new(0),
            queue_length: AtomicUsize::new(0),
            queue_waits: AtomicU64::new(0),
            queue_wait_nanos: AtomicU64::new(0),
            batches_undone: AtomicU64::new(0),
            bailouts_host_call: AtomicU64::new(0),
            bailouts_overran: AtomicU64::new(0),
            reloads_ok: AtomicU64::new(0),
            reloads_refused: AtomicU64::new(0),
            log_lines: AtomicU64::new(0),
            log_lines_dropped: AtomicU64::new(0),
            entries: EntryStats::default(),
        }
    }
}

impl Shard {
    fn count(&self, outcome: Outcome, n_calls: u64) {
        if let Some(count) = self.outcomes.get(outcome as usize) {
            count.fetch_add(n_calls, Relaxed);
        }
    }

    fn count_time(&self, n_calls: u64, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos.saturating_mul(n_calls), Relaxed);
        let bucket = BUCKETS_MICROS
            .iter()
            .position(|bound| nanos <= bound * 1000);
        if let Some(bucket) = self.buckets.get(bucket.unwrap_or(BUCKETS_MICROS.len())) {
            bucket.fetch_add(n_calls, Relaxed);
        }
    }
}

impl StatsSnapshot {
    #[must_use]
    pub fn calls_with(&self, outcome: Outcome) -> u64 {
        self.calls
            .get(outcome as usize)
            .copied()
            .unwrap_or_default()
    }

    #[must_use]
    pub fn traps_with(&self, reason: TrapReason) -> u64 {
        self.traps.get(reason as usize).copied().unwrap_or_default()
    }
}

fn add(sums: &mut [u64], counts: &[AtomicU64]) {
    for (sum, count) in sums.iter_mut().zip(counts) {
        *sum += count.load(Relaxed);
    }
}

/// Direct entries of one plugin by role, over all its generations.
#[derive(Debug)]
pub(crate) struct EntryStats {
    shards: Sharded<CachePadded<[Counts; Role::ALL.len()]>>,
}

#[derive(Debug, Default)]
struct Counts {
    outcomes: [AtomicU64; EntryOutcome::ALL.len()],
    nanos: AtomicU64,
}

/// The counters of one role at one time.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Entries {
    pub role: Role,
    /// By outcome, in the order of `EntryOutcome::ALL`.
    pub outcomes: [u64; EntryOutcome::ALL.len()],
    /// Time of all entries together, in nanoseconds; from a share of them (`worker_local/sample.rs`).
    pub nanos: u64,
}

impl Entries {
    #[must_use]
    pub fn with(&self, outcome: EntryOutcome) -> u64 {
        self.outcomes
            .get(outcome as usize)
            .copied()
            .unwrap_or_default()
    }
}

impl EntryStats {
    pub(crate) fn count(&self, role: Role, outcome: EntryOutcome, time: Duration) {
        let counts = self.shards.mine();
        let Some(counts) = counts.get(role as usize) else {
            return;
        };
        if let Some(count) = counts.outcomes.get(outcome as usize) {
            count.fetch_add(1, Relaxed);
        }
        if !time.is_zero() {
            let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
            counts.nanos.fetch_add(nanos, Relaxed);
        }
    }

    /// The roles that were entered, or should have been.
    pub(crate) fn snapshot(&self) -> Vec<Entries> {
        let of = |(role_idx, role): (usize, Role)| {
            let mut entries = Entries {
                role,
                outcomes: [0; _],
                nanos: 0,
            };
            for counts in &self.shards {
                let Some(counts) = counts.get(role_idx) else {
                    continue;
                };
                for (sum, count) in entries.outcomes.iter_mut().zip(&counts.outcomes) {
                    *sum += count.load(Relaxed);
                }
                entries.nanos += counts.nanos.load(Relaxed);
            }
            entries
        };
        let all = Role::ALL.into_iter().enumerate().map(of);
        all.filter(|entries| entries.outcomes.iter().any(|count| *count > 0))
            .collect()
    }
}

impl Default for EntryStats {
    fn default() -> Self {
        Self {
            shards: Sharded::per_thread(CachePadded::default),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_on_a_bound_belongs_below_it() {
        let stats = PluginStats::default();
        stats.on_call(Outcome::Ok, Duration::from_micros(10));
        stats.on_call(Outcome::Ok, Duration::from_nanos(10_001));
        stats.on_call(Outcome::Failed, Duration::from_secs(2));
        let snapshot = stats.snapshot();
        assert_eq!(snapshot.call_buckets, [1, 1, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(snapshot.calls_with(Outcome::Ok), 2);
        assert_eq!(snapshot.call_nanos, 2_000_020_001);
    }

    #[test]
    fn only_roles_that_were_entered_are_told() {
        let stats = EntryStats::default();
        stats.count(Role::Balancer, EntryOutcome::Busy, Duration::from_nanos(3));
        stats.count(Role::Balancer, EntryOutcome::Busy, Duration::from_nanos(4));
        let snapshot = stats.snapshot();
        assert_eq!(snapshot.len(), 1);
        let [entries] = &snapshot[..] else {
            panic!("one role was entered");
        };
        assert_eq!((entries.role, entries.nanos), (Role::Balancer, 7));
        assert_eq!(entries.with(EntryOutcome::Busy), 2);
    }
}
