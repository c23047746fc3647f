//! What happens to sessions: greeting, violations, limits, drain, peers that vanish. Stream links.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::{Bytes, BytesMut};
use postern_core::{
    Call, Handler, Headers, Kind,
    wire::{Dialect, Flags, Frame, FrameType},
};
use postern_net::{Client, ClientConfig, ServerConfig, Speak, memory::Conditions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::links::{Link, RawStream, unary, within};

/// The same tests once per stream link.
macro_rules! each_stream_link {
    ($($name:ident),+ $(,)?) => {
        mod tcp { $(#[tokio::test] async fn $name() { super::$name(super::Link::Tcp).await; })+ }
        mod quic { $(#[tokio::test] async fn $name() { super::$name(super::Link::Quic).await; })+ }
        mod tls { $(#[tokio::test] async fn $name() { super::$name(super::Link::Tls).await; })+ }
        mod unix { $(#[tokio::test] async fn $name() { super::$name(super::Link::Unix).await; })+ }
        mod ws { $(#[tokio::test] async fn $name() { super::$name(super::Link::WebSocket).await; })+ }
        mod wss { $(#[tokio::test] async fn $name() { super::$name(super::Link::SecureWebSocket).await; })+ }
        mod memory_stream {
            $(#[tokio::test] async fn $name() { super::$name(super::Link::MemoryStream).await; })+
        }
    };
}

each_stream_link!(
    hello_is_answered_by_welcome_with_the_session_id,
    ping_is_answered_by_pong_with_the_same_payload,
    a_peer_without_hello_is_served,
    a_base_client_matches_answers_by_order,
    garbage_is_answered_by_err_and_the_end,
    a_damaged_frame_is_counted_as_such,
    one_connection_over_the_limit_is_told_so,
    draining_finishes_what_is_in_flight_and_takes_nothing_new,
    draining_is_bounded,
    the_end_cuts_at_once,
    a_peer_that_vanishes_cancels_its_calls,
    a_lost_session_fails_calls_with_the_address,
    calls_over_the_limit_wait_their_turn,
    many_frames_in_one_write_are_all_answered,
);

pub(crate) const SOON: Duration = Duration::from_secs(10);

pub(crate) fn encode(frame: &Frame) -> BytesMut {
    let mut octets = BytesMut::new();
    frame.encode(&mut octets).expect("short");
    octets
}

pub(crate) async fn send(raw: &mut RawStream, frame: &Frame) {
    raw.write_all(&encode(frame)).await.expect("written");
}

/// The next frame; `None` at the end of the stream.
pub(crate) async fn recv(raw: &mut RawStream) -> Option<Frame> {
    let read = async {
        let mut head = [0; 11];
        raw.read_exact(&mut head).await.ok()?;
        let headers = usize::from(u16::from_le_bytes([head[5], head[6]]));
        let payload = u32::from_be_bytes([head[7], head[8], head[9], head[10]]) as usize;
        let mut octets = head.to_vec();
        octets.resize(11 + headers + payload + 4, 0);
        raw.read_exact(&mut octets[11..]).await.ok()?;
        Some(Frame::decode_datagram(octets.into(), usize::MAX).expect("a frame"))
    };
    within(SOON, read).await
}

pub(crate) fn headers(pairs: &[(&str, &str)]) -> Headers {
    let mut headers = Headers::new();
    for (key, value) in pairs {
        headers.push(key, value).expect("short");
    }
    headers
}

pub(crate) fn request(method: &str, id: &str, payload: impl Into<Bytes>) -> Frame {
    let pairs = [
        ("service", "test"),
        ("method", method),
        ("correlation-id", id),
    ];
    Frame::data(headers(&pairs), payload)
}

fn limited(calls_in_flight_max: usize) -> ServerConfig {
    ServerConfig {
        calls_in_flight_max,
        ..ServerConfig::default()
    }
}

async fn hello_is_answered_by_welcome_with_the_session_id(link: Link) {
    let bench = link.serve().await;
    let mut raw = bench.raw().await;
    let hello = Frame {
        headers: headers(&[("agent", "test")]),
        ..Frame::new(FrameType::Hello)
    };
    send(&mut raw, &hello).await;
    let welcome = recv(&mut raw).await.expect("an answer");
    assert_eq!(welcome.kind, FrameType::Welcome);
    let id = welcome.headers.get_str("session-id").expect("a session id");
    assert!(
        id.len() == 32 && id.bytes().all(|octet| octet.is_ascii_hexdigit()),
        "{id}"
    );
    drop(raw);
    let client = bench.client().await;
    assert!(matches!(client.dialect(), Dialect::Full(_)));
    client.close().await;
    bench.stop().await;
}

async fn ping_is_answered_by_pong_with_the_same_payload(link: Link) {
    let bench = link.serve().await;
    let mut raw = bench.raw().await;
    let ping = Frame {
        payload: "are you there".into(),
        ..Frame::new(FrameType::Ping)
    };
    send(&mut raw, &ping).await;
    let pong = recv(&mut raw).await.expect("an answer");
    assert_eq!(
        (pong.kind, &pong.payload[..]),
        (FrameType::Pong, &b"are you there"[..])
    );
    drop(raw);
    bench.stop().await;
}

async fn a_peer_without_hello_is_served(link: Link) {
    let config = ServerConfig {
        default_service: Some("test".into()),
        ..ServerConfig::default()
    };
    let bench = link.serve_with(config, Conditions::default()).await;
    let mut raw = bench.raw().await;
    // The published easy layer: JSON without a service in, JSON without headers out.
    let json = headers(&[("content-type", "application/json")]);
    send(&mut raw, &Frame::data(json.clone(), r#"{"content":"xx"}"#)).await;
    assert_eq!(
        recv(&mut raw).await,
        Some(Frame::data(Headers::new(), r#"{"content":"xx"}"#))
    );
    send(&mut raw, &Frame::data(json, "invalid json")).await;
    let refused = recv(&mut raw).await.expect("an answer");
    assert!(
        refused.payload.starts_with(b"Invalid data: "),
        "{:?}",
        refused.payload
    );
    // Its acknowledged send over TCP wants an ACK before the reply.
    let acknowledged = Frame {
        flags: Flags::REQ_ACK,
        ..Frame::data(Headers::new(), "{}")
    };
    send(&mut raw, &acknowledged).await;
    assert_eq!(
        recv(&mut raw).await.map(|frame| frame.kind),
        Some(FrameType::Ack)
    );
    assert_eq!(
        recv(&mut raw).await,
        Some(Frame::data(Headers::new(), "{}"))
    );
    // It ends with BYE and half a close.
    send(&mut raw, &Frame::new(FrameType::Bye)).await;
    raw.shutdown().await.expect("half closed");
    assert_eq!(recv(&mut raw).await, None);
    bench.stop().await;
}

async fn a_base_client_matches_answers_by_order(link: Link) {
    let config = ServerConfig {
        default_service: Some("test".into()),
        ..ServerConfig::default()
    };
    let bench = link.serve_with(config, Conditions::default()).await;
    let config = ClientConfig {
        speak: Speak::Base,
        ..ClientConfig::default()
    };
    let client = bench.client_with(config).await;
    assert_eq!(client.dialect(), Dialect::Base);
    let both = tokio::join!(unary(&client, "echo", "1"), unary(&client, "echo", "2"));
    assert_eq!(
        (both.0.expect("first"), both.1.expect("second")),
        ("1".into(), "2".into())
    );
    client.close().await;
    bench.stop().await;
}

async fn garbage_is_answered_by_err_and_the_end(link: Link) {
    let bench = link.serve().await;
    let mut raw = bench.raw().await;
    raw.write_all(b"GET / HTTP/1.1\r\nHost: postern\r\n\r\n")
        .await
        .expect("written");
    let err = recv(&mut raw).await.expect("an answer");
    assert_eq!(err.kind, FrameType::Err);
    assert!(err.headers.get_str("code").is_some(), "{:?}", err.headers);
    assert!(
        err.headers
            .get_str("reason")
            .expect("a reason")
            .contains("4745"),
        "{:?}",
        err.headers
    );
    assert_eq!(recv(&mut raw).await, None);
    assert_eq!(bench.counters.protocol_errors.value(), 1);
    // The listener is well.
    let client = bench.client().await;
    assert_eq!(unary(&client, "echo", "x").await.expect("an echo"), "x");
    client.close().await;
    bench.stop().await;
}

async fn a_damaged_frame_is_counted_as_such(link: Link) {
    let bench = link.serve().await;
    let mut raw = bench.raw().await;
    let mut octets = encode(&request("echo", "1", "x"));
    let last = octets.len() - 1;
    octets[last] ^= 1;
    raw.write_all(&octets).await.expect("written");
    assert_eq!(
        recv(&mut raw).await.map(|frame| frame.kind),
        Some(FrameType::Err)
    );
    assert_eq!(bench.counters.crc_errors.value(), 1);
    assert_eq!(bench.counters.protocol_errors.value(), 0);
    bench.stop().await;
}

async fn one_connection_over_the_limit_is_told_so(link: Link) {
    let config = ServerConfig {
        connections_max: 2,
        ..ServerConfig::default()
    };
    let bench = link.serve_with(config, Conditions::default()).await;
    let (first, second) = (bench.client().await, bench.client().await);
    // Before its handshake a connection of TLS cannot be told anything; QUIC refuses it in its own way.
    let (n_raw, told) = match link {
        Link::Tls => (0, "cannot connect to localhost ("),
        Link::Quic => (0, "the server refuses connections: too many are open"),
        Link::WebSocket => (0, "opens no WebSocket: it answers with status 503"),
        Link::SecureWebSocket => (0, "cannot connect to localhost ("),
        Link::Tcp | Link::Unix | Link::MemoryStream | Link::Udp | Link::MemoryDatagram => {
            (1, "too-many-connections")
        }
    };
    for _ in 0..n_raw {
        let mut third = bench.raw().await;
        let err = recv(&mut third).await.expect("an answer");
        assert_eq!(err.headers.get_str("code").as_deref(), Some(told));
        assert_eq!(recv(&mut third).await, None);
    }
    let refused = Client::connect(bench.target.clone(), ClientConfig::default()).await;
    let error = refused.expect_err("over the limit");
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(error.message.contains(told), "{}", error.message);
    assert_eq!(bench.counters.connections_refused.value(), n_raw + 1);
    first.close().await;
    // Its place is free again once the server has seen it go.
    within(SOON, async {
        while bench.counters.connections_open() > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let fourth = bench.client().await;
    assert_eq!(unary(&fourth, "echo", "x").await.expect("an echo"), "x");
    second.close().await;
    fourth.close().await;
    bench.stop().await;
}

async fn draining_finishes_what_is_in_flight_and_takes_nothing_new(link: Link) {
    let bench = link.serve().await;
    let client = bench.client().await;
    let slow = unary(&client, "sleep", "300");
    let drain = async {
        while bench.service.n_calls.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bench.shutdown.drain();
        tokio::time::sleep(Duration::from_millis(50)).await;
        Client::connect(bench.target.clone(), ClientConfig::default()).await
    };
    let (answer, late) = tokio::join!(slow, drain);
    assert_eq!(answer.expect("what was in flight is answered"), "300");
    assert_eq!(late.expect_err("nobody listens").kind, Kind::Unavailable);
    let error = unary(&client, "echo", "x")
        .await
        .expect_err("the session has ended");
    assert_eq!(error.kind, Kind::Unavailable);
    bench.stop().await;
}

async fn draining_is_bounded(link: Link) {
    let drain_timeout = Duration::from_millis(100);
    let config = ServerConfig {
        drain_timeout,
        ..ServerConfig::default()
    };
    let bench = link.serve_with(config, Conditions::default()).await;
    let client = bench.client().await;
    let never = client.call(Call::unary("test", "never", ""));
    let drain = async {
        while bench.service.n_calls.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bench.shutdown.drain();
    };
    let (error, ()) = within(SOON, async { tokio::join!(never, drain) }).await;
    assert_eq!(error.expect_err("cut").kind, Kind::Unavailable);
    within(Duration::from_secs(1), bench.stop()).await;
}

async fn the_end_cuts_at_once(link: Link) {
    let bench = link.serve().await;
    let client = bench.client().await;
    let never = client.call(Call::unary("test", "never", ""));
    let end = async {
        while bench.service.n_calls.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bench.shutdown.end();
    };
    let (error, ()) = within(SOON, async { tokio::join!(never, end) }).await;
    assert_eq!(error.expect_err("cut").kind, Kind::Unavailable);
    assert_eq!(bench.service.n_cancelled.load(Ordering::SeqCst), 1);
    within(Duration::from_secs(1), bench.stop()).await;
}

async fn a_peer_that_vanishes_cancels_its_calls(link: Link) {
    let bench = link.serve().await;
    let client = bench.client().await;
    let never = tokio::spawn(client.call(Call::unary("test", "never", "")));
    within(SOON, async {
        while bench.service.n_calls.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        never.abort();
        // The last handle: its connection is dropped without BYE.
        drop(client);
        while bench.service.n_cancelled.load(Ordering::SeqCst) == 0
            || bench.counters.connections_open() > 0
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    bench.stop().await;
}

async fn a_lost_session_fails_calls_with_the_address(link: Link) {
    let bench = link.serve().await;
    let client = bench.client().await;
    let address = client.destination().to_string();
    bench.shutdown.end();
    let error = within(SOON, async {
        loop {
            if let Err(error) = unary(&client, "echo", "x").await {
                break error;
            }
        }
    })
    .await;
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(error.message.contains(&address), "{}", error.message);
    bench.stop().await;
}

async fn calls_over_the_limit_wait_their_turn(link: Link) {
    let bench = link.serve_with(limited(2), Conditions::default()).await;
    let mut raw = bench.raw().await;
    for id in ["1", "2", "3", "4", "5"] {
        send(&mut raw, &request("sleep", id, "100")).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(bench.service.n_calls.load(Ordering::SeqCst), 2);
    for _ in 0..5 {
        let answer = recv(&mut raw).await.expect("an answer");
        assert_eq!(answer.headers.get_str("status").as_deref(), Some("success"));
    }
    drop(raw);
    bench.stop().await;
}

async fn many_frames_in_one_write_are_all_answered(link: Link) {
    let bench = link.serve().await;
    let mut raw = bench.raw().await;
    let mut octets = BytesMut::new();
    for n in 0..1000 {
        octets.extend_from_slice(&encode(&request("echo", &n.to_string(), n.to_string())));
    }
    raw.write_all(&octets).await.expect("written");
    for n in 0..1000 {
        let answer = recv(&mut raw).await.expect("an answer");
        assert_eq!(answer.payload, n.to_string());
    }
    // The request that opens a WebSocket, and the heads of its frames, come on top.
    let is_websocket = matches!(link, Link::WebSocket | Link::SecureWebSocket);
    let n_frames = 1000 + u64::from(is_websocket);
    assert_eq!(bench.counters.frames_in.value(), n_frames);
    assert_eq!(bench.counters.frames_out.value(), n_frames);
    let n_more = bench.counters.bytes_in.value() - octets.len() as u64;
    assert_eq!(n_more > 0, is_websocket, "{n_more} octets more");
    drop(raw);
    bench.stop().await;
}
