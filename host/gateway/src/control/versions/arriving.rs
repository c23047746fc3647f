//! A version that comes, changes or goes: what it becomes, and what its plugin holds from then on.

use std::{collections::BTreeSet, sync::Arc};

use postern_core::route::HttpRoute;
use tracing::warn;

use super::{
    SlotsByName, VERSIONS_MAX, acting, groups,
    history::HistoryEntry,
    state::{VersionOffer, VersionRole},
};
use crate::{
    config::CanaryMode,
    control::{
        Control,
        claims::Taken,
        http_routes,
        offer::{Needs, OfferRefused, Offered},
        slot::{PluginSlot, Written},
    },
    plugins::{
        label::plugin_of,
        store::{Copy, Deployment},
    },
};

/// What a version becomes, decided before it takes calls.
pub(in crate::control) struct VersionArrival {
    place: VersionRole,
    is_tried: bool,
    is_shadow: bool,
}

impl Control {
    /// The folder has `labels`.
    pub(in crate::control) fn note_known<'a>(&self, labels: impl Iterator<Item = &'a String>) {
        self.versions.known.lock().extend(labels.cloned());
    }

    /// The slot that takes the calls of each plugin.
    pub(in crate::control) fn serving(&self) -> SlotsByName {
        self.versions.serving(&self.slots.lock())
    }

    /// Whether one more version of the plugin of `slot` may be ready.
    ///
    /// # Errors
    /// When there are as many as may be.
    pub(in crate::control) fn check_versions(
        &self,
        slot: &PluginSlot,
        copy: &Copy,
    ) -> Result<(), OfferRefused> {
        let plugin = slot.plugin_name();
        let slots = self.slots.lock();
        let others = slots.values().filter(|other| {
            other.plugin_name() == plugin && other.name != slot.name && other.is_serving()
        });
        let n_others = others.count();
        if n_others < VERSIONS_MAX {
            return Ok(());
        }
        let reason = format!(
            "plugin {plugin} has {n_others} versions ready, the limit is {VERSIONS_MAX}; remove the file of one"
        );
        let needs = Needs {
            time: true,
            ..Needs::default()
        };
        Err(OfferRefused::new(&copy.digest, reason).until(needs))
    }

    /// The plugin of `slot` claims what `deployment` of it answers for, beside what its other versions do. The
    /// routes are those of the version that takes the calls.
    ///
    /// # Errors
    /// When another plugin holds one of them; then nothing has changed.
    pub(in crate::control) fn claim_version(
        &self,
        slot: &PluginSlot,
        deployment: &Deployment,
        written: &Written,
        (mut services, routes): (BTreeSet<String>, &[HttpRoute]),
    ) -> Result<VersionArrival, Taken> {
        let plugin = slot.plugin_name();
        let canary = written.canary.as_ref();
        // One that answers no calls would be tried for ever.
        let is_tried = canary.is_some() && !services.is_empty();
        let candidate = VersionOffer {
            label: &slot.name,
            deployment,
            is_tried,
        };
        let is_known = |label: &str| self.versions.is_known(label);
        let place = {
            let mut sets = self.versions.sets.lock();
            self.versions
                .set(&mut sets, plugin)
                .state
                .place(candidate, is_known)
        };
        let others = self.others(slot);
        let stable = others.iter().find(|other| self.is_stable(other));
        let stable_routes = stable.and_then(|stable| stable.shown().current);
        let routes = match (&place, &stable_routes) {
            (VersionRole::Canary | VersionRole::Held(_), Some(stable)) => stable.routes.as_slice(),
            (VersionRole::Stable, _) | (_, None) => routes,
        };
        let current = others.iter().filter_map(|other| other.shown().current);
        services.extend(current.flat_map(|current| {
            let names = current.services.into_iter();
            names.map(|service| service.name.to_string())
        }));
        let configured = self.config.load();
        let configured = http_routes::of_configuration(&configured);
        self.claims
            .lock()
            .replace(plugin, &services, routes, configured)?;
        Ok(VersionArrival {
            place,
            is_tried,
            is_shadow: canary.is_some_and(|canary| canary.mode == CanaryMode::Shadow),
        })
    }

    /// `deployment` of `slot` can take calls and becomes what was decided.
    pub(in crate::control) fn enter_version(
        &self,
        slot: &PluginSlot,
        deployment: &Deployment,
        arrival: &VersionArrival,
    ) {
        let label = slot.name.as_str();
        let candidate = VersionOffer {
            label,
            deployment,
            is_tried: arrival.is_tried,
        };
        let place = arrival.place;
        let was = self.versions.change(slot.plugin_name(), |set| {
            let was = set.state.stable.clone();
            set.state.enter(candidate, place);
            set.reasons.remove(label);
            was
        });
        let (event, why) = match place {
            VersionRole::Stable if was.as_deref() == Some(label) => ("deployed", ""),
            VersionRole::Stable => ("deployed", "takes the calls"),
            VersionRole::Canary if arrival.is_shadow => ("shadow", "gets copies of calls"),
            VersionRole::Canary => ("canary", "gets a share of the calls"),
            VersionRole::Held(reason) => ("held", reason.name()),
        };
        // A start says again what is known.
        if self.routes.is_complete() {
            let entry = HistoryEntry::new(label, event, "folder").because(why);
            self.versions.note(slot.plugin_name(), &entry);
        }
    }

    /// Notes an offer that was refused.
    pub(in crate::control) fn note_offered(&self, slot: &PluginSlot, offered: &Offered) {
        if let Offered::Refused(refused) = offered {
            let event = match refused.held {
                Some(_) => "held",
                None => "refused",
            };
            let entry = HistoryEntry::new(&slot.name, event, "folder").because(&refused.reason);
            self.versions.note(slot.plugin_name(), &entry);
        }
    }

    /// Notes that an operator approved what a version asks for.
    pub(in crate::control) fn note_approved(&self, slot: &PluginSlot, who: &str) {
        let entry = HistoryEntry {
            who,
            ..HistoryEntry::new(&slot.name, "approved", "operator")
        };
        self.versions.note(slot.plugin_name(), &entry);
    }

    /// The folder has `label` no more. The caller has taken it out of the slots.
    pub(in crate::control) fn remove_version(&self, label: &str) {
        let _changing = self.versions.lock_changes();
        self.versions.known.lock().remove(label);
        let plugin = plugin_of(label);
        let slots = self.slots.lock();
        let group: Vec<_> = slots
            .values()
            .filter(|slot| slot.plugin_name() == plugin)
            .collect();
        let serving = group.iter().filter(|slot| slot.is_serving());
        let serving: Vec<_> = serving.map(|slot| slot.name.clone()).collect();
        let (was, is) = self.versions.change(plugin, |set| {
            let was = set.state.stable.clone();
            set.state.remove(label, &serving);
            set.reasons.remove(label);
            (was, set.state.stable.clone())
        });
        let entry = HistoryEntry::new(label, "removed", "folder");
        self.versions.note(plugin, &entry);
        if let Some(stable) = is.filter(|stable| was.as_deref() == Some(label) && stable != label) {
            let why = format!("{label} was removed");
            let entry = HistoryEntry::new(&stable, "promoted", "folder").because(&why);
            self.versions.note(plugin, &entry);
        }
        if group.is_empty() {
            let left = slots.values().map(|slot| slot.plugin_name().to_owned());
            self.versions.files.keep_to(left.collect());
        }
        drop(slots);
        if serving.is_empty() {
            self.claims.lock().release(plugin);
            self.versions.sets.lock().remove(plugin);
            return;
        }
        if let Err(taken) = self.claim_again(plugin) {
            warn!(plugin, %taken, "the version that takes the calls has fewer routes than its manifest names");
        }
    }

    /// The plugin claims what its versions answer for, with the routes of the one that takes the calls.
    ///
    /// # Errors
    /// When somebody else has one of the routes; then it has none.
    pub(in crate::control) fn claim_again(&self, plugin: &str) -> Result<(), Taken> {
        let slots = self.slots.lock();
        let group = groups(&slots).remove(plugin).unwrap_or_default();
        let stable = {
            let mut sets = self.versions.sets.lock();
            acting(self.versions.set(&mut sets, plugin).state(), &group)
        };
        let routes = stable.and_then(|stable| stable.shown().current);
        let routes = routes.map(|current| current.routes).unwrap_or_default();
        let current = group.iter().filter_map(|slot| slot.shown().current);
        let services = current.flat_map(|current| current.services);
        let services: BTreeSet<_> = services.map(|service| service.name.to_string()).collect();
        let config = self.config.load();
        let mut claims = self.claims.lock();
        let configured = http_routes::of_configuration(&config);
        let claimed = claims.replace(plugin, &services, &routes, configured);
        if claimed.is_err() {
            // Services that it holds are its own.
            drop(claims.replace(plugin, &services, &[], std::iter::empty()));
        }
        claimed
    }

    /// Other versions of the plugin of `slot`.
    fn others(&self, slot: &PluginSlot) -> Vec<Arc<PluginSlot>> {
        let slots = self.slots.lock();
        let others = slots
            .values()
            .filter(|other| other.plugin_name() == slot.plugin_name() && other.name != slot.name);
        others.cloned().collect()
    }

    pub(super) fn is_stable(&self, slot: &PluginSlot) -> bool {
        let mut sets = self.versions.sets.lock();
        let set = self.versions.set(&mut sets, slot.plugin_name());
        set.state.stable.as_deref() == Some(slot.name.as_str())
    }
}
