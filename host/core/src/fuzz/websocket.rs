//! Octets of a client, cut anywhere, are read the same; whatever they are, the connection ends in
//! order.

use bytes::BytesMut;

use super::Script;
use crate::{
    websocket::{WebSocketDecoder, WebSocketFault, WebSocketPiece},
    wire::Role,
};

const MESSAGE_BYTES_MAX: usize = 1 << 12;

/// The first octet: bit 0 says that compression is agreed upon, the others how long the pieces are.
/// The mask bit of what may be a head is not put right: the rule against it is a rule, too.
pub fn websocket(octets: &[u8]) {
    let mut script = Script::new(octets);
    let mode = script.octet();
    let stream = script.octets(usize::MAX);
    let whole = read(stream, stream.len().max(1), mode & 1 == 1);
    let pieces = read(stream, 1 + usize::from(mode >> 1), mode & 1 == 1);
    assert_eq!(whole, pieces, "a cut changes what is read");
}

/// What was read, the parts of a message joined, and the fault that ends it.
fn read(
    stream: &[u8],
    piece: usize,
    has_compression: bool,
) -> (Vec<WebSocketPiece>, Vec<u8>, Option<WebSocketFault>) {
    let mut decoder = WebSocketDecoder::new(Role::Server, has_compression, MESSAGE_BYTES_MAX);
    let (mut input, mut control, mut data) = (BytesMut::new(), Vec::new(), Vec::new());
    for piece in stream.chunks(piece) {
        input.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(WebSocketPiece::Data(piece))) => {
                    data.extend_from_slice(&piece.octets);
                    assert!(data.len() <= stream.len(), "more was read than came");
                }
                Ok(Some(piece)) => control.push(piece),
                Ok(None) => break,
                Err(fault) => return (control, data, Some(fault)),
            }
        }
    }
    (control, data, None)
}
