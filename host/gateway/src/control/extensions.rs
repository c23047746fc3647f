//! The chain that the set of plugins and the configuration make.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use postern_core::Text;
use postern_wasm::{OnTrap, Plugin, TrapState};

use super::slot::PluginSlot;
use crate::{
    config::{Config, Extension},
    pipeline::chain::{Chain, ChainLink, Part},
};

/// Every plugin that is to stand in the way, in order. One that the configuration names and that is
/// not there has a link, too: what it should have seen must not pass unseen.
pub(super) fn chain(slots: &BTreeMap<String, Arc<PluginSlot>>, config: &Config) -> Chain {
    let named = config.extensions.keys();
    let names: BTreeSet<&String> = slots.keys().chain(named).collect();
    let link = |name: &String| link(name, slots.get(name), config.extensions.get(name));
    names.into_iter().filter_map(link).collect()
}

/// Whether its traps have calls pass by the plugin.
fn is_passed_by(plugin: &Plugin) -> bool {
    plugin.trap_status().is_some_and(|status| {
        status.state == TrapState::Closed && status.policy == OnTrap::Open.name()
    })
}

fn link(
    name: &str,
    slot: Option<&Arc<PluginSlot>>,
    configured: Option<&Extension>,
) -> Option<ChainLink> {
    let shown = slot.map(|slot| slot.shown());
    let current = shown.as_ref().and_then(|shown| shown.current.as_ref());
    let written = current.map(|current| &current.written.extension);
    let settings = configured.or(written).filter(|settings| settings.enabled)?;
    let part = match (slot, current) {
        (Some(slot), Some(_)) => {
            let plugin = &slot.plugin;
            slot.link.set_passed_by(is_passed_by(plugin));
            Part::Live {
                authenticator: plugin.authenticator(),
                requests: plugin.request_interceptor(),
                responses: plugin.response_interceptor(),
                authorizer: plugin.authorizer(),
                frames: plugin.frame_extension(),
            }
        }
        (Some(_), None) | (None, _) => {
            let refused = shown.as_ref().and_then(|shown| shown.refused.as_ref());
            let is_loading = shown.as_ref().is_some_and(|shown| shown.loading.is_some());
            let reason = match refused {
                _ if is_loading => "it is loading",
                // Why is for operators: it may repeat what the guest wrote to its standard error.
                Some(_) => "it was refused; `postern plugins list` says why",
                None => "no such plugin",
            };
            Part::Missing(Text::from_static(reason))
        }
    };
    Some(ChainLink {
        plugin: name.into(),
        settings: settings.clone(),
        part,
        counts: slot.map(|slot| Arc::clone(&slot.link)).unwrap_or_default(),
    })
}
