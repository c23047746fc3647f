//! A plugin as operators see it.

use postern_wasm::{
    HealthReport, InlinePathStatus, Outcome, PluginEvent, TrapReason, TrapState, TrapStatus,
};
use serde::Serialize;
use serde_json::Value as Json;

use super::{
    slot::{KeptInstances, PluginSlot, Shown},
    usage_view::UsageView,
    versions::view::VersionView,
};
use crate::{
    directory::listing::ServiceListing,
    plugins::{signature::Signed, store::Deployment, trust::ApprovalRecord},
};

/// One plugin with everything that is known of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PluginView {
    /// `users`, or `users@2` for a version.
    pub name: String,
    #[serde(flatten)]
    pub version: VersionView,
    pub state: PluginAvailability,
    /// 0 when none takes calls.
    pub generation: u64,
    /// SHA-256 of the component that takes calls, 64 hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// SHA-256 of the manifest that it takes calls with; absent where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest_digest: Option<String>,
    /// `folder`, `last-good` or `rollback`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<&'static str>,
    /// When the generation began to take calls, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    pub roles: Vec<&'static str>,
    pub services: Vec<ServiceListing>,
    /// Why what lies in the folder does not take calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<RefusalView>,
    /// What lies in the folder and waits for an operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldView>,
    /// Other versions of a plugin of which something waits for an operator, where the plugin was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held_versions: Vec<HeldView>,
    /// The latest approvals of its versions, the last one last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<ApprovalRecord>,
    /// What operators did last to it, or to all versions of its plugin: promoted, rolled back, pinned, unpinned, as
    /// in the history, the latest last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Json>,
    /// The artifact of a registry that its component came from, as is noted beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Who signed what takes calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signed>,
    /// What lies in the folder and was rolled back from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<Deployment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthReport>,
    /// What its traps do to it; absent where nothing of it takes calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_trap: Option<TrapStatus>,
    pub calls: Counts,
    pub traps: Counts,
    /// What it asked for and is not granted, by the key of `[grants]`.
    pub denied: Counts,
    /// Calls that came together: entries that answered several, the calls that they answered, entries
    /// that were undone.
    pub batches: Counts,
    /// Entries that left the inline path, by why.
    pub bailouts: Counts,
    /// Whether calls of one message begin inline at present; absent where they never do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inline_path: Option<InlinePathStatus>,
    pub instances: usize,
    /// How they are kept; absent where nothing takes calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) instance_mode: Option<KeptInstances>,
    /// The most that any one instance has had, in octets.
    pub memory_bytes_high: usize,
    pub reloads_ok: u64,
    pub reloads_refused: u64,
    #[serde(flatten)]
    pub usage: UsageView,
    /// Generations that still answer their last calls.
    pub draining: usize,
    /// What happened to it, the latest last.
    pub history: Vec<PluginEvent>,
}

/// Whether a plugin takes calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PluginAvailability {
    /// Being deployed, and nothing of it takes calls.
    Loading,
    Active,
    /// Its health check fails, and it gets no calls.
    Unhealthy,
    /// A trap ended it, as its manifest wants.
    Stopped,
    /// Too many traps closed it, and it backs off.
    Closed,
    /// Too many traps took it out of service until an operator releases it.
    Quarantined,
    /// Nothing of it ever took calls.
    Refused,
}

/// Why an offer does not take calls.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RefusalView {
    pub digest: String,
    pub reason: String,
    /// Seconds since 1970.
    pub at: u64,
}

/// An offer that waits for an operator.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct HeldView {
    /// The file's name without its end: `users` or `users@2`.
    pub version: String,
    /// Of component and manifest together: what an approval is of.
    pub digest: String,
    /// What it asks for beyond what serves, as `KEY: WHAT`.
    pub growth: Vec<String>,
}

/// Numbers by name; those of zero are left out.
pub(crate) type Counts = std::collections::BTreeMap<&'static str, u64>;

impl PluginView {
    pub(super) fn of(slot: &PluginSlot, version: VersionView) -> Self {
        let shown = slot.shown();
        let status = slot.plugin.status();
        let stats = status.stats;
        let state = state(&shown, status.traps.as_ref());
        let current = shown.current;
        let services = current.as_ref().map(|current| &current.services);
        let services = services.into_iter().flatten().map(ServiceListing::from);
        Self {
            name: slot.name.clone(),
            version,
            state,
            generation: current.as_ref().map_or(0, |current| current.generation),
            digest: current
                .as_ref()
                .map(|current| current.deployment.component.clone()),
            manifest_digest: current
                .as_ref()
                .and_then(|current| current.deployment.manifest.clone()),
            source: current.as_ref().map(|current| current.source.name()),
            since: current.as_ref().map(|current| current.since),
            roles: current
                .as_ref()
                .map(|current| current.roles.clone())
                .unwrap_or_default(),
            services: services.collect(),
            refusal: shown.refused.map(|refused| RefusalView {
                digest: refused.digest,
                reason: refused.reason,
                at: refused.at,
            }),
            held: HeldView::of(slot),
            held_versions: Vec::new(),
            approvals: Vec::new(),
            changes: Vec::new(),
            origin: None,
            signature: shown.signed,
            skipped: shown.skipped,
            health: shown.health,
            on_trap: status.traps,
            denied: counts(slot.plugin.sandbox().denied),
            calls: counts(Outcome::ALL.map(|outcome| (outcome.name(), stats.calls_with(outcome)))),
            traps: counts(TrapReason::ALL.map(|reason| (reason.name(), stats.traps_with(reason)))),
            batches: counts([
                ("answered", stats.batches),
                ("calls", stats.batched_calls),
                ("undone", stats.batches_undone),
            ]),
            bailouts: counts([
                ("host-call", stats.bailouts_host_call),
                ("overran", stats.bailouts_overran),
            ]),
            inline_path: status.inline_path,
            instances: stats.instances_live,
            instance_mode: current.as_ref().map(|current| current.written.instances),
            memory_bytes_high: stats.memory_bytes_high,
            reloads_ok: stats.reloads_ok,
            reloads_refused: stats.reloads_refused,
            usage: UsageView::of(&slot.plugin, &stats),
            draining: status.draining,
            history: status.history,
        }
    }
}

impl HeldView {
    /// `None` where nothing is held.
    pub(super) fn of(slot: &PluginSlot) -> Option<Self> {
        let held = slot.held()?;
        Some(Self {
            version: slot.name.clone(),
            digest: held.digest,
            growth: held.growth.iter().map(ToString::to_string).collect(),
        })
    }
}

fn state(shown: &Shown, traps: Option<&TrapStatus>) -> PluginAvailability {
    match traps.map(|traps| traps.state) {
        Some(TrapState::Stopped) => return PluginAvailability::Stopped,
        Some(TrapState::Closed) => return PluginAvailability::Closed,
        Some(TrapState::Quarantined) => return PluginAvailability::Quarantined,
        Some(TrapState::Serving | TrapState::Trying) | None => {}
    }
    match (&shown.current, &shown.refused) {
        (None, Some(_)) if shown.loading.is_some() => PluginAvailability::Loading,
        (Some(_), _) if shown.is_healthy() => PluginAvailability::Active,
        (Some(_), _) => PluginAvailability::Unhealthy,
        (None, Some(_)) => PluginAvailability::Refused,
        (None, None) => PluginAvailability::Loading,
    }
}

fn counts<const N: usize>(counts: [(&'static str, u64); N]) -> Counts {
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}
