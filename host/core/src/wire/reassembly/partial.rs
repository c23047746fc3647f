//! One message of which some fragments have arrived.

use std::{collections::BTreeMap, time::Instant};

use bytes::{Bytes, BytesMut};

use super::ReassemblyProgress;
use crate::{
    headers::{Headers, HeadersBuilder},
    wire::{
        fragment::{self, DATAGRAM_BYTES_MAX, Fragment},
        frame::{FRAME_BYTES_MIN, Flags, Frame, FrameType},
    },
};

/// Charged for a chunk beside its octets: a map entry, a `Bytes` and an allocation's rounding.
const CHUNK_CHARGE: usize = 96;
/// Charged for a message beside its chunks and headers: the struct and its places in the indexes.
const PARTIAL_CHARGE: usize = 512;

/// Chunks by index, and what the whole message will look like.
#[derive(Debug)]
pub(super) struct Partial {
    serial: u64,
    expiry: Instant,
    total: u32,
    kind: FrameType,
    flags: Flags,
    headers: Headers,
    chunks: BTreeMap<u32, Bytes>,
    /// Every index below has arrived.
    contiguous: u32,
    payload_bytes: usize,
    charge: usize,
    /// Both datagrams of a set of two carry the same payload.
    is_copies: bool,
}

/// What became of a fragment of this message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    Kept,
    /// The same index with the same payload is there.
    Duplicate,
    /// The same index with another payload is there: the number was used again.
    Conflict,
    /// Nothing is missing.
    Complete,
}

impl Partial {
    pub(super) fn new(serial: u64, expiry: Instant, part: Fragment, frame: &Frame) -> Self {
        let headers = application_headers(&frame.headers);
        let charge = PARTIAL_CHARGE + headers.section().len();
        Self {
            serial,
            expiry,
            total: part.total,
            kind: frame.kind,
            flags: frame.flags.difference(Flags::FRAG),
            headers,
            chunks: BTreeMap::new(),
            contiguous: 0,
            payload_bytes: 0,
            charge,
            is_copies: false,
        }
    }

    /// Whether a fragment with this message's number can be a part of it. Every fragment of a
    /// message repeats its total, type and headers.
    pub(super) fn is_of(&self, part: Fragment, frame: &Frame) -> bool {
        self.total == part.total
            && self.kind == frame.kind
            && self
                .headers
                .entries()
                .eq(fragment::application_entries(&frame.headers))
    }

    pub(super) fn place(&mut self, part: Fragment, frame: &Frame) -> Placed {
        let payload = &frame.payload;
        if let Some(chunk) = self.chunks.get(&part.index) {
            return if chunk == payload {
                Placed::Duplicate
            } else {
                Placed::Conflict
            };
        }
        // Asked in this order: looking through all chunks each time is quadratic.
        self.is_copies = is_copy(part, frame) && self.chunks.values().any(|chunk| chunk == payload);
        self.payload_bytes += payload.len();
        self.charge += CHUNK_CHARGE + payload.len();
        self.chunks
            .insert(part.index, Bytes::copy_from_slice(payload));
        while self.chunks.contains_key(&self.contiguous) {
            self.contiguous += 1;
        }
        if self.chunks.len() == self.total as usize {
            Placed::Complete
        } else {
            Placed::Kept
        }
    }

    pub(super) fn progress(&self, ranges_max: usize) -> ReassemblyProgress {
        let mut missing = Vec::new();
        let mut next = self.contiguous;
        for (&index, _) in self.chunks.range(next..) {
            if index > next {
                if missing.len() == ranges_max {
                    break;
                }
                missing.push((next, index - 1));
            }
            next = index + 1;
        }
        ReassemblyProgress {
            epoch: self.serial,
            next,
            missing,
        }
    }

    pub(super) fn into_message(mut self) -> Frame {
        let bytes = if self.is_copies {
            0
        } else {
            self.payload_bytes
        };
        let payload = match self.chunks.pop_first() {
            Some((_, only)) if self.is_copies || self.chunks.is_empty() => only,
            first => {
                // A chunk is freed as soon as it is copied, so the peak is one message and a chunk.
                let mut payload = BytesMut::with_capacity(bytes);
                payload.extend_from_slice(&first.map(|(_, chunk)| chunk).unwrap_or_default());
                while let Some((_, chunk)) = self.chunks.pop_first() {
                    payload.extend_from_slice(&chunk);
                }
                payload.freeze()
            }
        };
        Frame {
            kind: self.kind,
            flags: self.flags,
            headers: self.headers,
            payload,
        }
    }

    /// Sets another expiry and gives the old one.
    pub(super) fn renew(&mut self, expiry: Instant) -> Instant {
        std::mem::replace(&mut self.expiry, expiry)
    }

    pub(super) fn chunks(&self) -> impl ExactSizeIterator<Item = &Bytes> {
        self.chunks.values()
    }

    pub(super) const fn serial(&self) -> u64 {
        self.serial
    }

    pub(super) const fn expiry(&self) -> Instant {
        self.expiry
    }

    pub(super) const fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }

    /// Octets held, overheads included.
    pub(super) const fn charge(&self) -> usize {
        self.charge
    }

    pub(super) const fn is_copies(&self) -> bool {
        self.is_copies
    }
}

/// Whether one datagram is the whole message: a copy of the published sender, and no other sender
/// looks like that.
pub(super) fn is_copy_of_three_or_more(part: Fragment, frame: &Frame) -> bool {
    part.total >= 3 && is_copy(part, frame)
}

/// The message of which `frame` is a copy.
pub(super) fn whole(frame: &Frame) -> Frame {
    Frame {
        kind: frame.kind,
        flags: frame.flags.difference(Flags::FRAG),
        headers: application_headers(&frame.headers),
        payload: frame.payload.clone(),
    }
}

/// The published sender's arithmetic: a frame of L octets becomes `ceil(L / 1200)` datagrams.
pub(super) fn is_copy(part: Fragment, frame: &Frame) -> bool {
    let entries = fragment::application_entries(&frame.headers);
    let section: usize = entries
        .map(|(key, value)| 2 + key.len() + value.len())
        .sum();
    let length = FRAME_BYTES_MIN + section + frame.payload.len();
    part.total >= 2 && length.div_ceil(DATAGRAM_BYTES_MAX) == part.total as usize
}

/// A copy of the headers without those of the fragmentation; it does not pin the datagram.
fn application_headers(headers: &Headers) -> Headers {
    let mut builder = HeadersBuilder::with_capacity(headers.section().len());
    for (key, value) in fragment::application_entries(headers) {
        // Part of a section that is within the bounds is within the bounds.
        let _ = builder.push(key, value);
    }
    builder.build()
}
