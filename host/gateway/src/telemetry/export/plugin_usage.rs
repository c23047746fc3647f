//! What plugins use, by version: processor, memory, instances, the host. Counters of limits and policies
//! (`sandbox`) belong here, too.

use std::fmt;

use postern_wasm::{HostImport, Retirement};
use prometheus_client::encoding::DescriptorEncoder;

use super::{
    MetricsSnapshot, counter, encode_count, encode_level, gauge,
    plugins::{encode_seconds, labels, size},
};
use crate::telemetry::histogram::seconds;

impl MetricsSnapshot {
    pub(super) fn encode_plugin_usage(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Processor time of a plugin, that of the host on its behalf included";
        let mut family = counter(encoder, "plugin_processor_seconds", help)?;
        for (plugin, version) in self.versions() {
            let time = seconds(version.stats.processor_nanos);
            encode_seconds(&mut family, &labels(plugin, version), time)?;
        }
        let help = "Memory of the instances alive, together";
        let mut family = gauge(encoder, "plugin_memory_live_bytes", help)?;
        for (plugin, version) in self.versions() {
            let bytes = size(version.stats.memory_bytes);
            encode_level(&mut family, &labels(plugin, version), bytes)?;
        }
        let help = "Instances dropped, by reason";
        let mut family = counter(encoder, "plugin_instances_retired", help)?;
        for (plugin, version) in self.versions() {
            for why in Retirement::ALL {
                let [plugin, version_label] = labels(plugin, version);
                let labels = [plugin, version_label, ("reason", why.name())];
                encode_count(&mut family, &labels, version.stats.retired_with(why))?;
            }
        }
        self.encode_host_calls(encoder)
    }

    /// Interfaces that a plugin never called are left out.
    fn encode_host_calls(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Calls of functions of the host, by interface";
        let mut family = counter(encoder, "plugin_host_calls", help)?;
        for (plugin, version) in self.versions() {
            for import in HostImport::ALL {
                let count = version.stats.host_calls_of(import);
                let [plugin, version] = labels(plugin, version);
                let labels = [plugin, version, ("import", import.name())];
                if count > 0 {
                    encode_count(&mut family, &labels, count)?;
                }
            }
        }
        let help = "Time that a plugin waited for functions of the host, by interface";
        let mut family = counter(encoder, "plugin_host_call_seconds", help)?;
        for (plugin, version) in self.versions() {
            for import in HostImport::ALL {
                let nanos = version.stats.host_nanos_of(import);
                let [plugin, version] = labels(plugin, version);
                let labels = [plugin, version, ("import", import.name())];
                if nanos > 0 {
                    encode_seconds(&mut family, &labels, seconds(nanos))?;
                }
            }
        }
        Ok(())
    }
}
