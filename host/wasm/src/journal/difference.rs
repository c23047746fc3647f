//! How what a guest asked in a replay differs from what was recorded.

use std::fmt;

use super::shown;
use crate::recorded::{HostAsk, RecordedOctets};

/// One difference between what was asked and what was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskDifference {
    pub change: AskChange,
    /// The question, for people: `kv.set "user:1", "{}"`.
    pub question: String,
    /// What was recorded in its place.
    pub recorded: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AskChange {
    /// It was never recorded; the guest was told that it is unavailable.
    Unrecorded,
    /// It was never recorded; the guest was told what is at hand, such as the manifest's `config`.
    Answered,
    /// Something about the same was recorded, with other values; its answer was given.
    Changed,
    /// It was recorded, has an effect, and was not asked for.
    NotDone,
    /// It was recorded, only reads, and was not asked for.
    NotRead,
    /// It was asked for more often than recorded; the answer was the same each time.
    Again,
    /// A metric was changed that was not recorded, or otherwise than recorded.
    Counted,
    /// A change of a metric was recorded and not made.
    NotCounted,
    /// A clock was read more or less often than recorded.
    Clock,
}

impl AskChange {
    /// Whether it says nothing against the version that asked.
    #[must_use]
    pub const fn is_note(self) -> bool {
        match self {
            Self::Unrecorded | Self::Answered | Self::Changed | Self::NotDone => false,
            Self::NotRead | Self::Again | Self::Counted | Self::NotCounted | Self::Clock => true,
        }
    }

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unrecorded => "unrecorded",
            Self::Answered => "answered",
            Self::Changed => "changed",
            Self::NotDone => "not-done",
            Self::NotRead => "not-read",
            Self::Again => "again",
            Self::Counted => "counted",
            Self::NotCounted => "not-counted",
            Self::Clock => "clock",
        }
    }
}

impl AskDifference {
    pub(super) fn unrecorded(
        change: AskChange,
        ask: &str,
        with: &[Option<RecordedOctets>],
    ) -> Self {
        Self {
            change,
            question: shown(ask, with),
            recorded: None,
        }
    }

    pub(super) fn changed(
        change: AskChange,
        with: &[Option<RecordedOctets>],
        recorded: &HostAsk,
    ) -> Self {
        let before = || shown(&recorded.ask, &recorded.with);
        let is_other = matches!(change, AskChange::Changed | AskChange::Counted);
        Self {
            change,
            question: shown(&recorded.ask, with),
            recorded: is_other.then(before),
        }
    }

    pub(super) fn not_asked(recorded: &HostAsk) -> Self {
        let ask = recorded.ask.as_str();
        let change = if EFFECTS.contains(&ask) {
            AskChange::NotDone
        } else if ask.starts_with(COUNTS) {
            AskChange::NotCounted
        } else {
            AskChange::NotRead
        };
        Self {
            change,
            question: shown(&recorded.ask, &recorded.with),
            recorded: None,
        }
    }

    pub(super) fn clock(name: &str, n_recorded: usize, n_read: usize) -> Self {
        Self {
            change: AskChange::Clock,
            question: format!("the {name} clock {n_read} times"),
            recorded: Some(format!("{n_recorded} times")),
        }
    }
}

/// Adds one, within the bound. Notes leave room for what counts.
pub(super) fn push(all: &mut Vec<AskDifference>, difference: AskDifference) {
    let is_note = difference.change.is_note();
    let alike = all.iter().filter(|known| known.change.is_note() == is_note);
    if alike.count() < DIFFERENCES_MAX {
        all.push(difference);
    }
}

/// Differences of one call that are told, and as many notes.
const DIFFERENCES_MAX: usize = 100;
/// Functions whose effect somebody may miss.
const EFFECTS: [&str; 5] = [
    "client.call",
    "events.publish",
    "kv.delete",
    "kv.set",
    "kv.swap",
];
/// What functions begin with that change metrics.
const COUNTS: &str = "metrics.";

impl fmt::Display for AskDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            change,
            question,
            recorded,
        } = self;
        let recorded = recorded.as_deref();
        if *change == AskChange::Counted && recorded.is_none() {
            return write!(f, "asked for {question}, which was not recorded");
        }
        let recorded = recorded.unwrap_or_default();
        match change {
            AskChange::Unrecorded => write!(f, "asked for {question}, which was not recorded"),
            AskChange::Answered => {
                write!(
                    f,
                    "asked for {question}, which was not recorded and is as it is here"
                )
            }
            AskChange::Changed | AskChange::Counted => {
                write!(f, "asked for {question}, recorded was {recorded}")
            }
            AskChange::NotDone | AskChange::NotCounted => {
                write!(f, "did not ask for {question}, which was recorded")
            }
            AskChange::NotRead => write!(f, "did not read {question}, which was recorded"),
            AskChange::Again => write!(f, "asked for {question} more often than recorded"),
            AskChange::Clock => write!(f, "read {question}, recorded were {recorded}"),
        }
    }
}
