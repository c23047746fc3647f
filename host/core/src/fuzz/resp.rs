//! Octets of a client of RESP, cut anywhere, are read the same; what is read is written and read again.

use bytes::BytesMut;

use super::Script;
use crate::resp::{RespCommand, RespDecoder, RespFault, RespLimits, RespRequest};

const LIMITS: RespLimits = RespLimits {
    bulk_bytes_max: 1 << 10,
    arguments_max: 32,
    request_bytes_max: 1 << 12,
};

/// The first octet: bit 0 says that the client has said who it is, the others how long the pieces are.
pub fn resp(octets: &[u8]) {
    let mut script = Script::new(octets);
    let mode = script.octet();
    let stream = script.octets(usize::MAX);
    let is_trusted = mode & 1 == 1;
    let whole = read(stream, stream.len().max(1), is_trusted, LIMITS);
    let pieces = read(stream, 1 + usize::from(mode >> 1), is_trusted, LIMITS);
    assert_eq!(whole, pieces, "a cut changes what is read");
    let mut written = BytesMut::new();
    for request in &whole.0 {
        request.encode(&mut written);
        if let Err(unknown) = RespCommand::of(request) {
            assert!(unknown.text(request).len() < 1 << 12, "an answer is short");
        }
    }
    // An inline request is shorter than the same one as an array.
    let limits = RespLimits {
        request_bytes_max: usize::MAX,
        ..LIMITS
    };
    let again = read(&written, written.len().max(1), true, limits);
    let same = whole.0.iter().zip(&again.0);
    assert_eq!(whole.0.len(), again.0.len(), "as many are read again");
    for (one, other) in same {
        assert!(one.rest(0).eq(other.rest(0)), "what is written is read");
    }
}

fn read(
    stream: &[u8],
    piece: usize,
    is_trusted: bool,
    limits: RespLimits,
) -> (Vec<RespRequest>, Option<RespFault>) {
    let mut decoder = RespDecoder::new(limits);
    decoder.set_trusted(is_trusted);
    let (mut input, mut requests) = (BytesMut::new(), Vec::new());
    for piece in stream.chunks(piece) {
        input.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut input) {
                // As strings: how a request lies in its buffer is no part of it.
                Ok(Some(request)) => requests.push(RespRequest::of(request.rest(0))),
                Ok(None) => break,
                Err(fault) => return (requests, Some(fault)),
            }
        }
    }
    (requests, None)
}
