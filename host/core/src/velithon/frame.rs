//! A stream as frames.
//!
//! ```text
//! | u32, big endian: length | message of that length |
//! ```
//! The published form has no bound: a receiver collects up to 4 GiB. Here a frame over the bound gives its
//! first octets, which hold the header of a message as it is usually written, so that its sender can be told;
//! what follows is dropped as it comes, and the stream goes on behind it.

use bytes::{Buf, Bytes, BytesMut};

/// Octets of the length in front of a message.
pub const FRAME_PREFIX_BYTES: usize = 4;

/// Of a frame over the bound, what is looked at for its header.
const BEGIN_BYTES: usize = 4096;

/// What a stream holds next.
#[derive(Debug, PartialEq, Eq)]
pub enum VelithonFrame {
    Message(Bytes),
    /// Longer than may be: its first octets. The rest is not given.
    TooLong {
        length: u32,
        begin: Bytes,
    },
}

/// Takes frames off the front of a stream.
#[derive(Debug)]
pub struct VelithonFrames {
    frame_bytes_max: usize,
    /// What is still to be dropped.
    n_skipped: u64,
}

impl VelithonFrames {
    /// `frame_bytes_max` is of a message, without its length.
    #[must_use]
    pub const fn new(frame_bytes_max: usize) -> Self {
        Self {
            frame_bytes_max,
            n_skipped: 0,
        }
    }

    pub const fn set_frame_bytes_max(&mut self, frame_bytes_max: usize) {
        self.frame_bytes_max = frame_bytes_max;
    }

    /// The next frame of `input`; `None` where it has not arrived whole.
    pub fn decode(&mut self, input: &mut BytesMut) -> Option<VelithonFrame> {
        self.skip(input);
        let length = length(input)?;
        let n_octets = usize::try_from(length).unwrap_or(usize::MAX);
        if n_octets > self.frame_bytes_max {
            let n_begin = n_octets.min(BEGIN_BYTES);
            if input.len() < FRAME_PREFIX_BYTES + n_begin {
                return None;
            }
            return self.give_up(input);
        }
        if input.len() < FRAME_PREFIX_BYTES.saturating_add(n_octets) {
            return None;
        }
        input.advance(FRAME_PREFIX_BYTES);
        Some(VelithonFrame::Message(input.split_to(n_octets).freeze()))
    }

    /// Gives up the frame that `input` begins with, for which there is no room, and drops the rest of it as
    /// it comes. `None` between frames.
    pub fn give_up(&mut self, input: &mut BytesMut) -> Option<VelithonFrame> {
        let length = length(input)?;
        let n_octets = usize::try_from(length).unwrap_or(usize::MAX);
        input.advance(FRAME_PREFIX_BYTES);
        let n_begin = n_octets.min(BEGIN_BYTES).min(input.len());
        // Copied, so that what was collected of the frame is let go.
        let begin = Bytes::copy_from_slice(input.get(..n_begin).unwrap_or_default());
        self.n_skipped = u64::from(length);
        self.skip(input);
        Some(VelithonFrame::TooLong { length, begin })
    }

    /// Whether `input` is in the middle of a frame.
    #[must_use]
    pub fn is_within(&self, input: &BytesMut) -> bool {
        self.n_skipped > 0 || !input.is_empty()
    }

    fn skip(&mut self, input: &mut BytesMut) {
        let n_here = usize::try_from(self.n_skipped).map_or(input.len(), |n| n.min(input.len()));
        input.advance(n_here);
        self.n_skipped = self.n_skipped.saturating_sub(n_here as u64);
    }
}

fn length(input: &BytesMut) -> Option<u32> {
    let prefix = input.get(..FRAME_PREFIX_BYTES)?;
    prefix.try_into().ok().map(u32::from_be_bytes)
}
