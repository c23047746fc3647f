//! Counters of a plugin by version. Each generation counts for itself (`stats.rs`); here those of one version
//! are added up, those that have ended included, so that a change of version loses nothing.
//!
//! | what | bound |
//! | --- | --- |
//! | versions without a generation | `ENDED_MAX`, the oldest goes first |
//! | how long one of them is kept | `ENDED_KEPT` |
//!
//! What goes stays in the sums over all versions.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use postern_system::clock;

use crate::stats::{PluginStats, StatsSnapshot};

/// Versions that are remembered without a generation of theirs.
const ENDED_MAX: usize = 8;
/// For how long. Whoever collects metrics has seen the last of them by then.
const ENDED_KEPT: Duration = Duration::from_secs(15 * 60);
/// Octets of a version that are shown.
const VERSION_BYTES_MAX: usize = 64;

/// Counters of one plugin over all its generations.
#[derive(Debug, Default)]
pub struct StatsTable(Mutex<Table>);

/// Counters of one version at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionStats {
    /// What its manifest or its `describe` says, else the first 12 digits of its digest.
    pub version: String,
    /// Whether a generation of it is alive.
    pub is_alive: bool,
    pub stats: StatsSnapshot,
}

#[derive(Debug, Default)]
struct Table {
    versions: Vec<Version>,
    /// Those that are not remembered any more.
    forgotten: StatsSnapshot,
}

#[derive(Debug)]
struct Version {
    name: String,
    generations: Vec<Arc<PluginStats>>,
    /// Of generations that have ended.
    ended: StatsSnapshot,
    /// Since when no generation of it is alive.
    ended_since: Option<Instant>,
}

impl StatsTable {
    /// The counters of a new generation, for `version` as far as that is known.
    pub(crate) fn begin(&self, version: &str) -> Arc<PluginStats> {
        let stats = Arc::<PluginStats>::default();
        let mut table = self.0.lock();
        table.maintain(clock::now());
        let version = table.version(version);
        version.generations.push(Arc::clone(&stats));
        version.ended_since = None;
        stats
    }

    /// `stats` turned out to be those of `version`.
    pub(crate) fn rename(&self, stats: &Arc<PluginStats>, version: &str) {
        let mut table = self.0.lock();
        if table.version(version).holds(stats) {
            return;
        }
        for other in &mut table.versions {
            other.generations.retain(|held| !Arc::ptr_eq(held, stats));
        }
        let version = table.version(version);
        version.generations.push(Arc::clone(stats));
        version.ended_since = None;
        table.maintain(clock::now());
    }

    /// A deployment of `version` did not come into service.
    pub(crate) fn on_refused(&self, version: &str) {
        let mut table = self.0.lock();
        table.version(version).ended.reloads_refused += 1;
        table.maintain(clock::now());
    }

    /// All counters, those of versions that are not remembered included.
    #[must_use]
    pub fn snapshot(&self) -> StatsSnapshot {
        let mut table = self.0.lock();
        table.maintain(clock::now());
        let mut sums = table.forgotten.clone();
        for version in &table.versions {
            sums.add(&version.snapshot());
        }
        sums
    }

    /// The counters of each version that is remembered, in the order of names.
    #[must_use]
    pub fn versions(&self) -> Vec<VersionStats> {
        let mut table = self.0.lock();
        table.maintain(clock::now());
        let versions = table.versions.iter().map(|version| VersionStats {
            version: version.name.clone(),
            is_alive: !version.generations.is_empty(),
            stats: version.snapshot(),
        });
        let mut versions: Vec<_> = versions.collect();
        versions.sort_by(|a, b| a.version.cmp(&b.version));
        versions
    }
}

impl Table {
    fn version(&mut self, name: &str) -> &mut Version {
        let end = name.floor_char_boundary(VERSION_BYTES_MAX);
        let name = name.get(..end).unwrap_or_default();
        let known = self.versions.iter().position(|known| known.name == name);
        let index = known.unwrap_or(self.versions.len());
        if known.is_none() {
            self.versions.push(Version::new(name));
        }
        self.versions
            .get_mut(index)
            .expect("it was found there, or was put there")
    }

    /// Adds up generations that have ended and forgets versions.
    fn maintain(&mut self, now: Instant) {
        for version in &mut self.versions {
            version.maintain(now);
        }
        self.versions.retain(|version| !version.is_empty());
        loop {
            let ended = self.versions.iter().enumerate();
            let ended = ended.filter_map(|(index, version)| Some((version.ended_since?, index)));
            let n_ended = ended.clone().count();
            let Some((since, index)) = ended.min() else {
                return;
            };
            if n_ended <= ENDED_MAX && now.saturating_duration_since(since) < ENDED_KEPT {
                return;
            }
            let gone = self.versions.remove(index);
            self.forgotten.add(&gone.ended);
        }
    }
}

impl Version {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            generations: Vec::new(),
            ended: StatsSnapshot::default(),
            ended_since: None,
        }
    }

    fn holds(&self, stats: &Arc<PluginStats>) -> bool {
        self.generations.iter().any(|held| Arc::ptr_eq(held, stats))
    }

    /// Whether there is nothing to tell of it.
    fn is_empty(&self) -> bool {
        self.generations.is_empty() && self.ended == StatsSnapshot::default()
    }

    fn snapshot(&self) -> StatsSnapshot {
        let mut sums = self.ended.clone();
        for stats in &self.generations {
            sums.add(&stats.snapshot());
        }
        sums
    }

    fn maintain(&mut self, now: Instant) {
        for stats in std::mem::take(&mut self.generations) {
            // Whoever counts has a reference, so that the last one here sees all that was counted.
            match Arc::try_unwrap(stats) {
                Ok(stats) => self.ended.add(&stats.snapshot().without_levels()),
                Err(stats) => self.generations.push(stats),
            }
        }
        self.ended_since = match self.generations.is_empty() {
            true => Some(self.ended_since.unwrap_or(now)),
            false => None,
        };
    }
}

impl StatsSnapshot {
    fn add(&mut self, other: &Self) {
        add(&mut self.calls, &other.calls);
        self.call_nanos += other.call_nanos;
        self.processor_nanos += other.processor_nanos;
        add(&mut self.call_buckets, &other.call_buckets);
        add(&mut self.traps, &other.traps);
        self.memory_bytes += other.memory_bytes;
        self.memory_bytes_high = self.memory_bytes_high.max(other.memory_bytes_high);
        self.instances_live += other.instances_live;
        self.instances_created += other.instances_created;
        add(&mut self.retired, &other.retired);
        add(&mut self.host_calls, &other.host_calls);
        add(&mut self.host_nanos, &other.host_nanos);
        self.queue_length += other.queue_length;
        self.queue_waits += other.queue_waits;
        self.queue_wait_nanos += other.queue_wait_nanos;
        self.batches += other.batches;
        self.batched_calls += other.batched_calls;
        self.batches_undone += other.batches_undone;
        self.bailouts_host_call += other.bailouts_host_call;
        self.bailouts_overran += other.bailouts_overran;
        self.reloads_ok += other.reloads_ok;
        self.reloads_refused += other.reloads_refused;
        self.log_lines += other.log_lines;
        self.log_lines_dropped += other.log_lines_dropped;
        for entries in &other.entries {
            let known = self
                .entries
                .iter_mut()
                .find(|known| known.role == entries.role);
            match known {
                Some(known) => {
                    add(&mut known.outcomes, &entries.outcomes);
                    known.nanos += entries.nanos;
                }
                None => self.entries.push(entries.clone()),
            }
        }
    }

    /// What a generation that is gone leaves: it has neither memory nor instances, and nobody waits for it.
    fn without_levels(self) -> Self {
        Self {
            memory_bytes: 0,
            instances_live: 0,
            queue_length: 0,
            ..self
        }
    }
}

fn add(sums: &mut [u64], counts: &[u64]) {
    for (sum, count) in sums.iter_mut().zip(counts) {
        *sum += count;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    fn names(table: &StatsTable) -> Vec<String> {
        let versions = table.versions().into_iter();
        versions.map(|version| version.version).collect()
    }

    #[test]
    fn a_change_of_version_loses_no_count() {
        let table = StatsTable::default();
        let old = table.begin("1.0.0");
        old.reloads_ok.fetch_add(1, Relaxed);
        let new = table.begin("1.1.0");
        new.reloads_ok.fetch_add(2, Relaxed);
        drop(old);
        let versions = table.versions();
        let counts: Vec<_> = versions
            .iter()
            .map(|version| {
                (
                    &*version.version,
                    version.is_alive,
                    version.stats.reloads_ok,
                )
            })
            .collect();
        assert_eq!(counts, [("1.0.0", false, 1), ("1.1.0", true, 2)]);
        let again = table.begin("1.0.0");
        again.reloads_ok.fetch_add(4, Relaxed);
        assert_eq!(table.versions()[0].stats.reloads_ok, 5);
        assert_eq!(table.snapshot().reloads_ok, 7);
    }

    #[test]
    fn a_version_that_is_told_late_has_all_its_counts() {
        let table = StatsTable::default();
        let stats = table.begin("eb169c1df467");
        stats.instances_created.fetch_add(1, Relaxed);
        table.rename(&stats, "2.0.0");
        table.rename(&stats, "2.0.0");
        stats.instances_created.fetch_add(1, Relaxed);
        assert_eq!(names(&table), ["2.0.0"]);
        assert_eq!(table.snapshot().instances_created, 2);
    }

    #[test]
    fn refused_versions_are_counted_and_few_are_remembered() {
        let table = StatsTable::default();
        let alive = table.begin("alive");
        for number in 0..ENDED_MAX + 3 {
            table.on_refused(&format!("refused-{number:02}"));
        }
        let versions = names(&table);
        assert_eq!(versions.len(), 1 + ENDED_MAX);
        assert_eq!(versions[0], "alive");
        assert_eq!(versions[1], "refused-03");
        assert_eq!(table.snapshot().reloads_refused, ENDED_MAX as u64 + 3);
        drop(alive);
        assert_eq!(names(&table).len(), ENDED_MAX);
    }

    #[test]
    fn an_ended_version_is_forgotten_after_a_while_and_stays_in_the_sums() {
        let table = StatsTable::default();
        table.on_refused("old");
        let ended = clock::now();
        table.0.lock().maintain(ended + ENDED_KEPT / 2);
        assert_eq!(names(&table), ["old"]);
        table.0.lock().maintain(ended + ENDED_KEPT);
        assert_eq!(names(&table), [""; 0]);
        assert_eq!(table.snapshot().reloads_refused, 1);
    }

    #[test]
    fn a_generation_that_is_gone_has_no_instances() {
        let table = StatsTable::default();
        let stats = table.begin("1");
        stats.on_made();
        assert_eq!(table.snapshot().instances_live, 1);
        drop(stats);
        let sums = table.snapshot();
        assert_eq!((sums.instances_live, sums.instances_created), (0, 1));
    }

    #[test]
    fn a_version_is_cut_to_what_fits_a_label() {
        let table = StatsTable::default();
        let _stats = table.begin(&"é".repeat(40));
        assert_eq!(names(&table), ["é".repeat(32)]);
    }
}
