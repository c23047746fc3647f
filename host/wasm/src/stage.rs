//! The stages from a component's octets into service, and why one was not passed.

use std::{fmt, path::PathBuf};

use postern_core::{Error, service::ServiceInfo};

use crate::{digest::Digest, role::Role};

/// How far a component came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    Seen,
    Compiled,
    Linked,
    Warmed,
    Healthy,
    Active,
    /// Out of service because its file is gone.
    Removed,
}

/// Why a component does not serve. The generation before it stays in service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not {stage}: {reason}")]
pub struct Refusal {
    /// The stage that was not reached.
    pub stage: Stage,
    pub reason: String,
    /// What may lift it, beside another component.
    pub needs: Needs,
}

/// What must change for a refused component to be worth another try. Nothing of it: only the
/// component itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needs {
    /// Time: descriptors, memory or a disk were wanting, or a part that it asks.
    pub time: bool,
    /// Other limits or grants.
    pub settings: bool,
    /// A folder of the host that does not exist.
    pub folder: Option<PathBuf>,
}

/// A component that serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployed {
    pub generation: u64,
    pub digest: Digest,
    pub roles: Vec<Role>,
    pub services: Vec<ServiceInfo>,
    /// Whether compiled code was found in the cache.
    pub cached: bool,
}

impl Stage {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Compiled => "compiled",
            Self::Linked => "linked",
            Self::Warmed => "warmed",
            Self::Healthy => "healthy",
            Self::Active => "active",
            Self::Removed => "removed",
        }
    }

    /// The reason on one line: the compiler's own go over many, and logs and tables show one.
    pub(crate) fn refuse(self, reason: impl AsRef<str>) -> Refusal {
        let words: Vec<_> = reason.as_ref().split_whitespace().collect();
        Refusal {
            stage: self,
            reason: words.join(" "),
            needs: Needs::default(),
        }
    }
}

impl Refusal {
    pub(crate) fn until(self, needs: Needs) -> Self {
        Self { needs, ..self }
    }
}

impl Needs {
    #[must_use]
    pub fn time() -> Self {
        Self {
            time: true,
            ..Self::default()
        }
    }

    #[must_use]
    pub fn settings() -> Self {
        Self {
            settings: true,
            ..Self::default()
        }
    }

    /// An instance could not be made, or did not run well: its limits may be at fault, what it
    /// asks, or the machine.
    pub(crate) fn to_run() -> Self {
        Self {
            time: true,
            ..Self::settings()
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a guest does not serve, with what it said itself.
pub(crate) fn told(error: Error) -> String {
    match error.source {
        Some(source) => format!("{}: {source}", error.message),
        None => error.message.into_owned(),
    }
}
