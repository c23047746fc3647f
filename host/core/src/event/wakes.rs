//! Readers that are woken together: whoever publishes many events in one piece of work wakes each reader
//! once behind it, and not at the first event, so that it takes all of them at one time.

use std::{cell::RefCell, task::Waker};

/// Readers that are woken when it is dropped.
struct HeldWakes;

thread_local! {
    /// Those that are to be woken; none where no work is under way.
    static HELD: RefCell<Option<Vec<Waker>>> = const { RefCell::new(None) };
}

/// Does `work`, and wakes behind it whoever got an event meanwhile. It must not wait for one of them.
pub fn wake_together<T>(work: impl FnOnce() -> T) -> T {
    let is_outermost = HELD.with_borrow_mut(|held| match held {
        Some(_) => false,
        None => {
            *held = Some(Vec::new());
            true
        }
    });
    // Made for the outermost alone: dropping it wakes.
    let _held = match is_outermost {
        true => Some(HeldWakes),
        false => None,
    };
    work()
}

/// Wakes a reader: at once, or behind the work that is under way.
pub(super) fn wake(reader: Waker) {
    let now = HELD.with_borrow_mut(|held| match held {
        Some(held) => {
            held.push(reader);
            None
        }
        None => Some(reader),
    });
    if let Some(reader) = now {
        reader.wake();
    }
}

impl Drop for HeldWakes {
    fn drop(&mut self) {
        let held = HELD.with_borrow_mut(Option::take);
        for reader in held.into_iter().flatten() {
            reader.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::SeqCst},
        },
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn readers_are_woken_behind_the_outermost_work() {
        let count = Arc::new(Count::default());
        let wake_it = || wake(Waker::from(Arc::clone(&count)));
        wake_it();
        assert_eq!(count.0.load(SeqCst), 1);
        wake_together(|| {
            wake_together(wake_it);
            wake_it();
            assert_eq!(count.0.load(SeqCst), 1);
        });
        assert_eq!(count.0.load(SeqCst), 3);
    }

    #[test]
    fn readers_are_woken_where_the_work_panics() {
        let count = Arc::new(Count::default());
        let reader = Waker::from(Arc::clone(&count));
        let panicked = std::panic::catch_unwind(|| {
            wake_together(|| {
                wake(reader);
                panic!("on purpose");
            });
        });
        assert!(panicked.is_err());
        assert_eq!(count.0.load(SeqCst), 1);
        wake(Waker::from(Arc::clone(&count)));
        assert_eq!(count.0.load(SeqCst), 2);
    }
}
