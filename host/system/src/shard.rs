//! Which of several equal parts a thread uses, so that threads do not fight for a cache line.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

pub use crossbeam_utils::CachePadded;

/// One of several equal parts; each thread always gets the same one. Parts that are written to belong
/// into a [`CachePadded`], or they share cache lines after all.
#[derive(Debug, Clone)]
pub struct Sharded<T>(Box<[T]>);

impl<T> Sharded<T> {
    /// As many parts as the machine runs threads at a time, a power of two, at most 16: what there
    /// are many of should not take a kilobyte for each thread of a large machine.
    pub fn new(part: impl FnMut() -> T) -> Self {
        Self::of(n_threads().min(PARTS_MAX), part)
    }

    /// A part for each thread that the machine runs at a time, up to the next power of two: no two
    /// workers meet.
    pub fn per_thread(part: impl FnMut() -> T) -> Self {
        Self::of(n_threads(), part)
    }

    fn of(n_parts: usize, part: impl FnMut() -> T) -> Self {
        Self(std::iter::repeat_with(part).take(n_parts).collect())
    }

    /// The part of this thread. Threads are numbered as they first ask.
    #[must_use]
    pub fn mine(&self) -> &T {
        let idx = THREAD.with(Cell::get) & (self.0.len() - 1);
        self.0
            .get(idx)
            .expect("the number of parts is a power of two, so the mask is below it")
    }

    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }
}

impl<'a, T> IntoIterator for &'a Sharded<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Counts what every thread counts often.
#[derive(Debug)]
pub struct ShardedCounter(Sharded<CachePadded<AtomicU64>>);

impl ShardedCounter {
    pub fn count(&self) {
        self.0.mine().fetch_add(1, Relaxed);
    }

    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.iter().map(|count| count.load(Relaxed)).sum()
    }
}

impl Default for ShardedCounter {
    fn default() -> Self {
        Self(Sharded::new(CachePadded::default))
    }
}

thread_local! {
    static THREAD: Cell<usize> = Cell::new(NEXT_THREAD.fetch_add(1, Relaxed));
}

static NEXT_THREAD: AtomicUsize = AtomicUsize::new(0);

const PARTS_MAX: usize = 16;

fn n_threads() -> usize {
    let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
    n_threads.next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_threads_count_adds_up() {
        let counter = ShardedCounter::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..100).for_each(|_| counter.count()));
            }
        });
        assert_eq!(counter.value(), 400);
    }

    #[test]
    fn a_thread_keeps_its_part_and_every_thread_has_one() {
        for n_parts in [1, 2, 16] {
            let mut number = 0;
            let sharded = Sharded::of(n_parts, || {
                number += 1;
                number
            });
            assert_eq!(sharded.mine(), sharded.mine());
            std::thread::scope(|scope| {
                for _ in 0..2 * PARTS_MAX {
                    scope.spawn(|| assert!((1..=n_parts).contains(sharded.mine())));
                }
            });
        }
    }

    #[test]
    fn parts_are_counted_in_powers_of_two() {
        assert!(Sharded::new(|| ()).iter().count().is_power_of_two());
        assert!(Sharded::per_thread(|| ()).iter().count().is_power_of_two());
        assert!(Sharded::new(|| ()).iter().count() <= PARTS_MAX);
    }
}
