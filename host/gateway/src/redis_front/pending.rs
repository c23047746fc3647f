//! What the consumers of a group have and have not acknowledged. Pure.
//!
//! It lies in memory: after a restart, what was not acknowledged is given out once more by the log, to
//! whoever asks for what is new.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use postern_core::event::durable::{Position, StoredEvent};

/// Entries of a group, by position, and the consumers that have them.
#[derive(Debug, Default)]
pub(super) struct PendingEntries {
    entries: BTreeMap<Position, PendingEntry>,
    /// When each asked for something last, in milliseconds since 1970.
    consumers: BTreeMap<Bytes, u64>,
    /// Taken out of the log for somebody who has left before they came.
    ready: VecDeque<StoredEvent>,
    /// The newest that was given out.
    pub last_delivered: Position,
}

/// One entry that was not acknowledged.
#[derive(Debug, Clone)]
pub(super) struct PendingEntry {
    pub consumer: Bytes,
    /// In milliseconds since 1970.
    pub delivered_at_ms: u64,
    pub n_deliveries: u64,
    pub stored: StoredEvent,
}

impl PendingEntries {
    /// Adds a consumer; false where it is there.
    pub(super) fn see(&mut self, consumer: &[u8], now_ms: u64) -> bool {
        match self.consumers.get_mut(consumer) {
            Some(seen_at) => {
                *seen_at = now_ms;
                false
            }
            None => {
                self.consumers
                    .insert(Bytes::copy_from_slice(consumer), now_ms);
                true
            }
        }
    }

    pub(super) fn n_consumers(&self) -> usize {
        self.consumers.len()
    }

    /// Each with when it was seen, and what it has.
    pub(super) fn consumers(&self) -> Vec<(Bytes, u64, usize)> {
        let consumers = self.consumers.iter().map(|(name, seen_at)| {
            let n_pending = self.of(name).count();
            (name.clone(), *seen_at, n_pending)
        });
        consumers.collect()
    }

    pub(super) fn has_consumer(&self, consumer: &[u8]) -> bool {
        self.consumers.contains_key(consumer)
    }

    /// Takes a consumer out, with the positions that it had.
    pub(super) fn remove_consumer(&mut self, consumer: &[u8]) -> Vec<Position> {
        self.consumers.remove(consumer);
        let positions: Vec<_> = self.of(consumer).map(|(position, _)| position).collect();
        for position in &positions {
            self.entries.remove(position);
        }
        positions
    }

    /// Keeps what was taken out of the log until somebody asks.
    pub(super) fn keep(&mut self, taken: Vec<StoredEvent>) {
        self.ready.extend(taken);
    }

    /// Up to `count` of what is kept, given to `consumer`.
    pub(super) fn give(
        &mut self,
        consumer: &[u8],
        count: usize,
        now_ms: u64,
        is_acknowledged: bool,
    ) -> Vec<StoredEvent> {
        let n_given = count.min(self.ready.len());
        let given: Vec<_> = self.ready.drain(..n_given).collect();
        let consumer = Bytes::copy_from_slice(consumer);
        for stored in &given {
            self.last_delivered = self.last_delivered.max(stored.position);
            if !is_acknowledged {
                let entry = PendingEntry {
                    consumer: consumer.clone(),
                    delivered_at_ms: now_ms,
                    n_deliveries: stored.n_deliveries.max(1).into(),
                    stored: stored.clone(),
                };
                self.entries.insert(stored.position, entry);
            }
        }
        given
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn first_and_last(&self) -> Option<(Position, Position)> {
        let first = self.entries.first_key_value()?.0;
        let last = self.entries.last_key_value()?.0;
        Some((*first, *last))
    }

    /// Those of one consumer, in order.
    pub(super) fn of<'p>(
        &'p self,
        consumer: &'p [u8],
    ) -> impl Iterator<Item = (Position, &'p PendingEntry)> {
        let entries = self
            .entries
            .iter()
            .filter(move |(_, entry)| entry.consumer == consumer);
        entries.map(|(position, entry)| (*position, entry))
    }

    /// All between two positions, in order.
    pub(super) fn between(
        &self,
        from: Position,
        until: Position,
    ) -> impl Iterator<Item = (Position, &PendingEntry)> {
        let entries = self.entries.iter();
        let within = entries.filter(move |(position, _)| (from..=until).contains(position));
        within.map(|(position, entry)| (*position, entry))
    }

    /// They were handled, whoever had them.
    pub(super) fn forget(&mut self, positions: &[Position]) {
        for position in positions {
            self.entries.remove(position);
        }
    }

    /// Gives an entry to another consumer, where it has been with one for long enough.
    pub(super) fn claim(
        &mut self,
        position: Position,
        consumer: &[u8],
        claim: Claim,
    ) -> Option<&PendingEntry> {
        let entry = self.entries.get_mut(&position)?;
        let idle_ms = claim.now_ms.saturating_sub(entry.delivered_at_ms);
        if idle_ms < claim.idle_ms_min {
            return None;
        }
        entry.consumer = Bytes::copy_from_slice(consumer);
        entry.delivered_at_ms = claim.delivered_at_ms;
        match claim.n_deliveries {
            Some(n) => entry.n_deliveries = n,
            None if claim.counts => entry.n_deliveries += 1,
            None => {}
        }
        Some(entry)
    }
}

/// How an entry is claimed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    pub now_ms: u64,
    pub idle_ms_min: u64,
    pub delivered_at_ms: u64,
    pub n_deliveries: Option<u64>,
    /// Whether that counts as a delivery.
    pub counts: bool,
}

#[cfg(test)]
mod tests {
    use postern_core::{
        Headers,
        event::{Event, Publisher},
    };

    use super::*;

    fn stored(position: u64) -> StoredEvent {
        StoredEvent {
            position: Position(position),
            stored_at_ms: 0,
            n_deliveries: 1,
            event: Event {
                topic: "a".into(),
                headers: Headers::new(),
                payload: Bytes::new(),
                publisher: Publisher::default(),
            },
        }
    }

    fn positions(events: &[StoredEvent]) -> Vec<u64> {
        events.iter().map(|stored| stored.position.0).collect()
    }

    #[test]
    fn what_was_taken_for_one_who_left_goes_to_the_next() {
        let mut pending = PendingEntries::default();
        pending.keep(vec![stored(1), stored(2), stored(3)]);
        assert_eq!(positions(&pending.give(b"a", 2, 10, false)), [1, 2]);
        assert_eq!(positions(&pending.give(b"b", 2, 10, true)), [3]);
        assert_eq!(pending.first_and_last(), Some((Position(1), Position(2))));
        assert_eq!(pending.last_delivered, Position(3));
        pending.forget(&[Position(1)]);
        assert_eq!((pending.len(), pending.of(b"a").count()), (1, 1));
    }

    #[test]
    fn an_entry_is_claimed_from_one_who_is_idle() {
        let mut pending = PendingEntries::default();
        pending.see(b"a", 0);
        pending.keep(vec![stored(1)]);
        pending.give(b"a", 1, 10, false);
        let claim = Claim {
            now_ms: 30,
            idle_ms_min: 21,
            delivered_at_ms: 30,
            n_deliveries: None,
            counts: true,
        };
        assert!(pending.claim(Position(1), b"b", claim).is_none());
        let claim = Claim {
            idle_ms_min: 20,
            ..claim
        };
        let entry = pending.claim(Position(1), b"b", claim).expect("idle");
        assert_eq!((&entry.consumer[..], entry.n_deliveries), (&b"b"[..], 2));
        assert!(pending.claim(Position(2), b"b", claim).is_none());
        assert_eq!(pending.remove_consumer(b"b"), [Position(1)]);
        assert_eq!(pending.len(), 0);
    }
}
