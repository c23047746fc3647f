//! How long one try may take: what is left of the call, and no more than its own timeout.
//! A hop passes on what is left as `timeout-ms` (`vsp::request_frame`), so waiting, queueing and
//! earlier tries are subtracted by themselves: they moved `now`, and the deadline stood still.

use std::time::{Duration, Instant};

/// When the caller of a call stops waiting; absolute, so that nothing has to be subtracted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deadline(pub Option<Instant>);

/// The time of the call is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the deadline passed {since:?} ago")]
pub struct Passed {
    pub since: Duration,
}

impl Deadline {
    /// The deadline of a call that came at `now` and may take `timeout`.
    #[must_use]
    pub fn after(now: Instant, timeout: Duration) -> Self {
        // A sum past the end of time is as good as no deadline.
        Self(now.checked_add(timeout))
    }

    /// What is left at `now`; `None` when there is no deadline.
    #[must_use]
    pub fn left(self, now: Instant) -> Option<Duration> {
        self.0
            .map(|deadline| deadline.saturating_duration_since(now))
    }

    /// The deadline of a try that begins at `now`: the call's, or `per_try_timeout` from now,
    /// whichever comes first.
    ///
    /// # Errors
    /// `Passed` at the deadline and after it: nobody waits for what the try would bring.
    pub fn per_try(self, now: Instant, per_try_timeout: Option<Duration>) -> Result<Self, Passed> {
        if let Some(deadline) = self.0
            && now >= deadline
        {
            let since = now.saturating_duration_since(deadline);
            return Err(Passed { since });
        }
        let own = per_try_timeout.and_then(|timeout| now.checked_add(timeout));
        Ok(Self(match (self.0, own) {
            (Some(call), Some(own)) => Some(call.min(own)),
            (call, own) => call.or(own),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_try_ends_with_the_call_or_with_its_own_timeout() {
        let now = testing::epoch();
        let check = |call: Option<u32>, per_try: Option<u32>, expected: Option<u32>| {
            let call = Deadline(call.map(|seconds| now + SECOND * seconds));
            let per_try = call.per_try(now, per_try.map(|seconds| SECOND * seconds));
            let expected = Deadline(expected.map(|seconds| now + SECOND * seconds));
            assert_eq!(per_try, Ok(expected));
        };
        check(None, None, None);
        check(None, Some(5), Some(5));
        check(Some(9), None, Some(9));
        check(Some(9), Some(5), Some(5));
        check(Some(3), Some(5), Some(3));
    }

    #[test]
    fn what_was_spent_is_gone_for_the_next_try() {
        let start = testing::epoch();
        let call = Deadline::after(start, SECOND * 8);
        let first = call.per_try(start, Some(SECOND * 5)).expect("in time");
        assert_eq!(first.left(start), Some(SECOND * 5));
        let second = call.per_try(start + SECOND * 6, Some(SECOND * 5));
        let second = second.expect("in time");
        assert_eq!(second.left(start + SECOND * 6), Some(SECOND * 2));
    }

    #[test]
    fn no_try_begins_at_the_deadline() {
        let start = testing::epoch();
        let call = Deadline::after(start, SECOND);
        let nearly = start + SECOND - Duration::from_nanos(1);
        assert_eq!(call.per_try(nearly, None), Ok(call));
        let since = Duration::ZERO;
        assert_eq!(call.per_try(start + SECOND, None), Err(Passed { since }));
        assert_eq!(call.left(start + SECOND * 2), Some(Duration::ZERO));
    }

    #[test]
    fn a_timeout_past_the_end_of_time_is_none() {
        let now = testing::epoch();
        assert_eq!(Deadline::after(now, Duration::MAX), Deadline(None));
        let per_try = Deadline(None).per_try(now, Some(Duration::MAX));
        assert_eq!(per_try, Ok(Deadline(None)));
    }
}
