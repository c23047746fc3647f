//! What the set of plugins says of the gateway's readiness.

use std::{collections::BTreeMap, sync::Arc};

use super::{Control, slot::PluginSlot};
use crate::{
    config::{Config, Fail},
    readiness::ReasonKind,
};

type Slots = BTreeMap<String, Arc<PluginSlot>>;

impl Control {
    /// Brings the reasons that plugins can be to what `slots` are. Before the first deployment has
    /// ended nothing is missed yet.
    pub(super) fn judge(&self, slots: &Slots, config: &Config) {
        if !self.routes.is_complete() {
            return;
        }
        let readiness = &self.readiness;
        readiness.replace(ReasonKind::Extension, extensions(slots, config));
        readiness.replace(ReasonKind::Plugin, required(slots, config));
        readiness.replace(ReasonKind::Generation, generations(slots));
    }
}

/// Extensions that the configuration names, that are not there, and whose calls are refused for it.
fn extensions(slots: &Slots, config: &Config) -> BTreeMap<String, String> {
    let named = config.extensions.iter();
    let closed = named.filter(|(_, settings)| settings.enabled && settings.fail == Fail::Closed);
    let missing = closed.filter_map(|(name, _)| {
        let why = absence(slots.get(name))?;
        let message = format!("extension {name} {why}; calls that it should see are refused");
        Some((name.clone(), message))
    });
    missing.collect()
}

/// Plugins that the configuration requires and that take no calls.
fn required(slots: &Slots, config: &Config) -> BTreeMap<String, String> {
    let missing = config.plugins.required.iter().filter_map(|name| {
        let slot = slots.get(name);
        let ill = slot.filter(|slot| !slot.shown().is_healthy());
        let ill = ill.map(|_| "is not healthy".to_owned());
        let why = absence(slot).or(ill)?;
        Some((name.clone(), format!("plugin {name} {why}; it is required")))
    });
    missing.collect()
}

/// Plugins that serve something else than what lies in the folder, though nobody asked for that.
fn generations(slots: &Slots) -> BTreeMap<String, String> {
    let refused = slots.values().filter_map(|slot| {
        let shown = slot.shown();
        let (current, refused) = (shown.current?, shown.refused?);
        let message = format!(
            "plugin {} serves its generation {} ({}), not what lies in the folder: {}",
            slot.name,
            current.generation,
            current.source.name(),
            refused.reason,
        );
        Some((slot.name.clone(), message))
    });
    refused.collect()
}

/// Why nothing of a plugin can be asked; `None` when it can.
fn absence(slot: Option<&Arc<PluginSlot>>) -> Option<String> {
    let Some(slot) = slot else {
        return Some("is not in the folder".to_owned());
    };
    let shown = slot.shown();
    match (shown.current, shown.refused) {
        (Some(_), _) => {
            let stopped = slot.plugin.status().stopped?;
            Some(format!("has stopped: {stopped}"))
        }
        (None, Some(refused)) => Some(format!("was refused: {}", refused.reason)),
        (None, None) => Some("is being deployed".to_owned()),
    }
}
