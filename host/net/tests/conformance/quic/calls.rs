//! Streaming calls have streams of their own, and no call waits for another.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::{FutureExt, future::join_all, stream};
use postern_core::{
    Body, BodyStream, Call, Handler, Kind,
    limits::Limits,
    wire::{Frame, SessionConfig},
};
use postern_net::{Client, ClientConfig, QuicConfig, ServerConfig, Target};
use quinn::{TransportConfig, VarInt};

use super::{QuicBench, RawCall, recv_frame, text, until};
use crate::{
    links::{unary, within},
    server::quic::dialer,
    sessions::{SOON, headers, send},
};

const MIB: usize = 1024 * 1024;

/// Items of 16 KiB, `n_items` of them.
fn items(method: &str, n_items: usize) -> Call {
    let items = (0..n_items).map(|n| Ok(Bytes::from(vec![n as u8; 16 * 1024])));
    Call {
        body: Body::Messages(BodyStream::new(stream::iter(items.collect::<Vec<_>>()))),
        ..Call::unary("test", method.to_owned(), "")
    }
}

async fn reply(client: &Client, call: Call) -> BodyStream {
    match within(SOON, client.call(call)).await.expect("a reply").body {
        Body::Messages(stream) => stream,
        body @ (Body::Empty | Body::One(_) | Body::Octets(_)) => panic!("{body:?}"),
    }
}

#[tokio::test]
async fn one_message_of_64_mib_arrives_as_it_was_sent() {
    let limits = Limits {
        frame_bytes_max: 65 * MIB,
        message_bytes_max: 65 * MIB,
        queue_bytes_max: 256 * MIB,
        ..Limits::default()
    };
    let session = SessionConfig {
        limits,
        ..SessionConfig::default()
    };
    let config = ServerConfig {
        session: session.clone(),
        held_bytes_max: 512 * MIB,
        ..ServerConfig::default()
    };
    let bench = QuicBench::serve_with(config, QuicConfig::listener());
    let config = ClientConfig {
        session,
        ..ClientConfig::default()
    };
    let target = Target::quic(dialer(), bench.address);
    let client = Client::connect(target, config).await.expect("up");
    let sent = Bytes::from_iter((0..64 * MIB).map(|n| (n % 251) as u8));
    let echoed = unary(&client, "echo", sent.clone()).await.expect("an echo");
    assert!(echoed == sent, "{} octets differ", echoed.len());
    client.close().await;
    bench.stop().await;
}

#[tokio::test]
async fn a_call_that_is_not_read_leaves_ninety_nine_others() {
    let bench = QuicBench::serve();
    let client = bench.client().await;
    let mut unread = reply(&client, items("endless", 0)).await;
    let others = (0..99).map(|_| {
        let client = client.clone();
        tokio::spawn(async move {
            // More than a window in each direction.
            let mut echoed = reply(&client, items("stream-echo", 24)).await;
            let mut n_items = 0;
            while let Some(item) = within(SOON, echoed.next()).await {
                assert_eq!(item.expect("a message"), vec![n_items as u8; 16 * 1024]);
                n_items += 1;
            }
            n_items
        })
    });
    for n_items in join_all(others).await {
        assert_eq!(n_items.expect("no panic"), 24);
    }
    assert!(unread.next().await.expect("open").is_ok(), "it goes on");
    drop(unread);
    client.close().await;
    bench.stop().await;
}

/// The peer reads nothing of the stream: what is on its way fills the stream's window.
#[tokio::test]
async fn a_stream_that_is_not_read_leaves_ninety_nine_others() {
    let bench = QuicBench::serve();
    let mut transport = TransportConfig::default();
    transport.stream_receive_window(VarInt::from_u32(64 * 1024));
    let peer = bench.peer_with(transport).await;
    let unread = peer.call("unread", "endless", 1 << 30).await;
    // As much as the window of the stream holds.
    until(|| bench.service.n_made.load(Ordering::SeqCst) >= 60).await;
    let n_made = bench.service.n_made.load(Ordering::SeqCst);
    for n in 0..99 {
        let id = n.to_string();
        let mut call = peer.call(&id, "stream-echo", 1).await;
        for item in 0..40 {
            call.item(&id, vec![item; 1024]).await;
        }
        call.end(&id).await;
        let frames = call.all().await;
        let items = frames
            .iter()
            .filter(|frame| text(frame, "stream") == "item");
        assert_eq!(items.count(), 40);
        assert_eq!(text(&frames[frames.len() - 1], "status"), "success");
    }
    let n_more = bench.service.n_made.load(Ordering::SeqCst) - n_made;
    assert!(n_more < 100, "{n_more} KiB were made for who reads nothing");
    drop(unread);
    until(|| bench.service.n_dropped.load(Ordering::SeqCst) == 1).await;
    bench.end().await;
}

#[tokio::test]
async fn a_peer_has_so_many_streams_and_the_next_call_is_refused_by_name() {
    const N_STREAMS: usize = 256;
    let bench = QuicBench::serve();
    let mut peer = bench.peer().await;
    let mut calls = Vec::new();
    for n in 0..N_STREAMS {
        calls.push(peer.call(&n.to_string(), "never", 1).await);
    }
    until(|| bench.n_calls() == N_STREAMS).await;
    let opened = peer.connection.open_bi().now_or_never();
    assert!(opened.is_none(), "one more than was granted");
    // On the session's stream it is one call too many.
    let pairs = [
        ("service", "test"),
        ("method", "never"),
        ("correlation-id", "more"),
        ("stream", "open"),
    ];
    let open = Frame::data(headers(&pairs), "");
    send(&mut peer.session, &open).await;
    let refused = recv_frame(&mut peer.session).await;
    assert_eq!(text(&refused, "status"), "resource-exhausted");
    // Those that are over make room for others, which quinn tells in steps of an eighth.
    let n_over = N_STREAMS / 4;
    for call in &mut calls[..n_over] {
        call.send.reset(VarInt::from_u32(0x101)).expect("open");
    }
    until(|| bench.n_cancelled() == n_over).await;
    let call = peer.call("another", "many", 1).await.all().await;
    assert_eq!(text(&call[call.len() - 1], "status"), "success");
    drop(calls);
    bench.end().await;
}

#[tokio::test]
async fn a_unary_call_is_answered_on_a_stream_that_the_server_opens() {
    let bench = QuicBench::serve();
    let mut peer = bench.peer().await;
    let pairs = [
        ("service", "test"),
        ("method", "many"),
        ("correlation-id", "7"),
        (":reply", "stream"),
    ];
    let request = Frame::data(headers(&pairs), "");
    send(&mut peer.session, &request).await;
    let accepted = within(SOON, peer.connection.accept_bi()).await;
    let (send, recv) = accepted.expect("a stream");
    let mut call = RawCall { send, recv };
    let frames = call.all().await;
    let kinds: Vec<_> = frames.iter().map(|frame| text(frame, "stream")).collect();
    assert_eq!(kinds, ["open", "item", "item", "end"]);
    assert_eq!(peer.echo("x").await, "x");
    bench.end().await;
}

#[tokio::test]
async fn a_deadline_that_passes_ends_one_call_on_its_stream() {
    let bench = QuicBench::serve();
    let client = bench.client().await;
    let mut call = items("never", 0);
    let now = tokio::time::Instant::now().into_std();
    call.context.deadline = Some(now + std::time::Duration::from_millis(100));
    let error = within(SOON, client.call(call)).await.expect_err("too slow");
    assert_eq!(error.kind, Kind::DeadlineExceeded);
    until(|| bench.n_cancelled() == 1).await;
    assert_eq!(unary(&client, "echo", "x").await.expect("an echo"), "x");
    client.close().await;
    bench.stop().await;
}
