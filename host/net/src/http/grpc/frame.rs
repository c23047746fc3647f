//! Messages on a body, each behind its flags and its length, and several or parts of them in a piece.
//! gRPC, gRPC-Web and the streams of Connect share this form; they differ in what the flags mean.
//!
//! ```text
//! flags:u8   length:u32 (big endian)   message
//! ```
//! `grpc/doc/PROTOCOL-HTTP2.md`, "Length-Prefixed-Message". Pure.
//!
//! **Invariant:** a length is compared with the limit before anything is kept of its message, and room is
//! made for what has arrived, not for what is declared.

use bytes::{Bytes, BytesMut};
use postern_core::{Blame, Error, Kind};

/// The message is compressed, in the coding that the head names.
pub(crate) const COMPRESSED: u8 = 1;

/// Octets before a message.
pub(crate) const FRAME_HEAD_BYTES: usize = 5;

/// A message and what its flags say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MessageFrame {
    pub(crate) flags: u8,
    pub(crate) message: Bytes,
}

/// Cuts the pieces of a body into frames.
#[derive(Debug)]
pub(crate) struct FrameReader {
    /// What has come of the next frames in one piece. Empty while `joined` is not.
    piece: Bytes,
    /// The same, where it came in several.
    joined: BytesMut,
    limits: FrameLimits,
}

/// What a frame may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameLimits {
    /// Longest message, as it is sent.
    pub(crate) message_bytes_max: usize,
    /// Every flag that means something.
    pub(crate) flags: u8,
}

/// Why octets are no frames that are taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MessageFrameError {
    #[error("message of {declared} octets exceeds the limit of {limit}")]
    TooLong { declared: usize, limit: usize },
    #[error("flags {flags:#04x} of a message have a meaning that is not known here")]
    Flags { flags: u8 },
    #[error("the body ends with {arrived} octets of a message that is not whole")]
    Unfinished { arrived: usize },
}

impl FrameReader {
    pub(crate) fn new(limits: FrameLimits) -> Self {
        Self {
            piece: Bytes::new(),
            joined: BytesMut::new(),
            limits,
        }
    }

    pub(crate) fn push(&mut self, octets: Bytes) {
        if self.is_empty() {
            self.piece = octets;
            return;
        }
        if self.joined.is_empty() {
            let piece = std::mem::take(&mut self.piece);
            self.joined.reserve(piece.len() + octets.len());
            self.joined.extend_from_slice(&piece);
        }
        self.joined.extend_from_slice(&octets);
    }

    /// The next frame that is whole.
    ///
    /// # Errors
    /// `TooLong` and `Flags`, as soon as the head of a frame has come.
    pub(crate) fn next_frame(&mut self) -> Result<Option<MessageFrame>, MessageFrameError> {
        let Some((head, rest)) = self.unread().split_first_chunk() else {
            return Ok(None);
        };
        let [flags, a, b, c, d]: [u8; FRAME_HEAD_BYTES] = *head;
        let FrameLimits {
            message_bytes_max: limit,
            flags: known,
        } = self.limits;
        if flags & !known != 0 {
            return Err(MessageFrameError::Flags { flags });
        }
        let declared = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if declared > limit {
            return Err(MessageFrameError::TooLong { declared, limit });
        }
        if rest.len() < declared {
            return Ok(None);
        }
        let whole = self.split_to(FRAME_HEAD_BYTES + declared);
        Ok(Some(MessageFrame {
            flags,
            message: whole.slice(FRAME_HEAD_BYTES..),
        }))
    }

    /// Octets of frames that are not whole.
    pub(crate) fn n_unread(&self) -> usize {
        self.unread().len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.unread().is_empty()
    }

    /// Says that the body has ended.
    ///
    /// # Errors
    /// `Unfinished`.
    pub(crate) fn finish(&self) -> Result<(), MessageFrameError> {
        match self.n_unread() {
            0 => Ok(()),
            arrived => Err(MessageFrameError::Unfinished { arrived }),
        }
    }

    fn unread(&self) -> &[u8] {
        match self.joined.is_empty() {
            true => &self.piece,
            false => &self.joined,
        }
    }

    /// The first `n_octets` of what is unread, of which there are as many.
    fn split_to(&mut self, n_octets: usize) -> Bytes {
        match self.joined.is_empty() {
            true => self.piece.split_to(n_octets),
            false => self.joined.split_to(n_octets).freeze(),
        }
    }
}

impl MessageFrameError {
    /// The error of the call. `key` is that of the limit, `blame` of whoever sent the body. What is no
    /// frame is `internal`, whoever sent it (`grpc/doc/statuscodes.md`).
    pub(crate) fn into_error(self, key: &str, blame: Blame) -> Error {
        match self {
            Self::TooLong { declared, limit } => Error::too_long(declared, limit, key, blame),
            Self::Flags { .. } | Self::Unfinished { .. } => {
                Error::new(Kind::Internal, blame, self.to_string())
            }
        }
    }
}

/// What stands before a message of `length` octets.
///
/// # Errors
/// `TooLong` where the length passes `limit`, or does not fit in its field.
pub(crate) fn frame_head(
    flags: u8,
    length: usize,
    limit: usize,
) -> Result<[u8; FRAME_HEAD_BYTES], MessageFrameError> {
    let limit = limit.min(usize::try_from(u32::MAX).unwrap_or(usize::MAX));
    let declared = u32::try_from(length).ok().filter(|_| length <= limit);
    let Some(declared) = declared else {
        let declared = length;
        return Err(MessageFrameError::TooLong { declared, limit });
    };
    let [a, b, c, d] = declared.to_be_bytes();
    Ok([flags, a, b, c, d])
}

/// A whole frame in one piece.
///
/// # Errors
/// As `frame_head`.
pub(crate) fn frame(flags: u8, message: &[u8], limit: usize) -> Result<Bytes, MessageFrameError> {
    let head = frame_head(flags, message.len(), limit)?;
    let mut octets = BytesMut::with_capacity(FRAME_HEAD_BYTES + message.len());
    octets.extend_from_slice(&head);
    octets.extend_from_slice(message);
    Ok(octets.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FrameLimits = FrameLimits {
        message_bytes_max: 4,
        flags: COMPRESSED,
    };

    fn all(reader: &mut FrameReader) -> Result<Vec<(u8, Bytes)>, MessageFrameError> {
        let mut frames = Vec::new();
        while let Some(frame) = reader.next_frame()? {
            frames.push((frame.flags, frame.message));
        }
        Ok(frames)
    }

    /// Feeds `octets` in pieces of each length and expects the same every time.
    #[track_caller]
    fn check(octets: &[u8], expected: &[(u8, &'static str)], end: Result<(), MessageFrameError>) {
        for n_piece in 1..=octets.len().max(1) {
            let mut reader = FrameReader::new(LIMITS);
            let mut frames = Vec::new();
            for piece in octets.chunks(n_piece) {
                reader.push(Bytes::copy_from_slice(piece));
                frames.extend(all(&mut reader).expect("legal"));
            }
            let expected: Vec<_> = expected
                .iter()
                .map(|(flags, message)| (*flags, Bytes::from_static(message.as_bytes())))
                .collect();
            assert_eq!(frames, expected, "pieces of {n_piece}");
            assert_eq!(reader.finish(), end, "pieces of {n_piece}");
        }
    }

    #[test]
    fn frames_are_found_however_they_arrive() {
        check(b"", &[], Ok(()));
        check(b"\0\0\0\0\0", &[(0, "")], Ok(()));
        check(
            b"\0\0\0\0\x01a\x01\0\0\0\x04bcde\0\0\0\0\0",
            &[(0, "a"), (1, "bcde"), (0, "")],
            Ok(()),
        );
    }

    #[test]
    fn a_body_that_ends_within_a_frame_says_so() {
        let unfinished = |arrived| Err(MessageFrameError::Unfinished { arrived });
        check(b"\0\0\0", &[], unfinished(3));
        check(b"\0\0\0\0\x01a\0\0\0\0\x04b", &[(0, "a")], unfinished(6));
    }

    #[track_caller]
    fn check_refused(octets: &'static [u8], expected: MessageFrameError) {
        let mut reader = FrameReader::new(LIMITS);
        reader.push(Bytes::from_static(octets));
        assert_eq!(all(&mut reader), Err(expected));
    }

    #[test]
    fn a_head_that_is_not_taken_is_refused_before_its_message_comes() {
        let (declared, limit) = (5, 4);
        check_refused(
            b"\0\0\0\0\x05",
            MessageFrameError::TooLong { declared, limit },
        );
        let declared = 0xffff_ffff;
        check_refused(
            b"\0\xff\xff\xff\xff",
            MessageFrameError::TooLong { declared, limit },
        );
        check_refused(b"\x02\0\0\0\0", MessageFrameError::Flags { flags: 2 });
        check_refused(b"\x81\0\0\0\0", MessageFrameError::Flags { flags: 0x81 });
    }

    #[test]
    fn a_message_that_is_too_long_names_length_limit_and_key() {
        let (declared, limit) = (5, 4);
        let error = MessageFrameError::TooLong { declared, limit };
        let error = error.into_error("grpc.message-bytes-max", Blame::Client);
        assert_eq!(
            (error.kind, error.is_too_large),
            (Kind::ResourceExhausted, true)
        );
        assert_eq!(
            error.message,
            "message of 5 octets exceeds the limit of 4 (grpc.message-bytes-max)"
        );
        let error = MessageFrameError::Unfinished { arrived: 3 }.into_error("", Blame::Client);
        assert_eq!(error.kind, Kind::Internal);
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(frame(1, b"abcd", 4).expect("short"), "\x01\0\0\0\x04abcd");
        let (declared, limit) = (5, 4);
        assert_eq!(
            frame(0, b"abcde", 4),
            Err(MessageFrameError::TooLong { declared, limit })
        );
        let mut reader = FrameReader::new(LIMITS);
        reader.push(frame(0, b"abcd", 4).expect("short"));
        assert_eq!(all(&mut reader).expect("legal"), [(0, "abcd".into())]);
    }

    #[test]
    fn a_message_of_one_piece_is_not_copied() {
        let octets = frame(0, b"abcd", 4).expect("short");
        let mut reader = FrameReader::new(LIMITS);
        reader.push(octets.clone());
        let frame = reader.next_frame().expect("legal").expect("whole");
        assert_eq!(frame.message.as_ptr(), octets[FRAME_HEAD_BYTES..].as_ptr());
    }
}
