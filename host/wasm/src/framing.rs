//! Messages within a stream of octets: each is its length, four octets with the most significant first,
//! and then that many octets. Pure. The format is that of `async-stream-handler.wit`.

use bytes::{Bytes, BytesMut};

/// Octets of a length.
const LENGTH_BYTES: usize = 4;

/// Puts messages together from octets that come in pieces of any size.
#[derive(Debug, Default)]
pub(crate) struct MessageReader {
    length: [u8; LENGTH_BYTES],
    n_length: usize,
    /// How long the message is, once its length is known.
    wanted: Option<usize>,
    /// What is there of it.
    message: BytesMut,
}

/// A message that declares more octets than may be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong {
    pub(crate) length: usize,
}

/// A message on its way into a stream, as far as it is not taken.
#[derive(Debug, Default)]
pub(crate) struct UnreadPart {
    length: [u8; LENGTH_BYTES],
    n_length: usize,
    message: Bytes,
}

impl MessageReader {
    /// Reads to the end of the message at most. Says how many octets it took, and gives the message that
    /// ends there.
    ///
    /// # Errors
    /// When a message is longer than `bytes_max`; nothing can be read after that.
    pub(crate) fn read(
        &mut self,
        octets: &[u8],
        bytes_max: usize,
    ) -> Result<(usize, Option<Bytes>), TooLong> {
        let n_length = octets.len().min(LENGTH_BYTES - self.n_length);
        let wanted = match self.wanted {
            Some(wanted) => return Ok(self.read_rest(octets, 0, wanted)),
            None => {
                let target = self.length.iter_mut().skip(self.n_length);
                target.zip(octets).for_each(|(to, from)| *to = *from);
                self.n_length += n_length;
                if self.n_length < LENGTH_BYTES {
                    return Ok((n_length, None));
                }
                usize::try_from(u32::from_be_bytes(self.length)).unwrap_or(usize::MAX)
            }
        };
        if wanted > bytes_max {
            return Err(TooLong { length: wanted });
        }
        self.wanted = Some(wanted);
        Ok(self.read_rest(octets, n_length, wanted))
    }

    /// Whether a message has begun and not ended.
    pub(crate) const fn is_within(&self) -> bool {
        self.n_length > 0
    }

    /// Reads the message itself, behind the first octets. One that is there in one piece is copied once.
    fn read_rest(&mut self, octets: &[u8], behind: usize, wanted: usize) -> (usize, Option<Bytes>) {
        let rest = octets.get(behind..).unwrap_or_default();
        let missing = wanted - self.message.len();
        let piece = rest.get(..missing).unwrap_or(rest);
        let n_taken = behind + piece.len();
        if piece.len() < missing {
            self.message.extend_from_slice(piece);
            return (n_taken, None);
        }
        let message = if self.message.is_empty() {
            Bytes::copy_from_slice(piece)
        } else {
            self.message.extend_from_slice(piece);
            std::mem::take(&mut self.message).freeze()
        };
        *self = Self::default();
        (n_taken, Some(message))
    }
}

impl UnreadPart {
    /// A message with its length before it.
    pub(crate) fn framed(message: Bytes) -> Self {
        // Whoever takes messages bounds them far below.
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        Self {
            length: length.to_be_bytes(),
            n_length: LENGTH_BYTES,
            message,
        }
    }

    /// Octets as they are.
    pub(crate) fn plain(octets: Bytes) -> Self {
        Self {
            message: octets,
            ..Self::default()
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.n_length == 0 && self.message.is_empty()
    }

    /// Moves as much as there is room for; says how much that was.
    pub(crate) fn take_into(&mut self, room: &mut [u8]) -> usize {
        let skipped = LENGTH_BYTES - self.n_length;
        let length = self.length.iter().skip(skipped);
        let n_length = room.len().min(self.n_length);
        room.iter_mut()
            .zip(length)
            .for_each(|(to, from)| *to = *from);
        self.n_length -= n_length;
        let room = room.get_mut(n_length..).unwrap_or_default();
        let n_message = room.len().min(self.message.len());
        let piece = self.message.split_to(n_message);
        if let Some(room) = room.get_mut(..n_message) {
            room.copy_from_slice(&piece);
        }
        n_length + n_message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages of these lengths, framed and then read in pieces of `read` octets after having been moved in
    /// pieces of `moved`.
    #[track_caller]
    fn check(lengths: &[usize], moved: usize, read: usize) {
        let message =
            |length: usize| Bytes::from(vec![u8::try_from(length % 251).unwrap(); length]);
        let mut octets = Vec::new();
        for length in lengths {
            let mut unread = UnreadPart::framed(message(*length));
            while !unread.is_empty() {
                let mut room = vec![0; moved];
                let n = unread.take_into(&mut room);
                octets.extend_from_slice(&room[..n]);
            }
        }
        let mut reader = MessageReader::default();
        let mut found = Vec::new();
        for piece in octets.chunks(read) {
            let mut rest = piece;
            while !rest.is_empty() {
                let (n, message) = reader.read(rest, 1 << 20).unwrap();
                rest = &rest[n..];
                found.extend(message);
            }
        }
        let expected: Vec<_> = lengths.iter().map(|length| message(*length)).collect();
        assert!(found == expected, "{lengths:?} by {moved} and {read}");
        assert!(!reader.is_within());
    }

    #[test]
    fn messages_are_the_same_in_pieces_of_any_size() {
        for moved in [1, 3, 4, 5, 1000] {
            for read in [1, 2, 4, 7, 64, 1000] {
                check(&[0, 1, 4, 5, 300, 0], moved, read);
            }
        }
        check(&[70_000], 65_536, 65_536);
    }

    #[test]
    fn the_octets_are_the_length_and_then_the_message() {
        let mut room = [9; 8];
        let mut unread = UnreadPart::framed(Bytes::from_static(b"ab"));
        assert_eq!(unread.take_into(&mut room), 6);
        assert_eq!(room, [0, 0, 0, 2, b'a', b'b', 9, 9]);
        let mut unread = UnreadPart::plain(Bytes::from_static(b"ab"));
        assert_eq!(unread.take_into(&mut room), 2);
        assert_eq!(room[..2], *b"ab");
    }

    #[test]
    fn a_message_over_the_limit_is_refused_by_its_length_alone() {
        let mut reader = MessageReader::default();
        assert_eq!(reader.read(&[0, 0, 0], 5), Ok((3, None)));
        assert!(reader.is_within());
        let (taken, message) = reader.read(&[5, 1, 2, 3, 4, 5], 5).unwrap();
        assert_eq!((taken, message.unwrap().len()), (6, 5));
        assert_eq!(reader.read(&[0, 0, 0, 6], 5), Err(TooLong { length: 6 }));
    }

    #[test]
    fn a_message_of_which_a_part_is_there_has_not_ended() {
        let mut reader = MessageReader::default();
        assert_eq!(reader.read(&[0, 0, 0, 2, 7], 5), Ok((5, None)));
        assert!(reader.is_within());
        assert_eq!(
            reader.read(&[8], 5),
            Ok((1, Some(Bytes::from_static(&[7, 8]))))
        );
        assert!(!reader.is_within());
    }
}
