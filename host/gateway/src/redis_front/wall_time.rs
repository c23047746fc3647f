//! The time of the calendar, in which keys end and entries are given out.

use postern_system::clock;

/// Milliseconds since 1970.
#[must_use]
pub(super) fn now_ms() -> u64 {
    u64::try_from(clock::unix_time().as_millis()).unwrap_or(u64::MAX)
}
