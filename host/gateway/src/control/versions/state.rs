//! Which version of a plugin takes its calls, and which is tried beside it. Pure.
//!
//! ```text
//!               no [canary]                        not worse for long enough, or an operator
//! newer ──▶ ┌──────────────▶ stable ◀───────────────────────────────┐
//!           │ [canary]         │ another took its place              │
//!           ├──────────────▶ canary ─────────────────────────────────┘
//!           │                  │ worse, or an operator
//!           │ pinned           ▼
//!           └──────────────▶ held: older, pinned, replaced, rolled back
//! ```
//! A version that was rolled back is not tried again until its files change. One whose files change is newer
//! than all whose versions it has no order with.

use std::{cmp::Ordering, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use crate::plugins::{
    label::{self, version_of},
    store::Deployment,
};

/// What is remembered of the versions of one plugin. All names are labels: `users`, `users@2`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct VersionState {
    /// Takes the calls.
    pub stable: Option<String>,
    /// Is tried.
    pub canary: Option<String>,
    /// Nothing changes by itself.
    pub is_pinned: bool,
    /// Took the calls before, the latest first, each once; at most `BEFORE_MAX`.
    pub before: Vec<String>,
    /// Are not tried again as they are.
    pub rejected: BTreeMap<String, Rejected>,
    /// In the order in which they came as they are.
    pub arrivals: Vec<(String, Deployment)>,
}

/// A version that was rolled back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rejected {
    pub deployment: Deployment,
    pub reason: String,
    /// Seconds since 1970.
    pub at: u64,
}

/// What becomes of a version that could take calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VersionRole {
    Stable,
    Canary,
    Held(HeldFor),
}

/// Why a version gets no calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeldFor {
    /// The one that takes the calls, or is tried, is newer.
    Older,
    Pinned,
    RolledBack,
}

/// A version as it asks for a place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VersionOffer<'a> {
    pub label: &'a str,
    pub deployment: &'a Deployment,
    /// Whether its manifest has a table `[canary]` and it answers calls at all.
    pub is_tried: bool,
}

impl VersionState {
    /// What becomes of `candidate`; `is_there` says of a label whether the folder has it.
    pub(crate) fn place(
        &self,
        candidate: VersionOffer<'_>,
        is_there: impl Fn(&str) -> bool,
    ) -> VersionRole {
        let label = candidate.label;
        let stable = self.stable.as_deref().filter(|stable| is_there(stable));
        let Some(stable) = stable.filter(|stable| *stable != label) else {
            return VersionRole::Stable;
        };
        if self.is_rejected(label, candidate.deployment) {
            return VersionRole::Held(HeldFor::RolledBack);
        }
        if !self.is_newer(candidate, stable) {
            return VersionRole::Held(HeldFor::Older);
        }
        if self.is_pinned {
            return VersionRole::Held(HeldFor::Pinned);
        }
        let other = self.canary.as_deref().filter(|canary| is_there(canary));
        if let Some(other) = other.filter(|other| *other != label)
            && !self.is_newer(candidate, other)
        {
            return VersionRole::Held(HeldFor::Older);
        }
        match candidate.is_tried {
            true => VersionRole::Canary,
            false => VersionRole::Stable,
        }
    }

    /// `candidate` can take calls and has `place` from here on.
    pub(crate) fn enter(&mut self, candidate: VersionOffer<'_>, place: VersionRole) {
        let VersionOffer {
            label, deployment, ..
        } = candidate;
        let is_known =
            |(known, files): &(String, Deployment)| known == label && files == deployment;
        if !self.arrivals.iter().any(is_known) {
            self.arrivals.retain(|(known, _)| known != label);
            self.arrivals.push((label.to_owned(), deployment.clone()));
        }
        if self.rejected.contains_key(label) && !self.is_rejected(label, deployment) {
            self.rejected.remove(label);
        }
        match place {
            VersionRole::Stable => self.promote(label),
            VersionRole::Canary => self.canary = Some(label.to_owned()),
            VersionRole::Held(_) if self.canary.as_deref() == Some(label) => self.canary = None,
            VersionRole::Held(_) => {}
        }
    }

    /// `label` takes the calls from here on.
    pub(crate) fn promote(&mut self, label: &str) {
        self.rejected.remove(label);
        if self.canary.as_deref().is_some_and(|canary| {
            canary == label
                || label::order(version_of(canary), version_of(label)) != Some(Ordering::Greater)
        }) && self.stable.as_deref() != Some(label)
        {
            self.canary = None;
        }
        let old = self.stable.replace(label.to_owned());
        if let Some(old) = old.filter(|old| old != label) {
            self.before.insert(0, old.clone());
            let mut seen = false;
            self.before
                .retain(|known| known != &old || !std::mem::replace(&mut seen, true));
        }
        self.before.retain(|known| known != label);
        self.before.truncate(BEFORE_MAX);
    }

    /// `label` is tried no more, and not again as it is.
    pub(crate) fn reject(&mut self, label: &str, rejected: Rejected) {
        if self.canary.as_deref() == Some(label) {
            self.canary = None;
        }
        self.before.retain(|known| known != label);
        self.rejected.insert(label.to_owned(), rejected);
    }

    /// `label` was removed from the folder. What took calls before it takes them again, or else the newest of
    /// `serving`; one that was rolled back comes last.
    pub(crate) fn remove(&mut self, label: &str, serving: &[String]) {
        self.before.retain(|known| known != label);
        self.rejected.remove(label);
        if self.canary.as_deref() == Some(label) {
            self.canary = None;
        }
        if self.stable.as_deref() == Some(label) {
            self.stable = self.stand_in(serving).map(str::to_owned);
            if self.canary == self.stable {
                self.canary = None;
            }
            self.is_pinned = false;
            let stable = self.stable.clone();
            self.before.retain(|known| Some(known) != stable.as_ref());
            if let Some(stable) = &stable {
                self.rejected.remove(stable);
            }
        }
        self.arrivals.retain(|(known, _)| known != label);
    }

    /// Which of `serving` takes the calls: the stable one, or else whoever stands in for it.
    pub(crate) fn acting<'a>(&'a self, serving: &'a [String]) -> Option<&'a str> {
        let stable = self
            .stable
            .as_ref()
            .filter(|stable| serving.contains(stable));
        stable
            .map(String::as_str)
            .or_else(|| self.stand_in(serving))
    }

    /// The one of `serving` that took the calls last before the stable one, or else the newest.
    pub(crate) fn stand_in<'a>(&'a self, serving: &'a [String]) -> Option<&'a str> {
        let stable = self.stable.as_ref();
        let others = || {
            let labels = serving.iter();
            labels.filter(move |label| stable != Some(*label))
        };
        let before = self.before.iter().find(|label| serving.contains(label));
        let newest = |labels: Vec<&'a String>| {
            labels
                .into_iter()
                .reduce(|one, other| match self.is_later(other, one) {
                    true => other,
                    false => one,
                })
        };
        let sound = others().filter(|label| !self.rejected.contains_key(*label));
        let found = before.or_else(|| newest(sound.collect()));
        found
            .or_else(|| newest(others().collect()))
            .map(String::as_str)
    }

    /// Whether there is nothing to remember: one version, and nobody has said anything of it.
    pub(crate) fn is_plain(&self) -> bool {
        self.arrivals.len() <= 1 && !self.is_pinned && self.rejected.is_empty()
    }

    fn is_rejected(&self, label: &str, deployment: &Deployment) -> bool {
        let rejected = self.rejected.get(label);
        rejected.is_some_and(|rejected| rejected.deployment == *deployment)
    }

    /// Whether `candidate` is newer than `other`, by version where those have an order.
    fn is_newer(&self, candidate: VersionOffer<'_>, other: &str) -> bool {
        let order = label::order(version_of(candidate.label), version_of(other));
        order.map_or_else(
            || {
                let came = self.arrival(candidate.label);
                let is_as_it_came = came.is_some_and(|idx| {
                    self.arrivals
                        .get(idx)
                        .is_some_and(|(_, files)| files == candidate.deployment)
                });
                // As it is, it has just come.
                !is_as_it_came || came > self.arrival(other)
            },
            Ordering::is_gt,
        )
    }

    fn is_later(&self, one: &str, other: &str) -> bool {
        let order = label::order(version_of(one), version_of(other));
        order.map_or_else(|| self.arrival(one) > self.arrival(other), Ordering::is_gt)
    }

    fn arrival(&self, label: &str) -> Option<usize> {
        self.arrivals.iter().position(|(known, _)| known == label)
    }
}

impl HeldFor {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Older => "older",
            Self::Pinned => "pinned",
            Self::RolledBack => "rolled back",
        }
    }
}

/// Versions to which a rollback can return.
const BEFORE_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn files(text: &str) -> Deployment {
        Deployment {
            component: text.to_owned(),
            manifest: None,
            schema: None,
            signature: None,
        }
    }

    /// Versions as they come, each with what its files hold.
    #[derive(Default)]
    struct Case {
        state: VersionState,
        there: Vec<String>,
    }

    impl Case {
        fn of(labels: &[&str]) -> Self {
            let mut case = Self::default();
            for label in labels {
                case.come(label, "1", false);
            }
            case
        }

        fn come(&mut self, label: &str, content: &str, is_tried: bool) -> VersionRole {
            let deployment = files(content);
            let candidate = VersionOffer {
                label,
                deployment: &deployment,
                is_tried,
            };
            if !self.there.iter().any(|known| known == label) {
                self.there.push(label.to_owned());
            }
            let place = self.state.place(candidate, |name| {
                self.there.iter().any(|known| known == name)
            });
            self.state.enter(candidate, place);
            place
        }

        fn reject(&mut self, label: &str, content: &str) {
            let rejected = Rejected {
                deployment: files(content),
                reason: "errors".to_owned(),
                at: 0,
            };
            self.state.reject(label, rejected);
        }

        fn remove(&mut self, label: &str) {
            self.there.retain(|known| known != label);
            self.state.remove(label, &self.there);
        }

        #[track_caller]
        fn check(&self, stable: &str, canary: Option<&str>) {
            let found = (self.state.stable.as_deref(), self.state.canary.as_deref());
            assert_eq!(found, (Some(stable), canary));
        }
    }

    #[test]
    fn a_lone_version_takes_the_calls_whatever_its_manifest_says() {
        let mut case = Case::default();
        assert_eq!(case.come("users@2", "1", true), VersionRole::Stable);
        assert_eq!(case.come("users@2", "2", true), VersionRole::Stable);
        assert!(case.state.is_plain());
    }

    #[test]
    fn a_newer_one_is_tried_where_its_manifest_says_so_and_takes_the_calls_where_not() {
        let mut case = Case::of(&["users@1"]);
        assert_eq!(case.come("users@2", "1", true), VersionRole::Canary);
        case.check("users@1", Some("users@2"));
        assert_eq!(case.come("users@10", "1", false), VersionRole::Stable);
        case.check("users@10", None);
        assert_eq!(
            case.come("users@9", "1", true),
            VersionRole::Held(HeldFor::Older)
        );
        case.check("users@10", None);
        assert_eq!(case.state.before, ["users@1"]);
    }

    #[test]
    fn words_are_as_new_as_their_files() {
        let mut case = Case::of(&["users"]);
        assert_eq!(case.come("users@blue", "1", true), VersionRole::Canary);
        case.state.promote("users@blue");
        assert_eq!(
            case.come("users", "1", true),
            VersionRole::Held(HeldFor::Older)
        );
        // Another file under the same name has just come.
        assert_eq!(case.come("users", "2", true), VersionRole::Canary);
        case.check("users@blue", Some("users"));
    }

    #[test]
    fn of_two_that_could_be_tried_the_newer_is() {
        let mut case = Case::of(&["users@1"]);
        case.come("users@3", "1", true);
        assert_eq!(
            case.come("users@2", "1", true),
            VersionRole::Held(HeldFor::Older)
        );
        case.check("users@1", Some("users@3"));
        case.come("users@4", "1", true);
        case.check("users@1", Some("users@4"));
    }

    #[test]
    fn one_that_was_rolled_back_comes_again_when_its_files_change() {
        let mut case = Case::of(&["users@1"]);
        case.come("users@2", "1", true);
        case.reject("users@2", "1");
        case.check("users@1", None);
        let held = VersionRole::Held(HeldFor::RolledBack);
        assert_eq!(case.come("users@2", "1", true), held);
        assert_eq!(case.come("users@2", "2", true), VersionRole::Canary);
        assert!(case.state.rejected.is_empty());
    }

    #[test]
    fn while_pinned_nothing_that_comes_gets_calls_but_the_pinned_one() {
        let mut case = Case::of(&["users@1"]);
        case.state.is_pinned = true;
        let held = VersionRole::Held(HeldFor::Pinned);
        assert_eq!(case.come("users@2", "1", true), held);
        assert_eq!(case.come("users@3", "1", false), held);
        assert_eq!(case.come("users@1", "2", false), VersionRole::Stable);
        case.check("users@1", None);
    }

    #[test]
    fn when_the_stable_one_goes_the_one_before_takes_the_calls_again() {
        let mut case = Case::of(&["users@1", "users@2", "users@3"]);
        case.check("users@3", None);
        case.remove("users@3");
        case.check("users@2", None);
        case.come("users@4", "1", true);
        case.remove("users@2");
        case.check("users@1", Some("users@4"));
        case.remove("users@1");
        case.check("users@4", None);
        case.remove("users@4");
        assert_eq!(case.state, VersionState::default());
    }

    #[test]
    fn one_that_was_rolled_back_takes_the_calls_only_where_there_is_no_other() {
        let mut case = Case::of(&["users@1"]);
        case.come("users@2", "1", true);
        case.reject("users@2", "1");
        case.come("users@0", "1", true);
        case.remove("users@1");
        case.check("users@0", None);
        case.remove("users@0");
        case.check("users@2", None);
    }

    #[test]
    fn whoever_serves_stands_in_for_a_stable_one_that_does_not() {
        let case = Case::of(&["users@1", "users@2"]);
        let serving = |labels: &[&str]| labels.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            case.state.acting(&serving(&["users@1", "users@2"])),
            Some("users@2")
        );
        assert_eq!(case.state.acting(&serving(&["users@1"])), Some("users@1"));
        assert_eq!(case.state.acting(&[]), None);
        case.check("users@2", None);
    }
}
