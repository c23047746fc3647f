//! What traps do to a plugin: `on-trap`, and section `traps`. Both stand in a manifest, and in `[plugins]` for all
//! plugins whose manifest says nothing.

use std::time::Duration;

use postern_wasm as spec;

use super::{leaf::word_leaf, section::section};

section! {
    /// When traps are too many, and how long the plugin backs off.
    pub(crate) struct Traps {
        /// Traps within `window` that are too many.
        pub threshold: u32 = 5, within "1" to "1000";
        /// Time within which they count together, and without one after which all is as before.
        pub window: Duration = Duration::from_secs(10), within "100ms" to "1h";
        /// How long calls are refused; doubled with each trap that follows when they are taken again.
        pub back_off: Duration = Duration::from_secs(1), within "100ms" to "1h";
        /// The longest that they are refused.
        pub back_off_max: Duration = Duration::from_secs(60), within "100ms" to "24h";
    }
}

/// What traps do to a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnTrapSetting {
    Restart,
    Stop,
    Closed,
    Open,
    LastGood,
    Quarantine,
}

word_leaf!(OnTrapSetting {
    Restart = "restart",
    Stop = "stop",
    Closed = "closed",
    Open = "open",
    LastGood = "last-good",
    Quarantine = "quarantine",
});

impl OnTrapSetting {
    pub(super) const fn spec(self) -> spec::OnTrap {
        match self {
            Self::Restart => spec::OnTrap::Restart,
            Self::Stop => spec::OnTrap::Stop,
            Self::Closed => spec::OnTrap::Closed,
            Self::Open => spec::OnTrap::Open,
            Self::LastGood => spec::OnTrap::LastGood,
            Self::Quarantine => spec::OnTrap::Quarantine,
        }
    }
}

impl Traps {
    pub(super) fn spec(&self) -> spec::TrapBounds {
        spec::TrapBounds {
            threshold: self.threshold,
            window: self.window,
            back_off: self.back_off,
            back_off_max: self.back_off_max.max(self.back_off),
        }
    }
}
