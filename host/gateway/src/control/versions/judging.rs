//! Looks at versions that are tried, and does what the rules say.

use std::time::Duration;

use postern_core::canary::{CanaryVerdict, Measure};

use super::{history::HistoryEntry, operating::By, trial::TrialFigures};
use crate::control::Control;

/// What a look found.
struct Finding {
    plugin: String,
    canary: String,
    verdict: CanaryVerdict,
    figures: TrialFigures,
}

impl Control {
    /// Looks at every version that is tried, for ever.
    pub(crate) async fn follow_versions(&self) {
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            for finding in self.look_at_trials() {
                self.act_on(&finding);
            }
            self.end_sick_canaries();
        }
    }

    fn look_at_trials(&self) -> Vec<Finding> {
        let mut sets = self.versions.sets.lock();
        let findings = sets.iter_mut().filter_map(|(plugin, set)| {
            let is_pinned = set.state.is_pinned;
            let trial = set.trial.as_mut()?;
            let verdict = trial.look();
            let is_decided = !matches!(verdict, CanaryVerdict::Wait(_));
            (is_decided && !is_pinned).then(|| Finding {
                plugin: plugin.clone(),
                canary: trial.canary().to_owned(),
                verdict,
                figures: trial.figures(),
            })
        });
        findings.collect()
    }

    fn act_on(&self, finding: &Finding) {
        let Finding {
            plugin,
            canary,
            verdict,
            figures,
        } = finding;
        let told = figures.told();
        match verdict {
            CanaryVerdict::Promote => {
                let why = format!("not worse: {told}");
                let by = By::rule(&why, Some(figures));
                // What keeps it back is told once, where it is shown.
                if let Err(refused) = self.promote_version(plugin, canary, by) {
                    self.explain(plugin, canary, &format!("not promoted: {refused}"));
                }
            }
            CanaryVerdict::RollBack(measure) => {
                let what = match measure {
                    Measure::Errors => "more calls fail",
                    Measure::Traps => "more traps",
                    Measure::P99 => "a longer p99",
                };
                let why = format!("{what} than before: {told}");
                self.reject_version(
                    plugin,
                    canary,
                    measure.name(),
                    By::rule(&why, Some(figures)),
                );
            }
            CanaryVerdict::Wait(_) => {}
        }
    }

    /// One whose health check fails is tried no more.
    fn end_sick_canaries(&self) {
        let slots = self.slots.lock().clone();
        let sick: Vec<_> = {
            let sets = self.versions.sets.lock();
            let canaries = sets.iter().filter_map(|(plugin, set)| {
                let canary = set.state.canary.as_ref()?;
                let shown = slots.get(canary)?.shown();
                let is_sick = shown.current.is_some() && !shown.is_healthy();
                is_sick.then(|| (plugin.clone(), canary.clone()))
            });
            canaries.collect()
        };
        for (plugin, canary) in sick {
            let by = By::rule("its health check fails", None);
            self.reject_version(&plugin, &canary, "health", by);
        }
    }

    /// Shows why a version is what it is.
    pub(super) fn explain(&self, plugin: &str, label: &str, why: &str) {
        let is_new = self.versions.change(plugin, |set| {
            let before = set.reasons.insert(label.to_owned(), why.to_owned());
            before.as_deref() != Some(why)
        });
        if is_new {
            let entry = HistoryEntry::new(label, "held", "rule").because(why);
            self.versions.note(plugin, &entry);
        }
    }
}

/// How often versions that are tried are looked at. Looking often costs no certainty.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
