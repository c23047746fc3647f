//! The events that wait for one subscriber, and how many it has lost. Pure.

use std::collections::VecDeque;

use super::Delivery;

/// How much may wait for one subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueBounds {
    /// Default 1,024; at least one waits whatever is written here.
    pub events_max: usize,
    /// Octets as `Delivery::bytes` counts them. Default 8 MiB; one event alone may have more.
    pub bytes_max: usize,
}

/// What became of the events of one subscriber. Each is in one of the three.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventCounts {
    pub delivered: u64,
    pub dropped: u64,
    pub queued: u64,
}

/// A bounded queue that loses its oldest.
#[derive(Debug)]
pub struct EventQueue {
    bounds: QueueBounds,
    /// Each with the number of events that were lost just before it came.
    entries: VecDeque<Delivery>,
    bytes: usize,
    /// Lost before the first entry, and not told yet.
    missed: u64,
    delivered: u64,
    dropped: u64,
}

impl EventQueue {
    #[must_use]
    pub const fn new(bounds: QueueBounds) -> Self {
        Self {
            bounds,
            entries: VecDeque::new(),
            bytes: 0,
            missed: 0,
            delivered: 0,
            dropped: 0,
        }
    }

    /// Appends an event, and drops from the front what there is no room for. Its `missed` tells what
    /// was lost on the way here, which is nothing at the source.
    pub fn push(&mut self, delivery: Delivery) {
        let bytes = delivery.bytes();
        while !self.entries.is_empty()
            && (self.entries.len() >= self.bounds.events_max
                || self.bytes.saturating_add(bytes) > self.bounds.bytes_max)
        {
            if let Some(lost) = self.pop() {
                self.on_lost(lost.missed);
            }
        }
        self.bytes += bytes;
        self.entries.push_back(delivery);
    }

    /// The oldest event, and how many were lost since the one taken before.
    pub fn take(&mut self) -> Option<Delivery> {
        let mut delivery = self.pop()?;
        self.delivered += 1;
        let missed = std::mem::take(&mut self.missed);
        delivery.missed = delivery.missed.saturating_add(missed);
        Some(delivery)
    }

    /// What was taken last, with `missed` told beside it, did not reach the subscriber.
    pub fn on_undelivered(&mut self, missed: u64) {
        self.delivered = self.delivered.saturating_sub(1);
        self.on_lost(missed);
    }

    /// Drops what waits.
    pub fn clear(&mut self) {
        while let Some(lost) = self.pop() {
            self.on_lost(lost.missed);
        }
        self.entries = VecDeque::new();
    }

    #[must_use]
    pub fn counts(&self) -> EventCounts {
        EventCounts {
            delivered: self.delivered,
            dropped: self.dropped,
            queued: self.entries.len() as u64,
        }
    }

    /// Octets that wait.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    fn pop(&mut self) -> Option<Delivery> {
        let delivery = self.entries.pop_front()?;
        self.bytes -= delivery.bytes();
        Some(delivery)
    }

    fn on_lost(&mut self, before: u64) {
        self.dropped += 1;
        self.missed = self.missed.saturating_add(before).saturating_add(1);
    }
}

impl Default for QueueBounds {
    fn default() -> Self {
        Self {
            events_max: 1024,
            bytes_max: 8 * 1024 * 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Text,
        event::{EVENT_OVERHEAD_BYTES, tests::event},
    };

    fn queue(events_max: usize, bytes_max: usize) -> EventQueue {
        EventQueue::new(QueueBounds {
            events_max,
            bytes_max,
        })
    }

    fn push(queue: &mut EventQueue, topic: &str, payload: &'static str, missed: u64) {
        queue.push(Delivery {
            event: event(topic, payload),
            missed,
            subscription: Text::default(),
        });
    }

    fn taken(queue: &mut EventQueue) -> Option<(String, u64)> {
        let delivery = queue.take()?;
        Some((delivery.event.topic.to_string(), delivery.missed))
    }

    #[test]
    fn holds_as_many_events_as_it_may_and_then_loses_the_oldest() {
        let mut queue = queue(2, usize::MAX);
        push(&mut queue, "1", "", 0);
        push(&mut queue, "2", "", 0);
        assert_eq!((queue.counts().queued, queue.counts().dropped), (2, 0));
        push(&mut queue, "3", "", 0);
        assert_eq!((queue.counts().queued, queue.counts().dropped), (2, 1));
        assert_eq!(taken(&mut queue), Some(("2".into(), 1)));
        assert_eq!(taken(&mut queue), Some(("3".into(), 0)));
        assert_eq!(taken(&mut queue), None);
        assert_eq!(queue.bytes(), 0);
    }

    #[test]
    fn holds_as_many_octets_as_it_may_and_no_more() {
        // Topic and payload of 8 octets each time.
        let each = EVENT_OVERHEAD_BYTES + 8;
        let mut queue = queue(usize::MAX, 2 * each);
        push(&mut queue, "1", "1234567", 0);
        push(&mut queue, "2", "1234567", 0);
        assert_eq!((queue.bytes(), queue.counts().dropped), (2 * each, 0));
        push(&mut queue, "3", "12345678", 0);
        // One octet more than fits beside another, so both go.
        assert_eq!((queue.bytes(), queue.counts().dropped), (each + 1, 2));
        assert_eq!(taken(&mut queue), Some(("3".into(), 2)));
    }

    #[test]
    fn an_event_larger_than_the_bound_waits_alone() {
        let mut queue = queue(8, 10);
        push(&mut queue, "1", "", 0);
        push(&mut queue, "2", "", 0);
        assert_eq!(taken(&mut queue), Some(("2".into(), 1)));
    }

    #[test]
    fn a_bound_of_no_events_still_holds_one() {
        let mut queue = queue(0, usize::MAX);
        push(&mut queue, "1", "", 0);
        assert_eq!(taken(&mut queue), Some(("1".into(), 0)));
    }

    #[test]
    fn losses_on_the_way_here_add_up() {
        let mut queue = queue(2, usize::MAX);
        push(&mut queue, "1", "", 5);
        push(&mut queue, "2", "", 0);
        push(&mut queue, "3", "", 7);
        assert_eq!(taken(&mut queue), Some(("2".into(), 6)));
        assert_eq!(taken(&mut queue), Some(("3".into(), 7)));
        queue.on_undelivered(7);
        push(&mut queue, "4", "", 0);
        assert_eq!(taken(&mut queue), Some(("4".into(), 8)));
        let counts = queue.counts();
        assert_eq!((counts.delivered, counts.dropped, counts.queued), (2, 2, 0));
    }
}
