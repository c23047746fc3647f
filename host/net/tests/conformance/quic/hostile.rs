//! Peers that misuse the streams of calls: each is bounded and told, and costs its own call only.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use postern_core::{
    limits::Limits,
    wire::{Frame, FrameType, SessionConfig},
};
use postern_net::{ByteBudget, QuicConfig, ServerConfig};
use quinn::{ReadError, TransportConfig, VarInt, WriteError};

use super::{QuicBench, RawCall, RawPeer, text, until};
use crate::{
    links::within,
    sessions::{SOON, encode, headers},
};

/// `invalid-argument`, as codes of streams have it.
const INVALID_ARGUMENT: VarInt = VarInt::from_u32(0x103);
const RESOURCE_EXHAUSTED: VarInt = VarInt::from_u32(0x108);

/// How a stream ended on which the server answered nothing.
async fn refusal(mut call: RawCall) -> (Option<VarInt>, ReadError) {
    let stopped = within(SOON, call.send.stopped()).await.expect("connected");
    let mut octets = [0; 1];
    let read = within(SOON, call.recv.read(&mut octets)).await;
    (stopped, read.expect_err("an error"))
}

/// A stream that begins with `octets`.
async fn begun(peer: &RawPeer, octets: &[u8]) -> RawCall {
    let mut call = peer.stream().await;
    call.send.write_all(octets).await.expect("written");
    call
}

#[tokio::test]
async fn what_opens_no_call_is_refused_with_its_code() {
    let bench = QuicBench::serve();
    let mut peer = bench.peer().await;
    let item = headers(&[("correlation-id", "1"), ("stream", "item")]);
    let unnamed = headers(&[("service", "test"), ("stream", "open")]);
    let firsts = [
        Bytes::from_static(b"GET / HTTP/1.1\r\nHost: postern\r\n\r\n"),
        encode(&Frame::new(FrameType::Ping)).freeze(),
        encode(&Frame::data(item, "1")).freeze(),
        encode(&Frame::data(unnamed, "")).freeze(),
        encode(&crate::sessions::request("echo", "1", "x")).freeze(),
    ];
    let n_firsts = firsts.len() as u64;
    for first in firsts {
        let refused = refusal(begun(&peer, &first).await).await;
        let expected = (Some(INVALID_ARGUMENT), ReadError::Reset(INVALID_ARGUMENT));
        assert_eq!(refused, expected, "{}", first.escape_ascii());
    }
    assert_eq!(bench.counters.protocol_errors.value(), n_firsts);
    assert_eq!((bench.n_calls(), &*peer.echo("x").await), (0, "x"));
    bench.end().await;
}

#[tokio::test]
async fn a_call_of_an_id_that_has_a_stream_is_refused_and_the_first_goes_on() {
    let bench = QuicBench::serve();
    let peer = bench.peer().await;
    let mut first = peer.call("1", "stream-echo", 1).await;
    first.item("1", "a").await;
    until(|| bench.n_calls() == 1).await;
    let second = peer.call("1", "stream-echo", 1).await;
    let expected = (Some(INVALID_ARGUMENT), ReadError::Reset(INVALID_ARGUMENT));
    assert_eq!(refusal(second).await, expected);
    first.item("1", "b").await;
    first.end("1").await;
    let frames = first.all().await;
    let items = frames
        .iter()
        .filter(|frame| text(frame, "stream") == "item");
    let items: Vec<_> = items.map(|frame| frame.payload.clone()).collect();
    assert_eq!(items, ["a", "b"]);
    bench.end().await;
}

/// What the server answers on a stream that broke the rules after its call began: why, by name.
async fn broken_by(octets: &[u8]) -> (String, String, Option<VarInt>) {
    let bench = QuicBench::serve();
    let mut peer = bench.peer().await;
    let mut call = peer.call("1", "never", 1).await;
    until(|| bench.n_calls() == 1).await;
    call.send.write_all(octets).await.expect("written");
    let frames = call.all().await;
    let last = frames.last().expect("a word");
    let stopped = within(SOON, call.send.stopped()).await.expect("connected");
    assert_eq!(bench.n_cancelled(), 1);
    assert_eq!(peer.echo("x").await, "x");
    let told = (text(last, "stream"), text(last, "status"), stopped);
    drop(peer);
    bench.end().await;
    told
}

#[tokio::test]
async fn garbage_within_a_call_resets_that_call_by_name() {
    let reset = |status: &str, code| ("reset".to_owned(), status.to_owned(), Some(code));
    let invalid = reset("invalid-argument", INVALID_ARGUMENT);
    assert_eq!(broken_by(&[0; 64]).await, invalid);
    let other = headers(&[("correlation-id", "2"), ("stream", "item")]);
    assert_eq!(broken_by(&encode(&Frame::data(other, "1"))).await, invalid);
    assert_eq!(
        broken_by(&encode(&Frame::new(FrameType::Bye))).await,
        invalid
    );
}

#[tokio::test]
async fn a_stream_that_is_reset_cancels_its_call() {
    let bench = QuicBench::serve();
    let mut peer = bench.peer().await;
    let mut call = peer.call("1", "never", 1).await;
    until(|| bench.n_calls() == 1).await;
    call.send.reset(VarInt::from_u32(0x101)).expect("open");
    until(|| bench.n_cancelled() == 1).await;
    let frames = call.all().await;
    assert_eq!(text(&frames[frames.len() - 1], "status"), "cancelled");
    assert_eq!(peer.echo("x").await, "x");
    bench.end().await;
}

#[tokio::test]
async fn a_stream_that_is_stopped_ends_its_reply() {
    let bench = QuicBench::serve();
    let mut peer = bench.peer().await;
    let mut call = peer.call("1", "endless", 1 << 30).await;
    until(|| bench.service.n_made.load(Ordering::SeqCst) > 0).await;
    call.recv.stop(VarInt::from_u32(0x101)).expect("open");
    until(|| bench.service.n_dropped.load(Ordering::SeqCst) == 1).await;
    assert_eq!(peer.echo("x").await, "x");
    bench.end().await;
}

#[tokio::test]
async fn who_takes_nothing_of_a_stream_loses_that_call_as_a_slow_reader() {
    let write_timeout = Duration::from_millis(300);
    let config = ServerConfig {
        write_timeout,
        ..ServerConfig::default()
    };
    let bench = QuicBench::serve_with(config, QuicConfig::listener());
    let mut transport = TransportConfig::default();
    transport.stream_receive_window(VarInt::from_u32(4 * 1024));
    let mut peer = bench.peer_with(transport).await;
    let mut call = peer.call("1", "endless", 1 << 30).await;
    until(|| bench.counters.slow_readers.value() == 1).await;
    until(|| bench.service.n_dropped.load(Ordering::SeqCst) == 1).await;
    let read = within(SOON, call.recv.read_to_end(64 * 1024)).await;
    let expected = ReadError::Reset(RESOURCE_EXHAUSTED);
    assert_eq!(read, Err(quinn::ReadToEndError::Read(expected)));
    // The session, which is read, goes on.
    assert_eq!(peer.echo("x").await, "x");
    assert_eq!(bench.counters.slow_readers.value(), 1);
    bench.end().await;
}

#[tokio::test]
async fn frames_that_do_not_end_are_bounded_and_given_up() {
    const SHARE: usize = 1024 * 1024;
    let bytes = std::sync::Arc::new(ByteBudget::unlimited());
    let session = SessionConfig {
        limits: Limits {
            fragment_age_max: Duration::from_millis(300),
            ..Limits::default()
        },
        ..SessionConfig::default()
    };
    let config = ServerConfig {
        session,
        bytes: std::sync::Arc::clone(&bytes),
        held_bytes_max: SHARE,
        ..ServerConfig::default()
    };
    let bench = QuicBench::serve_with(config, QuicConfig::listener());
    let mut peer = bench.peer().await;
    let item = headers(&[("correlation-id", "1"), ("stream", "item")]);
    let item = encode(&Frame::data(item, vec![7; 4 * SHARE]));
    // A part of a frame that is not followed by the rest of it.
    let mut waits = peer.call("waits", "never", 1).await;
    until(|| bench.n_calls() == 1).await;
    waits.send.write_all(&item[..100]).await.expect("written");
    let frames = waits.all().await;
    assert_eq!(
        text(&frames[frames.len() - 1], "status"),
        "resource-exhausted"
    );
    // One that is larger than all that the peer may make the gateway hold.
    let mut large = peer.call("1", "never", 1).await;
    let written = within(SOON, large.send.write_all(&item)).await;
    assert_eq!(written, Err(WriteError::Stopped(RESOURCE_EXHAUSTED)));
    let frames = large.all().await;
    assert_eq!(
        text(&frames[frames.len() - 1], "status"),
        "resource-exhausted"
    );
    assert!(bytes.n_refused() > 0 && bytes.held() <= SHARE);
    assert_eq!(peer.echo("x").await, "x");
    until(|| bytes.held() == 0).await;
    bench.end().await;
}

#[tokio::test]
async fn a_body_whose_stream_ends_before_it_breaks_off() {
    let bench = QuicBench::serve();
    let peer = bench.peer().await;
    let mut call = peer.call("1", "sum", 1).await;
    call.item("1", "1").await;
    call.send.finish().expect("open");
    let frames = call.all().await;
    assert_eq!(text(&frames[frames.len() - 1], "status"), "unavailable");
    // One that has ended in order gets its reply.
    let mut call = peer.call("2", "sum", 1).await;
    call.item("2", "1").await;
    call.end("2").await;
    call.send.finish().expect("open");
    let frames = call.all().await;
    assert_eq!(text(&frames[frames.len() - 1], "status"), "success");
    bench.end().await;
}

#[tokio::test]
async fn a_peer_that_has_not_greeted_has_no_calls_on_streams() {
    let bench = QuicBench::serve();
    let connection = super::connect(bench.address, TransportConfig::default()).await;
    let (mut send, mut recv) = connection.open_bi().await.expect("a stream");
    let ping = Frame {
        payload: "first".into(),
        ..Frame::new(FrameType::Ping)
    };
    send.write_all(&encode(&ping)).await.expect("written");
    let session: crate::links::RawStream = Box::new(tokio::io::empty());
    let peer = RawPeer {
        connection,
        session,
    };
    let _call = peer.call("1", "many", 1).await;
    // Answered after the call came, which the answer's acknowledgement does not tell of: asked again.
    for _ in 0..10 {
        let mut pong = vec![0; encode(&ping).len()];
        within(SOON, recv.read_exact(&mut pong))
            .await
            .expect("an answer");
        send.write_all(&encode(&ping)).await.expect("written");
    }
    assert_eq!(bench.n_calls(), 0);
    bench.end().await;
}
