//! permessage-deflate (RFC 7692) of single messages: packed whole, unpacked piece by piece.

use bytes::{Buf, Bytes};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use postern_core::websocket::WebSocketFault;

use super::extension::Deflation;
use crate::HeldBytes;

/// Unpacks one message.
pub(super) struct Inflate {
    engine: Decompress,
    input: Bytes,
    /// The last octets of the message are in `input`, or were.
    is_last: bool,
    /// The end that the sender has cut off (section 7.2.2) was added.
    has_tail: bool,
    /// The last piece filled its room: there may be more without more input.
    is_full: bool,
    /// For the window.
    _held: HeldBytes,
}

impl Inflate {
    pub(super) fn new(held: HeldBytes) -> Self {
        Self {
            engine: Decompress::new(false),
            input: Bytes::new(),
            is_last: false,
            has_tail: false,
            is_full: false,
            _held: held,
        }
    }

    /// Takes more of the message, once `poll` has given all that there was.
    pub(super) fn push(&mut self, octets: Bytes, is_last: bool) {
        debug_assert!(self.input.is_empty());
        self.input = octets;
        self.is_last = is_last;
    }

    /// The next octets, `PIECE_BYTES` at most. `None` until more of the message is pushed, or at its end.
    pub(super) fn next_piece(&mut self) -> Result<Option<Bytes>, WebSocketFault> {
        let mut piece = Vec::new();
        loop {
            if self.input.is_empty() && !self.is_full {
                if !self.is_last || self.has_tail {
                    return Ok(None);
                }
                self.has_tail = true;
                self.input = Bytes::from_static(&TAIL);
            }
            piece.reserve_exact(PIECE_BYTES);
            let before = self.engine.total_in();
            let unpacked =
                self.engine
                    .decompress_vec(&self.input, &mut piece, FlushDecompress::Sync);
            let status = unpacked.map_err(|_| WebSocketFault::Compression)?;
            let n_read = self.engine.total_in() - before;
            self.input.advance(
                usize::try_from(n_read)
                    .unwrap_or(usize::MAX)
                    .min(self.input.len()),
            );
            self.is_full = piece.len() == piece.capacity() && status != Status::StreamEnd;
            if status == Status::StreamEnd {
                // A block that says it is the last one; others may follow (section 7.2.3.4).
                self.engine.reset(false);
            } else if n_read == 0 && piece.is_empty() && !self.input.is_empty() {
                return Err(WebSocketFault::Compression);
            }
            if !piece.is_empty() {
                return Ok(Some(piece.into()));
            }
        }
    }

    /// Whether all of the message was given.
    pub(super) fn is_over(&self) -> bool {
        self.is_last && self.has_tail && self.input.is_empty() && !self.is_full
    }
}

/// Packs a message, where that makes it shorter.
pub(super) fn pack(message: &[u8], deflation: Deflation) -> Option<Bytes> {
    if !(PACKED_BYTES_MIN..=PACKED_BYTES_MAX).contains(&message.len()) {
        return None;
    }
    let mut engine =
        Compress::new_with_window_bits(Compression::fast(), false, deflation.window_bits);
    // What does not become shorter has no room here.
    let mut packed = Vec::with_capacity(message.len());
    let status = engine
        .compress_vec(message, &mut packed, FlushCompress::Sync)
        .ok()?;
    let is_whole = status == Status::Ok
        && engine.total_in() == message.len() as u64
        && packed.len() < packed.capacity();
    let n_octets = packed.len().checked_sub(TAIL.len())?;
    if !is_whole || !packed.ends_with(&TAIL) {
        return None;
    }
    packed.truncate(n_octets);
    Some(packed.into())
}

/// How every packed message ends, and what is left out of it.
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];
/// Octets that are unpacked at once.
const PIECE_BYTES: usize = 16 * 1024;
/// What unpacking a message takes, in octets: the window and tables of zlib.
pub(super) const INFLATE_BYTES: usize = 48 * 1024;
/// Messages that are packed: shorter ones gain little, and a longer one would keep its thread from
/// other connections for more than a few milliseconds.
const PACKED_BYTES_MIN: usize = 256;
const PACKED_BYTES_MAX: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::HeaderValue;

    use super::*;
    use crate::ByteBudget;

    fn inflate() -> Inflate {
        let bytes = Arc::new(ByteBudget::unlimited()).connection(usize::MAX);
        Inflate::new(bytes.hold(INFLATE_BYTES).expect("room"))
    }

    /// Unpacks `packed`, given in pieces.
    fn unpack(packed: &[u8], piece: usize) -> Result<Vec<u8>, WebSocketFault> {
        let (mut inflate, mut unpacked) = (inflate(), Vec::new());
        let n_pieces = packed.len().div_ceil(piece).max(1);
        for idx in 0..n_pieces {
            let end = packed.len().min((idx + 1) * piece);
            inflate.push(
                Bytes::copy_from_slice(&packed[idx * piece..end]),
                idx + 1 == n_pieces,
            );
            while let Some(octets) = inflate.next_piece()? {
                assert!(octets.len() <= PIECE_BYTES);
                unpacked.extend_from_slice(&octets);
            }
        }
        assert!(inflate.is_over());
        Ok(unpacked)
    }

    fn deflation(offer: &'static str) -> Deflation {
        Deflation::agree([&HeaderValue::from_static(offer)].into_iter()).expect("met")
    }

    #[test]
    fn unpacks_the_examples_of_the_rfc() {
        // RFC 7692 section 7.2.3: one block, none packed, the last one, two blocks.
        for hex in [
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
            &[
                0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00,
            ],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            &[
                0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
            ],
        ] {
            for piece in 1..=hex.len() {
                assert_eq!(
                    unpack(hex, piece).expect("whole"),
                    b"Hello",
                    "{hex:x?} by {piece}"
                );
            }
        }
        assert_eq!(unpack(&[0x00], 1).expect("an empty message"), b"");
    }

    #[test]
    fn what_is_packed_is_unpacked_whatever_the_window() {
        let message: Vec<u8> = (0..200_000_u32).map(|n| (n / 700 % 251) as u8).collect();
        for offer in [
            "permessage-deflate",
            "permessage-deflate; server_max_window_bits=9",
        ] {
            let packed = pack(&message, deflation(offer)).expect("shorter");
            assert!(packed.len() < message.len() / 10);
            for piece in [1, 7, 1000, packed.len()] {
                assert_eq!(unpack(&packed, piece).expect("whole"), message);
            }
        }
    }

    #[test]
    fn what_does_not_become_shorter_is_sent_as_it_is() {
        let noise: Vec<u8> = std::iter::repeat_with(postern_system::random::even)
            .take(100)
            .flat_map(u64::to_ne_bytes)
            .collect();
        assert_eq!(pack(&noise, deflation("permessage-deflate")), None);
        assert_eq!(
            pack(&[7; PACKED_BYTES_MIN - 1], deflation("permessage-deflate")),
            None
        );
        assert!(pack(&[7; PACKED_BYTES_MIN], deflation("permessage-deflate")).is_some());
        assert_eq!(
            pack(&[7; PACKED_BYTES_MAX + 1], deflation("permessage-deflate")),
            None
        );
    }

    #[test]
    fn broken_data_is_a_fault_and_never_endless() {
        for broken in [&[0xff; 20][..], &[0x06, 0x01]] {
            assert!(unpack_any(broken).is_err(), "{broken:x?}");
        }
        let mut rng = 7_u32;
        for _ in 0..2000 {
            let octets: Vec<u8> = (0..40)
                .map(|_| {
                    rng = rng.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (rng >> 24) as u8
                })
                .collect();
            let _ = unpack_any(&octets);
        }
    }

    fn unpack_any(packed: &[u8]) -> Result<(), WebSocketFault> {
        let mut inflate = inflate();
        inflate.push(Bytes::copy_from_slice(packed), true);
        while inflate.next_piece()?.is_some() {}
        match inflate.is_over() {
            true => Ok(()),
            false => Err(WebSocketFault::Compression),
        }
    }
}
