//! Why the gateway should get no traffic, and what is not as it should be though it serves. Every part
//! that knows of something puts its reason in and takes it out again; `/readyz`, the metrics and the
//! log say what is in.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;
use tracing::{info, warn};

/// The reasons of one gateway. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readiness(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    reasons: Mutex<Reasons>,
    /// Counts changes of the reasons.
    changes: watch::Sender<u64>,
}

/// Messages by kind and by what they are about.
type Reasons = BTreeMap<(ReasonKind, String), String>;

/// What is not as it should be. Each kind is either unready (calls would fail, so that a load balancer
/// is to send none) or degraded (calls are answered, and somebody should look).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ReasonKind {
    /// The plugins in the folder are being deployed for the first time.
    Starting,
    /// The gateway ends.
    Draining,
    /// No listener is open, or one that should be is not.
    Listeners,
    /// An extension that the configuration names is not there, and its calls are refused.
    Extension,
    /// A plugin that the configuration requires takes no calls.
    Plugin,
    /// The store cannot be written.
    Store,
    /// A plugin serves another generation than the one that lies in the folder.
    Generation,
    /// A file or folder is gone or cannot be read; what was read of it before is in force.
    Source,
    /// What a listener shows cannot be used, so that what was good before is in force, or expires soon.
    Certificate,
    /// Files of the schema of a service elsewhere cannot be used; those before are in service.
    Schema,
    /// A store of others cannot be reached: what lies there is refused, and everything else goes on.
    NamedStore,
    /// The configuration file was refused; the one before is in force.
    Config,
}

/// One reason as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ReadinessReason {
    /// See `ReasonKind::name`.
    pub name: &'static str,
    /// What it is about: a plugin, a file. Empty where there is only one of its kind.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
    pub message: String,
}

impl Readiness {
    /// `kind` holds for `subject` from here on, because of `message`.
    pub(crate) fn raise(&self, kind: ReasonKind, subject: &str, message: impl Into<String>) {
        let (key, message) = ((kind, subject.to_owned()), message.into());
        let mut reasons = self.0.reasons.lock();
        if reasons.get(&key) == Some(&message) {
            return;
        }
        kind.tell_raised(subject, &message);
        reasons.insert(key, message);
        drop(reasons);
        self.0.tell();
    }

    /// `kind` does not hold for `subject` any more. Does nothing when it did not.
    pub(crate) fn clear(&self, kind: ReasonKind, subject: &str) {
        let was = self.0.reasons.lock().remove(&(kind, subject.to_owned()));
        if was.is_some() {
            kind.tell_cleared(subject);
            self.0.tell();
        }
    }

    /// Told each time that a reason comes or goes.
    #[must_use]
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Whether the gateway ends.
    #[must_use]
    pub(crate) fn is_draining(&self) -> bool {
        let reasons = self.0.reasons.lock();
        reasons
            .keys()
            .any(|(kind, _)| *kind == ReasonKind::Draining)
    }

    /// `kind` holds for exactly `subjects` from here on, each with its message.
    pub(crate) fn replace(&self, kind: ReasonKind, subjects: BTreeMap<String, String>) {
        let held: Vec<String> = {
            let reasons = self.0.reasons.lock();
            let of_kind = reasons.keys().filter(|(held, _)| *held == kind);
            of_kind.map(|(_, subject)| subject.clone()).collect()
        };
        for subject in held.iter().filter(|held| !subjects.contains_key(*held)) {
            self.clear(kind, subject);
        }
        for (subject, message) in subjects {
            self.raise(kind, &subject, message);
        }
    }

    /// Whether nothing speaks against traffic.
    #[cfg(test)]
    pub(crate) fn is_ready(&self) -> bool {
        let reasons = self.0.reasons.lock();
        reasons.keys().all(|(kind, _)| !kind.is_unready())
    }

    /// Why the gateway should get no traffic.
    #[must_use]
    pub(crate) fn unready(&self) -> Vec<ReadinessReason> {
        self.reasons(ReasonKind::is_unready)
    }

    /// What somebody should look at though calls are answered.
    #[must_use]
    pub(crate) fn degraded(&self) -> Vec<ReadinessReason> {
        self.reasons(|kind| !kind.is_unready())
    }

    /// How many reasons of each kind there are; every kind is in.
    #[must_use]
    pub(crate) fn counts(&self) -> [(ReasonKind, u64); ReasonKind::ALL.len()] {
        let reasons = self.0.reasons.lock();
        let count = |kind| reasons.keys().filter(|(held, _)| *held == kind).count() as u64;
        ReasonKind::ALL.map(|kind| (kind, count(kind)))
    }

    fn reasons(&self, is_wanted: impl Fn(ReasonKind) -> bool) -> Vec<ReadinessReason> {
        let reasons = self.0.reasons.lock();
        let wanted = reasons.iter().filter(|((kind, _), _)| is_wanted(*kind));
        wanted
            .map(|((kind, subject), message)| ReadinessReason {
                name: kind.name(),
                subject: subject.clone(),
                message: message.clone(),
            })
            .collect()
    }
}

impl Shared {
    fn tell(&self) {
        self.changes
            .send_modify(|changes| *changes = changes.wrapping_add(1));
    }
}

impl ReasonKind {
    pub(crate) const ALL: [Self; 12] = [
        Self::Starting,
        Self::Draining,
        Self::Listeners,
        Self::Extension,
        Self::Plugin,
        Self::Store,
        Self::Generation,
        Self::Source,
        Self::Certificate,
        Self::Schema,
        Self::NamedStore,
        Self::Config,
    ];

    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Draining => "draining",
            Self::Listeners => "listeners",
            Self::Extension => "extension",
            Self::Plugin => "plugin",
            Self::Store => "store",
            Self::Generation => "generation",
            Self::Source => "source",
            Self::Certificate => "certificate",
            Self::Schema => "schema",
            Self::NamedStore => "named-store",
            Self::Config => "config",
        }
    }

    /// Whether the gateway should get no traffic while it holds.
    #[must_use]
    pub(crate) const fn is_unready(self) -> bool {
        match self {
            Self::Starting
            | Self::Draining
            | Self::Listeners
            | Self::Extension
            | Self::Plugin
            | Self::Store => true,
            Self::Generation
            | Self::Source
            | Self::Certificate
            | Self::Schema
            | Self::NamedStore
            | Self::Config => false,
        }
    }

    fn tell_raised(self, subject: &str, message: &str) {
        let reason = self.name();
        if matches!(self, Self::Starting | Self::Draining) {
            // Part of every life; whoever begins it says so.
        } else if self.is_unready() {
            warn!(reason, subject, message, "not ready");
        } else {
            warn!(reason, subject, message, "degraded");
        }
    }

    fn tell_cleared(self, subject: &str) {
        if self != Self::Starting {
            info!(reason = self.name(), subject, "cured");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(reasons: &[ReadinessReason]) -> Vec<(&str, &str)> {
        let pairs = reasons
            .iter()
            .map(|reason| (reason.name, reason.message.as_str()));
        pairs.collect()
    }

    #[test]
    fn a_reason_holds_until_it_is_cleared_by_its_own_subject() {
        let readiness = Readiness::default();
        readiness.raise(ReasonKind::Extension, "tag", "no such plugin");
        readiness.raise(ReasonKind::Extension, "log", "no such plugin");
        readiness.raise(ReasonKind::Extension, "tag", "it was refused");
        assert!(!readiness.is_ready());
        readiness.clear(ReasonKind::Extension, "log");
        readiness.clear(ReasonKind::Store, "tag");
        assert_eq!(
            names(&readiness.unready()),
            [("extension", "it was refused")]
        );
        readiness.clear(ReasonKind::Extension, "tag");
        assert!(readiness.is_ready() && readiness.unready().is_empty());
    }

    #[test]
    fn what_is_degraded_is_told_and_takes_traffic() {
        let readiness = Readiness::default();
        readiness.raise(ReasonKind::Source, "keys.txt", "gone");
        assert!(readiness.is_ready() && readiness.unready().is_empty());
        assert_eq!(names(&readiness.degraded()), [("source", "gone")]);
    }

    #[test]
    fn replacing_a_kind_leaves_the_others() {
        let readiness = Readiness::default();
        let of = |names: &[&str]| {
            let pairs = names.iter().map(|name| ((*name).to_owned(), String::new()));
            pairs.collect::<BTreeMap<_, _>>()
        };
        readiness.raise(ReasonKind::Store, "", "full");
        readiness.replace(ReasonKind::Plugin, of(&["a", "b"]));
        readiness.replace(ReasonKind::Plugin, of(&["b", "c"]));
        let subjects: Vec<_> = readiness.unready().into_iter().map(|r| r.subject).collect();
        assert_eq!(subjects, ["b", "c", ""]);
        let counts = readiness.counts();
        assert!(
            counts.contains(&(ReasonKind::Plugin, 2)) && counts.contains(&(ReasonKind::Store, 1))
        );
    }
}
