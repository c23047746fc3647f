//! Pauses between connections: each twice the one before, up to a bound, half of it by chance. Pure.

use std::time::Duration;

/// How long is waited before the next connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReconnectPause {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl ReconnectPause {
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max: max.max(min),
            next: min,
        }
    }

    /// The next pause, between a half and the whole of its step. `chance` is any number.
    pub(super) fn take(&mut self, chance: u64) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.max);
        let half = step / 2;
        let span = u64::try_from(half.as_micros()).unwrap_or(u64::MAX);
        half + Duration::from_micros(chance % span.saturating_add(1).max(1))
    }

    /// A connection has lasted for `lasted`.
    pub(super) fn on_ended(&mut self, lasted: Duration) {
        // One that is ended again and again at once is no reason to hurry.
        if lasted >= self.max.min(STABLE) {
            self.next = self.min;
        }
    }
}

/// A connection that has lasted this long was a good one.
const STABLE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pause_is_up_to_twice_the_one_before_until_a_connection_lasts() {
        let second = Duration::from_secs(1);
        let mut pause = ReconnectPause::new(second, 5 * second);
        for (n, chance) in [(1, 0), (2, 7), (4, u64::MAX), (5, 1), (5, 0)] {
            let taken = pause.take(chance);
            assert!(taken >= n * second / 2 && taken <= n * second, "{taken:?}");
        }
        pause.on_ended(4 * second);
        assert!(pause.take(0) >= 5 * second / 2);
        pause.on_ended(5 * second);
        assert!(pause.take(0) <= second);
    }
}
