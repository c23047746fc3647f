//! One frame as datagrams: which part a datagram carries, and how a frame is cut into parts.
//! Format: wire/mod.rs, table "Fragment headers".
//!
//! Cutting is lazy: a [`Split`] holds the frame once and writes any of its datagrams on demand, so
//! that a retransmission costs what the first transmission did and no more memory.

use bytes::BytesMut;

use super::frame::{FRAME_BYTES_MIN, Flags, Frame, FrameError};
use crate::headers::{HeaderError, Headers, HeadersBuilder};

/// Largest datagram that is sent, in octets. The published sender's limit; it fits every common
/// path MTU.
pub const DATAGRAM_BYTES_MAX: usize = 1200;
/// Most fragments of a message in the base dialect: the published receiver parses `u8`.
pub const BASE_FRAGMENTS_MAX: u64 = 255;
/// Most fragments of a message with feature `wide`.
pub const WIDE_FRAGMENTS_MAX: u64 = u32::MAX as u64;

const ID_KEY: &[u8] = b"frag-id";
const INDEX_KEY: &[u8] = b"frag-index";
const TOTAL_KEY: &[u8] = b"frag-total";
/// Octets of the three entries without the digits of their values.
const ENTRIES_BYTES: usize = 3 * 2 + ID_KEY.len() + INDEX_KEY.len() + TOTAL_KEY.len();

/// How large the three numbers may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Numbering {
    /// `u8`, as the published peers read them.
    #[default]
    Base,
    /// `u32`, between peers that agreed on feature `wide`.
    Wide,
}

/// Which part of which message a datagram carries, as its headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// Chosen by the sender; in the base dialect the low eight bits of a counter.
    pub id: u32,
    pub index: u32,
    pub total: u32,
}

/// A frame that is about to be sent, with the plan of its datagrams.
#[derive(Debug, Clone)]
pub struct Split {
    frame: Frame,
    id: u32,
    total: u32,
    chunk_bytes: usize,
}

/// Why a frame cannot be put into datagrams.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    #[error("headers of {length} octets leave no room for a payload in datagrams of {limit}")]
    HeadersTooLong { length: usize, limit: usize },
    #[error(
        "payload of {payload} octets needs {needed} fragments of {chunk}, the limit is {limit}"
    )]
    TooManyFragments {
        payload: usize,
        needed: u64,
        chunk: usize,
        limit: u64,
    },
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Headers(#[from] HeaderError),
}

impl Fragment {
    /// Reads the three headers; `None` when one is missing or does not parse, in which case the
    /// frame is an ordinary one, as the published receiver has it. Flag FRAG decides nothing.
    #[must_use]
    pub fn parse(headers: &Headers, numbering: Numbering) -> Option<Self> {
        let number = |key: &[u8]| {
            let value = headers.get(key)?;
            let text = str::from_utf8(&value).ok()?;
            match numbering {
                Numbering::Base => text.parse::<u8>().ok().map(u32::from),
                Numbering::Wide => text.parse().ok(),
            }
        };
        Some(Self {
            id: number(ID_KEY)?,
            index: number(INDEX_KEY)?,
            total: number(TOTAL_KEY)?,
        })
    }
}

impl Numbering {
    #[must_use]
    pub const fn fragments_max(self) -> u64 {
        match self {
            Self::Base => BASE_FRAGMENTS_MAX,
            Self::Wide => WIDE_FRAGMENTS_MAX,
        }
    }

    /// What of a counter goes on the wire as `frag-id`.
    #[must_use]
    pub const fn wrap(self, counter: u32) -> u32 {
        match self {
            Self::Base => counter & 0xff,
            Self::Wide => counter,
        }
    }
}

impl Split {
    /// Plans the datagrams of `frame`, each at most `datagram_bytes_max` octets. A frame that fits
    /// whole is left alone and gets no fragment headers.
    ///
    /// # Errors
    /// `HeadersTooLong` when the repeated headers fill a datagram, `TooManyFragments` over what
    /// `numbering` can count.
    pub fn new(
        frame: Frame,
        id: u32,
        numbering: Numbering,
        datagram_bytes_max: usize,
    ) -> Result<Self, SplitError> {
        let (id, payload) = (numbering.wrap(id), frame.payload.len());
        if frame.encoded_len() <= datagram_bytes_max {
            return Ok(Self {
                frame,
                id,
                total: 1,
                chunk_bytes: payload.max(1),
            });
        }
        let length = frame.headers.section().len();
        let id_digits = match numbering {
            Numbering::Base => n_digits(u8::MAX.into()),
            Numbering::Wide => n_digits(u32::MAX.into()),
        };
        // Digits of the total decide the room for the chunk, which decides the total.
        let mut digits = 1;
        loop {
            let entries = ENTRIES_BYTES + id_digits + 2 * digits;
            let chunk = datagram_bytes_max.saturating_sub(FRAME_BYTES_MIN + length + entries);
            if chunk == 0 {
                return Err(SplitError::HeadersTooLong {
                    length,
                    limit: datagram_bytes_max,
                });
            }
            let needed = payload.div_ceil(chunk).max(1) as u64;
            if n_digits(needed) > digits {
                digits = n_digits(needed);
                continue;
            }
            let limit = numbering.fragments_max();
            return match u32::try_from(needed) {
                Ok(total) if needed <= limit => Ok(Self {
                    frame,
                    id,
                    total,
                    chunk_bytes: chunk,
                }),
                _ => Err(SplitError::TooManyFragments {
                    payload,
                    needed,
                    chunk,
                    limit,
                }),
            };
        }
    }

    /// Number of datagrams, at least 1.
    #[must_use]
    pub const fn total(&self) -> u32 {
        self.total
    }

    /// At least the octets of all datagrams together.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        if !self.is_fragmented() {
            return self.frame.encoded_len();
        }
        let repeated = FRAME_BYTES_MIN + self.frame.headers.section().len() + ENTRIES_BYTES + 30;
        let total = self.total as usize;
        repeated.saturating_mul(total) + self.frame.payload.len()
    }

    /// Whether the frame is cut at all.
    #[must_use]
    pub const fn is_fragmented(&self) -> bool {
        self.total > 1
    }

    #[must_use]
    pub const fn frame(&self) -> &Frame {
        &self.frame
    }

    /// Begins the message afresh under another number: the published receiver stops for ever when it
    /// sees an index twice. `new` has left room for the longest number.
    pub fn set_id(&mut self, id: u32, numbering: Numbering) {
        self.id = numbering.wrap(id);
    }

    /// Appends datagram `index` (below `total`) to `out`; past the end its payload is empty.
    ///
    /// # Errors
    /// What the frame's encoder refuses.
    pub fn encode(&self, index: u32, out: &mut BytesMut) -> Result<(), SplitError> {
        if !self.is_fragmented() {
            return Ok(self.frame.encode(out)?);
        }
        let length = self.frame.payload.len();
        let start = self.chunk_bytes.saturating_mul(index as usize).min(length);
        let end = start.saturating_add(self.chunk_bytes).min(length);
        let section = self.frame.headers.section();
        let mut headers = HeadersBuilder::with_capacity(section.len() + ENTRIES_BYTES + 30);
        for (key, value) in self.frame.headers.entries() {
            headers.push(key, value)?;
        }
        headers.push(ID_KEY, self.id.to_string())?;
        headers.push(INDEX_KEY, index.to_string())?;
        headers.push(TOTAL_KEY, self.total.to_string())?;
        let part = Frame {
            kind: self.frame.kind,
            flags: self.frame.flags.union(Flags::FRAG),
            headers: headers.build(),
            payload: self.frame.payload.slice(start..end),
        };
        Ok(part.encode(out)?)
    }
}

/// The entries of a fragment without the three of the fragmentation.
pub(super) fn application_entries(headers: &Headers) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut dropping = false;
    headers.entries().filter(move |(key, _)| {
        if !key.is_empty() {
            dropping = is_fragment_key(key);
        }
        !dropping
    })
}

pub(super) fn is_fragment_key(key: &[u8]) -> bool {
    key == ID_KEY || key == INDEX_KEY || key == TOTAL_KEY
}

const fn n_digits(number: u64) -> usize {
    match number.checked_ilog10() {
        Some(digits) => digits as usize + 1,
        None => 1,
    }
}

#[cfg(test)]
mod tests;
