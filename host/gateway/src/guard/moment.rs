//! When something happens, for what is measured here and for what others wrote down.

use std::time::{Instant, UNIX_EPOCH};

use postern_system::clock;

/// A moment on both clocks: the one that only moves on, for what was measured here, and the one of
/// the calendar, for what others wrote down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    pub instant: Instant,
    /// Seconds since 1970.
    pub unix: u64,
}

impl Moment {
    /// This moment.
    #[must_use]
    pub(crate) fn now() -> Self {
        Self::at(clock::now())
    }

    /// The moment `instant`, which has just been read.
    #[must_use]
    pub(crate) fn at(instant: Instant) -> Self {
        let unix = clock::wall().duration_since(UNIX_EPOCH);
        Self {
            instant,
            // A clock before 1970 is wrong; no token is good then.
            unix: unix.map_or(u64::MAX, |unix| unix.as_secs()),
        }
    }
}
