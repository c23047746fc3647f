//! Tells operators and the exporter of versions.

use postern_core::quantile::bucket_with;
use postern_wasm::{BUCKETS_MICROS, Outcome, StatsSnapshot};
use serde_json::Value as Json;

use super::{VersionSet, trial::Trial, view::VersionView};
use crate::{
    control::{Control, slot::PluginSlot, view::PluginView},
    plugins::label::plugin_of,
    telemetry::export::VersionNumbers,
};

impl Control {
    /// As `plugin`, with what operators did last to the versions that `name` names.
    pub(crate) async fn plugin_with_changes(&self, name: &str) -> Option<PluginView> {
        let mut view = self.plugin(name)?;
        let mut changes = self.version_history(name).await;
        let is = |entry: &Json, key: &str, text: &str| {
            entry.get(key).and_then(Json::as_str) == Some(text)
        };
        // Approvals are shown with what was approved.
        changes.retain(|entry| is(entry, "by", "operator") && !is(entry, "event", "approved"));
        let surplus = changes.len().saturating_sub(CHANGES_SHOWN_MAX);
        changes.drain(..surplus);
        view.changes = changes;
        Some(view)
    }

    /// The version that takes the calls of the plugin that `name` is or is a version of.
    #[must_use]
    pub(crate) fn version_in_force(&self, name: &str) -> Option<PluginView> {
        let slot = self.serving().remove(plugin_of(name))?;
        Some(PluginView::of(&slot, self.version_view(&slot)))
    }

    /// What `slot` is among the versions of its plugin.
    pub(in crate::control) fn version_view(&self, slot: &PluginSlot) -> VersionView {
        let stats = slot.plugin.stats().snapshot();
        let is_lone = {
            let slots = self.slots.lock();
            let group = slots
                .values()
                .filter(|other| other.plugin_name() == slot.plugin_name());
            group.count() < 2
        };
        let mut sets = self.versions.sets.lock();
        let set = self.versions.set(&mut sets, slot.plugin_name());
        let place = place(set, slot, is_lone);
        let rejected = set.state.rejected.get(&slot.name);
        let reason = set.reasons.get(&slot.name).cloned();
        VersionView {
            plugin: slot.plugin_name().to_owned(),
            version: slot.version().map(str::to_owned),
            place,
            pinned: set.state.is_pinned,
            place_reason: reason.or_else(|| rejected.map(|rejected| rejected.reason.clone())),
            error_rate: error_rate(&stats),
            p99_ms: p99_ms(&stats),
            trial: set
                .trial
                .as_ref()
                .filter(|trial| trial.canary() == slot.name)
                .map(Trial::view),
        }
    }

    /// Plugins whose versions were promoted, rolled back or tried since the start.
    #[must_use]
    pub(crate) fn version_numbers(&self) -> Vec<VersionNumbers> {
        let sets = self.versions.sets.lock();
        let numbers = sets.iter().map(|(plugin, set)| {
            let trial = set.trial.as_ref();
            let copies = trial.and_then(|trial| {
                let copies = trial.copies()?;
                Some((trial.canary().to_owned(), copies.to_vec()))
            });
            VersionNumbers {
                plugin: plugin.clone(),
                promoted: set.promoted,
                rolled_back: set
                    .rolled_back
                    .iter()
                    .map(|(cause, n)| (*cause, *n))
                    .collect(),
                copies,
            }
        });
        let is_told = |numbers: &VersionNumbers| {
            numbers.promoted > 0 || !numbers.rolled_back.is_empty() || numbers.copies.is_some()
        };
        numbers.filter(is_told).collect()
    }
}

fn place(set: &VersionSet, slot: &PluginSlot, is_lone: bool) -> &'static str {
    let is = |label: &Option<String>| label.as_deref() == Some(slot.name.as_str());
    if is_lone || is(&set.state.stable) {
        "stable"
    } else if is(&set.state.canary) {
        match set.trial.as_ref().is_some_and(Trial::is_shadow) {
            true => "shadow",
            false => "canary",
        }
    } else if set.state.rejected.contains_key(&slot.name) {
        "rolled-back"
    } else {
        "held"
    }
}

#[expect(clippy::cast_precision_loss, reason = "2^53 calls take centuries")]
fn error_rate(stats: &StatsSnapshot) -> Option<f64> {
    let calls: u64 = stats.calls.iter().sum();
    let good = stats.calls_with(Outcome::Ok) + stats.calls_with(Outcome::Cancelled);
    (calls > 0).then(|| calls.saturating_sub(good) as f64 / calls as f64)
}

#[expect(clippy::cast_precision_loss, reason = "bounds are of seconds at most")]
fn p99_ms(stats: &StatsSnapshot) -> Option<f64> {
    let bucket = bucket_with(&stats.call_buckets, 0.99)?;
    let last = BUCKETS_MICROS.last()?;
    let micros = BUCKETS_MICROS.get(bucket).unwrap_or(last);
    Some(*micros as f64 / 1e3)
}

/// Changes that are shown of a plugin, the latest.
const CHANGES_SHOWN_MAX: usize = 8;
