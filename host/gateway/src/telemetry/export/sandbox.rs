//! The families of metrics about what plugins may reach and use.

use std::fmt;

use postern_wasm::SandboxSnapshot;
use prometheus_client::encoding::DescriptorEncoder;

use super::{MetricsSnapshot, counter, encode_count, encode_level, gauge};
use crate::plugins::label::{plugin_of, version_of};

impl MetricsSnapshot {
    pub(super) fn encode_sandbox(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Counts = fn(&SandboxSnapshot) -> Vec<(&'static str, u64)>;
        let families: [(&str, &str, &str, Counts); 3] = [
            (
                "plugin_denied",
                "What a plugin asked for and is not granted",
                "grant",
                |sandbox| sandbox.denied.into(),
            ),
            (
                "plugin_host_calls_refused",
                "Calls of the host by a plugin that met their bounds",
                "reason",
                |sandbox| {
                    vec![
                        ("in-flight", sandbox.host_calls_refused),
                        ("late", sandbox.host_calls_late),
                    ]
                },
            ),
            (
                "plugin_trap_changes",
                "Changes that traps made to a plugin, by what it became",
                "state",
                |sandbox| sandbox.trap_changes.into(),
            ),
        ];
        for (name, help, label, counts) in families {
            let mut family = counter(encoder, name, help)?;
            for (plugin, sandbox) in &self.sandbox {
                for (value, count) in counts(sandbox) {
                    let mut labels = labels(plugin);
                    labels.push((label, value));
                    encode_count(&mut family, &labels, count)?;
                }
            }
        }
        let help = "Calls of the host by a plugin under way";
        let mut family = gauge(encoder, "plugin_host_calls_in_flight", help)?;
        for (plugin, sandbox) in &self.sandbox {
            let level = u64::try_from(sandbox.host_calls_in_flight).unwrap_or(u64::MAX);
            encode_level(&mut family, &labels(plugin), level)?;
        }
        Ok(())
    }
}

/// The plugin of a slot, and its version where the file's name says one.
fn labels(slot: &str) -> Vec<(&'static str, &str)> {
    let version = version_of(slot).map(|version| ("version", version));
    let plugin = std::iter::once(("plugin", plugin_of(slot)));
    plugin.chain(version).collect()
}
