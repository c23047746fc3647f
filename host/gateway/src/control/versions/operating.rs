//! What operators and rules do to versions: promote, roll back, pin.

use serde_json::{Value as Json, json};
use tracing::{info, warn};

use super::{
    SlotsByName,
    history::HistoryEntry,
    state::{Rejected, VersionOffer, VersionRole},
    trial::TrialFigures,
};
use crate::{
    control::{
        Control,
        offer::{OfferRefused, unix_now},
    },
    plugins::label::{at_start, is_label, named, plugin_of},
};

/// Who changes something, and why.
#[derive(Clone, Copy)]
pub(super) struct By<'a> {
    /// `operator` or `rule`.
    kind: &'static str,
    /// Which operator.
    who: &'a str,
    why: &'a str,
    figures: Option<&'a TrialFigures>,
}

impl<'a> By<'a> {
    /// The operator that the connection says: `uid 1000 (ada)`.
    const fn operator(who: &'a str) -> Self {
        Self {
            kind: "operator",
            who,
            why: "",
            figures: None,
        }
    }

    pub(super) const fn rule(why: &'a str, figures: Option<&'a TrialFigures>) -> Self {
        Self {
            kind: "rule",
            who: "",
            why,
            figures,
        }
    }

    const fn with_figures(self, figures: Option<&'a TrialFigures>) -> Self {
        Self { figures, ..self }
    }

    const fn because(self, why: &'a str) -> Self {
        Self { why, ..self }
    }

    /// That `what` was done to `version`.
    fn entry(self, version: &'a str, what: &'static str) -> HistoryEntry<'a> {
        HistoryEntry {
            who: self.who,
            figures: self.figures,
            ..HistoryEntry::new(version, what, self.kind).because(self.why)
        }
    }

    /// `promoted by operator uid 1000 (ada): WHY`.
    fn told(self, what: &str) -> String {
        let Self { kind, who, why, .. } = self;
        let head = match who {
            "" => format!("{what} by {kind}"),
            who => format!("{what} by {kind} {who}"),
        };
        match why {
            "" => head,
            why => format!("{head}: {why}"),
        }
    }
}

impl Control {
    /// `name`, a version, takes the calls of its plugin from here on; the one that is tried where it is a
    /// plugin's name. `who` says so.
    ///
    /// # Errors
    /// When there is none, or it cannot take calls.
    pub(crate) fn promote(&self, name: &str, who: &str) -> Result<(), OfferRefused> {
        let (plugin, label) = named(name);
        let label = label.map(str::to_owned).or_else(|| self.canary_of(plugin));
        let Some(label) = label else {
            let versions = self.versions_told(plugin);
            let reason =
                format!("plugin {plugin} has no version under trial; name one of {versions}");
            return Err(OfferRefused::new("", reason));
        };
        let figures = self.figures_of(plugin);
        let by = By::operator(who).with_figures(figures.as_ref());
        self.promote_version(plugin, &label, by)
    }

    /// The version that is tried gets no more calls; without one, the version before takes the calls again;
    /// without that, the generation before of the only version does, as it does where `name` is a version. `who`
    /// says so.
    ///
    /// # Errors
    /// When there is no such plugin, none before, or the one before does not start.
    pub(crate) async fn rollback(&self, name: &str, who: &str) -> Result<(), OfferRefused> {
        let (plugin, named) = named(name);
        let is_named = |label: &str| named.is_none_or(|named| named == label);
        let figures = self.figures_of(plugin);
        let by = By::operator(who).with_figures(figures.as_ref());
        let canary = self.canary_of(plugin);
        let canary = canary.filter(|canary| is_named(canary));
        if let Some(canary) = canary {
            self.reject_version(plugin, &canary, "operator", by);
            return Ok(());
        }
        let slots = self.slots.lock().clone();
        let serving = serving_labels(plugin, &slots);
        let (stable, before) = self.versions.change(plugin, |set| {
            let before = set
                .state
                .before
                .iter()
                .find(|label| serving.contains(label));
            (set.state.stable.clone(), before.cloned())
        });
        let is_of_stable = stable.as_deref().is_some_and(is_named);
        if let (Some(stable), Some(before), true) = (&stable, before, is_of_stable) {
            self.promote_version(plugin, &before, by)?;
            self.reject_version(plugin, stable, "operator", by);
            return Ok(());
        }
        let label = named.or(stable.as_deref()).unwrap_or(plugin);
        self.rollback_generation(label).await?;
        let by = By::operator(who).because("its generation before takes the calls");
        self.versions.change(plugin, |set| {
            set.reasons.insert(label.to_owned(), by.told("rolled back"));
        });
        self.versions.note(plugin, &by.entry(label, "rolled-back"));
        Ok(())
    }

    /// Nothing changes by itself from here on which version takes the calls: `name`, where it is a version, or
    /// the one that takes them. `who` says so.
    ///
    /// # Errors
    /// When there is none, or it cannot take calls.
    pub(crate) fn pin(&self, name: &str, who: &str) -> Result<(), OfferRefused> {
        let by = By::operator(who);
        let (plugin, named) = named(name);
        let serving = self.serving();
        let Some(stable) = serving.get(plugin).filter(|slot| slot.is_serving()) else {
            return Err(OfferRefused::new(
                "",
                format!("nothing of plugin {plugin} takes calls"),
            ));
        };
        if let Some(label) = named.filter(|label| *label != stable.name) {
            self.promote_version(plugin, label, by)?;
        }
        let label = self.versions.change(plugin, |set| {
            set.state.stable.get_or_insert_with(|| stable.name.clone());
            set.state.is_pinned = true;
            set.state.canary = None;
            let label = set.state.stable.clone().unwrap_or_default();
            set.reasons.insert(label.clone(), by.told("pinned"));
            label
        });
        self.publish();
        self.versions.note(plugin, &by.entry(&label, "pinned"));
        info!(plugin, version = label, who, "version pinned");
        Ok(())
    }

    /// Newer versions are tried again, or take the calls, as their manifests say. `who` says so.
    ///
    /// # Errors
    /// When the plugin is not pinned.
    pub(crate) fn unpin(&self, name: &str, who: &str) -> Result<(), OfferRefused> {
        let plugin = plugin_of(name);
        let was_pinned = self.versions.change(plugin, |set| {
            let was_pinned = std::mem::replace(&mut set.state.is_pinned, false);
            if was_pinned && let Some(stable) = &set.state.stable {
                // It was why this one takes the calls.
                set.reasons.remove(stable);
            }
            was_pinned
        });
        if !was_pinned {
            return Err(OfferRefused::new(
                "",
                format!("plugin {plugin} is not pinned"),
            ));
        }
        let entry = By::operator(who).entry(plugin, "unpinned");
        self.versions.note(plugin, &entry);
        info!(plugin, who, "versions unpinned");
        self.place_again(plugin);
        self.publish();
        Ok(())
    }

    /// What happened to the versions of the plugin of `name`, or to that version, the latest last. Nothing where
    /// `name` is none that a plugin may have.
    pub(crate) async fn version_history(&self, name: &str) -> Vec<Json> {
        let (plugin, label) = named(name);
        // Whoever asks names a file by it.
        if !is_label(label.unwrap_or(plugin)) {
            return Vec::new();
        }
        let mut entries = self.versions.files.history(plugin).await;
        if label.is_some() {
            entries.retain(|entry| entry.get("version").and_then(Json::as_str) == label);
        }
        entries
    }

    /// Waits until what was said of versions until now is on the disk, as far as it can be written there.
    pub(crate) async fn versions_written(&self) {
        self.versions.files.flush().await;
    }

    /// `label` takes the calls of `plugin` from here on.
    ///
    /// # Errors
    /// When it cannot.
    pub(super) fn promote_version(
        &self,
        plugin: &str,
        label: &str,
        by: By<'_>,
    ) -> Result<(), OfferRefused> {
        let refused = |reason: String| OfferRefused::new("", reason);
        let slot = self.slot_of(label);
        let slot = slot.ok_or_else(|| refused(format!("no version {label}")))?;
        let shown = slot.shown();
        if shown.current.is_none() {
            return Err(refused(format!(
                "version {label} cannot take calls: nothing of it is ready"
            )));
        }
        if !shown.is_healthy() {
            return Err(refused(format!("version {label} is not healthy")));
        }
        let changing = self.versions.lock_changes();
        let old = self.versions.change(plugin, |set| {
            let old = set.state.clone();
            set.state.promote(label);
            old
        });
        if old.stable.as_deref() == Some(label) {
            return Err(refused(format!("version {label} takes the calls already")));
        }
        if let Err(taken) = self.claim_again(plugin) {
            self.versions.change(plugin, |set| set.state = old);
            // What it held before.
            drop(self.claim_again(plugin));
            return Err(refused(taken.to_string()));
        }
        self.versions.change(plugin, |set| {
            set.promoted += 1;
            set.reasons.insert(label.to_owned(), by.told("promoted"));
        });
        drop(changing);
        self.publish();
        self.tell("promoted", plugin, label, by);
        Ok(())
    }

    /// `label` gets no more calls of `plugin`, and is not tried again as it is.
    pub(super) fn reject_version(
        &self,
        plugin: &str,
        label: &str,
        cause: &'static str,
        by: By<'_>,
    ) {
        let slot = self.slot_of(label);
        let Some(current) = slot.and_then(|slot| slot.shown().current) else {
            return;
        };
        let why = by.told("rolled back");
        self.versions.change(plugin, |set| {
            set.state.reject(
                label,
                Rejected {
                    deployment: current.deployment,
                    reason: why.clone(),
                    at: unix_now(),
                },
            );
            *set.rolled_back.entry(cause).or_default() += 1;
            set.reasons.insert(label.to_owned(), why);
        });
        self.publish();
        self.tell("rolled-back", plugin, label, by);
    }

    /// Gives versions the places that are free.
    fn place_again(&self, plugin: &str) {
        let slots = self.slots.lock().clone();
        let mut labels = serving_labels(plugin, &slots);
        labels.sort_by_cached_key(|label| at_start(label));
        // The newest first: what it takes, others do not.
        for label in labels.into_iter().rev() {
            let current = slots.get(&label).and_then(|slot| slot.shown().current);
            let Some(current) = current else { continue };
            let candidate = VersionOffer {
                label: &label,
                deployment: &current.deployment,
                is_tried: current.written.canary.is_some() && !current.services.is_empty(),
            };
            let is_known = |label: &str| self.versions.is_known(label);
            let (place, is_stable) = self.versions.change(plugin, |set| {
                let place = set.state.place(candidate, is_known);
                let is_stable = set.state.stable.as_deref() == Some(label.as_str());
                if place == VersionRole::Canary {
                    set.state.enter(candidate, place);
                }
                (place, is_stable)
            });
            if place == VersionRole::Stable && !is_stable {
                let promoted = self.promote_version(plugin, &label, By::rule("newer", None));
                if let Err(refused) = promoted {
                    self.explain(plugin, &label, &format!("not promoted: {refused}"));
                }
            }
        }
    }

    fn canary_of(&self, plugin: &str) -> Option<String> {
        self.versions.change(plugin, |set| set.state.canary.clone())
    }

    fn figures_of(&self, plugin: &str) -> Option<TrialFigures> {
        self.versions.change(plugin, |set| {
            let trial = set.trial.as_mut()?;
            // Counts are as of the last look.
            trial.look();
            Some(trial.figures())
        })
    }

    /// In the log, in the history, and as an event.
    fn tell(&self, event: &'static str, plugin: &str, label: &str, by: By<'_>) {
        let (version, kind, who, why) = (label, by.kind, by.who, by.why);
        match event {
            "promoted" => info!(plugin, version, by = kind, who, why, "version promoted"),
            _ => warn!(plugin, version, by = kind, who, why, "version rolled back"),
        }
        self.versions.note(plugin, &by.entry(label, event));
        // Whoever subscribes need not know which operator.
        let payload =
            json!({ "plugin": plugin, "version": label, "event": event, "by": kind, "why": why });
        self.tell_event(plugin, event, &payload);
    }
}

fn serving_labels(plugin: &str, slots: &SlotsByName) -> Vec<String> {
    let of_plugin = slots.values().filter(|slot| slot.plugin_name() == plugin);
    let serving = of_plugin.filter(|slot| slot.is_serving());
    serving.map(|slot| slot.name.clone()).collect()
}
