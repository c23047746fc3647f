//! Fragments in, message out. Bounded by `Limits::{message_bytes_max, fragment_age_max,
//! reassembly_sessions_max, reassembly_sessions_per_peer_max, reassembly_bytes_max,
//! reassembly_bytes_per_peer_max}`. Format: wire/mod.rs, table "Fragment headers".
//!
//! # What is held, and why it is bounded
//!
//! Chunks are copied out of the datagram, so that a chunk never pins the (larger) receive buffer it
//! came in, and every chunk, partial message and record of a finished one is charged a fixed
//! overhead beside its octets. The charge is therefore an upper bound of what a peer makes us hold,
//! also for fragments without payload, for a declared total of 2^32 (chunks are kept in a map, and
//! nothing is allocated by the declared total) and for a message that never completes.
//!
//! # Why one peer cannot starve another
//!
//! A new fragment is always admitted; room is made by dropping older work. A peer over its own bound
//! loses its own oldest partial message. Over the bound of all peers, the peer that holds most loses
//! its oldest. A peer that holds less than `bound / peers` is never the one that holds most, so
//! nobody takes from it, however many messages the others begin.
//!
//! # Sets of copies
//!
//! The published sender puts the *whole* payload into each of `ceil(L / 1200)` datagrams, where L is
//! the length of the frame without the fragment headers. With a total of 3 or more no cutting sender
//! looks like that (its datagrams would exceed the 2,400 octets that the published receiver reads),
//! so the first datagram of the set delivers the message. With a total of 2 a second one with an equal
//! payload does. It counts its numbers with acknowledged messages only: all others have the number 1,
//! and nothing else need tell two of them apart.
//!
//! # Which fragments are of one message
//!
//! Those with equal numbers, totals, types and application headers, among them the `msg-id`. Without
//! one, a datagram that may be a copy of two is of the same message only with an equal payload: the
//! next message has the same number, and after a loss its first datagram meets the second of the one
//! before. A sender that cuts an unacknowledged message into two datagrams of more than 1,200 octets
//! cannot be told from that, and its message is dropped.

mod finished;
mod partial;
mod ranking;

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    time::Instant,
};

use finished::{Finished, Repeat};
use partial::{Partial, Placed};
use ranking::Ranking;

use super::{
    fragment::{self, Fragment, Numbering},
    frame::Frame,
    reliable,
};
use crate::limits::Limits;

/// The half-assembled messages of all peers of one socket.
///
/// Peers themselves are bounded by the endpoint, which calls `forget` for those it drops.
#[derive(Debug)]
pub struct Reassembly {
    limits: Limits,
    peers: HashMap<SocketAddr, Share>,
    /// Every partial message by when it expires, then by age.
    expiries: BTreeMap<(Instant, u64), (SocketAddr, SetKey)>,
    by_sessions: Ranking,
    by_bytes: Ranking,
    next_serial: u64,
    stats: ReassemblyStats,
}

/// What the fragments of one message have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct SetKey {
    id: u32,
    /// Of everything else that they repeat; 0 with feature `wide`, whose numbers do not come again.
    digest: u32,
}

/// What became of a fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FragmentOutcome {
    /// Kept; more are missing.
    Pending,
    /// Kept already; nothing changed.
    Duplicate,
    /// The next datagram of a set of copies whose message is delivered.
    Copy,
    /// The last missing fragment: the whole message, without fragment headers and flag.
    Complete(Frame),
    /// Of a message that was complete a while ago. Its acknowledgement may have been lost.
    AfterComplete,
    Refused(FragmentRefusal),
}

/// Why a fragment is dropped. Never fatal, never answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FragmentRefusal {
    #[error("fragment index {index} is not below the total of {total}")]
    Index { index: u32, total: u32 },
    #[error("message of at least {bytes} octets exceeds the limit of {limit}")]
    TooLong { bytes: usize, limit: usize },
}

/// What a partial message lacks, for a selective acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReassemblyProgress {
    /// Grows with every partial message that is begun; what an older one had is forgotten.
    pub epoch: u64,
    /// One past the highest index that arrived, or less when `missing` is cut off there.
    pub next: u32,
    /// Ranges (both ends included) below `next` that have not arrived, in order.
    pub missing: Vec<(u32, u32)>,
}

/// Counters since the start, and gauges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReassemblyStats {
    /// Partial messages held.
    pub open: usize,
    /// Octets charged to all peers.
    pub bytes: usize,
    pub completed: u64,
    /// Partial messages dropped because of their age.
    pub expired: u64,
    /// Partial messages dropped to make room.
    pub evicted: u64,
    /// Partial messages dropped because a new message took their number.
    pub replaced: u64,
    /// Fragments that changed nothing.
    pub duplicates: u64,
    /// Fragments refused.
    pub refused: u64,
}

/// What one peer has begun.
#[derive(Debug, Default)]
struct Share {
    partials: BTreeMap<SetKey, Partial>,
    finished: Finished,
}

impl Reassembly {
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            peers: HashMap::new(),
            expiries: BTreeMap::new(),
            by_sessions: Ranking::default(),
            by_bytes: Ranking::default(),
            next_serial: 1,
            stats: ReassemblyStats::default(),
        }
    }

    /// Puts other limits in force. What is held already stays until its age is over.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    #[must_use]
    pub fn stats(&self) -> ReassemblyStats {
        let (open, bytes) = (self.by_sessions.total(), self.by_bytes.total());
        ReassemblyStats {
            open,
            bytes,
            ..self.stats
        }
    }

    /// Takes `frame`, which carries `part` of a message from `peer`.
    ///
    /// `numbering` is what the peer may use; wide messages may take longer than `fragment_age_max`
    /// as long as new fragments arrive.
    pub fn handle_fragment(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        part: Fragment,
        numbering: Numbering,
        frame: &Frame,
    ) -> FragmentOutcome {
        if let Err(refusal) = self.check(part, frame) {
            self.stats.refused += 1;
            return FragmentOutcome::Refused(refusal);
        }
        let key = SetKey::of(part, numbering, frame);
        let share = self.peers.entry(peer).or_default();
        match share.partials.get(&key) {
            Some(partial) if partial.is_of(part, frame) => {}
            Some(_) => self.replace(peer, key),
            None => match share.finished.check(now, key, part, frame) {
                Repeat::No => {}
                Repeat::Copy => return FragmentOutcome::Copy,
                Repeat::Late => {
                    self.stats.duplicates += 1;
                    return FragmentOutcome::AfterComplete;
                }
            },
        }
        self.place(now, peer, (key, part), numbering, frame)
    }

    /// What the partial message `id` of `peer`, which has feature `wide`, lacks, in at most
    /// `ranges_max` ranges.
    #[must_use]
    pub fn progress(
        &self,
        peer: SocketAddr,
        id: u32,
        ranges_max: usize,
    ) -> Option<ReassemblyProgress> {
        let key = SetKey { id, digest: 0 };
        let partial = self.peers.get(&peer)?.partials.get(&key)?;
        Some(partial.progress(ranges_max))
    }

    /// When the first partial message expires.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.expiries.first_key_value().map(|((at, _), _)| *at)
    }

    /// Drops what is too old at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((&(at, _), &(peer, key))) = self.expiries.first_key_value() {
            if at > now {
                return;
            }
            self.stats.expired += 1;
            self.remove(peer, key);
        }
    }

    /// Drops everything of `peer`, whose session is over.
    pub fn forget(&mut self, peer: SocketAddr) {
        let Some(share) = self.peers.get(&peer) else {
            return;
        };
        let keys: Vec<SetKey> = share.partials.keys().copied().collect();
        for key in keys {
            self.remove(peer, key);
        }
        self.peers.remove(&peer);
    }

    fn check(&self, part: Fragment, frame: &Frame) -> Result<(), FragmentRefusal> {
        let Fragment { index, total, .. } = part;
        if index >= total {
            return Err(FragmentRefusal::Index { index, total });
        }
        let (bytes, limit) = (frame.payload.len(), self.limits.message_bytes_max);
        if bytes > limit {
            Err(FragmentRefusal::TooLong { bytes, limit })
        } else {
            Ok(())
        }
    }

    fn place(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        (key, part): (SetKey, Fragment),
        numbering: Numbering,
        frame: &Frame,
    ) -> FragmentOutcome {
        if partial::is_copy_of_three_or_more(part, frame) {
            let Some(share) = self.peers.get_mut(&peer) else {
                return FragmentOutcome::Copy;
            };
            share.finished.add_copies(now, key, part, frame);
            self.stats.completed += 1;
            return FragmentOutcome::Complete(partial::whole(frame));
        }
        self.open(now, peer, (key, part), frame);
        let Some(partial) = self.partial(peer, key) else {
            return FragmentOutcome::Duplicate;
        };
        let before = partial.charge();
        let placed = partial.place(part, frame);
        let (grown, bytes) = (partial.charge() - before, partial.payload_bytes());
        self.charge(peer, grown);
        match placed {
            Placed::Duplicate => {
                self.stats.duplicates += 1;
                FragmentOutcome::Duplicate
            }
            Placed::Conflict => {
                self.replace(peer, key);
                self.place(now, peer, (key, part), numbering, frame)
            }
            Placed::Kept => {
                if bytes > self.limits.message_bytes_max {
                    self.remove(peer, key);
                    self.stats.refused += 1;
                    let limit = self.limits.message_bytes_max;
                    return FragmentOutcome::Refused(FragmentRefusal::TooLong { bytes, limit });
                }
                if numbering == Numbering::Wide {
                    self.renew(now, peer, key);
                }
                self.make_room(peer, key);
                FragmentOutcome::Pending
            }
            Placed::Complete => self.complete(now, peer, key, numbering, frame),
        }
    }

    /// Hands the message on and remembers it, so that a late repetition opens nothing.
    fn complete(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        key: SetKey,
        numbering: Numbering,
        last: &Frame,
    ) -> FragmentOutcome {
        let Some(partial) = self.remove(peer, key) else {
            return FragmentOutcome::Duplicate;
        };
        let limit = self.limits.message_bytes_max;
        if partial.payload_bytes() > limit && !partial.is_copies() {
            self.stats.refused += 1;
            return FragmentOutcome::Refused(FragmentRefusal::TooLong {
                bytes: partial.payload_bytes(),
                limit,
            });
        }
        if let Some(share) = self.peers.get_mut(&peer) {
            match (partial.is_copies(), numbering) {
                (true, _) => share.finished.add_both_copies(now, key, last),
                (false, Numbering::Base) => {
                    share.finished.add_parts(now, key, partial.chunks());
                }
                (false, Numbering::Wide) => share.finished.add_wide(now, key),
            }
        }
        self.stats.completed += 1;
        FragmentOutcome::Complete(partial.into_message())
    }

    /// Begins the message unless it has begun.
    fn open(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        (key, part): (SetKey, Fragment),
        frame: &Frame,
    ) {
        let share = self.peers.entry(peer).or_default();
        if share.partials.contains_key(&key) {
            return;
        }
        let serial = self.next_serial;
        self.next_serial += 1;
        let expiry = now + self.limits.fragment_age_max;
        let partial = Partial::new(serial, expiry, part, frame);
        let charge = partial.charge();
        share.finished.forget(key);
        share.partials.insert(key, partial);
        self.by_sessions.set(peer, share.partials.len());
        self.expiries.insert((expiry, serial), (peer, key));
        self.charge(peer, charge);
        self.make_room(peer, key);
    }

    /// Drops the peer's own oldest while it is over its bounds, then the oldest of whoever holds
    /// most while all peers together are over theirs. The message `kept` goes last.
    fn make_room(&mut self, peer: SocketAddr, kept: SetKey) {
        let limits = &self.limits;
        let (sessions_max, bytes_max) = (
            limits.reassembly_sessions_per_peer_max,
            limits.reassembly_bytes_per_peer_max,
        );
        while self.by_sessions.of(peer) > sessions_max || self.by_bytes.of(peer) > bytes_max {
            self.evict_oldest(peer, (peer, kept));
        }
        while self.by_sessions.total() > self.limits.reassembly_sessions_max {
            let Some(most) = self.by_sessions.most() else {
                return;
            };
            self.evict_oldest(most, (peer, kept));
        }
        while self.by_bytes.total() > self.limits.reassembly_bytes_max {
            let Some(most) = self.by_bytes.most() else {
                return;
            };
            self.evict_oldest(most, (peer, kept));
        }
    }

    fn evict_oldest(&mut self, peer: SocketAddr, kept: (SocketAddr, SetKey)) {
        let Some(share) = self.peers.get(&peer) else {
            return;
        };
        let others = share
            .partials
            .iter()
            .filter(|(key, _)| (peer, **key) != kept);
        let oldest = others
            .min_by_key(|(_, partial)| partial.serial())
            .map(|(key, _)| *key);
        self.stats.evicted += 1;
        self.remove(peer, oldest.unwrap_or(kept.1));
    }

    fn replace(&mut self, peer: SocketAddr, key: SetKey) {
        self.stats.replaced += 1;
        self.remove(peer, key);
    }

    fn renew(&mut self, now: Instant, peer: SocketAddr, key: SetKey) {
        let renewed = now + self.limits.fragment_age_max;
        let Some(partial) = self.partial(peer, key) else {
            return;
        };
        let (old, serial) = (partial.renew(renewed), partial.serial());
        self.expiries.remove(&(old, serial));
        self.expiries.insert((renewed, serial), (peer, key));
    }

    fn charge(&mut self, peer: SocketAddr, grown: usize) {
        self.by_bytes.set(peer, self.by_bytes.of(peer) + grown);
    }

    fn partial(&mut self, peer: SocketAddr, key: SetKey) -> Option<&mut Partial> {
        self.peers.get_mut(&peer)?.partials.get_mut(&key)
    }

    /// Takes a partial message out of every index.
    fn remove(&mut self, peer: SocketAddr, key: SetKey) -> Option<Partial> {
        let share = self.peers.get_mut(&peer)?;
        let partial = share.partials.remove(&key)?;
        self.by_sessions.set(peer, share.partials.len());
        self.by_bytes.set(
            peer,
            self.by_bytes.of(peer).saturating_sub(partial.charge()),
        );
        self.expiries.remove(&(partial.expiry(), partial.serial()));
        Some(partial)
    }
}

impl SetKey {
    fn of(part: Fragment, numbering: Numbering, frame: &Frame) -> Self {
        let Fragment { id, total, .. } = part;
        if numbering == Numbering::Wide {
            return Self { id, digest: 0 };
        }
        let mut digest = crc32fast::Hasher::new();
        digest.update(&[frame.kind as u8]);
        digest.update(&total.to_le_bytes());
        for (key, value) in fragment::application_entries(&frame.headers) {
            // Lengths keep `ab` + `c` apart from `a` + `bc`.
            digest.update(&[key.len().to_le_bytes(), value.len().to_le_bytes()].concat());
            digest.update(key);
            digest.update(value);
        }
        let is_copies = partial::is_copy_of_three_or_more(part, frame)
            || partial::is_copy(part, frame) && reliable::requested_ack(frame).is_none();
        if is_copies {
            digest.update(&frame.payload);
        }
        Self {
            id,
            digest: digest.finalize(),
        }
    }
}

#[cfg(test)]
mod tests;
