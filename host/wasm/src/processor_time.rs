//! Processor time of guests: which times are added up, and that none is added up twice.
//!
//! A guest on a thread computes: on the inline path it cannot wait, and on a fiber a poll returns when it
//! waits. So the time of an entry or a poll by the monotonic clock, which is taken anyway, is its processor
//! time, unless the system took the thread away meanwhile. Up to `IN_PLACE_MAX` that is unlikely and the
//! time is believed. What takes longer is measured by the thread's own clock once its method is suspected
//! (`placement.rs`), and always on the threads for guests; where it was not measured, `IN_PLACE_MAX` of it
//! is counted.

use std::{cell::Cell, time::Duration};

use crate::placement::IN_PLACE_MAX;

thread_local! {
    /// What was counted within the poll at hand.
    static COUNTED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// A poll of a guest. One may lie within another: whoever asks a role makes an instance first.
pub(crate) struct CountedPoll {
    around: Duration,
}

impl CountedPoll {
    pub(crate) fn begin() -> Self {
        Self {
            around: COUNTED.replace(Duration::ZERO),
        }
    }

    /// The poll has computed for `computed`; what of that was not counted within it.
    pub(crate) fn end(self, computed: Duration) -> Duration {
        let within = COUNTED.get();
        let all = computed.max(within);
        COUNTED.set(self.around.saturating_add(all));
        all.saturating_sub(within)
    }
}

/// For how long a guest has computed that held its thread for `took`, and was measured at `computed` where
/// it was.
pub(crate) fn of(took: Duration, computed: Option<Duration>) -> Duration {
    computed.unwrap_or_else(|| took.min(IN_PLACE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_time_is_believed_up_to_a_millisecond_unless_it_was_measured() {
        assert_eq!(of(MS / 2, None), MS / 2);
        assert_eq!(of(MS * 30, None), MS);
        assert_eq!(of(MS * 30, Some(MS * 20)), MS * 20);
    }

    #[test]
    fn what_was_counted_within_a_poll_is_not_counted_with_it() {
        let outer = CountedPoll::begin();
        let inner = CountedPoll::begin();
        assert_eq!(inner.end(MS * 2), MS * 2);
        let second = CountedPoll::begin();
        assert_eq!(second.end(MS), MS);
        assert_eq!(outer.end(MS * 4), MS);
        let other = CountedPoll::begin();
        assert_eq!(other.end(MS * 5), MS * 5);
    }
}
