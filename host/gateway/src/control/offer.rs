//! What became of an offer: it takes calls, or is refused for a reason that something may lift.

use std::path::PathBuf;

use postern_system::clock;

use super::claims::Taken;
use crate::plugins::{asks::Growth, store::Copy};

/// What became of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Offered {
    /// It takes calls.
    Deployed,
    /// It is what was offered last.
    Unchanged,
    /// It was rolled back from, and is not started again.
    Skipped,
    Refused(OfferRefused),
}

/// Why a component does not take calls.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct OfferRefused {
    /// 64 hex digits.
    pub digest: String,
    pub reason: String,
    /// Seconds since 1970.
    pub at: u64,
    pub(super) needs: Needs,
    /// It waits for an operator, with this.
    pub held: Option<Box<HeldOffer>>,
}

/// An offer that waits for an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldOffer {
    /// Of component and manifest together, 64 hex digits: what an approval is of.
    pub digest: String,
    /// What it asks for beyond what serves; all that it asks for where nothing served.
    pub growth: Vec<Growth>,
    pub stage: ApprovalStage,
}

/// What an approval is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ApprovalStage {
    /// What component and manifest say as they are written; nothing of it has run.
    Written,
    /// What the component says it answers for, once it was asked, beyond what is written.
    Described,
}

impl HeldOffer {
    /// What is noted when it is approved.
    pub(super) fn approval(&self) -> String {
        self.stage.approval_of(&self.digest)
    }
}

impl ApprovalStage {
    pub(super) fn approval_of(self, digest: &str) -> String {
        match self {
            Self::Written => digest.to_owned(),
            Self::Described => format!("{digest}/described"),
        }
    }
}

/// What must change for a refused offer to be worth another try.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Needs {
    /// Time: something was wanting that may come back by itself.
    pub time: bool,
    /// Another configuration.
    pub settings: bool,
    pub folder: Option<PathBuf>,
    /// A service that another plugin holds.
    pub service: Option<String>,
}

impl OfferRefused {
    pub(super) fn new(digest: &str, reason: impl ToString) -> Self {
        Self {
            digest: digest.to_owned(),
            reason: reason.to_string(),
            at: unix_now(),
            needs: Needs::default(),
            held: None,
        }
    }

    /// A refusal that the holder of a service or of a route can lift.
    pub(super) fn taken(copy: &Copy, taken: Taken) -> Self {
        let needs = match &taken {
            Taken::Service { service, .. } => Needs {
                service: Some(service.clone()),
                ..Needs::default()
            },
            // Whoever holds it may be the configuration or any plugin.
            Taken::Route { .. } => Needs {
                time: true,
                settings: true,
                ..Needs::default()
            },
        };
        Self::new(&copy.digest, taken).until(needs)
    }

    pub(super) fn until(self, needs: impl Into<Needs>) -> Self {
        Self {
            needs: needs.into(),
            ..self
        }
    }
}

impl Needs {
    /// Something that may come back by itself.
    pub(super) fn time() -> Self {
        Self {
            time: true,
            ..Self::default()
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whatever one of both needs is worth a try.
    pub(super) fn merge(&mut self, other: &Self) {
        self.time |= other.time;
        self.settings |= other.settings;
        self.folder = self.folder.take().or_else(|| other.folder.clone());
        self.service = self.service.take().or_else(|| other.service.clone());
    }
}

impl From<postern_wasm::Needs> for Needs {
    fn from(needs: postern_wasm::Needs) -> Self {
        Self {
            time: needs.time,
            settings: needs.settings,
            folder: needs.folder,
            service: None,
        }
    }
}

/// Seconds since 1970.
pub(super) fn unix_now() -> u64 {
    clock::unix_time().as_secs()
}
