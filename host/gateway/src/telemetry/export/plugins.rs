//! The families of metrics that every plugin has.

use std::fmt;

use postern_wasm::{BUCKETS_MICROS, Outcome, StatsSnapshot, TrapReason};
use prometheus_client::encoding::DescriptorEncoder;

use super::{
    MetricsSnapshot, PluginNumbers, counter, encode_count, encode_level, gauge, histogram,
};
use crate::telemetry::histogram::seconds;

impl MetricsSnapshot {
    pub(super) fn encode_plugins(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_plugin_counts(encoder)?;
        self.encode_plugin_totals(encoder)?;
        let by = |plugin: &PluginNumbers| labels(plugin, None);
        let help = "Time in the component, its own waiting included";
        let mut family = histogram(encoder, "plugin_call_duration_seconds", help)?;
        for plugin in &self.plugins {
            let (sum, buckets) = plugin_durations(&plugin.stats);
            let count = buckets.iter().map(|(_, count)| count).sum();
            let labels = by(plugin);
            let mut family = family.encode_family(&labels)?;
            family.encode_histogram::<[(&str, &str); 0]>(sum, count, &buckets, None)?;
        }
        let help = "Time that calls waited for a free instance";
        let mut family = counter(encoder, "plugin_queue_wait_seconds", help)?;
        for plugin in &self.plugins {
            let waited = seconds(plugin.stats.queue_wait_nanos);
            let labels = by(plugin);
            let mut family = family.encode_family(&labels)?;
            family.encode_counter::<[(&str, &str); 0], _, u64>(&waited, None)?;
        }
        type Level = fn(&PluginNumbers) -> u64;
        let levels: [(&str, &str, Level); 5] = [
            (
                "plugin_queue_length",
                "Calls waiting for an instance",
                |p| size(p.stats.queue_length),
            ),
            (
                "plugin_memory_bytes",
                "The most memory that any one instance has had",
                |p| size(p.stats.memory_bytes_high),
            ),
            ("plugin_instances", "Instances alive", |p| {
                size(p.stats.instances_live)
            }),
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
                encode_level(&mut family, &by(plugin), level(plugin))?;
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
            for plugin in &self.plugins {
                for (value, count) in counts(&plugin.stats) {
                    let labels = labels(plugin, Some((label, value)));
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
            for plugin in &self.plugins {
                let labels = labels(plugin, None);
                encode_count(&mut family, &labels, count(&plugin.stats))?;
            }
        }
        Ok(())
    }
}

/// The plugin, its version where the file's name says one, and what else is told apart.
pub(super) fn labels(
    plugin: &PluginNumbers,
    more: Option<(&'static str, &str)>,
) -> Vec<(&'static str, String)> {
    let version = plugin.version.iter();
    let version = version.map(|version| ("version", version.clone()));
    let more = more
        .into_iter()
        .map(|(name, value)| (name, value.to_owned()));
    let plugin = std::iter::once(("plugin", plugin.plugin.clone()));
    plugin.chain(version).chain(more).collect()
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

fn size(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}
