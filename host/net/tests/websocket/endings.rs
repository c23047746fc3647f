//! How a connection ends: silence, a peer that does not read, drain, no room.

use std::{sync::atomic::Ordering, time::Duration};

use postern_net::{WebSocketConfig, http::HttpConfig};
use tokio::io::AsyncWriteExt;

use crate::{
    listener::{Listener, until, within},
    raw::{CLOSE, PING, PONG, TEXT, frame},
};

fn pinging(ping_interval: Option<Duration>, ping_timeout: Duration) -> WebSocketConfig {
    WebSocketConfig {
        ping_interval,
        ping_timeout,
        ..WebSocketConfig::default()
    }
}

#[tokio::test]
async fn a_silent_client_is_pinged_after_ping_interval_and_kept_while_it_answers() {
    let soon = Duration::from_millis(20);
    let long = Duration::from_secs(3600);
    let listener = Listener::start_websocket(pinging(Some(soon), long)).await;
    for path in ["/ws/test/echo", "/vstp"] {
        let mut socket = listener.open(path).await;
        for _ in 0..3 {
            assert_eq!(socket.recv().await, Some((PING, vec![])));
            socket.send(PONG, b"").await;
        }
        socket.send(CLOSE, b"\x03\xe8").await;
    }
    listener.stop().await;
}

#[tokio::test]
async fn a_client_that_answers_no_ping_within_ping_timeout_is_closed() {
    let soon = Duration::from_millis(20);
    let listener = Listener::start_websocket(pinging(Some(soon), soon)).await;
    for path in ["/ws/test/echo", "/vstp"] {
        let mut socket = listener.open(path).await;
        assert_eq!(socket.recv().await, Some((PING, vec![])));
        assert_eq!(socket.closed(1011).await, "no Pong within 20ms");
    }
    listener.stop().await;
}

#[tokio::test]
async fn without_pings_a_silent_client_has_the_idle_timeout() {
    let listener = Listener::start_with(HttpConfig {
        idle_timeout: Duration::from_millis(30),
        websocket: pinging(None, Duration::from_secs(1)),
        ..HttpConfig::default()
    })
    .await;
    let socket = listener.calls().await;
    assert_eq!(socket.closed(1001).await, "silent for 30ms");
    listener.stop().await;
}

#[tokio::test]
async fn draining_answers_what_is_in_flight_and_says_going_away() {
    let listener = Listener::start().await;
    let (mut calls, idle, session) = (
        listener.calls().await,
        listener.calls().await,
        listener.open("/vstp").await,
    );
    calls
        .text(r#"{"id":"1","type":"open","method":"sum"}"#)
        .await;
    calls.text(r#"{"id":"1","type":"item","payload":5}"#).await;
    until(|| listener.service.n_calls.load(Ordering::SeqCst) == 1).await;
    listener.shutdown.drain();
    assert_eq!(idle.closed(1001).await, "draining");
    // BYE of the session, then the same code.
    let mut session = session;
    assert_eq!(session.recv().await.expect("BYE").0, 0x82);
    session.closed(1001).await;
    let refused = r#"{"type":"error","id":"2","status":"unavailable","error":"the gateway is closing","code":503}"#;
    calls.check(r#"{"id":"2"}"#, refused).await;
    calls
        .check(
            r#"{"id":"1","type":"end"}"#,
            r#"{"type":"response","id":"1","payload":5}"#,
        )
        .await;
    assert_eq!(calls.closed(1001).await, "draining");
    listener.stop().await;
}

#[tokio::test]
async fn a_drain_that_takes_too_long_cuts_what_is_left() {
    let listener = Listener::start_with(HttpConfig {
        drain_timeout: Duration::from_millis(50),
        ..HttpConfig::default()
    })
    .await;
    let mut socket = listener.calls().await;
    socket.text(r#"{"id":"1","method":"never"}"#).await;
    until(|| listener.service.n_calls.load(Ordering::SeqCst) == 1).await;
    listener.stop().await;
    assert_eq!(socket.recv().await, None);
}

#[tokio::test]
async fn who_takes_nothing_for_the_write_timeout_is_a_slow_reader() {
    let listener = Listener::start_with(HttpConfig {
        write_timeout: Duration::from_millis(300),
        ..HttpConfig::default()
    })
    .await;
    let mut socket = listener.calls().await;
    socket.text(r#"{"id":"1","method":"endless"}"#).await;
    until(|| {
        listener.counters.slow_readers.value() == 1 && listener.counters.connections_open() == 0
    })
    .await;
    // What it made the listener hold until then was little.
    assert!(listener.counters.bytes_out.value() < 64 * 1024 * 1024);
    drop(socket);
    listener.stop().await;
}

#[tokio::test]
async fn a_message_without_room_closes_with_try_again_later() {
    let listener = Listener::start_with(HttpConfig {
        held_bytes_max: 100_000,
        ..HttpConfig::default()
    })
    .await;
    let mut socket = listener.calls().await;
    // A message in parts, the last of which does not come: it is counted as it comes.
    let part = frame(0x01, &[b' '; 60_000]);
    let next = frame(0x00, &[b' '; 60_000]);
    within(socket.stream.write_all(&[part, next].concat()))
        .await
        .expect("written");
    let told = socket.closed(1013).await;
    assert!(told.starts_with("no room: the connection holds "), "{told}");
    listener.stop().await;
}

#[tokio::test]
async fn replies_without_room_are_errors_of_their_call() {
    let listener = Listener::start_with(HttpConfig {
        held_bytes_max: 100_000,
        ..HttpConfig::default()
    })
    .await;
    let mut socket = listener.calls().await;
    socket
        .text(r#"{"id":"1","method":"bytes","payload":200000}"#)
        .await;
    let told = socket.message().await;
    assert!(
        told.starts_with(
            r#"{"type":"error","id":"1","status":"resource-exhausted","retry-after-ms":1000,"#
        ),
        "{told}"
    );
    socket
        .send(TEXT, br#"{"id":"2","method":"bytes","payload":3}"#)
        .await;
    assert_eq!(
        socket.message().await,
        r#"{"type":"response","id":"2","payload":"xxx"}"#
    );
    drop(socket);
    listener.stop().await;
}
