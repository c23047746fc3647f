//! The rules of RFC 6455, and what becomes of who breaks one.

use postern_net::WebSocketConfig;

use crate::{
    listener::Listener,
    raw::{BINARY, CLOSE, PING, PONG, RawSocket, TEXT, UPGRADE, frame, read_head},
};

const ASKED: &[u8] = br#"{"id":"1","payload":"h\u00e9llo"}"#;
const ANSWERED: &str = r#"{"type":"response","id":"1","headers":{"content-type":"application/json"},"payload":"h\u00e9llo"}"#;

/// The first message after `octets` is Close of `code`.
async fn check(listener: &Listener, octets: &[u8], code: u16) -> String {
    let mut socket = listener.calls().await;
    socket.write(octets).await;
    socket.closed(code).await
}

#[tokio::test]
async fn a_message_in_parts_with_control_frames_within_is_one_message() {
    let listener = Listener::start().await;
    let mut socket = listener.calls().await;
    let (one, other) = ASKED.split_at(10);
    let parts = [
        frame(0x01, one),
        frame(PING, b"within"),
        frame(0x00, b""),
        frame(PONG, b"unasked"),
        frame(0x80, other),
    ]
    .concat();
    // Octet by octet, so that every cut is met.
    for octet in parts {
        socket.write(&[octet]).await;
    }
    assert_eq!(socket.recv().await, Some((PONG, b"within".to_vec())));
    assert_eq!(socket.message().await, ANSWERED);
    drop(socket);
    listener.stop().await;
}

#[tokio::test]
async fn who_breaks_a_rule_is_told_by_its_code_and_the_listener_is_well() {
    let listener = Listener::start().await;
    let unmasked = [&[TEXT, 2][..], b"{}"].concat();
    check(&listener, &unmasked, 1002).await;
    check(&listener, &frame(0xC1, b"{}"), 1002).await;
    check(&listener, &frame(0x91, b"{}"), 1002).await;
    check(&listener, &frame(0x83, b""), 1002).await;
    check(&listener, &frame(PING, &[0; 126]), 1002).await;
    check(&listener, &frame(0x09, b""), 1002).await;
    check(&listener, &frame(0x80, b"{}"), 1002).await;
    check(
        &listener,
        &[frame(0x01, b"{"), frame(TEXT, b"}")].concat(),
        1002,
    )
    .await;
    check(&listener, &frame(CLOSE, b"\x03"), 1002).await;
    check(&listener, &frame(CLOSE, &1005_u16.to_be_bytes()), 1002).await;
    let told = check(&listener, &frame(BINARY, b"{}"), 1003).await;
    assert_eq!(told, "binary messages are not taken here");
    check(&listener, &frame(TEXT, b"\"\xff\""), 1007).await;
    // Before the message is whole.
    check(&listener, &frame(0x01, b"\"\xc3("), 1007).await;
    check(
        &listener,
        &[frame(0x01, b"\xe2\x82"), frame(0x80, b"")].concat(),
        1007,
    )
    .await;
    check(&listener, &frame(CLOSE, b"\x03\xe8\xff"), 1007).await;
    assert_eq!(listener.counters.protocol_errors.value(), 15);
    let mut socket = listener.calls().await;
    socket.send(TEXT, ASKED).await;
    assert_eq!(socket.message().await, ANSWERED);
    let mut session = listener.open("/vstp").await;
    session.text("{}").await;
    session.closed(1003).await;
    drop(socket);
    listener.stop().await;
}

#[tokio::test]
async fn a_message_of_message_bytes_max_passes_and_one_more_octet_closes() {
    let message_bytes_max = 200;
    let listener = Listener::start_websocket(WebSocketConfig {
        message_bytes_max,
        ..WebSocketConfig::default()
    })
    .await;
    let padded = |length| {
        let mut message = ASKED.to_vec();
        message.resize(length, b' ');
        message
    };
    let mut socket = listener.calls().await;
    socket.send(TEXT, &padded(message_bytes_max)).await;
    assert_eq!(socket.message().await, ANSWERED);
    socket.send(TEXT, &padded(message_bytes_max + 1)).await;
    socket.closed(1009).await;
    let parts = [frame(0x01, &[b' '; 150]), frame(0x80, &[b' '; 51])].concat();
    let told = check(&listener, &parts, 1009).await;
    assert_eq!(told, "message of more than 200 octets");
    listener.stop().await;
}

#[tokio::test]
async fn a_close_is_answered_with_its_code() {
    let listener = Listener::start().await;
    for (said, answered) in [(&b"\x0b\xb8bye"[..], &b"\x0b\xb8"[..]), (b"", b"")] {
        for path in ["/ws/test/echo", "/vstp"] {
            let mut socket = listener.open(path).await;
            socket.send(CLOSE, said).await;
            assert_eq!(socket.recv().await, Some((CLOSE, answered.to_vec())));
            assert_eq!(socket.recv().await, None);
        }
    }
    assert_eq!(listener.counters.protocol_errors.value(), 0);
    listener.stop().await;
}

#[tokio::test]
async fn what_follows_the_request_at_once_is_not_lost() {
    let listener = Listener::start().await;
    let stream = tokio::net::TcpStream::connect(listener.address)
        .await
        .expect("up");
    let fields: String = UPGRADE
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let request = format!("GET /ws/test/echo HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n");
    let head = String::new();
    let mut socket = RawSocket { stream, head };
    socket
        .write(&[request.into_bytes(), frame(TEXT, ASKED)].concat())
        .await;
    let head = read_head(&mut socket.stream).await;
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert_eq!(socket.message().await, ANSWERED);
    drop(socket);
    listener.stop().await;
}
