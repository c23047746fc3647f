//! What waits for a client.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use super::{Publication, Qos};
use crate::event::{QueueBounds, durable::Position};

/// A publication on its way to one client.
#[derive(Debug, Clone)]
pub struct OutgoingPublish {
    pub publication: Arc<Publication>,
    /// The lower of the publication's and the subscription's.
    pub qos: Qos,
    pub is_retained: bool,
    /// It may have been sent to the client before.
    pub is_duplicate: bool,
    /// Identifiers of the subscriptions that want it.
    pub subscription_ids: Option<Arc<[u32]>>,
    /// Where it lies in the stored queue of the session, or of the share; none of what is kept in memory.
    pub position: Option<Position>,
    /// The shared subscription that it came by.
    pub share: Option<ShareKey>,
}

/// A shared subscription. Counts from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShareKey(pub u64);

/// A bounded queue that loses its oldest.
#[derive(Debug)]
pub struct OutgoingQueue {
    bounds: QueueBounds,
    entries: VecDeque<OutgoingPublish>,
    bytes: usize,
    n_lost: u64,
}

impl OutgoingPublish {
    /// One as it was published.
    #[must_use]
    pub fn new(publication: Arc<Publication>, qos: Qos) -> Self {
        Self {
            publication,
            qos,
            is_retained: false,
            is_duplicate: false,
            subscription_ids: None,
            position: None,
            share: None,
        }
    }

    /// Where it lies in the queue of the session itself.
    #[must_use]
    pub fn own_position(&self) -> Option<Position> {
        self.position.filter(|_| self.share.is_none())
    }
}

impl OutgoingQueue {
    #[must_use]
    pub const fn new(bounds: QueueBounds) -> Self {
        Self {
            bounds,
            entries: VecDeque::new(),
            bytes: 0,
            n_lost: 0,
        }
    }

    #[must_use]
    pub const fn bounds(&self) -> QueueBounds {
        self.bounds
    }

    /// Holds what comes from here on to `bounds`.
    pub const fn set_bounds(&mut self, bounds: QueueBounds) {
        self.bounds = bounds;
    }

    /// Appends one, and gives how many of the oldest there was no room for.
    #[inline]
    pub fn push(&mut self, outgoing: OutgoingPublish) -> u64 {
        let bytes = outgoing.publication.bytes();
        let mut n_lost = 0;
        while !self.entries.is_empty()
            && (self.entries.len() >= self.bounds.events_max
                || self.bytes.saturating_add(bytes) > self.bounds.bytes_max)
        {
            self.pop();
            n_lost += 1;
        }
        self.n_lost += n_lost;
        self.bytes += bytes;
        self.entries.push_back(outgoing);
        n_lost
    }

    #[inline]
    pub fn pop(&mut self) -> Option<OutgoingPublish> {
        let outgoing = self.entries.pop_front()?;
        self.bytes = self.bytes.saturating_sub(outgoing.publication.bytes());
        Some(outgoing)
    }

    /// Puts back what was popped last and could not be sent.
    pub fn push_front(&mut self, outgoing: OutgoingPublish) {
        self.bytes += outgoing.publication.bytes();
        self.entries.push_front(outgoing);
    }

    /// Moves what waits to the end of `into`, at most `n_max`.
    pub fn take(&mut self, into: &mut VecDeque<OutgoingPublish>, n_max: usize) {
        if into.is_empty() && self.entries.len() <= n_max {
            std::mem::swap(into, &mut self.entries);
            self.bytes = 0;
            return;
        }
        for _ in 0..n_max {
            let Some(outgoing) = self.pop() else { break };
            into.push_back(outgoing);
        }
    }

    /// Drops what nobody is to get any more, and what `keep` refuses; gives how many expired.
    pub fn retain(&mut self, now: Instant, keep: impl Fn(&OutgoingPublish) -> bool) -> u64 {
        let (mut n_expired, mut bytes) = (0, 0);
        self.entries.retain(|outgoing| {
            let is_expired = outgoing.publication.is_expired(now);
            n_expired += u64::from(is_expired);
            let is_kept = !is_expired && keep(outgoing);
            if is_kept {
                bytes += outgoing.publication.bytes();
            }
            is_kept
        });
        self.bytes = bytes;
        n_expired
    }

    /// Gives back memory that an empty queue does not need.
    pub fn shrink(&mut self) {
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether another would push none out.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.entries.len() < self.bounds.events_max && self.bytes < self.bounds.bytes_max
    }

    /// Whether more than three quarters of what may wait do.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.entries.len() > self.bounds.events_max / 4 * 3
            || self.bytes > self.bounds.bytes_max / 4 * 3
    }

    /// Of all that were ever put in, those that there was no room for.
    #[must_use]
    pub const fn n_lost(&self) -> u64 {
        self.n_lost
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{mqtt::TopicName, testing::epoch};

    fn outgoing(payload: &'static [u8]) -> OutgoingPublish {
        let topic = TopicName::new("a").expect("a name");
        let publication = Publication::new(topic, Bytes::from_static(payload), Qos::AtMostOnce);
        OutgoingPublish::new(Arc::new(publication), Qos::AtMostOnce)
    }

    fn queue(events_max: usize, bytes_max: usize) -> OutgoingQueue {
        OutgoingQueue::new(QueueBounds {
            events_max,
            bytes_max,
        })
    }

    fn payloads(queue: &mut OutgoingQueue) -> Vec<Bytes> {
        let mut into = VecDeque::new();
        queue.take(&mut into, usize::MAX);
        into.iter()
            .map(|one| one.publication.payload.clone())
            .collect()
    }

    #[test]
    fn loses_the_oldest_beyond_its_number() {
        let mut queue = queue(2, usize::MAX);
        assert_eq!(queue.push(outgoing(b"1")) + queue.push(outgoing(b"2")), 0);
        assert!(!queue.has_room());
        assert_eq!((queue.push(outgoing(b"3")), queue.n_lost()), (1, 1));
        assert_eq!(payloads(&mut queue), ["2", "3"]);
        assert!(queue.is_empty() && queue.bytes == 0);
    }

    #[test]
    fn loses_the_oldest_beyond_its_octets_but_takes_any_one() {
        let one = outgoing(b"1").publication.bytes();
        let mut queue = queue(10, 2 * one);
        for payload in [b"1", b"2", b"3"] {
            queue.push(outgoing(payload));
        }
        assert_eq!(queue.len(), 2);
        assert_eq!(queue.push(outgoing(&[0; 4096])), 2);
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn what_has_expired_goes() {
        let mut queue = queue(10, usize::MAX);
        queue.push(outgoing(b"1"));
        let mut expired = outgoing(b"2");
        Arc::make_mut(&mut expired.publication).expires_at = Some(epoch());
        queue.push(expired);
        assert_eq!(queue.retain(epoch(), |_| true), 1);
        assert_eq!(payloads(&mut queue), ["1"]);
        assert_eq!(queue.retain(epoch(), |_| true), 0);
    }
}
