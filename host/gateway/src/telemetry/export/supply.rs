//! The families of metrics about versions of plugins that are not taken as they come.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::{MetricsSnapshot, counter, encode_count, encode_level, gauge, plugins::slot_labels};

impl MetricsSnapshot {
    pub(super) fn encode_supply(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "1 while a version waits to be approved";
        let mut family = gauge(encoder, "plugin_held", help)?;
        for plugin in &self.plugins {
            let labels = slot_labels(plugin);
            encode_level(&mut family, &labels, u64::from(plugin.is_held))?;
        }
        let help = "Versions refused for their signatures";
        let mut family = counter(encoder, "plugin_signature_refusals", help)?;
        for plugin in &self.plugins {
            let labels = slot_labels(plugin);
            encode_count(&mut family, &labels, plugin.signature_refusals)?;
        }
        Ok(())
    }
}
