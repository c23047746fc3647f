//! Who is told that something has happened on a connection: the task of its request, or the upkeep of
//! connections that wait for one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Wake, Waker},
};

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;

/// Raised by whatever wakes a connection, and lowered by whoever polls it.
#[derive(Debug)]
pub(super) struct Signal {
    is_raised: AtomicBool,
    /// The connection has no request.
    is_kept: AtomicBool,
    /// Of the request, while it waits.
    task: AtomicWaker,
    upkeep: Arc<Notify>,
}

impl Signal {
    /// Raised: a connection that is new is polled first.
    pub(super) fn new(upkeep: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            is_raised: AtomicBool::new(true),
            is_kept: AtomicBool::new(false),
            task: AtomicWaker::new(),
            upkeep,
        })
    }

    pub(super) fn is_raised(&self) -> bool {
        self.is_raised.load(SeqCst)
    }

    /// Lowers it; says whether it was raised.
    pub(super) fn lower(&self) -> bool {
        self.is_raised() && self.is_raised.swap(false, SeqCst)
    }

    /// Tells the upkeep from here on; at once where it is raised.
    pub(super) fn begin_keeping(&self) {
        self.is_kept.store(true, SeqCst);
        if self.is_raised() {
            self.upkeep.notify_one();
        }
    }

    pub(super) fn end_keeping(&self) {
        self.is_kept.store(false, SeqCst);
    }

    /// Wakes `task` when it is raised next. Whoever registers looks at `is_raised` after that.
    pub(super) fn register(&self, task: &Waker) {
        self.task.register(task);
    }

    /// Wakes nobody: what raises it meanwhile is seen by whoever polls.
    pub(super) fn unregister(&self) {
        drop(self.task.take());
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_raised.store(true, SeqCst);
        if self.is_kept.load(SeqCst) {
            self.upkeep.notify_one();
        } else {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::atomic::AtomicUsize,
        task::{Context, Poll},
    };

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn a_waiting_task_is_woken_and_one_that_polls_is_not() {
        let signal = Signal::new(Arc::default());
        let waker = Waker::from(Arc::clone(&signal));
        let task = Arc::<Counter>::default();
        assert!(signal.lower());
        signal.register(&Waker::from(Arc::clone(&task)));
        waker.wake_by_ref();
        assert_eq!(task.0.load(SeqCst), 1);
        assert!(signal.lower() && !signal.lower());
        signal.register(&Waker::from(Arc::clone(&task)));
        signal.unregister();
        waker.wake_by_ref();
        assert_eq!(task.0.load(SeqCst), 1);
        assert!(signal.is_raised());
    }

    #[test]
    fn what_happens_before_and_while_it_is_kept_reaches_the_upkeep() {
        let upkeep = Arc::<Notify>::default();
        let is_told = || {
            let mut cx = Context::from_waker(Waker::noop());
            pin!(upkeep.notified()).poll(&mut cx) == Poll::Ready(())
        };
        let signal = Signal::new(Arc::clone(&upkeep));
        signal.begin_keeping();
        assert!(is_told(), "it was raised before");
        assert!(signal.lower() && !is_told());
        signal.wake_by_ref();
        assert!(is_told());
        signal.end_keeping();
        signal.wake_by_ref();
        assert!(!is_told());
    }
}
