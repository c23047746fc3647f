//! When a lost connection is made anew: after pauses as of pooled sessions, from the shortest on again once
//! a connection has lasted. Pure.

use std::time::Duration;

use crate::pool::backoff;

/// How long is waited before the next connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReconnectPause {
    min: Duration,
    max: Duration,
    /// Connections in a row that did not last.
    n_failures: u32,
}

impl ReconnectPause {
    pub(super) const fn new(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max,
            n_failures: 0,
        }
    }

    /// The next pause; `random` is any number.
    pub(super) fn take(&mut self, random: u64) -> Duration {
        self.n_failures = self.n_failures.saturating_add(1);
        backoff::pause(self.min, self.max, self.n_failures, random)
    }

    /// A connection has lasted for `lasted`.
    pub(super) fn on_ended(&mut self, lasted: Duration) {
        // One that is ended again and again at once is no reason to hurry.
        if lasted >= self.max.max(self.min).min(STABLE) {
            self.n_failures = 0;
        }
    }
}

/// A connection that has lasted this long was a good one.
const STABLE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_a_connection_lasts() {
        let second = Duration::from_secs(1);
        let mut pause = ReconnectPause::new(second, 5 * second);
        let check = |pause: &mut ReconnectPause, longest| {
            let taken = pause.take(u64::MAX);
            assert!(taken <= longest && taken + second > longest, "{taken:?}");
        };
        for longest in [2, 4, 5, 5] {
            check(&mut pause, longest * second);
        }
        assert_eq!(pause.take(0), second);
        pause.on_ended(4 * second);
        check(&mut pause, 5 * second);
        pause.on_ended(5 * second);
        check(&mut pause, 2 * second);
    }
}
