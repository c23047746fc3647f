//! Which requests become a WebSocket.

use postern_net::{
    WebSocketConfig,
    http::{Cors, CorsConfig, HttpConfig},
};
use tokio::net::TcpStream;

use crate::{
    listener::Listener,
    raw::{RawSocket, UPGRADE, ask},
};

async fn answer(listener: &Listener, path: &str, fields: &[(&str, &str)]) -> String {
    let mut stream = TcpStream::connect(listener.address).await.expect("up");
    ask(&mut stream, path, fields).await
}

#[tokio::test]
async fn a_request_that_is_no_handshake_is_told_what_is_and_the_connection_serves_on() {
    let listener = Listener::start().await;
    let mut stream = TcpStream::connect(listener.address).await.expect("up");
    let head = ask(&mut stream, "/vstp", &[]).await;
    assert!(head.starts_with("http/1.1 426 "), "{head}");
    assert!(head.contains("\r\nupgrade: websocket\r\n"), "{head}");
    assert!(
        head.contains("\r\nx-postern-error: failed-precondition\r\n"),
        "{head}"
    );
    let old = [&UPGRADE[..2], &[("sec-websocket-version", "8"), UPGRADE[3]]].concat();
    let head = answer(&listener, "/ws/test/echo", &old).await;
    assert!(head.starts_with("http/1.1 426 "), "{head}");
    assert!(head.contains("\r\nsec-websocket-version: 13\r\n"), "{head}");
    let head = answer(&listener, "/ws/test", &UPGRADE).await;
    assert!(head.starts_with("http/1.1 404 "), "{head}");
    listener.stop().await;
}

#[tokio::test]
async fn the_subprotocol_of_a_path_is_its_own() {
    let listener = Listener::start().await;
    let protocol = [("sec-websocket-protocol", "vstp.json, other")];
    let socket = RawSocket::open(listener.address, "/ws/test/echo", &protocol).await;
    assert!(
        socket
            .head
            .contains("\r\nsec-websocket-protocol: vstp.json\r\n"),
        "{}",
        socket.head
    );
    let other = [&UPGRADE[..], &protocol].concat();
    let head = answer(&listener, "/vstp", &other).await;
    assert!(head.starts_with("http/1.1 400 "), "{head}");
    drop(socket);
    listener.stop().await;
}

#[tokio::test]
async fn pages_of_other_origins_open_none_unless_they_may_call() {
    let listener = Listener::start().await;
    let page = |origin| [&UPGRADE[..], &[("origin", origin)]].concat();
    for path in ["/vstp", "/ws/test/echo"] {
        let head = answer(&listener, path, &page("https://evil.example")).await;
        assert!(head.starts_with("http/1.1 403 "), "{head}");
        let head = answer(&listener, path, &page("http://localhost")).await;
        assert!(head.starts_with("http/1.1 101 "), "{head}");
    }
    listener.stop().await;
    let cors = Cors::new(&CorsConfig {
        origins: vec!["https://app.example".to_owned()],
        methods: vec![],
        headers: vec![],
        exposed_headers: vec![],
        credentials: false,
        max_age: std::time::Duration::ZERO,
    });
    let listener = Listener::start_with(HttpConfig {
        cors: Some(cors.expect("an origin")),
        ..HttpConfig::default()
    })
    .await;
    let head = answer(&listener, "/ws/test/echo", &page("https://app.example")).await;
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    let head = answer(&listener, "/ws/test/echo", &page("https://evil.example")).await;
    assert!(head.starts_with("http/1.1 403 "), "{head}");
    listener.stop().await;
}

#[tokio::test]
async fn a_path_that_is_off_is_not_there_and_comes_back_while_the_listener_serves() {
    let listener = Listener::start_websocket(WebSocketConfig {
        serves_sessions: false,
        serves_calls: true,
        ..WebSocketConfig::default()
    })
    .await;
    let head = answer(&listener, "/vstp", &UPGRADE).await;
    assert!(head.starts_with("http/1.1 404 "), "{head}");
    let mut calls = listener.calls().await;
    listener.reconfigure.apply(HttpConfig {
        websocket: WebSocketConfig {
            serves_calls: false,
            ..WebSocketConfig::default()
        },
        ..HttpConfig::default()
    });
    let head = answer(&listener, "/ws/test/echo", &UPGRADE).await;
    assert!(head.starts_with("http/1.1 404 "), "{head}");
    drop(listener.open("/vstp").await);
    // What is open stays open.
    calls.check(r#"{"id":"1","payload":7}"#, r#"{"type":"response","id":"1","headers":{"content-type":"application/json"},"payload":7}"#).await;
    drop(calls);
    listener.stop().await;
}
