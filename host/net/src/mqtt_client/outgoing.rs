//! Messages on their way to the broker, until it has acknowledged them.
//!
//! ```text
//!                 QoS 1: PUBACK ────────────────────────────▶ settled
//! push ─▶ sent ─┤
//!                 QoS 2: PUBREC ─▶ released ─▶ PUBCOMP ─────▶ settled
//! connection lost: those that are kept begin again on the next one, in their order; under the same
//! identifiers where the broker has kept the session.
//! ```

use std::{collections::BTreeMap, time::Instant};

use postern_core::mqtt::Qos;

use super::message::BrokerMessage;

/// By what the one who published is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ticket(pub(super) u64);

/// What becomes of a message whose connection is lost before the acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnLost {
    /// Its publisher is told, and decides.
    Fail,
    /// It is sent again on the next connection.
    Repeat,
}

/// How far a message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutgoingStage {
    Published,
    /// The broker has it, and may forget its identifier. QoS 2.
    Released,
}

/// A message under way.
#[derive(Debug)]
pub(super) struct InFlight {
    /// None where its publisher has been told already.
    pub(super) ticket: Option<Ticket>,
    pub(super) message: BrokerMessage,
    pub(super) stage: OutgoingStage,
    /// Whether it was sent on a connection before.
    pub(super) is_dup: bool,
    on_lost: OnLost,
    /// On this connection.
    sent_at: Option<Instant>,
    sequence: u64,
}

/// All messages under way, by their packet identifiers.
#[derive(Debug)]
pub(super) struct Outgoing {
    entries: BTreeMap<u16, InFlight>,
    next_id: u16,
    next_sequence: u64,
}

impl Outgoing {
    /// `first_id` is the first identifier that is tried: one that nobody foresees keeps a new client
    /// from what the broker remembers of the one before it.
    pub(super) const fn new(first_id: u16) -> Self {
        Self {
            entries: BTreeMap::new(),
            next_id: first_id,
            next_sequence: 0,
        }
    }

    /// An identifier that is not in use, by messages here or otherwise as `is_used` says.
    pub(super) fn free_id(&mut self, is_used: impl Fn(u16) -> bool) -> Option<u16> {
        for _ in 0..=u16::MAX {
            let id = self.next_id;
            self.next_id = id.wrapping_add(1);
            if id != 0 && !self.entries.contains_key(&id) && !is_used(id) {
                return Some(id);
            }
        }
        None
    }

    /// Takes a message that is to be sent under `id`.
    pub(super) fn push(
        &mut self,
        id: u16,
        ticket: Ticket,
        message: BrokerMessage,
        on_lost: OnLost,
    ) {
        let entry = InFlight {
            ticket: Some(ticket),
            message,
            stage: OutgoingStage::Published,
            is_dup: false,
            on_lost,
            sent_at: None,
            sequence: self.next_sequence,
        };
        self.next_sequence += 1;
        self.entries.insert(id, entry);
    }

    pub(super) fn get(&self, id: u16) -> Option<&InFlight> {
        self.entries.get(&id)
    }

    /// The oldest that is not on this connection yet.
    pub(super) fn next_unsent(&self) -> Option<u16> {
        let unsent = self.entries.iter().filter(|(_, one)| one.sent_at.is_none());
        let oldest = unsent.min_by_key(|(_, one)| one.sequence);
        oldest.map(|(id, _)| *id)
    }

    pub(super) fn on_sent(&mut self, id: u16, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.sent_at = Some(now);
        }
    }

    /// How many count against the broker's receive maximum.
    pub(super) fn n_sent(&self) -> usize {
        let sent = self.entries.values().filter(|one| one.sent_at.is_some());
        sent.count()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Since when the one has waited for its acknowledgement that waits longest.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        self.entries.values().filter_map(|one| one.sent_at).min()
    }

    /// Nothing was read for a while, so nothing is late that came meanwhile.
    pub(super) fn wait_anew(&mut self, now: Instant) {
        for entry in self.entries.values_mut() {
            entry.sent_at = entry.sent_at.map(|_| now);
        }
    }

    /// The broker has a message of QoS 2. False where there is none of that identifier that was sent.
    pub(super) fn release(&mut self, id: u16) -> bool {
        let entry = self.entries.get_mut(&id);
        match entry.filter(|one| one.message.qos == Qos::ExactlyOnce && one.sent_at.is_some()) {
            Some(entry) => {
                entry.stage = OutgoingStage::Released;
                true
            }
            None => false,
        }
    }

    /// Takes a message out whose acknowledgement of `qos` came, or which cannot be sent.
    pub(super) fn remove(&mut self, id: u16, qos: Qos) -> Option<InFlight> {
        let entry = self.entries.get(&id)?;
        if entry.message.qos != qos {
            return None;
        }
        self.entries.remove(&id)
    }

    /// Takes out whatever is under `id`.
    pub(super) fn discard(&mut self, id: u16) -> Option<InFlight> {
        self.entries.remove(&id)
    }

    /// The connection is lost. Gives the tickets of those that are not sent again. A message of QoS 2
    /// goes on all the same: the broker remembers its identifier.
    pub(super) fn on_lost(&mut self) -> Vec<Ticket> {
        let mut failed = Vec::new();
        self.entries.retain(|_, entry| {
            let was_sent = entry.sent_at.take().is_some();
            entry.is_dup |= was_sent;
            if entry.on_lost == OnLost::Repeat {
                return true;
            }
            failed.extend(entry.ticket.take());
            entry.message.qos == Qos::ExactlyOnce && entry.is_dup
        });
        failed
    }

    /// A connection is there whose broker knows nothing of the one before.
    pub(super) fn begin_anew(&mut self) {
        self.entries.retain(|_, entry| entry.ticket.is_some());
        for entry in self.entries.values_mut() {
            entry.stage = OutgoingStage::Published;
            entry.is_dup = false;
        }
    }
}
