//! A queue of events between those who publish and the one who reads.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use super::{
    Delivery,
    queue::{EventCounts, EventQueue, QueueBounds},
};

/// An `EventQueue` with a reader that sleeps. The lock is held for a few instructions, by nobody who waits.
#[derive(Debug)]
pub struct Mailbox {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    queue: EventQueue,
    /// Of the reader, while it has nothing to read.
    reader: Option<Waker>,
    is_open: bool,
}

impl Mailbox {
    #[must_use]
    pub const fn new(bounds: QueueBounds) -> Self {
        let inner = Inner {
            queue: EventQueue::new(bounds),
            reader: None,
            is_open: true,
        };
        Self {
            inner: Mutex::new(inner),
        }
    }

    /// Puts an event in and wakes the reader. False once it is closed. See `EventQueue::push`.
    pub fn push(&self, delivery: Delivery) -> bool {
        let mut inner = self.lock();
        if !inner.is_open {
            return false;
        }
        inner.queue.push(delivery);
        let reader = inner.reader.take();
        drop(inner);
        if let Some(reader) = reader {
            reader.wake();
        }
        true
    }

    /// The next event; `None` once it is closed and empty. There is one reader: the waker of the last
    /// who asked is kept.
    pub fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        let mut inner = self.lock();
        if let Some(taken) = inner.queue.take() {
            return Poll::Ready(Some(taken));
        }
        if !inner.is_open {
            return Poll::Ready(None);
        }
        match &mut inner.reader {
            Some(reader) => reader.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// See `EventQueue::on_undelivered`.
    pub fn on_undelivered(&self, missed: u64) {
        self.lock().queue.on_undelivered(missed);
    }

    /// Takes nothing more. What is there may still be read.
    pub fn close(&self) {
        let mut inner = self.lock();
        inner.is_open = false;
        let reader = inner.reader.take();
        drop(inner);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Closes it and drops what is there.
    pub fn discard(&self) {
        self.lock().queue.clear();
        self.close();
    }

    /// Whether it still takes events.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.lock().is_open
    }

    #[must_use]
    pub fn counts(&self) -> EventCounts {
        self.lock().queue.counts()
    }

    /// Octets that wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lock().queue.bytes()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here is half-changed when a waker panics.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
