//! What traps do to a plugin: the words and numbers of it.

use std::{sync::Arc, time::Duration};

/// What traps do to the plugin. Whatever it is, the next call that is taken gets a new instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnTrap {
    /// Nothing else. The default: whoever can make a plugin trap could shut others out otherwise.
    #[default]
    Restart,
    /// After one trap the plugin answers `unavailable` until it is deployed again.
    Stop,
    /// After too many it answers `unavailable` with the time to come again, while it backs off.
    Closed,
    /// As `Closed`; and calls pass by it where it stands in their way. For such plugins only.
    Open,
    /// As `Closed`; and the version before is put back into service, where there is one.
    LastGood,
    /// After too many the plugin leaves service until an operator or another component lets it back.
    Quarantine,
}

/// How many traps are too many, and how long a plugin backs off for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrapBounds {
    /// So many within `window`. Default 5.
    pub threshold: u32,
    /// Default 10 s.
    pub window: Duration,
    /// The first time; doubled with each trap that follows when calls are taken again. Default 1 s.
    pub back_off: Duration,
    /// Default 1 min.
    pub back_off_max: Duration,
}

/// Whether a plugin that traps takes calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrapState {
    Serving,
    /// Calls are refused until the back-off is over.
    Closed,
    /// Calls are taken again; one more trap closes it for longer.
    Trying,
    /// Calls are refused until an operator releases it, or another component is deployed.
    Quarantined,
    /// The same, after a single trap (`on-trap = "stop"`).
    Stopped,
}

/// A change of a plugin's state, for whoever looks after plugins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrapChange {
    pub plugin: Arc<str>,
    pub policy: OnTrap,
    pub to: TrapState,
    /// Why: the traps that led to it, or what ended it.
    pub reason: String,
}

impl OnTrap {
    /// As a manifest says it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Stop => "stop",
            Self::Closed => "closed",
            Self::Open => "open",
            Self::LastGood => "last-good",
            Self::Quarantine => "quarantine",
        }
    }
}

impl Default for TrapBounds {
    fn default() -> Self {
        Self {
            threshold: 5,
            window: Duration::from_secs(10),
            back_off: Duration::from_secs(1),
            back_off_max: Duration::from_secs(60),
        }
    }
}

impl TrapState {
    pub const ALL: [Self; 5] = [
        Self::Serving,
        Self::Closed,
        Self::Trying,
        Self::Quarantined,
        Self::Stopped,
    ];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Closed => "closed",
            Self::Trying => "trying",
            Self::Quarantined => "quarantined",
            Self::Stopped => "stopped",
        }
    }

    pub(crate) const fn is_barred(self) -> bool {
        match self {
            Self::Serving | Self::Trying => false,
            Self::Closed | Self::Quarantined | Self::Stopped => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_stand_where_their_numbers_do() {
        for (index, state) in TrapState::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, index);
        }
    }
}
