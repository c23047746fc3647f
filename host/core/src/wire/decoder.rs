//! Frames out of a stream of octets, wherever the stream is cut. Format: wire/mod.rs, table "Frame".

#[cfg(test)]
mod tests;

use bytes::BytesMut;

use super::frame::{Frame, FrameError, Head};

/// Takes frames off the front of a buffer that a link fills.
///
/// Nothing is copied: headers and payload of a frame share the buffer. Between calls the buffer
/// holds at most one unfinished frame plus what the link added.
#[derive(Debug, Clone)]
pub struct Decoder {
    frame_bytes_max: usize,
    /// The head of the frame whose rest is awaited, so that it is not checked again at every cut.
    head: Option<Head>,
}

impl Decoder {
    /// `frame_bytes_max` counts all octets of a frame; exactly that many are accepted.
    #[must_use]
    pub const fn new(frame_bytes_max: usize) -> Self {
        Self {
            frame_bytes_max,
            head: None,
        }
    }

    /// The next whole frame; `None` when more octets are needed.
    ///
    /// # Errors
    /// The first fault, after which the stream has no frame boundary any more and must be closed.
    /// A frame that is too long is refused as soon as its head is there.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let head = match self.head {
            Some(head) => head,
            None => match Head::parse(buffer, self.frame_bytes_max)? {
                Some(head) => head,
                None => return Ok(None),
            },
        };
        if buffer.len() < head.frame_len() {
            self.head = Some(head);
            return Ok(None);
        }
        self.head = None;
        head.take(buffer).map(Some)
    }

    /// Octets still missing from the frame at the front of `buffer`, once its head is known; a link
    /// reserves that much and reads a large frame into one allocation.
    #[must_use]
    pub fn missing(&self, buffer: &BytesMut) -> Option<usize> {
        Some(self.head?.frame_len().saturating_sub(buffer.len()))
    }
}
