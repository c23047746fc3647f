//! Bodies of messages, cut anywhere, are read the same; what is kept of them stays within the bound, and what was read
//! is written and read again the same.

use bytes::Bytes;

use crate::http::grpc::frame::{
    FRAME_HEAD_BYTES, FrameLimits, FrameReader, MessageFrame, MessageFrameError, frame,
};

/// The messages of a body, and how it ended.
type ReadFrames = (Vec<MessageFrame>, Result<(), MessageFrameError>);

/// The first octets say how long the pieces are, which flags are known, and how long a message may be in units of 16.
pub fn grpc_frames(octets: &[u8]) {
    let [piece, flags, limit, stream @ ..] = octets else {
        return;
    };
    let limits = FrameLimits {
        message_bytes_max: usize::from(*limit) << 4,
        flags: *flags,
    };
    let piece = 1 + usize::from(*piece);
    let whole = read(stream, limits, stream.len().max(1));
    assert_eq!(
        whole,
        read(stream, limits, piece),
        "a cut changes what is read"
    );
    for found in whole.0 {
        let written = frame(found.flags, &found.message, limits.message_bytes_max);
        let written = written.expect("a message that was taken is not too long");
        assert_eq!(read(&written, limits, piece), (vec![found], Ok(())));
    }
}

fn read(stream: &[u8], limits: FrameLimits, piece: usize) -> ReadFrames {
    let mut reader = FrameReader::new(limits);
    let mut frames = Vec::new();
    for piece in stream.chunks(piece) {
        reader.push(Bytes::copy_from_slice(piece));
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
        let n_kept = reader.n_unread();
        assert!(
            n_kept < FRAME_HEAD_BYTES + limits.message_bytes_max.max(1),
            "{n_kept} octets are kept"
        );
    }
    (frames, reader.finish())
}
