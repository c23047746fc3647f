//! The families of metrics of plugins that have several versions.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::{MetricsSnapshot, counter, encode_count};
use crate::plugins::label::version_of;

/// Versions of one plugin that were promoted, rolled back, or get copies of calls.
#[derive(Debug, Clone, Default)]
pub(crate) struct VersionNumbers {
    pub plugin: String,
    pub promoted: u64,
    /// By what they were worse: `errors`, `traps`, `p99`, `health`; `operator` where one said so.
    pub rolled_back: Vec<(&'static str, u64)>,
    /// The file's name of the version that gets copies, and copies by what became of them.
    pub copies: Option<(String, Vec<(&'static str, u64)>)>,
}

impl MetricsSnapshot {
    pub(super) fn encode_versions(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Versions that took the place of the version before";
        let mut family = counter(encoder, "plugin_versions_promoted", help)?;
        for numbers in &self.versions {
            let labels = [("plugin", numbers.plugin.as_str())];
            encode_count(&mut family, &labels, numbers.promoted)?;
        }
        let help = "Versions that were taken back, by why";
        let mut family = counter(encoder, "plugin_versions_rolled_back", help)?;
        for numbers in &self.versions {
            for (reason, count) in &numbers.rolled_back {
                let labels = [("plugin", numbers.plugin.as_str()), ("reason", *reason)];
                encode_count(&mut family, &labels, *count)?;
            }
        }
        let help = "Copies of calls for a version under trial, by what became of them";
        let mut family = counter(encoder, "plugin_version_copies", help)?;
        for numbers in &self.versions {
            let Some((label, copies)) = &numbers.copies else {
                continue;
            };
            let version = version_of(label).unwrap_or_default();
            for (result, count) in copies {
                let labels = [
                    ("plugin", numbers.plugin.as_str()),
                    ("version", version),
                    ("result", *result),
                ];
                encode_count(&mut family, &labels, *count)?;
            }
        }
        Ok(())
    }
}
