//! What peers make a server hold: requests in flight, replies that are not taken or acknowledged,
//! items of streams.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use postern_core::{
    Body, BodyStream, Call, Error, Handler, Kind, Retry,
    wire::{Frame, FrameType, RetryConfig},
};
use postern_net::{ByteBudget, Client, ServerConfig, memory::Conditions};

use crate::{
    datagrams::{RawSocket, until},
    links::{Bench, Link, RawStream, unary, within},
    sessions::{SOON, headers, recv, send},
};

macro_rules! each_of {
    ($($module:ident = $link:ident: $($name:ident),+;)+) => {
        $(mod $module {
            $(#[tokio::test] async fn $name() { super::$name(super::Link::$link).await; })+
        })+
    };
}

each_of! {
    tcp = Tcp: items_without_room_end_their_stream_only, items_are_counted_when_they_are_queued,
        items_that_nobody_reads_are_bounded, bodies_that_are_collected_are_bounded;
    quic = Quic: items_without_room_end_their_stream_only, items_are_counted_when_they_are_queued,
        items_that_nobody_reads_are_bounded, bodies_that_are_collected_are_bounded;
    ws = WebSocket: items_without_room_end_their_stream_only,
        items_are_counted_when_they_are_queued, items_that_nobody_reads_are_bounded,
        bodies_that_are_collected_are_bounded;
    memory_stream = MemoryStream: items_without_room_end_their_stream_only,
        items_are_counted_when_they_are_queued, items_that_nobody_reads_are_bounded,
        bodies_that_are_collected_are_bounded;
    udp = Udp: requests_in_flight_of_a_peer_are_bounded, requests_of_all_peers_are_bounded,
        replies_that_are_not_acknowledged_are_bounded;
    memory_datagram = MemoryDatagram: requests_in_flight_of_a_peer_are_bounded,
        requests_of_all_peers_are_bounded, replies_that_are_not_acknowledged_are_bounded;
}

const KIB: usize = 1024;

async fn serve(link: Link, bytes: &Arc<ByteBudget>, held_bytes_max: usize) -> Bench {
    let config = ServerConfig {
        bytes: Arc::clone(bytes),
        held_bytes_max,
        // A reply that nobody acknowledges is given up after 2.1 s.
        retry: RetryConfig {
            max_retries: 1,
            retry_delay: Duration::from_millis(100),
            ack_timeout: Duration::from_secs(1),
            ..RetryConfig::default()
        },
        ..ServerConfig::default()
    };
    link.serve_with(config, Conditions::default()).await
}

/// Makes `n_calls` calls of `n_bytes` each that are never answered; those that are refused tell how.
async fn refused(
    client: &Client,
    n_calls: usize,
    n_bytes: usize,
    n_refused: usize,
) -> Vec<Refused> {
    let (told, mut refusals) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..n_calls {
        let (client, told) = (client.clone(), told.clone());
        tokio::spawn(async move {
            let call = Call::unary("test", "never", vec![7; n_bytes]);
            if let Err(error) = client.call(call).await {
                // Of those that are cut at the end nobody wants to know.
                let _ = told.send((error.kind, error.retry));
            }
        });
    }
    let mut refused = Vec::new();
    while refused.len() < n_refused {
        refused.extend(within(SOON, refusals.recv()).await);
    }
    refused
}

type Refused = (Kind, Retry);

const LATER: Retry = Retry::After(Duration::from_secs(1));

async fn requests_in_flight_of_a_peer_are_bounded(link: Link) {
    let bytes = Arc::new(ByteBudget::unlimited());
    let bench = serve(link, &bytes, 256 * KIB).await;
    let client = bench.client().await;
    let refused = refused(&client, 10, 100 * KIB, 8).await;
    assert_eq!(refused, [(Kind::ResourceExhausted, LATER); 8]);
    assert!(
        bytes.held() > 100 * KIB && bytes.held() <= 256 * KIB,
        "{} held",
        bytes.held()
    );
    // Short calls of the same peer, and others, need no room.
    assert_eq!(unary(&client, "echo", "x").await.expect("an echo"), "x");
    let other = bench.client().await;
    let large = Bytes::from(vec![7; 100 * KIB]);
    let reply = unary(&other, "echo", large.clone()).await;
    assert_eq!(reply.expect("an echo"), large);
    other.close().await;
    bench.shutdown.end();
    bench.stop().await;
    until(|| bytes.held() == 0).await;
}

async fn requests_of_all_peers_are_bounded(link: Link) {
    let bytes = Arc::new(ByteBudget::new(256 * KIB));
    let bench = serve(link, &bytes, 32 * KIB * KIB).await;
    let (first, second) = (bench.client().await, bench.client().await);
    let unavailable = (Kind::Unavailable, LATER);
    // The first 16 KiB of each are not counted, so that a third of 100 KiB has no room.
    assert_eq!(refused(&first, 4, 100 * KIB, 2).await, [unavailable; 2]);
    assert_eq!(refused(&second, 1, 100 * KIB, 1).await, [unavailable]);
    assert_eq!(unary(&second, "echo", "x").await.expect("an echo"), "x");
    bench.shutdown.end();
    bench.stop().await;
    until(|| bytes.held() == 0).await;
}

async fn replies_that_are_not_acknowledged_are_bounded(link: Link) {
    const SHARE: usize = 2 * KIB * KIB;
    let bytes = Arc::new(ByteBudget::unlimited());
    let bench = serve(link, &bytes, SHARE).await;
    let mut raw = RawSocket::of(&bench);
    let hello = Frame {
        headers: headers(&[("agent", "test"), ("features", "wide")]),
        ..Frame::new(FrameType::Hello)
    };
    raw.send_frame(&hello).await;
    let welcome = raw.recv().await;
    let id = welcome.headers.get_str("session-id").expect("an id");
    for correlation in 0..8 {
        let correlation = correlation.to_string();
        let request = headers(&[
            ("service", "test"),
            ("method", "large"),
            ("correlation-id", &correlation),
            // Large replies go to addresses that are no forgery.
            ("session-id", &id),
        ]);
        raw.send_frame(&Frame::data(request, "")).await;
    }
    // Three of half a MiB and a little fit; nothing is acknowledged.
    until(|| bytes.n_refused() >= 5).await;
    assert!(bytes.held() <= SHARE, "{} held", bytes.held());
    // They are given up, and with them what they hold.
    until(|| bytes.held() == 0).await;
    assert_eq!(bytes.n_refused(), 5);
    bench.shutdown.end();
    bench.stop().await;
}

/// Opens stream `id` of `method` and grants the server `credit` beside what it has at first.
async fn open(raw: &mut RawStream, id: &str, method: &str, credit: &str) {
    let pairs = [
        ("service", "test"),
        ("method", method),
        ("correlation-id", id),
        ("stream", "open"),
        ("credit", credit),
    ];
    send(raw, &Frame::data(headers(&pairs), "")).await;
}

async fn greeted(bench: &Bench) -> RawStream {
    let mut raw = bench.raw().await;
    let hello = Frame {
        headers: headers(&[("agent", "test"), ("features", "mux")]),
        ..Frame::new(FrameType::Hello)
    };
    send(&mut raw, &hello).await;
    let welcome = recv(&mut raw).await.expect("an answer");
    assert_eq!(welcome.kind, FrameType::Welcome);
    raw
}

/// The reason why stream `id` was over, and whether by a reset.
async fn ending(raw: &mut RawStream, id: &str) -> (String, String) {
    loop {
        let frame = within(SOON, recv(raw)).await.expect("the session goes on");
        let text = |key: &str| frame.headers.get_str(key).map(|value| value.into_owned());
        let stream = text("stream").unwrap_or_default();
        if text("correlation-id").as_deref() == Some(id) && (stream == "end" || stream == "reset") {
            return (stream, text("status").unwrap_or_default());
        }
    }
}

async fn items_are_counted_when_they_are_queued(link: Link) {
    const CREDIT: usize = 32 * KIB * KIB;
    let bytes = Arc::new(ByteBudget::unlimited());
    let bench = serve(link, &bytes, CREDIT).await;
    let mut raw = greeted(&bench).await;
    open(&mut raw, "1", "endless", &CREDIT.to_string()).await;
    until(|| bytes.held() > KIB * KIB / 2).await;
    // The peer reads nothing: what is made is what the kernel takes and a MiB, not what it has credit
    // for.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let n_made = bench.service.n_made.load(Ordering::SeqCst);
    assert!(n_made * KIB < CREDIT / 2, "{n_made} items made");
    drop(raw);
    bench.shutdown.end();
    bench.stop().await;
    until(|| bytes.held() == 0).await;
}

async fn items_without_room_end_their_stream_only(link: Link) {
    const SHARE: usize = 512 * KIB;
    let bytes = Arc::new(ByteBudget::unlimited());
    let bench = serve(link, &bytes, SHARE).await;
    let mut raw = greeted(&bench).await;
    open(&mut raw, "1", "endless", &(64 * KIB * KIB).to_string()).await;
    until(|| bytes.n_refused() > 0).await;
    assert!(bytes.held() <= SHARE, "{} held", bytes.held());
    let (stream, status) = ending(&mut raw, "1").await;
    assert_eq!((&*stream, &*status), ("end", "resource-exhausted"));
    // The others, and what comes next, go on.
    open(&mut raw, "2", "many", "1").await;
    let (stream, status) = ending(&mut raw, "2").await;
    assert_eq!((&*stream, &*status), ("end", "success"));
    drop(raw);
    bench.shutdown.end();
    bench.stop().await;
    until(|| bytes.held() == 0).await;
}

async fn items_that_nobody_reads_are_bounded(link: Link) {
    const SHARE: usize = KIB * KIB;
    const N_STREAMS: usize = 40;
    let bytes = Arc::new(ByteBudget::unlimited());
    let bench = serve(link, &bytes, SHARE).await;
    let mut raw = greeted(&bench).await;
    // Within the window of each, and 2,400 KiB in all.
    for id in 0..N_STREAMS {
        let id = id.to_string();
        open(&mut raw, &id, "never", "1").await;
        let item = headers(&[("correlation-id", &id), ("stream", "item")]);
        send(&mut raw, &Frame::data(item, vec![7; 60 * KIB])).await;
    }
    let last = (N_STREAMS - 1).to_string();
    let (stream, status) = ending(&mut raw, &last).await;
    assert_eq!((&*stream, &*status), ("reset", "resource-exhausted"));
    assert!(bytes.held() <= SHARE, "{} held", bytes.held());
    assert!(bytes.n_refused() < N_STREAMS as u64 * 2 / 3);
    // What its reader leaves unread counts no more when the call is over.
    drop(raw);
    until(|| bytes.held() == 0).await;
    bench.stop().await;
}

/// The length of a body of `n_pieces` of 64 KiB, as told by whoever has collected it.
async fn collected(client: &Client, n_pieces: usize) -> Result<Bytes, Error> {
    let pieces = (0..n_pieces).map(|_| Ok(Bytes::from(vec![7; 64 * KIB])));
    let body = BodyStream::new(futures_util::stream::iter(pieces));
    let mut call = Call::unary("test", "length", "");
    call.body = Body::Octets(body);
    within(SOON, client.call(call))
        .await?
        .body
        .into_one(KIB)
        .await
}

async fn bodies_that_are_collected_are_bounded(link: Link) {
    let bytes = Arc::new(ByteBudget::unlimited());
    let bench = serve(link, &bytes, KIB * KIB).await;
    let client = bench.client().await;
    // More than requests may hold before no more are read, and within the share.
    let length = (12 * 64 * KIB).to_string();
    assert_eq!(collected(&client, 12).await.expect("a length"), length);
    let error = collected(&client, 20).await.expect_err("over the share");
    assert_eq!((error.kind, error.retry), (Kind::ResourceExhausted, LATER));
    // What was collected counts no more when its call is over.
    assert_eq!(collected(&client, 12).await.expect("a length"), length);
    client.close().await;
    bench.stop().await;
    until(|| bytes.held() == 0).await;
}
