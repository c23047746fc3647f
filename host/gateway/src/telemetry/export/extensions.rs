//! The families of metrics of plugins that stand in the way of calls and frames.

use std::fmt;

use postern_wasm::EntryOutcome;
use prometheus_client::encoding::DescriptorEncoder;

use super::{MetricsSnapshot, counter, encode_count, encode_level, gauge};
use crate::telemetry::histogram::seconds;

impl MetricsSnapshot {
    pub(super) fn encode_extensions(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Calls and frames that an extension saw, and what became of them by it";
        let mut family = counter(encoder, "extension_outcomes", help)?;
        for link in &self.extensions {
            for (outcome, count) in link.counts() {
                let labels = [("plugin", link.plugin.as_str()), ("outcome", outcome)];
                encode_count(&mut family, &labels, count)?;
            }
        }
        let help = "1 when the plugin stands in the chain, 0 when it should and does not";
        let mut family = gauge(encoder, "extension_live", help)?;
        for link in &self.extensions {
            let labels = [("plugin", link.plugin.clone())];
            encode_level(&mut family, &labels, u64::from(link.is_live))?;
        }
        self.encode_entries(encoder)
    }

    /// Direct entries, balancers' picks among them.
    fn encode_entries(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Direct entries into a plugin by role and outcome; of a balancer everything but answered is a pick of the native one";
        let mut family = counter(encoder, "plugin_entries", help)?;
        for (plugin, version) in self.versions() {
            for entries in &version.stats.entries {
                for (outcome, count) in EntryOutcome::ALL.into_iter().zip(entries.outcomes) {
                    let labels = [
                        ("plugin", plugin),
                        ("version", version.version.as_str()),
                        ("role", entries.role.name()),
                        ("outcome", outcome.name()),
                    ];
                    encode_count(&mut family, &labels, count)?;
                }
            }
        }
        let help = "Time of direct entries into a plugin by role, sampled";
        let mut family = counter(encoder, "plugin_entry_seconds", help)?;
        for (plugin, version) in self.versions() {
            for entries in &version.stats.entries {
                let labels = [
                    ("plugin", plugin),
                    ("version", version.version.as_str()),
                    ("role", entries.role.name()),
                ];
                let mut family = family.encode_family(&labels)?;
                family
                    .encode_counter::<[(&str, &str); 0], _, u64>(&seconds(entries.nanos), None)?;
            }
        }
        Ok(())
    }
}
