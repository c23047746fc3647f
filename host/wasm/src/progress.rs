//! What a stream has moved: how it is told apart from one that stands still.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// What a stream has moved, as its guest and its caller say.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) n_messages: AtomicU64,
    /// Whether the guest waits for the other end.
    pub(crate) waits: AtomicBool,
}

/// The guest waits for the other end for as long as this lives.
pub(crate) struct Wait<'a>(&'a Progress);

impl Progress {
    /// A message has crossed.
    pub(crate) fn on_message(&self) {
        self.n_messages.fetch_add(1, Relaxed);
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
