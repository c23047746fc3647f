//! Octets of a peer of velithon, cut anywhere, are read the same; what is held of them stays within the
//! bound, and what was read is written and read again the same.

use std::time::Duration;

use bytes::BytesMut;

use super::Script;
use crate::{
    testing::epoch,
    velithon::{VelithonEvent, VelithonSession, read, write},
};

const FRAME_BYTES_MAX: usize = 1 << 10;
const TIMEOUT: Duration = Duration::from_secs(1);

/// The first octet says how long the pieces are.
pub fn velithon(octets: &[u8]) {
    let mut script = Script::new(octets);
    let piece = 1 + usize::from(script.octet());
    let stream = script.octets(usize::MAX);
    let whole = events(stream, stream.len().max(1));
    assert_eq!(whole, events(stream, piece), "a cut changes what is read");
    for event in whole {
        if let VelithonEvent::Request { header, body } = event {
            let written = write(&header, false, &body).slice(4..);
            let again = read(&written).expect("what is written is readable");
            assert_eq!((again.header, again.body), (header, body));
        }
    }
}

fn events(stream: &[u8], piece: usize) -> Vec<VelithonEvent> {
    let mut session = VelithonSession::new(FRAME_BYTES_MAX, "bound", TIMEOUT);
    let (mut input, mut events) = (BytesMut::new(), Vec::new());
    for piece in stream.chunks(piece) {
        input.extend_from_slice(piece);
        while let Some(event) = session.handle_bytes(epoch(), TIMEOUT, &mut input) {
            events.push(event);
        }
        // The begin of a frame that is too long is looked at, and no more of it.
        assert!(input.len() < 4 + 4096, "{} octets are held", input.len());
    }
    events
}
