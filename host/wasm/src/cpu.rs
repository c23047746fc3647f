//! What a guest computes in one entry, over all the threads that poll it.
//!
//! A guest that computes is polled on the threads for guests, where the processor time of each poll is taken
//! anyway (`offload.rs`), and it returns from its poll at the next tick of the epoch. So whoever polls it keeps
//! the sum, and its store looks at it at each tick: a bound is kept to one tick.

use std::{cell::Cell, time::Duration};

thread_local! {
    /// Of the entry that this thread polls, before this poll.
    static USED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// The processor time of one entry.
#[derive(Debug)]
pub(crate) struct CpuMeter {
    used: Duration,
}

/// The sum from before, put back also where a poll panics.
struct Outer(Duration);

impl CpuMeter {
    /// Goes on from what this thread polls, so that differences of `used` are right across the two.
    pub(crate) fn new() -> Self {
        Self { used: used() }
    }

    /// Runs `poll`, which may ask for `used`.
    pub(crate) fn during<T>(&self, poll: impl FnOnce() -> T) -> T {
        let _outer = Outer(USED.replace(self.used));
        poll()
    }

    /// A poll has computed for so long.
    pub(crate) fn charge(&mut self, computed: Duration) {
        self.used = self.used.saturating_add(computed);
    }
}

impl Drop for Outer {
    fn drop(&mut self) {
        USED.set(self.0);
    }
}

/// What the entry that this thread polls has computed before this poll.
pub(crate) fn used() -> Duration {
    USED.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_within_another_has_a_sum_of_its_own() {
        let second = Duration::from_secs(1);
        let mut outer = CpuMeter::new();
        outer.charge(second);
        outer.during(|| {
            let from = used();
            assert_eq!(from, second);
            let mut inner = CpuMeter::new();
            inner.charge(second * 2);
            inner.during(|| assert_eq!(used() - from, second * 2));
            assert_eq!(used(), second);
        });
        assert_eq!(used(), Duration::ZERO);
    }

    #[test]
    fn a_panic_leaves_the_thread_as_it_was() {
        let mut meter = CpuMeter::new();
        meter.charge(Duration::from_secs(1));
        let panicked = std::panic::catch_unwind(|| meter.during(|| panic!("on purpose")));
        assert!(panicked.is_err());
        assert_eq!(used(), Duration::ZERO);
    }
}
