//! What a plugin uses, as operators see it: by version, and what its guests count themselves.

use std::collections::BTreeMap;

use postern_wasm::{
    HostImport, Outcome, OwnMetric, OwnValue, Plugin, Retirement, StatsSnapshot, TrapReason,
    VersionStats,
};
use serde::Serialize;

use super::view::Counts;
use crate::plugins::label::version_of;

/// All versions together, and each.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct UsageView {
    /// Of all versions since the gateway began.
    pub processor_seconds: f64,
    /// Of the instances alive, together, in octets.
    pub memory_bytes: usize,
    /// Instances dropped, by reason.
    pub retired: Counts,
    /// Calls of functions of the host, by interface.
    pub host_calls: Counts,
    /// In the order of names; those that ended a while ago are left out.
    pub versions: Vec<VersionUsage>,
    /// What its guests count themselves.
    pub metrics: Vec<OwnMetricView>,
}

/// One version.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct VersionUsage {
    pub version: String,
    /// Whether a generation of it answers calls, be it its last ones.
    pub alive: bool,
    pub calls: Counts,
    pub traps: Counts,
    pub call_seconds: f64,
    pub processor_seconds: f64,
    pub memory_bytes: usize,
    /// The most that any one instance has had, in octets.
    pub memory_bytes_high: usize,
    pub instances: usize,
    pub instances_created: u64,
    pub retired: Counts,
    pub queue_length: usize,
    pub queue_waits: u64,
    pub queue_wait_seconds: f64,
    pub host_calls: Counts,
    /// By interface, where functions of it make a guest wait.
    pub host_call_seconds: BTreeMap<&'static str, f64>,
    pub reloads: Counts,
}

/// One metric of the plugin's own.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct OwnMetricView {
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    pub help: String,
    pub series: Vec<SeriesView>,
}

/// One series of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SeriesView {
    pub labels: BTreeMap<String, String>,
    /// Of a histogram the sum of what was counted.
    pub value: f64,
    /// Of a histogram, how many were counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

/// The counters of each version of a plugin. One that a file's name tells, `NAME@VERSION`, is one version
/// whatever its component says of itself.
pub(super) fn versions(plugin: &Plugin) -> Vec<VersionStats> {
    match version_of(plugin.name()) {
        None => plugin.stats().versions(),
        Some(version) => vec![VersionStats {
            version: version.to_owned(),
            is_alive: true,
            stats: plugin.stats().snapshot(),
        }],
    }
}

impl UsageView {
    pub(super) fn of(plugin: &Plugin, stats: &StatsSnapshot) -> Self {
        let versions = versions(plugin).into_iter();
        let metrics = plugin.own_metrics().into_iter();
        Self {
            processor_seconds: seconds(stats.processor_nanos),
            memory_bytes: stats.memory_bytes,
            retired: retired(stats),
            host_calls: host_calls(stats),
            versions: versions.map(VersionUsage::from).collect(),
            metrics: metrics.map(OwnMetricView::from).collect(),
        }
    }
}

impl From<VersionStats> for VersionUsage {
    fn from(version: VersionStats) -> Self {
        let stats = &version.stats;
        let waited = HostImport::ALL.map(|import| (import.name(), stats.host_nanos_of(import)));
        let waited = waited.into_iter().filter(|(_, nanos)| *nanos > 0);
        Self {
            alive: version.is_alive,
            calls: counts(Outcome::ALL.map(|outcome| (outcome.name(), stats.calls_with(outcome)))),
            traps: counts(TrapReason::ALL.map(|reason| (reason.name(), stats.traps_with(reason)))),
            call_seconds: seconds(stats.call_nanos),
            processor_seconds: seconds(stats.processor_nanos),
            memory_bytes: stats.memory_bytes,
            memory_bytes_high: stats.memory_bytes_high,
            instances: stats.instances_live,
            instances_created: stats.instances_created,
            retired: retired(stats),
            queue_length: stats.queue_length,
            queue_waits: stats.queue_waits,
            queue_wait_seconds: seconds(stats.queue_wait_nanos),
            host_calls: host_calls(stats),
            host_call_seconds: waited.map(|(name, nanos)| (name, seconds(nanos))).collect(),
            reloads: counts([("ok", stats.reloads_ok), ("refused", stats.reloads_refused)]),
            version: version.version,
        }
    }
}

impl From<OwnMetric> for OwnMetricView {
    fn from(metric: OwnMetric) -> Self {
        let series = metric.samples.into_iter().map(|sample| {
            let (value, count) = match sample.value {
                OwnValue::Number(number) => (number, None),
                OwnValue::Histogram { sum, buckets } => {
                    let count = buckets.iter().map(|(_, count)| count).sum();
                    (sum, Some(count))
                }
            };
            SeriesView {
                labels: sample.labels.into_iter().collect(),
                value,
                count,
            }
        });
        Self {
            series: series.collect(),
            name: metric.name,
            kind: metric.kind.name(),
            help: metric.help,
        }
    }
}

fn retired(stats: &StatsSnapshot) -> Counts {
    counts(Retirement::ALL.map(|why| (why.name(), stats.retired_with(why))))
}

fn host_calls(stats: &StatsSnapshot) -> Counts {
    counts(HostImport::ALL.map(|import| (import.name(), stats.host_calls_of(import))))
}

fn counts<const N: usize>(counts: [(&'static str, u64); N]) -> Counts {
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}

fn seconds(nanos: u64) -> f64 {
    std::time::Duration::from_nanos(nanos).as_secs_f64()
}
