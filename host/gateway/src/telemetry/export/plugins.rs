//! The families of metrics that every plugin has, by version.

use std::fmt;

use postern_wasm::{BUCKETS_MICROS, Outcome, StatsSnapshot, TrapReason, VersionStats};
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder};

use super::{
    MetricsSnapshot, PluginNumbers, counter, encode_count, encode_level, gauge, histogram,
};
use crate::telemetry::histogram::seconds;

impl MetricsSnapshot {
    /// Every version of every plugin, with the plugin's name.
    pub(super) fn versions(&self) -> impl Iterator<Item = (&str, &VersionStats)> {
        self.plugins.iter().flat_map(|plugin| {
            let versions = plugin.versions.iter();
            versions.map(|version| (plugin.plugin.as_str(), version))
        })
    }

    pub(super) fn encode_plugins(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_plugin_counts(encoder)?;
        self.encode_plugin_totals(encoder)?;
        let help = "Time in the component, its own waiting included";
        let mut family = histogram(encoder, "plugin_call_duration_seconds", help)?;
        for (plugin, version) in self.versions() {
            let (sum, buckets) = plugin_durations(&version.stats);
            let count = buckets.iter().map(|(_, count)| count).sum();
            let labels = labels(plugin, version);
            let mut family = family.encode_family(&labels)?;
            family.encode_histogram::<[(&str, &str); 0]>(sum, count, &buckets, None)?;
        }
        let help = "Time that calls waited for a free instance";
        let mut family = counter(encoder, "plugin_queue_wait_seconds", help)?;
        for (plugin, version) in self.versions() {
            let waited = seconds(version.stats.queue_wait_nanos);
            encode_seconds(&mut family, &labels(plugin, version), waited)?;
        }
        type VersionLevel = fn(&StatsSnapshot) -> usize;
        let levels: [(&str, &str, VersionLevel); 3] = [
            (
                "plugin_queue_length",
                "Calls waiting for an instance",
                |stats| stats.queue_length,
            ),
            (
                "plugin_memory_bytes",
                "The most memory that any one instance has had",
                |stats| stats.memory_bytes_high,
            ),
            ("plugin_instances", "Instances alive", |stats| {
                stats.instances_live
            }),
        ];
        for (name, help, level) in levels {
            let mut family = gauge(encoder, name, help)?;
            for (plugin, version) in self.versions() {
                let level = size(level(&version.stats));
                encode_level(&mut family, &labels(plugin, version), level)?;
            }
        }
        type Level = fn(&PluginNumbers) -> u64;
        let levels: [(&str, &str, Level); 2] = [
            ("plugin_generation", "Generation that takes calls", |p| {
                p.generation
            }),
            ("plugin_active", "1 when a generation takes calls", |p| {
                u64::from(p.is_active)
            }),
        ];
        for (name, help, level) in levels {
            let mut family = gauge(encoder, name, help)?;
            for plugin in &self.plugins {
                encode_level(&mut family, &slot_labels(plugin), level(plugin))?;
            }
        }
        Ok(())
    }

    fn encode_plugin_counts(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Counts = fn(&StatsSnapshot) -> Vec<(&'static str, u64)>;
        let families: [(&str, &str, &str, Counts); 4] = [
            (
                "plugin_calls",
                "Calls of a plugin by outcome",
                "outcome",
                |stats| {
                    Outcome::ALL
                        .map(|outcome| (outcome.name(), stats.calls_with(outcome)))
                        .into()
                },
            ),
            (
                "plugin_traps",
                "Instances ended by a trap",
                "reason",
                |stats| {
                    TrapReason::ALL
                        .map(|reason| (reason.name(), stats.traps_with(reason)))
                        .into()
                },
            ),
            (
                "plugin_bailouts",
                "Entries that left the inline path",
                "reason",
                |stats| {
                    vec![
                        ("host-call", stats.bailouts_host_call),
                        ("overran", stats.bailouts_overran),
                    ]
                },
            ),
            (
                "plugin_reloads",
                "Deployments by result",
                "result",
                |stats| vec![("ok", stats.reloads_ok), ("refused", stats.reloads_refused)],
            ),
        ];
        for (name, help, label, counts) in families {
            let mut family = counter(encoder, name, help)?;
            for (plugin, version) in self.versions() {
                for (value, count) in counts(&version.stats) {
                    let [plugin, version] = labels(plugin, version);
                    let labels = [plugin, version, (label, value)];
                    encode_count(&mut family, &labels, count)?;
                }
            }
        }
        Ok(())
    }

    fn encode_plugin_totals(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Count = fn(&StatsSnapshot) -> u64;
        let singles: [(&str, &str, Count); 7] = [
            (
                "plugin_queue_waits",
                "Calls that had to wait for an instance",
                |s| s.queue_waits,
            ),
            ("plugin_instances_created", "Instances made", |s| {
                s.instances_created
            }),
            (
                "plugin_batches",
                "Entries that answered several calls together",
                |s| s.batches,
            ),
            (
                "plugin_batched_calls",
                "Calls that were answered together with others",
                |s| s.batched_calls,
            ),
            (
                "plugin_batches_undone",
                "Entries of several calls that were given up, the calls made one by one",
                |s| s.batches_undone,
            ),
            ("plugin_log_lines", "Log lines of the guest", |s| {
                s.log_lines
            }),
            (
                "plugin_log_lines_dropped",
                "Log lines over the plugin's rate",
                |s| s.log_lines_dropped,
            ),
        ];
        for (name, help, count) in singles {
            let mut family = counter(encoder, name, help)?;
            for (plugin, version) in self.versions() {
                let count = count(&version.stats);
                encode_count(&mut family, &labels(plugin, version), count)?;
            }
        }
        Ok(())
    }
}

/// The plugin, and its version where the file's name says one.
pub(super) fn slot_labels(plugin: &PluginNumbers) -> Vec<(&'static str, &str)> {
    let version = plugin.version.iter();
    let version = version.map(|version| ("version", version.as_str()));
    let plugin = std::iter::once(("plugin", plugin.plugin.as_str()));
    plugin.chain(version).collect()
}

/// Sum in seconds, and each bucket's upper edge in seconds with its own count, the open one last.
fn plugin_durations(stats: &StatsSnapshot) -> (f64, Vec<(f64, u64)>) {
    let edges = BUCKETS_MICROS
        .iter()
        .map(|micros| seconds(micros * 1000))
        .chain([f64::INFINITY]);
    (
        seconds(stats.call_nanos),
        edges.zip(stats.call_buckets).collect(),
    )
}

pub(super) fn labels<'a>(
    plugin: &'a str,
    version: &'a VersionStats,
) -> [(&'static str, &'a str); 2] {
    [("plugin", plugin), ("version", &version.version)]
}

pub(super) fn encode_seconds(
    family: &mut MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
    seconds: f64,
) -> fmt::Result {
    family
        .encode_family(labels)?
        .encode_counter::<[(&str, &str); 0], _, u64>(&seconds, None)
}

pub(super) fn size(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}
