//! Metrics of plugins' own (import `metrics`). Two plugins may have metrics of one name that are of different
//! kinds, so the kind is a part of the family's name.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use postern_wasm::{OwnMetric, OwnMetricKind, OwnSample, OwnValue};
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};

use super::{MetricsSnapshot, counter, gauge, histogram};
use crate::plugins::label::plugin_of;

/// The metrics of one kind and name, with the plugins that have them.
type Families<'a> = BTreeMap<(OwnMetricKind, &'a str), Vec<(&'a str, &'a OwnMetric)>>;

impl MetricsSnapshot {
    pub(super) fn encode_own_metrics(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for ((kind, name), metrics) in self.own_families() {
            let name = format!("plugin_{}_{name}", kind.name());
            let mut texts = metrics.iter().map(|(_, metric)| metric.help.as_str());
            let help = texts.find(|help| !help.is_empty());
            let help = help.unwrap_or("Of plugins' own");
            let mut family = match kind {
                OwnMetricKind::Counter => counter(encoder, &name, help)?,
                OwnMetricKind::Gauge => gauge(encoder, &name, help)?,
                OwnMetricKind::Histogram => histogram(encoder, &name, help)?,
            };
            for (plugin, metric) in metrics {
                for sample in &metric.samples {
                    encode(&mut family, kind, plugin, sample)?;
                }
            }
        }
        Ok(())
    }

    fn own_families(&self) -> Families<'_> {
        let mut families = Families::new();
        let mut seen = BTreeSet::new();
        for plugin in &self.plugins {
            // Versions side by side have the same ones.
            let name = plugin_of(&plugin.plugin);
            if !seen.insert(name) {
                continue;
            }
            for metric in &plugin.own_metrics {
                let family = families.entry((metric.kind, metric.name.as_str()));
                family.or_default().push((name, metric));
            }
        }
        families
    }
}

fn encode(
    family: &mut MetricEncoder<'_>,
    kind: OwnMetricKind,
    plugin: &str,
    sample: &OwnSample,
) -> fmt::Result {
    let own = sample.labels.iter();
    let own = own.map(|(name, value)| (name.as_str(), value.as_str()));
    let labels: Vec<(&str, &str)> = [("plugin", plugin)].into_iter().chain(own).collect();
    let mut family = family.encode_family(&labels)?;
    match (&sample.value, kind) {
        (OwnValue::Number(number), OwnMetricKind::Counter) => {
            family.encode_counter::<[(&str, &str); 0], _, u64>(number, None)
        }
        (OwnValue::Number(number), OwnMetricKind::Gauge | OwnMetricKind::Histogram) => {
            family.encode_gauge(number)
        }
        (OwnValue::Histogram { sum, buckets }, _) => {
            let count = buckets.iter().map(|(_, count)| count).sum();
            family.encode_histogram::<[(&str, &str); 0]>(*sum, count, buckets, None)
        }
    }
}
