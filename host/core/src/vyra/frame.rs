//! A message on a stream socket.
//!
//! ```text
//! octet   0              4
//!         ├─ length u32 ─┼─ JSON … ─┤   length in big endian, of the JSON alone
//! ```
//!
//! Peers read each of the two parts once and take what comes, so both are written in one call.

use bytes::{BufMut, Bytes, BytesMut};

/// Octets before the JSON.
pub const FRAME_HEAD_BYTES: usize = 4;

/// `message` behind its length; `None` where its length has no room in the head.
#[must_use]
pub fn frame(message: &[u8]) -> Option<Bytes> {
    let length = u32::try_from(message.len()).ok()?;
    let mut framed = BytesMut::with_capacity(FRAME_HEAD_BYTES + message.len());
    framed.put_u32(length);
    framed.put_slice(message);
    Some(framed.freeze())
}

/// Octets of the message that `head` announces; `None` where it is more than `limit`.
#[must_use]
pub fn frame_length(head: [u8; FRAME_HEAD_BYTES], limit: usize) -> Option<usize> {
    let length = usize::try_from(u32::from_be_bytes(head)).ok()?;
    (length <= limit).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_the_octets_of_the_reference() {
        let framed = frame(br#"{"x": 10, "y": 32}"#).expect("short");
        assert_eq!(&framed[..], b"\x00\x00\x00\x12{\"x\": 10, \"y\": 32}");
        let framed = frame(br#"{"result": 42}"#).expect("short");
        assert_eq!(&framed[..], b"\x00\x00\x00\x0e{\"result\": 42}");
    }

    #[test]
    fn a_length_is_taken_up_to_the_limit() {
        assert_eq!(frame_length([0, 0, 0, 18], 18), Some(18));
        assert_eq!(frame_length([0, 0, 0, 19], 18), None);
        assert_eq!(frame_length([0xff; 4], usize::MAX), Some(0xffff_ffff));
    }
}
