//! Which of a few equal parts the current thread uses, so that workers do not share cache lines.

use std::{
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// Keeps its content on cache lines of its own (two, as the hardware fetches them in pairs).
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

/// How many parts to make: one for each thread that can run at once, up to the next power of two, so
/// that finding one's part takes no division.
pub(crate) fn count() -> usize {
    let n_threads = thread::available_parallelism().map_or(1, usize::from);
    n_threads.next_power_of_two()
}

/// The part of this thread, of `parts`. Threads are numbered as they first ask.
pub(crate) fn current<T>(parts: &[T]) -> Option<&T> {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static THREAD: Cell<Option<usize>> = const { Cell::new(None) };
    }
    let thread = THREAD.with(|thread| {
        thread.get().unwrap_or_else(|| {
            let number = THREADS.fetch_add(1, Ordering::Relaxed);
            thread.set(Some(number));
            number
        })
    });
    debug_assert!(parts.is_empty() || parts.len().is_power_of_two());
    parts.get(thread & parts.len().checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_keeps_its_part_and_no_parts_are_no_fault() {
        let parts = [1, 2, 3, 4];
        assert_eq!(current(&parts), current(&parts));
        assert_eq!(current::<u8>(&[]), None);
    }
}
