//! A queue of events that many subscribers share: each event lies in memory once, and whoever reads
//! takes all that waits at one time. A reader that lags is told so, and has lost what waited.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use super::{
    Event, bytes_of,
    queue::{EventCounts, QueueBounds},
    wakes::wake,
};

/// A bounded queue with a reader that sleeps. The lock is held for a few instructions, by nobody who
/// waits.
#[derive(Debug)]
pub(super) struct SharedQueue {
    bounds: QueueBounds,
    inner: Mutex<Waiting>,
}

/// What a reader found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueTaken {
    /// It was given what waited.
    Events,
    /// There was no room for an event since it looked last: that one and what waited are lost.
    Lost,
    /// Nothing comes any more.
    Ended,
}

#[derive(Debug)]
struct Waiting {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    delivered: u64,
    dropped: u64,
    /// Of the reader, while it has nothing to read.
    reader: Option<Waker>,
    has_lost: bool,
    is_open: bool,
}

impl SharedQueue {
    pub(super) const fn new(bounds: QueueBounds) -> Self {
        let inner = Waiting {
            events: VecDeque::new(),
            bytes: 0,
            delivered: 0,
            dropped: 0,
            reader: None,
            has_lost: false,
            is_open: true,
        };
        Self {
            bounds,
            inner: Mutex::new(inner),
        }
    }

    /// Puts an event in and wakes the reader, as `wakes` says when. False once it is closed. An event alone always has room.
    pub(super) fn push(&self, event: &Arc<Event>) -> bool {
        let n_bytes = bytes_of(event);
        let mut inner = self.lock();
        if !inner.is_open {
            return false;
        }
        let is_full = inner.events.len() >= self.bounds.events_max
            || inner.bytes.saturating_add(n_bytes) > self.bounds.bytes_max;
        if is_full && !inner.events.is_empty() {
            inner.drop_all();
            inner.dropped += 1;
            inner.has_lost = true;
        } else {
            inner.bytes += n_bytes;
            inner.events.push_back(Arc::clone(event));
        }
        let reader = inner.reader.take();
        drop(inner);
        if let Some(reader) = reader {
            wake(reader);
        }
        true
    }

    /// Appends all that waits to `into`. There is one reader: the waker of the last who asked is kept.
    pub(super) fn poll_take(
        &self,
        cx: &mut Context<'_>,
        into: &mut VecDeque<Arc<Event>>,
    ) -> Poll<QueueTaken> {
        let mut inner = self.lock();
        if std::mem::take(&mut inner.has_lost) {
            return Poll::Ready(QueueTaken::Lost);
        }
        if !inner.events.is_empty() {
            inner.delivered += inner.events.len() as u64;
            inner.bytes = 0;
            into.append(&mut inner.events);
            return Poll::Ready(QueueTaken::Events);
        }
        if !inner.is_open {
            return Poll::Ready(QueueTaken::Ended);
        }
        match &mut inner.reader {
            Some(reader) => reader.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Closes it and drops what is there.
    pub(super) fn discard(&self) {
        let mut inner = self.lock();
        inner.drop_all();
        inner.is_open = false;
        let reader = inner.reader.take();
        drop(inner);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    pub(super) fn counts(&self) -> EventCounts {
        let inner = self.lock();
        EventCounts {
            delivered: inner.delivered,
            dropped: inner.dropped,
            queued: inner.events.len() as u64,
        }
    }

    /// Octets that wait.
    pub(super) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in here is half-changed when a waker panics.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn drop_all(&mut self) {
        self.dropped += self.events.len() as u64;
        self.bytes = 0;
        self.events.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EVENT_OVERHEAD_BYTES, tests::event};

    fn taken(queue: &SharedQueue) -> (Poll<QueueTaken>, Vec<String>) {
        let mut cx = Context::from_waker(Waker::noop());
        let mut events = VecDeque::new();
        let found = queue.poll_take(&mut cx, &mut events);
        let topics = events.iter().map(|event| event.topic.to_string());
        (found, topics.collect())
    }

    fn push(queue: &SharedQueue, topic: &str) -> bool {
        queue.push(&Arc::new(event(topic, "")))
    }

    fn queue(events_max: usize, bytes_max: usize) -> SharedQueue {
        SharedQueue::new(QueueBounds {
            events_max,
            bytes_max,
        })
    }

    #[test]
    fn all_that_waits_is_taken_at_one_time_and_in_order() {
        let queue = queue(usize::MAX, usize::MAX);
        assert_eq!(taken(&queue), (Poll::Pending, vec![]));
        assert!(push(&queue, "a") && push(&queue, "b"));
        let both = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(taken(&queue), (Poll::Ready(QueueTaken::Events), both));
        assert_eq!(taken(&queue), (Poll::Pending, vec![]));
        let counts = queue.counts();
        assert_eq!((counts.delivered, counts.dropped, counts.queued), (2, 0, 0));
    }

    #[test]
    fn one_event_over_the_bound_is_told_as_a_loss_of_all() {
        let each = EVENT_OVERHEAD_BYTES + 1;
        for queue in [queue(2, usize::MAX), queue(usize::MAX, 2 * each)] {
            assert!(push(&queue, "a") && push(&queue, "b"));
            assert_eq!((queue.counts().queued, queue.bytes()), (2, 2 * each));
            assert!(push(&queue, "c"));
            assert_eq!((queue.counts().dropped, queue.bytes()), (3, 0));
            assert_eq!(taken(&queue), (Poll::Ready(QueueTaken::Lost), vec![]));
            assert!(push(&queue, "d"));
            let one = vec!["d".to_owned()];
            assert_eq!(taken(&queue), (Poll::Ready(QueueTaken::Events), one));
        }
    }

    #[test]
    fn an_event_larger_than_the_bound_waits_alone() {
        let queue = queue(1, 1);
        assert!(push(&queue, "a"));
        let one = vec!["a".to_owned()];
        assert_eq!(taken(&queue), (Poll::Ready(QueueTaken::Events), one));
    }

    #[test]
    fn what_is_closed_takes_nothing_and_ends() {
        let queue = queue(8, usize::MAX);
        assert!(push(&queue, "a"));
        queue.discard();
        assert!(!push(&queue, "b"));
        assert_eq!(taken(&queue), (Poll::Ready(QueueTaken::Ended), vec![]));
        assert_eq!(queue.counts().dropped, 1);
    }
}
