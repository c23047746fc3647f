//! A stream of any octets, cut anywhere, gives the same frames and the same fault; a frame that was
//! read is written as it was.

use bytes::{Bytes, BytesMut};

use super::Script;
use crate::wire::{
    Decoder, Frame, FrameError,
    frame::{CRC_BYTES, FRAME_BYTES_MIN},
};

const FRAME_BYTES_MAX: usize = 1 << 16;

/// Bit 0 of the first octet: the crc of every frame is put right, so that what lies behind the check
/// is reached. The other bits: how long the pieces are.
pub fn decoder(octets: &[u8]) {
    let mut script = Script::new(octets);
    let mode = script.octet();
    let mut stream = script.octets(usize::MAX).to_vec();
    if mode & 1 == 1 {
        repair(&mut stream);
    }
    let whole = read(&stream, stream.len().max(1));
    let pieces = read(&stream, 1 + usize::from(mode >> 1));
    assert_eq!(whole, pieces, "a cut changes what is read");

    let (frames, _) = whole;
    let mut written = BytesMut::new();
    for frame in &frames {
        frame
            .encode(&mut written)
            .expect("what was read can be written");
    }
    assert!(
        stream.starts_with(&written),
        "a frame is written otherwise than it was read"
    );
    if let Some(first) = frames.first() {
        let datagram = Frame::decode_datagram(Bytes::from(stream), FRAME_BYTES_MAX);
        assert_eq!(datagram.as_ref(), Ok(first));
    }
}

/// The frames of `stream`, fed in pieces, and the fault that ends it.
fn read(stream: &[u8], piece: usize) -> (Vec<Frame>, Option<FrameError>) {
    let mut decoder = Decoder::new(FRAME_BYTES_MAX);
    let (mut buffer, mut frames) = (BytesMut::new(), Vec::new());
    for piece in stream.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

fn repair(stream: &mut [u8]) {
    let mut rest = stream;
    loop {
        let [_, _, _, _, _, h0, h1, p0, p1, p2, p3, ..] = *rest else {
            return;
        };
        let payload_len = u32::from_be_bytes([p0, p1, p2, p3]) as usize;
        let frame_len = FRAME_BYTES_MIN + usize::from(u16::from_le_bytes([h0, h1])) + payload_len;
        let Some((frame, tail)) = rest.split_at_mut_checked(frame_len) else {
            return;
        };
        let (covered, crc) = frame.split_at_mut(frame_len - CRC_BYTES);
        crc.copy_from_slice(&crc32fast::hash(covered).to_be_bytes());
        rest = tail;
    }
}
