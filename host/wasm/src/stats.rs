//! What the calls of one generation came to, counted without a lock or a shared cache line on the hot path.
//! `stats_table.rs` adds generations up by version.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use postern_system::shard::{CachePadded, Sharded};

use crate::{
    call_path::{Bailout, CallPath},
    outcome::{EntryOutcome, Outcome, TrapReason},
    retirement::Retirement,
    role::Role,
    store_stats::{HostImport, StoreStats},
};

/// Upper bounds of the buckets of call time, in microseconds; a last bucket holds the rest.
pub const BUCKETS_MICROS: [u64; 8] = [10, 50, 100, 500, 1_000, 10_000, 100_000, 1_000_000];

/// Counters of one generation of a plugin.
#[derive(Debug)]
pub struct PluginStats {
    shards: Sharded<CachePadded<Shard>>,
    traps: [AtomicU64; TrapReason::ALL.len()],
    /// Instances alive.
    pub instances_live: AtomicUsize,
    /// Instances made.
    pub instances_created: AtomicU64,
    retired: [AtomicU64; Retirement::ALL.len()],
    /// What its stores count.
    pub(crate) stores: Arc<StoreStats>,
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
    /// Time of calls that were answered inline.
    inline_nanos: AtomicU64,
    /// Time of all others, their waiting included.
    async_nanos: AtomicU64,
    /// What of `inline_nanos` was no processor time.
    excess_nanos: AtomicU64,
    /// Processor time beside that of calls answered inline.
    polled_nanos: AtomicU64,
    buckets: [AtomicU64; BUCKETS_MICROS.len() + 1],
}

/// All counters at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct StatsSnapshot {
    /// Calls by outcome, in the order of `Outcome::ALL`.
    pub calls: [u64; Outcome::ALL.len()],
    /// Time in the guest, its own waiting included, over all calls, in nanoseconds.
    pub call_nanos: u64,
    /// Processor time of the guest and of the host on its behalf, in nanoseconds; of direct entries from
    /// a share of them. `processor_time.rs` says how it is taken.
    pub processor_nanos: u64,
    /// Calls by time, not cumulative; bounds are `BUCKETS_MICROS`.
    pub call_buckets: [u64; BUCKETS_MICROS.len() + 1],
    /// Stopped instances by reason, in the order of `TrapReason::ALL`.
    pub traps: [u64; TrapReason::ALL.len()],
    /// Memory of the instances alive, together, in octets.
    pub memory_bytes: usize,
    /// The most that any one instance has had, in octets.
    pub memory_bytes_high: usize,
    pub instances_live: usize,
    pub instances_created: u64,
    /// Instances dropped by reason, in the order of `Retirement::ALL`.
    pub retired: [u64; Retirement::ALL.len()],
    /// Calls of imported functions by interface, in the order of `HostImport::ALL`.
    pub host_calls: [u64; HostImport::ALL.len()],
    /// How long guests waited in them, in nanoseconds. Functions that answer at once are not timed.
    pub host_nanos: [u64; HostImport::ALL.len()],
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
    /// Counts a call that was handed to a guest and ended on `path`.
    pub(crate) fn on_call(&self, outcome: Outcome, time: Duration, path: CallPath) {
        let shard = self.shards.mine();
        shard.count(outcome, 1);
        shard.count_time(1, time, path);
    }

    /// Takes back what of the time of calls that were answered inline was no processor time.
    pub(crate) fn on_excess(&self, time: Duration) {
        self.shards
            .mine()
            .excess_nanos
            .fetch_add(nanos(time), Relaxed);
    }

    /// Counts processor time that is no call's that was answered inline.
    pub(crate) fn on_computed(&self, time: Duration) {
        self.shards
            .mine()
            .polled_nanos
            .fetch_add(nanos(time), Relaxed);
    }

    pub(crate) fn on_made(&self) {
        self.instances_live.fetch_add(1, Relaxed);
        self.instances_created.fetch_add(1, Relaxed);
    }

    pub(crate) fn on_retired(&self, why: Retirement, n_instances: usize) {
        self.instances_live.fetch_sub(n_instances, Relaxed);
        if let Some(count) = self.retired.get(why as usize) {
            count.fetch_add(n_instances as u64, Relaxed);
        }
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
        shard.count_time(n_calls, time, CallPath::Inline);
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

    pub(crate) fn on_queue_wait(&self, time: Duration) {
        self.queue_waits.fetch_add(1, Relaxed);
        self.queue_wait_nanos.fetch_add(nanos(time), Relaxed);
    }

    /// All counters, each read once.
    #[must_use]
    pub fn snapshot(&self) -> StatsSnapshot {
        let mut snapshot = StatsSnapshot {
            calls: [0; _],
            call_nanos: 0,
            processor_nanos: 0,
            call_buckets: [0; _],
            traps: self.traps.each_ref().map(|count| count.load(Relaxed)),
            memory_bytes: self.stores.memory_bytes(),
            memory_bytes_high: self.stores.memory_bytes_high(),
            instances_live: self.instances_live.load(Relaxed),
            instances_created: self.instances_created.load(Relaxed),
            retired: self.retired.each_ref().map(|count| count.load(Relaxed)),
            host_calls: self.stores.calls(),
            host_nanos: self.stores.nanos(),
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
        let (mut computed, mut excess) = (0, 0);
        for shard in &self.shards {
            add(&mut snapshot.calls, &shard.outcomes);
            add(&mut snapshot.call_buckets, &shard.buckets);
            let inline_nanos = shard.inline_nanos.load(Relaxed);
            snapshot.call_nanos += inline_nanos + shard.async_nanos.load(Relaxed);
            computed += inline_nanos + shard.polled_nanos.load(Relaxed);
            excess += shard.excess_nanos.load(Relaxed);
            snapshot.batches += shard.batches.load(Relaxed);
            snapshot.batched_calls += shard.batched_calls.load(Relaxed);
        }
        let direct = snapshot.entries.iter().map(|entries| entries.nanos);
        computed += direct.sum::<u64>();
        // Counters are read one after the other, so an excess may be seen before its call.
        snapshot.processor_nanos = computed.saturating_sub(excess);
        snapshot
    }
}

impl Default for PluginStats {
    fn default() -> Self {
        Self {
            shards: Sharded::per_thread(CachePadded::default),
            traps: Default::default(),
            instances_live: AtomicUsize::new(0),
            instances_created: AtomicU64::new(0),
            retired: Default::default(),
            stores: Arc::default(),
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

    fn count_time(&self, n_calls: u64, time: Duration, path: CallPath) {
        let nanos = nanos(time);
        let sum = match path {
            CallPath::Inline => &self.inline_nanos,
            CallPath::Async => &self.async_nanos,
        };
        sum.fetch_add(nanos.saturating_mul(n_calls), Relaxed);
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

    #[must_use]
    pub fn retired_with(&self, why: Retirement) -> u64 {
        self.retired.get(why as usize).copied().unwrap_or_default()
    }

    #[must_use]
    pub fn host_calls_of(&self, import: HostImport) -> u64 {
        let counts = &self.host_calls;
        counts.get(import as usize).copied().unwrap_or_default()
    }

    #[must_use]
    pub fn host_nanos_of(&self, import: HostImport) -> u64 {
        let counts = &self.host_nanos;
        counts.get(import as usize).copied().unwrap_or_default()
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
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
            counts.nanos.fetch_add(nanos(time), Relaxed);
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
        stats.on_call(Outcome::Ok, Duration::from_micros(10), CallPath::Inline);
        stats.on_call(Outcome::Ok, Duration::from_nanos(10_001), CallPath::Inline);
        stats.on_call(Outcome::Failed, Duration::from_secs(2), CallPath::Async);
        let snapshot = stats.snapshot();
        assert_eq!(snapshot.call_buckets, [1, 1, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(snapshot.calls_with(Outcome::Ok), 2);
        assert_eq!(snapshot.call_nanos, 2_000_020_001);
    }

    #[test]
    fn processor_time_is_that_of_inline_calls_but_its_excess_of_polls_and_of_direct_entries() {
        let (stats, ms) = (PluginStats::default(), Duration::from_millis(1));
        stats.on_call(Outcome::Ok, ms * 5, CallPath::Inline);
        stats.on_excess(ms * 4);
        stats.on_batch(3, 1, ms);
        stats.on_call(Outcome::Ok, ms * 100, CallPath::Async);
        stats.on_computed(ms * 7);
        stats
            .entries
            .count(Role::Balancer, EntryOutcome::Answered, ms * 10);
        let snapshot = stats.snapshot();
        assert_eq!(snapshot.processor_nanos, 21_000_000);
        assert_eq!(snapshot.call_nanos, 108_000_000);
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
