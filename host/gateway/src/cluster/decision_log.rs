//! Decisions a call went the way it went, for its access record. Costs nothing where nobody reads it.

use std::{fmt, sync::Arc};

use parking_lot::Mutex;
use postern_core::{Kind, Text};

/// Where the decisions of one call are noted, if anywhere.
#[derive(Debug, Clone, Default)]
pub(crate) struct DecisionLog(Option<Arc<Mutex<Decisions>>>);

/// What was decided for one call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Decisions {
    /// Who picked last: `p2c-ewma`, `plugin:geo`.
    pub balancer: Option<Text>,
    /// Who was picked last, and its zone.
    pub instance: Option<Text>,
    pub zone: Option<Text>,
    /// Tries that were sent, hedges included.
    pub n_tries: u32,
    /// What was out of the ordinary, in turn; at most `NOTES_MAX`.
    pub notes: Vec<Note>,
}

/// One thing out of the ordinary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Note {
    /// It waited to be admitted.
    Waited,
    /// It was not admitted: `queue-full`, `displaced`, ...
    Shed(&'static str),
    /// Too few instances were up, so that all were used.
    Panic,
    /// Nobody of the subset that it wants could be picked.
    OutOfSubset,
    /// The component did not decide, so the native balancer did.
    NativePick,
    /// Only ejected instances were left.
    EjectedPick,
    /// A try failed, with this kind, at this instance.
    Failed(Text, Kind),
    /// Nobody could be picked.
    Nobody(&'static str),
    /// There is no further try, and why: `attempts`, `unsafe`, `budget`, ...
    Stopped(&'static str),
    Hedged,
    HedgeWon,
    /// It was answered by the fallback: a service, or `reply`.
    Fallback(Text),
}

impl DecisionLog {
    /// Nothing is noted.
    #[must_use]
    pub(crate) const fn off() -> Self {
        Self(None)
    }

    #[must_use]
    pub(crate) fn on() -> Self {
        Self(Some(Arc::default()))
    }

    /// What was noted so far. `None` where nothing is.
    #[must_use]
    pub(crate) fn decisions(&self) -> Option<Decisions> {
        self.0.as_ref().map(|decisions| decisions.lock().clone())
    }

    pub(super) fn note(&self, note: impl FnOnce() -> Note) {
        self.update(|decisions| {
            if decisions.notes.len() < NOTES_MAX {
                decisions.notes.push(note());
            }
        });
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut Decisions)) {
        if let Some(decisions) = &self.0 {
            change(&mut decisions.lock());
        }
    }
}

/// `p2c-ewma users-1@eu tries=2 failed:users-0=unavailable`.
impl fmt::Display for Decisions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.balancer.as_deref().unwrap_or("-"))?;
        write!(f, " {}", self.instance.as_deref().unwrap_or("-"))?;
        if let Some(zone) = &self.zone {
            write!(f, "@{zone}")?;
        }
        write!(f, " tries={}", self.n_tries)?;
        self.notes.iter().try_for_each(|note| write!(f, " {note}"))
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waited => f.write_str("waited"),
            Self::Shed(reason) => write!(f, "shed:{reason}"),
            Self::Panic => f.write_str("panic"),
            Self::OutOfSubset => f.write_str("out-of-subset"),
            Self::NativePick => f.write_str("native-pick"),
            Self::EjectedPick => f.write_str("ejected-pick"),
            Self::Failed(instance, kind) => write!(f, "failed:{instance}={kind}"),
            Self::Nobody(reason) => write!(f, "nobody:{reason}"),
            Self::Stopped(reason) => write!(f, "stopped:{reason}"),
            Self::Hedged => f.write_str("hedged"),
            Self::HedgeWon => f.write_str("hedge-won"),
            Self::Fallback(name) => write!(f, "fallback:{name}"),
        }
    }
}

/// Of a call that is tried very often the first decisions tell enough.
const NOTES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_one_line() {
        let decision_log = DecisionLog::on();
        decision_log.update(|decisions| {
            decisions.balancer = Some("p2c-ewma".into());
            decisions.instance = Some("users-1".into());
            decisions.zone = Some("eu".into());
            decisions.n_tries = 2;
        });
        decision_log.note(|| Note::Failed("users-0".into(), Kind::Unavailable));
        let decisions = decision_log.decisions().expect("on");
        let expected = "p2c-ewma users-1@eu tries=2 failed:users-0=unavailable";
        assert_eq!(decisions.to_string(), expected);
        assert_eq!(DecisionLog::off().decisions(), None);
    }

    #[test]
    fn is_bounded() {
        let decision_log = DecisionLog::on();
        (0..100).for_each(|_| decision_log.note(|| Note::Waited));
        assert_eq!(decision_log.decisions().expect("on").notes.len(), NOTES_MAX);
    }
}
