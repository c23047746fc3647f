//! The messages of one peer that were complete a short while ago, so that a repeated or late
//! fragment neither begins a message that never ends nor mixes with the next one of that number.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::SetKey;
use crate::wire::{
    fragment::Fragment,
    frame::{Flags, Frame},
};

/// Messages remembered of one peer. Well below 256, so that a sender that counts its `frag-id`
/// upwards never meets a record of its own round before.
const RECORDS_MAX: usize = 64;
/// Chunk digests remembered of one peer: 4 KiB.
const DIGESTS_MAX: usize = 1024;
/// How long: the published sender repeats a message for 6.8 s and gives up after 8.8 s.
const AGE_MAX: Duration = Duration::from_secs(10);
/// An unacknowledged message may be followed by the same one, or by one that begins alike, under the
/// same number; a repetition by the network comes sooner than this.
const COPY_AGE_MAX: Duration = Duration::from_secs(1);

/// Records of finished messages, oldest first.
#[derive(Debug, Default)]
pub(super) struct Finished {
    records: VecDeque<Record>,
    n_digests: usize,
}

/// Whether a fragment belongs to a finished message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    No,
    /// The next datagram of a set of copies whose message is delivered.
    Copy,
    /// Seen before: repeated by the network, or by a sender that waits for an acknowledgement.
    Late,
}

#[derive(Debug)]
struct Record {
    key: SetKey,
    at: Instant,
    payload: Payload,
}

/// What is remembered of the payload.
#[derive(Debug)]
enum Payload {
    /// Digest and length of the payload in every datagram, and a bit per index seen.
    Copies {
        digest: u32,
        length: usize,
        seen: [u64; 4],
    },
    /// A digest per index.
    Parts(Box<[u32]>),
    /// Nothing: wide numbers do not come round.
    Wide,
}

impl Finished {
    /// Whether `frame` repeats a finished message. A record that `frame` contradicts is dropped:
    /// its number is in use again.
    pub(super) fn check(
        &mut self,
        now: Instant,
        key: SetKey,
        part: Fragment,
        frame: &Frame,
    ) -> Repeat {
        let mut records = self.records.iter_mut().rev();
        let Some(record) = records.find(|record| record.key == key) else {
            return Repeat::No;
        };
        let age = now.saturating_duration_since(record.at);
        let repeat = if age <= AGE_MAX {
            record.payload.check(age, part, frame)
        } else {
            Repeat::No
        };
        if repeat == Repeat::No {
            self.forget(key);
        }
        repeat
    }

    /// Remembers a set of copies whose first datagram was `frame`.
    pub(super) fn add_copies(&mut self, now: Instant, key: SetKey, part: Fragment, frame: &Frame) {
        let mut seen = [0; 4];
        set_bit(&mut seen, part.index);
        self.add(now, key, Payload::copies(frame, seen));
    }

    /// Remembers a set of two copies, both of which have arrived.
    pub(super) fn add_both_copies(&mut self, now: Instant, key: SetKey, frame: &Frame) {
        self.add(now, key, Payload::copies(frame, [3, 0, 0, 0]));
    }

    /// Remembers a message by the digest of each of its chunks, in the order of their index.
    pub(super) fn add_parts<'a>(
        &mut self,
        now: Instant,
        key: SetKey,
        chunks: impl Iterator<Item = &'a Bytes>,
    ) {
        let digests = chunks.map(|chunk| crc32fast::hash(chunk)).collect();
        self.add(now, key, Payload::Parts(digests));
    }

    /// Remembers a message whose number does not come again.
    pub(super) fn add_wide(&mut self, now: Instant, key: SetKey) {
        self.add(now, key, Payload::Wide);
    }

    pub(super) fn forget(&mut self, key: SetKey) {
        let n_digests = &mut self.n_digests;
        self.records.retain(|record| {
            let stays = record.key != key;
            if !stays {
                *n_digests -= record.payload.n_digests();
            }
            stays
        });
    }

    fn add(&mut self, now: Instant, key: SetKey, payload: Payload) {
        self.forget(key);
        self.n_digests += payload.n_digests();
        self.records.push_back(Record {
            key,
            at: now,
            payload,
        });
        while self.records.len() > RECORDS_MAX || self.n_digests > DIGESTS_MAX {
            let Some(oldest) = self.records.pop_front() else {
                return;
            };
            self.n_digests -= oldest.payload.n_digests();
        }
    }
}

impl Payload {
    fn copies(frame: &Frame, seen: [u64; 4]) -> Self {
        let (digest, length) = (crc32fast::hash(&frame.payload), frame.payload.len());
        Self::Copies {
            digest,
            length,
            seen,
        }
    }

    fn n_digests(&self) -> usize {
        match self {
            Self::Parts(digests) => digests.len(),
            Self::Copies { .. } | Self::Wide => 0,
        }
    }

    fn check(&mut self, age: Duration, part: Fragment, frame: &Frame) -> Repeat {
        let payload = &frame.payload;
        match self {
            Self::Wide => Repeat::Late,
            Self::Parts(digests) => match digests.get(part.index as usize) {
                Some(digest) if *digest == crc32fast::hash(payload) => {
                    // Without acknowledgement nobody but the network repeats, and that at once: the
                    // number is in use again, for a message that begins alike.
                    let is_asked_for = frame.flags.contains(Flags::REQ_ACK);
                    if is_asked_for || age <= COPY_AGE_MAX {
                        Repeat::Late
                    } else {
                        Repeat::No
                    }
                }
                _ => Repeat::No,
            },
            Self::Copies {
                digest,
                length,
                seen,
            } => {
                if *length != payload.len() || *digest != crc32fast::hash(payload) {
                    return Repeat::No;
                }
                if set_bit(seen, part.index) {
                    return Repeat::Copy;
                }
                if frame.flags.contains(Flags::REQ_ACK) {
                    // The sender begins the set again because its acknowledgement got lost.
                    *seen = [0; 4];
                    set_bit(seen, part.index);
                    return Repeat::Late;
                }
                // Without acknowledgement nobody repeats: the same text is sent a second time,
                // unless the set is not over yet.
                let n_seen: u32 = seen.iter().map(|word| word.count_ones()).sum();
                if n_seen == part.total || age > COPY_AGE_MAX {
                    Repeat::No
                } else {
                    Repeat::Late
                }
            }
        }
    }
}

/// Sets the bit of `index` (0 to 255); whether it was clear.
fn set_bit(seen: &mut [u64; 4], index: u32) -> bool {
    let Some(word) = seen.get_mut(index as usize / 64) else {
        return false;
    };
    let bit = 1 << (index % 64);
    let was_clear = *word & bit == 0;
    *word |= bit;
    was_clear
}
