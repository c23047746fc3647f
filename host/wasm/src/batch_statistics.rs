//! How calls went lately: how many of those that come together may be made in one entry.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// What a batch is to take at most, as calls have gone lately. Far below a tick of the epoch (10 ms),
/// which would undo it.
const TIME_MAX: Duration = Duration::from_micros(500);
/// After a batch that was undone, the calls of so many are made one by one: where calls keep failing,
/// one batch in 65 is tried.
const PAUSE: u32 = 64;

/// How calls went lately, as far as one thread has seen.
#[derive(Debug, Default)]
pub(crate) struct BatchStatistics {
    /// Of a call, in nanoseconds: each one moves it by an eighth. 0 before the first.
    nanos: AtomicU64,
    /// Batches that are still to be made call by call.
    pause: AtomicU32,
}

impl BatchStatistics {
    /// A call has ended by itself.
    pub(crate) fn on_call(&self, time: Duration) {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let before = self.nanos.load(Relaxed);
        let now = match before {
            0 => time,
            before => before - before / 8 + time / 8,
        };
        // Of two at once one is lost, which does no harm.
        self.nanos.store(now, Relaxed);
    }

    /// A batch was undone.
    pub(crate) fn on_undone(&self) {
        self.pause.store(PAUSE, Relaxed);
    }

    /// How many of the calls that have come together may be made in one entry.
    pub(crate) fn batch_max(&self) -> usize {
        let pause = self.pause.load(Relaxed);
        if pause > 0 {
            self.pause.store(pause - 1, Relaxed);
            return 1;
        }
        let nanos = self.nanos.load(Relaxed).max(1);
        usize::try_from(TIME_MAX.as_nanos() / u128::from(nanos)).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_slow_goes_in_small_batches_or_alone() {
        let statistics = BatchStatistics::default();
        assert!(statistics.batch_max() > 100_000, "nothing is known yet");
        statistics.on_call(Duration::from_micros(10));
        assert_eq!(statistics.batch_max(), 50);
        for _ in 0..100 {
            statistics.on_call(Duration::from_millis(1));
        }
        assert_eq!(statistics.batch_max(), 0);
        for _ in 0..100 {
            statistics.on_call(Duration::from_micros(1));
        }
        assert!(
            (400..=500).contains(&statistics.batch_max()),
            "{statistics:?}"
        );
    }

    #[test]
    fn after_one_that_was_undone_calls_go_alone_for_a_while() {
        let statistics = BatchStatistics::default();
        statistics.on_undone();
        for _ in 0..PAUSE {
            assert_eq!(statistics.batch_max(), 1);
        }
        assert!(statistics.batch_max() > 1);
    }
}
