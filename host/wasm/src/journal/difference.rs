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
    /// A clock was read more or less often than recorded.
    Clock,
}

impl AskChange {
    /// Whether it says nothing against the version that asked.
    #[must_use]
    pub const fn is_note(self) -> bool {
        match self {
            Self::Unrecorded | Self::Answered | Self::Changed | Self::NotDone => false,
            Self::NotRead | Self::Again | Self::Clock => true,
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
        let before = shown(&recorded.ask, &recorded.with);
        Self {
            change,
            question: shown(&recorded.ask, with),
            recorded: (change == AskChange::Changed).then_some(before),
        }
    }

    pub(super) fn not_asked(recorded: &HostAsk) -> Self {
        let change = match EFFECTS.contains(&recorded.ask.as_str()) {
            true => AskChange::NotDone,
            false => AskChange::NotRead,
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

/// Functions whose effect somebody may miss.
const EFFECTS: [&str; 5] = [
    "client.call",
    "events.publish",
    "kv.delete",
    "kv.set",
    "kv.swap",
];

impl fmt::Display for AskDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            change,
            question,
            recorded,
        } = self;
        let recorded = recorded.as_deref().unwrap_or_default();
        match change {
            AskChange::Unrecorded => write!(f, "asked for {question}, which was not recorded"),
            AskChange::Answered => {
                write!(
                    f,
                    "asked for {question}, which was not recorded and is as it is here"
                )
            }
            AskChange::Changed => write!(f, "asked for {question}, recorded was {recorded}"),
            AskChange::NotDone => write!(f, "did not ask for {question}, which was recorded"),
            AskChange::NotRead => write!(f, "did not read {question}, which was recorded"),
            AskChange::Again => write!(f, "asked for {question} more often than recorded"),
            AskChange::Clock => write!(f, "read {question}, recorded were {recorded}"),
        }
    }
}
