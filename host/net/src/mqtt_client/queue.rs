//! What waits for the broker: bounded, and it says what it had no room for.

use std::collections::VecDeque;

use parking_lot::Mutex;
use postern_core::{Error, event::QueueBounds};
use tokio::sync::{Notify, oneshot};

use super::message::BrokerMessage;

/// What is lost when the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BrokerQueueFull {
    /// What has waited longest, so that the broker gets what is news.
    #[default]
    DropOldest,
    /// What comes.
    DropNewest,
}

/// A message that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) message: BrokerMessage,
    /// Told once it is acknowledged, or will not be.
    pub(super) done: Option<oneshot::Sender<Result<(), Error>>>,
}

/// The queue of one client, filled from outside.
#[derive(Debug)]
pub(super) struct BrokerQueue {
    inner: Mutex<QueueState>,
    added: Notify,
}

/// Pure.
#[derive(Debug)]
struct QueueState {
    bounds: QueueBounds,
    when_full: BrokerQueueFull,
    /// By the order in which they came. Only those that nobody waits for are bounded: whoever waits
    /// sends so many and no more.
    entries: VecDeque<Waiting>,
    n_bounded: usize,
    bytes: usize,
    n_dropped: u64,
}

impl BrokerQueue {
    pub(super) fn new(bounds: QueueBounds, when_full: BrokerQueueFull) -> Self {
        let state = QueueState {
            bounds,
            when_full,
            entries: VecDeque::new(),
            n_bounded: 0,
            bytes: 0,
            n_dropped: 0,
        };
        Self {
            inner: Mutex::new(state),
            added: Notify::new(),
        }
    }

    /// Says how many were dropped for it, itself included.
    pub(super) fn push(&self, waiting: Waiting) -> u64 {
        let n_dropped = self.inner.lock().push(waiting);
        self.added.notify_one();
        n_dropped
    }

    /// Waits for the oldest, and takes it. One reader.
    pub(super) async fn take(&self) -> Waiting {
        loop {
            let added = self.added.notified();
            if let Some(waiting) = self.inner.lock().pop() {
                return waiting;
            }
            added.await;
        }
    }

    /// Messages that wait, and those that were dropped since the start.
    pub(super) fn counts(&self) -> (usize, u64) {
        let state = self.inner.lock();
        (state.entries.len(), state.n_dropped)
    }
}

impl QueueState {
    fn push(&mut self, waiting: Waiting) -> u64 {
        let mut n_dropped = 0;
        if waiting.done.is_none() {
            let bytes = waiting.message.bytes();
            while self.n_bounded > 0 && self.is_full_for(bytes) {
                n_dropped += 1;
                match self.when_full {
                    BrokerQueueFull::DropOldest => self.drop_oldest(),
                    BrokerQueueFull::DropNewest => {
                        self.n_dropped += n_dropped;
                        return n_dropped;
                    }
                }
            }
            self.n_bounded += 1;
            self.bytes += bytes;
        }
        self.n_dropped += n_dropped;
        self.entries.push_back(waiting);
        n_dropped
    }

    /// One alone may be larger than the bound of octets.
    fn is_full_for(&self, bytes: usize) -> bool {
        self.n_bounded >= self.bounds.events_max
            || self.bytes.saturating_add(bytes) > self.bounds.bytes_max
    }

    /// The oldest that is still wanted: whoever has given up waiting sends it again, or does not.
    fn pop(&mut self) -> Option<Waiting> {
        loop {
            let waiting = self.entries.pop_front()?;
            self.on_gone(&waiting);
            if waiting.done.as_ref().is_none_or(|done| !done.is_closed()) {
                return Some(waiting);
            }
        }
    }

    fn drop_oldest(&mut self) {
        let oldest = self.entries.iter().position(|one| one.done.is_none());
        if let Some(waiting) = oldest.and_then(|at| self.entries.remove(at)) {
            self.on_gone(&waiting);
        }
    }

    fn on_gone(&mut self, waiting: &Waiting) {
        if waiting.done.is_none() {
            self.n_bounded -= 1;
            self.bytes -= waiting.message.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use postern_core::mqtt::Qos;

    use super::*;

    fn queue(events_max: usize, bytes_max: usize, when_full: BrokerQueueFull) -> BrokerQueue {
        let bounds = QueueBounds {
            events_max,
            bytes_max,
        };
        BrokerQueue::new(bounds, when_full)
    }

    fn push(queue: &BrokerQueue, topic: &str) -> u64 {
        queue.push(Waiting {
            message: BrokerMessage::new(topic, "", Qos::AtMostOnce),
            done: None,
        })
    }

    fn left(queue: &BrokerQueue) -> Vec<String> {
        let mut state = queue.inner.lock();
        let mut left = Vec::new();
        while let Some(waiting) = state.pop() {
            left.push(waiting.message.topic.to_string());
        }
        assert_eq!((state.n_bounded, state.bytes), (0, 0));
        left
    }

    #[test]
    fn a_full_queue_loses_its_oldest_or_what_comes() {
        let oldest = queue(2, usize::MAX, BrokerQueueFull::DropOldest);
        let lost: u64 = ["1", "2", "3"]
            .map(|topic| push(&oldest, topic))
            .iter()
            .sum();
        assert_eq!((lost, oldest.counts()), (1, (2, 1)));
        assert_eq!(left(&oldest), ["2", "3"]);
        let newest = queue(2, usize::MAX, BrokerQueueFull::DropNewest);
        let lost: u64 = ["1", "2", "3"]
            .map(|topic| push(&newest, topic))
            .iter()
            .sum();
        assert_eq!((lost, newest.counts()), (1, (2, 1)));
        assert_eq!(left(&newest), ["1", "2"]);
    }

    #[test]
    fn octets_are_bounded_and_one_alone_may_have_more() {
        let each = BrokerMessage::new("1", "", Qos::AtMostOnce).bytes();
        let queue = queue(usize::MAX, 2 * each, BrokerQueueFull::DropOldest);
        assert_eq!(push(&queue, "1") + push(&queue, "2"), 0);
        assert_eq!(push(&queue, "3"), 1);
        assert_eq!(push(&queue, "33"), 2);
        let long = "4".repeat(4 * each);
        assert_eq!(push(&queue, &long), 1);
        assert_eq!(left(&queue), [long]);
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_not_sent() {
        let queue = queue(1, usize::MAX, BrokerQueueFull::DropOldest);
        let (done, told) = oneshot::channel();
        queue.push(Waiting {
            message: BrokerMessage::new("given up", "", Qos::AtLeastOnce),
            done: Some(done),
        });
        drop(told);
        push(&queue, "1");
        assert_eq!(left(&queue), ["1"]);
    }

    #[test]
    fn what_somebody_waits_for_is_never_dropped() {
        let queue = queue(1, usize::MAX, BrokerQueueFull::DropOldest);
        let (done, _told) = oneshot::channel();
        queue.push(Waiting {
            message: BrokerMessage::new("kept", "", Qos::AtLeastOnce),
            done: Some(done),
        });
        push(&queue, "1");
        push(&queue, "2");
        assert_eq!(left(&queue), ["kept", "2"]);
    }
}
