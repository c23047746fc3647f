//! What a stream has moved: how it is told apart from one that stands still.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst},
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;

/// What a stream has moved, as its guest and its caller say.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) n_messages: AtomicU64,
    /// Whether the guest waits for the other end.
    pub(crate) waits: AtomicBool,
    /// Whether the caller has left.
    left: AtomicBool,
    /// The guest, while it waits for the next message of the caller.
    reader: AtomicWaker,
}

/// The guest waits for the other end for as long as this lives.
pub(crate) struct Wait<'a>(&'a Progress);

impl Progress {
    /// A message has crossed.
    pub(crate) fn on_message(&self) {
        self.n_messages.fetch_add(1, Relaxed);
    }

    /// The caller has left: a guest that waits for its next message is told.
    pub(crate) fn leave(&self) {
        self.left.store(true, SeqCst);
        self.reader.wake();
    }

    pub(crate) fn has_left(&self) -> bool {
        self.left.load(SeqCst)
    }

    /// Ready when the caller has left. For the one that waits for its next message.
    pub(crate) fn poll_left(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.reader.register(cx.waker());
        if self.has_left() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    pub(crate) fn begin_wait(&self) -> Wait<'_> {
        self.waits.store(true, Relaxed);
        Wait(self)
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.0.waits.store(false, Relaxed);
        self.0.on_message();
    }
}
