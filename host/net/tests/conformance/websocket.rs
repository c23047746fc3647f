//! Octets of a session over a WebSocket whose client is written here, from the RFC.

use bytes::BytesMut;
use postern_core::{
    websocket::{Opcode, WebSocketDecoder, WebSocketHead, WebSocketPiece, apply_mask},
    wire::Role,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex, split};

const MASK: [u8; 4] = [1, 2, 3, 4];
const REQUEST: &[u8] = b"GET /vstp HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\n\
    upgrade: websocket\r\nsec-websocket-version: 13\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: vstp\r\n\r\n";

/// Opens a WebSocket on `stream`; a task moves octets between it and what is given. Shutting that down
/// says Close.
pub(crate) async fn raw<S>(mut stream: S) -> DuplexStream
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    stream.write_all(REQUEST).await.expect("written");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("an answer"));
    }
    let head = String::from_utf8(head).expect("text").to_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(
        head.contains("\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"),
        "{head}"
    );
    assert!(
        head.contains("\r\nsec-websocket-protocol: vstp\r\n"),
        "{head}"
    );
    let (near, far) = duplex(64 * 1024);
    tokio::spawn(async move {
        let (mut from_server, mut to_server) = split(stream);
        let (mut from_test, mut to_test) = split(far);
        let sending = async {
            let mut octets = vec![0; 10_000];
            loop {
                let n_octets = from_test.read(&mut octets).await.expect("in memory");
                let opcode = if n_octets == 0 {
                    Opcode::Close
                } else {
                    Opcode::Binary
                };
                let frame = frame(opcode, &octets[..n_octets]);
                if to_server.write_all(&frame).await.is_err() {
                    return;
                }
                if n_octets == 0 {
                    // The server's Close ends it.
                    std::future::pending::<()>().await;
                }
            }
        };
        let receiving = async {
            let mut decoder = WebSocketDecoder::new(Role::Client, false, usize::MAX);
            let mut input = BytesMut::new();
            loop {
                while let Some(piece) = decoder.decode(&mut input).expect("by the rules") {
                    match piece {
                        WebSocketPiece::Data(piece) => {
                            if to_test.write_all(&piece.octets).await.is_err() {
                                return;
                            }
                        }
                        WebSocketPiece::Close(_) => return,
                        WebSocketPiece::Ping(_) | WebSocketPiece::Pong(_) => {}
                    }
                }
                if from_server.read_buf(&mut input).await.unwrap_or(0) == 0 {
                    return;
                }
            }
        };
        tokio::select! {
            () = sending => {}
            () = receiving => {}
        }
    });
    near
}

fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let head = WebSocketHead {
        is_final: true,
        is_compressed: false,
        opcode,
        length: payload.len() as u64,
        mask: Some(MASK),
    };
    let mut frame = Vec::new();
    head.write(&mut frame);
    let at = frame.len();
    frame.extend_from_slice(payload);
    apply_mask(&mut frame[at..], MASK, 0);
    frame
}
