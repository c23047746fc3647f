//! Which shard of something a thread uses, so that threads do not fight for a cache line.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

/// One of several equal parts; each thread always gets the same one.
#[derive(Debug, Clone)]
pub(crate) struct Sharded<T>(Box<[T]>);

impl<T> Sharded<T> {
    /// As many parts as the machine runs threads at a time, a power of two, at most 16.
    pub(crate) fn new(part: impl FnMut() -> T) -> Self {
        let n_threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let n_parts = n_threads.next_power_of_two().min(PARTS_MAX);
        Self(std::iter::repeat_with(part).take(n_parts).collect())
    }

    /// The part of this thread.
    pub(crate) fn mine(&self) -> Option<&T> {
        // The number of parts is a power of two.
        self.0.get(THREAD.with(Cell::get) & (self.0.len() - 1))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}

/// Counts what every thread counts often.
#[derive(Debug)]
pub(crate) struct Counter(Sharded<Line>);

/// A count on cache lines of its own (two, as the hardware fetches them in pairs).
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line(AtomicU64);

impl Counter {
    pub(crate) fn count(&self) {
        if let Some(Line(count)) = self.0.mine() {
            count.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.iter().map(|Line(count)| count.load(Relaxed)).sum()
    }
}

impl Default for Counter {
    fn default() -> Self {
        Self(Sharded::new(Line::default))
    }
}

thread_local! {
    static THREAD: Cell<usize> = Cell::new(NEXT_THREAD.fetch_add(1, Relaxed));
}

static NEXT_THREAD: AtomicUsize = AtomicUsize::new(0);

/// What is sharded takes about a kilobyte a part; more threads than this share.
const PARTS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_threads_count_adds_up() {
        let counter = Counter::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..100).for_each(|_| counter.count()));
            }
        });
        assert_eq!(counter.get(), 400);
    }

    #[test]
    fn a_thread_keeps_its_part_and_every_thread_has_one() {
        let mut number = 0;
        let sharded = Sharded::new(|| {
            number += 1;
            number
        });
        assert!(sharded.iter().count().is_power_of_two());
        assert_eq!(sharded.mine(), sharded.mine());
        std::thread::scope(|scope| {
            for _ in 0..2 * PARTS_MAX {
                scope.spawn(|| assert!(sharded.mine().is_some()));
            }
        });
    }
}
