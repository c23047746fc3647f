//! What a name means that an operator gives: one rule for every command.
//!
//! | name | means |
//! | --- | --- |
//! | `users@2` | version 2 of `users` |
//! | `users@` | its version without a name, `users.wasm` |
//! | `users` | the plugin; of its versions the one that the command is about |
//!
//! | command | is about |
//! | --- | --- |
//! | `info`, `record`, `shadow`, `pin` | the version that takes the calls |
//! | `promote` | the one that is tried |
//! | `rollback` | the one that is tried, or else that takes the calls |
//! | `approve` | the one that is held |
//! | `release` | the one that its traps keep from taking calls |
//! | `log`, `unpin` | all of them |
//!
//! Where several are what a command is about, it names them and does nothing.

use std::sync::Arc;

use postern_wasm::TrapState;

use super::{
    Control,
    offer::HeldOffer,
    slot::PluginSlot,
    view::{HeldView, PluginView},
};
use crate::{
    nearest::nearest,
    plugins::{
        label::{named, shown_beside},
        origin,
        trust::TrustFiles,
    },
};

/// Why a name means nothing that can be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameFault {
    /// With what it may have meant.
    #[error("{message}")]
    Unknown {
        message: String,
        hint: Option<String>,
    },
    /// Nothing of what it names is what the command is about.
    #[error("{0}")]
    NotSo(String),
    /// Several of what it names are `so`.
    #[error("{} {so}; name one of them", versions.join(", "))]
    Several {
        versions: Vec<String>,
        so: &'static str,
    },
}

impl Control {
    /// The version of the name `label`, as a file has it.
    pub(super) fn slot_of(&self, label: &str) -> Option<Arc<PluginSlot>> {
        self.slots.lock().get(label).cloned()
    }

    /// Whether the set has a version of the name `label`, as a file has it.
    #[must_use]
    pub(crate) fn has_version(&self, label: &str) -> bool {
        self.slots.lock().contains_key(label)
    }

    /// The version that `name` names, or that takes the calls of the plugin that it names.
    pub(super) fn in_force(&self, name: &str) -> Option<Arc<PluginSlot>> {
        match named(name) {
            (_, Some(label)) => self.slot_of(label),
            (plugin, None) => self.serving().remove(plugin),
        }
    }

    /// Every version that `name` may mean.
    fn all_named(&self, name: &str) -> Vec<Arc<PluginSlot>> {
        let (plugin, label) = named(name);
        let slots = self.slots.lock();
        let is_named = |slot: &&Arc<PluginSlot>| match label {
            Some(label) => slot.name == label,
            None => slot.plugin_name() == plugin,
        };
        slots.values().filter(is_named).cloned().collect()
    }

    /// Fails where `name` names nothing that there is.
    ///
    /// # Errors
    /// What was probably meant.
    pub(crate) fn check_name(&self, name: &str) -> Result<(), NameFault> {
        match self.all_named(name).is_empty() {
            true => Err(self.unknown(name)),
            false => Ok(()),
        }
    }

    /// What is held of what `name` names, of which the digest begins with `digest`, where one is given.
    ///
    /// # Errors
    /// When nothing is held, or several are and no digest says which.
    pub(super) fn held_of(
        &self,
        name: &str,
        digest: Option<&str>,
    ) -> Result<Arc<PluginSlot>, NameFault> {
        self.check_name(name)?;
        let held = |slot: &PluginSlot| slot.held().map(|held| held.digest);
        let is_meant = |slot: &PluginSlot, digest: &str| {
            held(slot).is_some_and(|held| held.starts_with(digest))
        };
        let mut all = self.all_named(name);
        all.retain(|slot| held(slot).is_some());
        if let Some(digest) = digest
            && all.iter().any(|slot| is_meant(slot, digest))
        {
            all.retain(|slot| is_meant(slot, digest));
        }
        one_of(all, "are held", || {
            let beside = self.versions_with(name, |slot| held(slot).is_some());
            format!("nothing of plugin {name} is held{beside}")
        })
    }

    /// What its traps keep from taking calls, of what `name` names.
    ///
    /// # Errors
    /// When there is none, or several are.
    pub(super) fn kept_by_traps(&self, name: &str) -> Result<Arc<PluginSlot>, NameFault> {
        self.check_name(name)?;
        let is_kept = |slot: &PluginSlot| {
            let status = slot.plugin.trap_status();
            status.is_some_and(|status| status.state != TrapState::Serving)
        };
        let mut all = self.all_named(name);
        all.retain(|slot| is_kept(slot));
        one_of(all, "are kept from taking calls by their traps", || {
            let beside = self.versions_with(name, is_kept);
            format!("plugin {name} is not kept from taking calls by its traps{beside}")
        })
    }

    /// `; users@2 is`: which other versions of the plugin that `name` names a version of are so.
    fn versions_with(&self, name: &str, is_so: impl Fn(&PluginSlot) -> bool) -> String {
        let (plugin, label) = named(name);
        let mut others = self.all_named(plugin);
        others.retain(|slot| Some(slot.name.as_str()) != label && is_so(slot));
        let others: Vec<_> = others.iter().map(|slot| shown_beside(&slot.name)).collect();
        match others.as_slice() {
            [] => String::new(),
            [one] => format!("; {one} is"),
            several => format!("; {} are", several.join(", ")),
        }
    }

    /// `users@1, users@2`: the versions of a plugin.
    pub(super) fn versions_told(&self, plugin: &str) -> String {
        let versions = self.all_named(plugin);
        let versions: Vec<_> = versions
            .iter()
            .map(|slot| shown_beside(&slot.name))
            .collect();
        versions.join(", ")
    }

    /// That nothing is called `name`, and what was probably meant.
    pub(crate) fn unknown(&self, name: &str) -> NameFault {
        let (plugin, label) = named(name);
        let versions = self.versions_told(plugin);
        if label.is_some() && !versions.is_empty() {
            let message = match name.strip_suffix('@') {
                Some(plugin) => format!("plugin {plugin} has no version without a name"),
                None => format!("plugin {plugin} has no version {name}"),
            };
            let hint = Some(format!("it has {versions}"));
            return NameFault::Unknown { message, hint };
        }
        let message = format!("no plugin {name}");
        let (plugins, versions) = (self.serving(), self.names());
        let known = plugins.keys().chain(&versions).map(String::as_str);
        let near = nearest(name, known);
        let hint = near.map(|near| format!("did you mean {near}?"));
        NameFault::Unknown { message, hint }
    }

    /// The version that `name` names, or that takes the calls of the plugin that it names.
    #[must_use]
    pub(crate) fn plugin(&self, name: &str) -> Option<PluginView> {
        let slot = self.in_force(name)?;
        let mut view = self.view_of(&slot);
        if named(name).1.is_none() {
            let mut others = self.all_named(name);
            others.retain(|other| other.name != slot.name);
            let held = others.iter().filter_map(|other| HeldView::of(other));
            view.held_versions = held.collect();
        }
        Some(view)
    }

    /// The version of the name `label`, as a file has it.
    #[must_use]
    pub(crate) fn version(&self, label: &str) -> Option<PluginView> {
        let slot = self.slot_of(label)?;
        Some(self.view_of(&slot))
    }

    fn view_of(&self, slot: &PluginSlot) -> PluginView {
        let mut view = PluginView::of(slot, self.version_view(slot));
        let folder = &self.config.load().plugins.folder;
        let digest = view.digest.as_deref();
        view.origin = digest.and_then(|digest| origin::read(folder, &slot.name, digest));
        view.approvals = TrustFiles::new(&self.data_dir, &slot.name).records();
        let surplus = view.approvals.len().saturating_sub(APPROVALS_SHOWN_MAX);
        view.approvals.drain(..surplus);
        view
    }
}

impl PluginSlot {
    /// What of it waits for an operator.
    pub(super) fn held(&self) -> Option<HeldOffer> {
        let held = self.shown().refused?.held?;
        self.is_waiting().then_some(*held)
    }
}

/// The only one of `all`.
fn one_of(
    mut all: Vec<Arc<PluginSlot>>,
    so: &'static str,
    none: impl FnOnce() -> String,
) -> Result<Arc<PluginSlot>, NameFault> {
    match (all.pop(), all.is_empty()) {
        (None, _) => Err(NameFault::NotSo(none())),
        (Some(one), true) => Ok(one),
        (Some(last), false) => {
            let all = all.iter().chain([&last]);
            let versions = all.map(|slot| shown_beside(&slot.name)).collect();
            Err(NameFault::Several { versions, so })
        }
    }
}

/// Approvals that are shown of a plugin, the latest.
const APPROVALS_SHOWN_MAX: usize = 8;
