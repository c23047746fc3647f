//! Counters of plugins, as the metrics have them.

use std::collections::BTreeSet;

use postern_wasm::VersionStats;

use super::{Control, slot::PluginSlot, usage_view::versions};
use crate::telemetry::export::PluginNumbers;

impl Control {
    /// Counters of each slot, of which there is one for each version in the folder.
    #[must_use]
    pub(crate) fn numbers(&self) -> Vec<PluginNumbers> {
        let slots = self.slots.lock();
        let of_files: BTreeSet<_> = slots
            .values()
            .filter_map(|slot| Some((slot.plugin_name(), slot.version()?)))
            .collect();
        let numbers = slots.values().map(|slot| {
            let shown = slot.shown();
            PluginNumbers {
                plugin: slot.plugin_name().to_owned(),
                version: slot.version().map(str::to_owned),
                generation: shown
                    .current
                    .as_ref()
                    .map_or(0, |current| current.generation),
                is_active: shown.current.is_some() && shown.is_healthy(),
                is_held: shown.refused.is_some_and(|refused| refused.held.is_some()),
                signature_refusals: slot.signature_refusals(),
                versions: told_apart(slot, &of_files),
                own_metrics: slot.plugin.own_metrics(),
            }
        });
        numbers.collect()
    }
}

/// The counters of a slot's versions. A file without a version in its name that says it is one of those which lie
/// beside it goes by its name: each series is one version's.
fn told_apart(slot: &PluginSlot, of_files: &BTreeSet<(&str, &str)>) -> Vec<VersionStats> {
    let mut stats = versions(&slot.plugin);
    if slot.version().is_none() {
        for version in &mut stats {
            if of_files.contains(&(slot.plugin_name(), version.version.as_str())) {
                version.version = format!("{}.wasm", slot.plugin_name());
            }
        }
    }
    stats
}
