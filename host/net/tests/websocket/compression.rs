//! permessage-deflate, and bounds on what is unpacked.

use std::io::Write as _;

use bytes::Bytes;
use flate2::{Compression, Decompress, FlushDecompress, write::DeflateEncoder};
use postern_net::WebSocketConfig;

use crate::{
    listener::Listener,
    raw::{RawSocket, TEXT, frame},
};

const OFFER: [(&str, &str); 1] = [("sec-websocket-extensions", "permessage-deflate")];
/// A whole message that is packed.
const PACKED: u8 = 0xC1;

/// `message` as RFC 7692 section 7.2.1 has it.
fn pack(message: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(message).expect("in memory");
    encoder.flush().expect("in memory");
    let packed = encoder.get_ref();
    packed
        .strip_suffix(&[0, 0, 0xff, 0xff])
        .expect("flushed")
        .to_vec()
}

fn unpack(packed: &[u8]) -> Vec<u8> {
    let packed = [packed, &[0, 0, 0xff, 0xff]].concat();
    let mut message = Vec::with_capacity(1 << 20);
    let mut engine = Decompress::new(false);
    let unpacked = engine.decompress_vec(&packed, &mut message, FlushDecompress::Sync);
    unpacked.expect("packed");
    message
}

#[tokio::test]
async fn messages_are_packed_in_both_directions_where_that_was_agreed() {
    let listener = Listener::start().await;
    let mut socket = RawSocket::open(listener.address, "/ws/test/bytes", &OFFER).await;
    let agreed = "\r\nsec-websocket-extensions: permessage-deflate; \
                  server_no_context_takeover; client_no_context_takeover\r\n";
    assert!(socket.head.contains(agreed), "{}", socket.head);
    let asked = pack(br#"{"id":"1","payload":5000}"#);
    let (one, other) = asked.split_at(5);
    // In parts, and twice: neither end remembers the message before.
    for _ in 0..2 {
        socket
            .write(&[frame(0x41, one), frame(0x89, b""), frame(0x80, other)].concat())
            .await;
        assert_eq!(socket.recv().await.expect("a Pong").0, 0x8A);
        let (first, packed) = socket.recv().await.expect("an answer");
        assert_eq!(first, PACKED);
        assert!(packed.len() < 200, "{} octets", packed.len());
        let message = String::from_utf8(unpack(&packed)).expect("text");
        assert!(
            message.ends_with(&format!("\"payload\":\"{}\"}}", "x".repeat(5000))),
            "{message}"
        );
    }
    // Short ones are sent as they are, and taken as they are.
    socket
        .check(
            r#"{"id":"2","payload":1}"#,
            r#"{"type":"response","id":"2","payload":"x"}"#,
        )
        .await;
    drop(socket);
    listener.stop().await;
}

#[tokio::test]
async fn what_unpacks_to_more_than_the_limit_closes_before_it_is_held() {
    let message_bytes_max = 100_000;
    let listener = Listener::start_websocket(WebSocketConfig {
        message_bytes_max,
        ..WebSocketConfig::default()
    })
    .await;
    let bomb = pack(&vec![b' '; 5_000_000]);
    assert!(bomb.len() < message_bytes_max);
    let mut socket = RawSocket::open(listener.address, "/ws/test/echo", &OFFER).await;
    socket.send(PACKED, &bomb).await;
    assert_eq!(
        socket.closed(1009).await,
        "message of more than 100000 octets"
    );
    // One of the limit is no bomb.
    let mut most = br#"{"id":"1","payload":1}"#.to_vec();
    most.resize(message_bytes_max, b' ');
    let mut socket = RawSocket::open(listener.address, "/ws/test/bytes", &OFFER).await;
    socket.send(PACKED, &pack(&most)).await;
    assert!(socket.message().await.ends_with("\"payload\":\"x\"}"));
    drop(socket);
    listener.stop().await;
}

#[tokio::test]
async fn broken_compression_and_text_that_is_none_close() {
    let listener = Listener::start().await;
    for (payload, code) in [
        (vec![0xff; 20], 1002),
        (pack(b"\"\xff\""), 1007),
        (pack(b"\xe2\x82"), 1007),
    ] {
        let mut socket = RawSocket::open(listener.address, "/ws/test/echo", &OFFER).await;
        socket.send(PACKED, &payload).await;
        socket.closed(code).await;
    }
    listener.stop().await;
}

#[tokio::test]
async fn compression_that_is_off_is_not_agreed_to() {
    let listener = Listener::start_websocket(WebSocketConfig {
        compression: false,
        ..WebSocketConfig::default()
    })
    .await;
    let mut socket = RawSocket::open(listener.address, "/ws/test/bytes", &OFFER).await;
    assert!(
        !socket.head.contains("sec-websocket-extensions"),
        "{}",
        socket.head
    );
    socket.send(TEXT, br#"{"payload":5000}"#).await;
    let (first, payload) = socket.recv().await.expect("an answer");
    assert_eq!((first, payload.len() > 5000), (TEXT, true));
    socket.send(PACKED, &pack(b"{}")).await;
    socket.closed(1002).await;
    listener.stop().await;
}

#[tokio::test]
async fn a_session_is_packed_as_any_other() {
    let listener = Listener::start().await;
    let mut socket = RawSocket::open(listener.address, "/vstp", &OFFER).await;
    let hello = postern_core::wire::Frame::new(postern_core::wire::FrameType::Hello);
    let mut octets = bytes::BytesMut::new();
    hello.encode(&mut octets).expect("short");
    socket.send(0xC2, &pack(&octets)).await;
    let (first, payload) = socket.recv().await.expect("WELCOME");
    assert_eq!(first, 0x82, "it is too short to be packed");
    let welcome = postern_core::wire::Frame::decode_datagram(Bytes::from(payload), 10_000);
    assert_eq!(
        welcome.expect("a frame").kind,
        postern_core::wire::FrameType::Welcome
    );
    drop(socket);
    listener.stop().await;
}
