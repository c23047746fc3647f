//! A version under trial: its split, what both versions have counted, and what the rules say of that.

use std::{sync::Arc, time::Instant};

use postern_core::{
    Handler,
    canary::{CanaryTest, CanaryVerdict, VersionCounts, WaitReason},
};
use postern_system::clock;
use postern_wasm::{Plugin, TrapReason};
use serde::Serialize;

use super::{
    meter::Arm,
    shadow::{ShadowNumbers, ShadowOutcome, StateForCopy},
    split::VersionSplit,
};
use crate::{
    config::{Canary, CanaryMode},
    control::slot::{Current, PluginSlot},
    plugins::store::Deployment,
};

/// Two versions of which one is tried.
pub(crate) struct Trial {
    stable: TrialVersion,
    canary: TrialVersion,
    settings: Canary,
    split: Arc<VersionSplit>,
    test: CanaryTest,
    since: Instant,
    /// What the rules said last.
    waits: WaitReason,
}

/// One of the two, as it was when the trial began.
struct TrialVersion {
    label: String,
    deployment: Deployment,
    plugin: Arc<Plugin>,
    traps_before: u64,
}

/// What both have counted since the trial began.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct TrialFigures {
    pub stable: VersionFigures,
    pub canary: VersionFigures,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct VersionFigures {
    pub version: String,
    pub calls: u64,
    /// Calls that failed and not by their caller's fault.
    pub failed: u64,
    pub traps: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
}

/// A trial as operators see it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TrialView {
    pub mode: &'static str,
    pub weight: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// How long it has been tried, in seconds.
    pub age_seconds: u64,
    /// Why it is not promoted yet.
    pub waits: String,
    #[serde(flatten)]
    pub figures: TrialFigures,
    /// Copies by what became of them, and the latest differences.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copies: Option<CopiesView>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct CopiesView {
    #[serde(flatten)]
    pub counts: std::collections::BTreeMap<&'static str, u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<String>,
}

impl Trial {
    /// # Panics
    /// For a shadow, outside of a tokio runtime.
    pub(super) fn new(
        (stable, stable_current): (&PluginSlot, &Current),
        (canary, canary_current): (&PluginSlot, &Current),
        settings: &Canary,
    ) -> Self {
        let handlers = [stable, canary].map(|slot| Arc::clone(&slot.plugin) as Arc<dyn Handler>);
        let [old, new] = handlers;
        let services = canary_current.services.iter();
        let services = services.map(|service| service.name.clone()).collect();
        if settings.mode == CanaryMode::Shadow {
            canary.plugin.begin_copies();
        }
        let plugin = Arc::clone(&canary.plugin);
        let state: StateForCopy = Box::new(move || plugin.state_for_copy());
        Self {
            split: Arc::new(VersionSplit::new(
                (old, new),
                services,
                settings,
                (&canary.name, state),
            )),
            stable: TrialVersion::new(stable, stable_current),
            canary: TrialVersion::new(canary, canary_current),
            test: CanaryTest::new(settings.rules()),
            settings: settings.clone(),
            since: clock::now(),
            waits: WaitReason::Calls,
        }
    }

    /// Whether it is of these versions, as they are.
    pub(super) fn is_of(
        &self,
        (stable, stable_current): (&PluginSlot, &Current),
        (canary, canary_current): (&PluginSlot, &Current),
    ) -> bool {
        self.stable.is(stable, stable_current) && self.canary.is(canary, canary_current)
    }

    pub(super) const fn split(&self) -> &Arc<VersionSplit> {
        &self.split
    }

    pub(super) fn canary(&self) -> &str {
        &self.canary.label
    }

    /// Counts, and says what the rules want. Of copies, only operators say.
    pub(super) fn look(&mut self) -> CanaryVerdict {
        let counts = |version: &TrialVersion, arm| VersionCounts {
            traps: version.traps(),
            ..self.split.meter().counts(arm)
        };
        let stable = counts(&self.stable, Arm::Stable);
        let canary = counts(&self.canary, Arm::Canary);
        self.test.observe(&stable, &canary);
        let verdict = self.test.verdict(clock::since(self.since));
        if let CanaryVerdict::Wait(reason) = verdict {
            self.waits = reason;
        }
        match self.settings.mode {
            CanaryMode::Split => verdict,
            CanaryMode::Shadow => CanaryVerdict::Wait(self.waits),
        }
    }

    /// As of the last look.
    pub(super) fn figures(&self) -> TrialFigures {
        let (stable, canary) = self.test.counts();
        TrialFigures {
            stable: self.stable.figures(stable),
            canary: self.canary.figures(canary),
        }
    }

    pub(super) fn view(&self) -> TrialView {
        let header = self.settings.header.as_ref();
        let waits = match self.settings.mode {
            CanaryMode::Split => self.waits.to_string(),
            CanaryMode::Shadow => "an operator promotes it".to_owned(),
        };
        TrialView {
            mode: self.settings.mode.name(),
            weight: self.settings.weight.to_string(),
            header: header.map(|header| match &header.value {
                Some(value) => format!("{}: {value}", header.name),
                None => header.name.to_string(),
            }),
            age_seconds: clock::since(self.since).as_secs(),
            waits,
            figures: self.figures(),
            copies: self
                .split
                .shadow()
                .map(|shadow| CopiesView::of(shadow.numbers())),
        }
    }

    pub(super) fn is_shadow(&self) -> bool {
        self.settings.mode == CanaryMode::Shadow
    }

    /// Copies by what became of them; none where there are no copies.
    pub(super) fn copies(&self) -> Option<[(&'static str, u64); ShadowOutcome::ALL.len()]> {
        let numbers = self.split.shadow()?.numbers();
        Some(ShadowOutcome::ALL.map(|outcome| (outcome.name(), numbers.with(outcome))))
    }
}

impl TrialVersion {
    fn new(slot: &PluginSlot, current: &Current) -> Self {
        let mut version = Self {
            label: slot.name.clone(),
            deployment: current.deployment.clone(),
            plugin: Arc::clone(&slot.plugin),
            traps_before: 0,
        };
        version.traps_before = version.traps();
        version
    }

    fn is(&self, slot: &PluginSlot, current: &Current) -> bool {
        self.label == slot.name
            && self.deployment == current.deployment
            && Arc::ptr_eq(&self.plugin, &slot.plugin)
    }

    /// A caller's own deadline may end any instance.
    fn traps(&self) -> u64 {
        let stats = self.plugin.stats().snapshot();
        let reasons = TrapReason::ALL.into_iter();
        let own = reasons.filter(|reason| *reason != TrapReason::Deadline);
        let all: u64 = own.map(|reason| stats.traps_with(reason)).sum();
        all.saturating_sub(self.traps_before)
    }

    fn figures(&self, counts: &VersionCounts) -> VersionFigures {
        VersionFigures {
            version: self.label.clone(),
            calls: counts.calls,
            failed: counts.failed,
            traps: counts.traps,
            p99_ms: counts.p99().map(|p99| p99.as_secs_f64() * 1e3),
        }
    }
}

impl TrialFigures {
    /// `errors: 31 of 1,003 calls against 2 of 19,120`, for people.
    pub(super) fn told(&self) -> String {
        let one = |figures: &VersionFigures| {
            let VersionFigures {
                version,
                calls,
                failed,
                traps,
                p99_ms,
            } = figures;
            let p99 = p99_ms.map_or(String::new(), |p99| format!(", p99 {p99:.3} ms"));
            format!("{version}: {failed} of {calls} calls failed, {traps} traps{p99}")
        };
        format!("{}; {}", one(&self.canary), one(&self.stable))
    }
}

impl CopiesView {
    fn of(numbers: &ShadowNumbers) -> Self {
        let counts = ShadowOutcome::ALL.into_iter();
        let counts = counts.map(|outcome| (outcome.name(), numbers.with(outcome)));
        Self {
            counts: counts.filter(|(_, count)| *count > 0).collect(),
            differences: numbers.shown(),
        }
    }
}
