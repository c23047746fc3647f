//! Peers that send much at once, read slowly, close one side, or have only the order of replies to go
//! by. Stream links.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use postern_core::{
    limits::Limits,
    wire::{Frame, FrameType, SessionConfig},
};
use postern_net::{ByteBudget, ClientConfig, ServerConfig, memory::Conditions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    links::{Link, RawStream, unary, within},
    sessions::{SOON, encode, headers, recv, request, send},
};

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
    twenty_thousand_calls_at_once_are_all_answered,
    twenty_thousand_pings_at_once_are_all_answered,
    large_calls_at_once_are_all_answered_in_both_directions,
    who_takes_nothing_for_the_write_timeout_is_a_slow_reader,
    replies_without_correlation_id_keep_the_order_of_requests,
    unfinished_frames_are_bounded_in_all,
    a_frame_whose_rest_does_not_come_is_given_up,
    replies_that_are_not_taken_are_bounded,
);

/// Once per link whose two directions are closed one by one; a WebSocket's end together.
macro_rules! each_half_closing_link {
    ($($name:ident),+ $(,)?) => {
        mod half_closed_tcp { $(#[tokio::test] async fn $name() { super::$name(super::Link::Tcp).await; })+ }
        mod half_closed_quic { $(#[tokio::test] async fn $name() { super::$name(super::Link::Quic).await; })+ }
        mod half_closed_tls { $(#[tokio::test] async fn $name() { super::$name(super::Link::Tls).await; })+ }
        mod half_closed_memory { $(#[tokio::test] async fn $name() { super::$name(super::Link::MemoryStream).await; })+ }
    };
}

each_half_closing_link!(
    a_base_peer_that_closes_its_side_gets_its_reply,
    a_full_peer_that_closes_its_side_gets_its_reply,
    a_stream_breaks_off_when_its_sender_closes_its_side,
);

/// More than any queue on the way holds.
const N_AT_ONCE: usize = 20_000;
/// For what takes many round trips on a loaded machine.
const LONG: Duration = Duration::from_secs(60);

fn with_session(session: SessionConfig) -> ServerConfig {
    ServerConfig {
        session,
        ..ServerConfig::default()
    }
}

/// Writes `frames` as fast as the server takes them and reads answers all the while.
async fn write_and_read(raw: RawStream, frames: Bytes, n_answers: usize) -> Vec<Frame> {
    let (mut reader, mut writer) = tokio::io::split(raw);
    let writing = async {
        writer.write_all(&frames).await.expect("written");
        // Keeps the sending side open.
        writer
    };
    let reading = async {
        let mut answers = Vec::with_capacity(n_answers);
        let mut decoder = postern_core::wire::Decoder::new(usize::MAX);
        let mut input = BytesMut::new();
        while answers.len() < n_answers {
            while let Some(frame) = decoder.decode(&mut input).expect("whole frames") {
                answers.push(frame);
            }
            if answers.len() < n_answers && reader.read_buf(&mut input).await.expect("open") == 0 {
                break;
            }
        }
        answers
    };
    within(LONG, async { tokio::join!(writing, reading) })
        .await
        .1
}

async fn twenty_thousand_calls_at_once_are_all_answered(link: Link) {
    let bench = link.serve().await;
    let mut octets = BytesMut::new();
    for n in 0..N_AT_ONCE {
        octets.extend_from_slice(&encode(&request("echo", &n.to_string(), n.to_string())));
    }
    let begin = Instant::now();
    let answers = write_and_read(bench.raw().await, octets.freeze(), N_AT_ONCE).await;
    crate::figure(&format!(
        "{N_AT_ONCE} calls at once, {link:?}: {:?}",
        begin.elapsed()
    ));
    assert_eq!(answers.len(), N_AT_ONCE, "{:?}", answers.last());
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(answer.payload, n.to_string());
    }
    assert_eq!(bench.counters.slow_readers.value(), 0);
    bench.stop().await;
}

async fn twenty_thousand_pings_at_once_are_all_answered(link: Link) {
    let bench = link.serve().await;
    let mut octets = BytesMut::new();
    for n in 0..N_AT_ONCE {
        octets.extend_from_slice(&encode(&Frame {
            payload: n.to_string().into(),
            ..Frame::new(FrameType::Ping)
        }));
    }
    let begin = Instant::now();
    let answers = write_and_read(bench.raw().await, octets.freeze(), N_AT_ONCE).await;
    crate::figure(&format!(
        "{N_AT_ONCE} pings at once, {link:?}: {:?}",
        begin.elapsed()
    ));
    assert_eq!(answers.len(), N_AT_ONCE, "{:?}", answers.last());
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(
            (answer.kind, &*answer.payload),
            (FrameType::Pong, n.to_string().as_bytes())
        );
    }
    assert_eq!(bench.counters.slow_readers.value(), 0);
    bench.stop().await;
}

/// Both ends have more to write than their queues and the link hold.
async fn large_calls_at_once_are_all_answered_in_both_directions(link: Link) {
    const N_CALLS: usize = 24;
    let session = SessionConfig {
        limits: Limits {
            queue_bytes_max: 2 * 1024 * 1024,
            ..Limits::default()
        },
        ..SessionConfig::default()
    };
    let bench = link
        .serve_with(with_session(session.clone()), Conditions::default())
        .await;
    let config = ClientConfig {
        session,
        ..ClientConfig::default()
    };
    let client = bench.client_with(config).await;
    let body = Bytes::from(vec![7; 1024 * 1024]);
    let calls: Vec<_> = (0..N_CALLS)
        .map(|_| {
            let (client, body) = (client.clone(), body.clone());
            tokio::spawn(async move { unary(&client, "echo", body).await })
        })
        .collect();
    for call in calls {
        let reply = within(LONG, call).await.expect("no panic");
        assert_eq!(reply.expect("answered"), body);
    }
    client.close().await;
    assert_eq!(bench.counters.slow_readers.value(), 0);
    bench.stop().await;
}

async fn who_takes_nothing_for_the_write_timeout_is_a_slow_reader(link: Link) {
    let write_timeout = Duration::from_millis(700);
    let config = ServerConfig {
        write_timeout,
        ..ServerConfig::default()
    };
    let bench = link.serve_with(config, Conditions::default()).await;
    let mut raw = bench.raw().await;
    // Nothing is read until the server has stopped taking more.
    let frame = encode(&request("echo", "1", vec![7; 128 * 1024]));
    let flood = async { while raw.write_all(&frame).await.is_ok() {} };
    let begin = Instant::now();
    let closed = async {
        while bench.counters.slow_readers.value() == 0 || bench.counters.connections_open() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(SOON, async { tokio::join!(flood, closed) }).await;
    assert!(begin.elapsed() >= write_timeout, "{:?}", begin.elapsed());
    assert_eq!(bench.counters.slow_readers.value(), 1);
    bench.stop().await;
}

async fn replies_without_correlation_id_keep_the_order_of_requests(link: Link) {
    let config = ServerConfig {
        default_service: Some("test".into()),
        ..ServerConfig::default()
    };
    let bench = link.serve_with(config, Conditions::default()).await;
    let mut raw = bench.raw().await;
    let slow = Frame::data(headers(&[("method", "sleep")]), "300");
    let urgent = Frame::data(headers(&[("method", "sleep"), ("priority", "200")]), "100");
    let easy = Frame::data(headers(&[]), r#"{"n":3}"#);
    let refused = Frame::data(headers(&[]), "no json");
    for frame in [&slow, &urgent, &easy, &refused, &easy] {
        send(&mut raw, frame).await;
    }
    // One that can be told by its id need not wait.
    send(&mut raw, &request("echo", "6", "six")).await;
    assert_eq!(recv(&mut raw).await.expect("an answer").payload, "six");
    for expected in ["300", "100", r#"{"n":3}"#, "Invalid data: ", r#"{"n":3}"#] {
        let answer = recv(&mut raw).await.expect("an answer");
        assert!(
            answer.payload.starts_with(expected.as_bytes()),
            "{expected}: {answer}"
        );
    }
    drop(raw);
    bench.stop().await;
}

async fn a_base_peer_that_closes_its_side_gets_its_reply(link: Link) {
    let bench = link.serve().await;
    let mut raw = bench.raw().await;
    send(&mut raw, &request("sleep", "1", "300")).await;
    raw.shutdown().await.expect("half closed");
    let answer = recv(&mut raw).await.expect("an answer");
    assert_eq!(answer.payload, "300");
    assert_eq!(recv(&mut raw).await, None, "then the connection ends");
    bench.stop().await;
}

async fn a_full_peer_that_closes_its_side_gets_its_reply(link: Link) {
    let bench = link.serve().await;
    let mut raw = bench.raw().await;
    greet(&mut raw, "test").await;
    send(&mut raw, &request("sleep", "1", "300")).await;
    raw.shutdown().await.expect("half closed");
    let answer = recv_data(&mut raw).await;
    assert_eq!(answer.payload, "300");
    assert_eq!(
        recv(&mut raw).await.map(|frame| frame.kind),
        Some(FrameType::Bye)
    );
    assert_eq!(recv(&mut raw).await, None);
    bench.stop().await;
}

async fn a_stream_breaks_off_when_its_sender_closes_its_side(link: Link) {
    let bench = link.serve().await;
    let mut raw = bench.raw().await;
    greet(&mut raw, "mux").await;
    let stream = |kind: &'static str| {
        let pairs = [
            ("service", "test"),
            ("method", "sum"),
            ("correlation-id", "1"),
            ("stream", kind),
        ];
        headers(&pairs)
    };
    send(&mut raw, &Frame::data(stream("open"), "")).await;
    send(&mut raw, &Frame::data(stream("item"), "1")).await;
    raw.shutdown().await.expect("half closed");
    let answer = loop {
        let frame = recv_data(&mut raw).await;
        if frame.headers.get_str("status").is_some() {
            break frame;
        }
    };
    assert_eq!(
        answer.headers.get_str("status").as_deref(),
        Some("unavailable"),
        "{answer}"
    );
    bench.stop().await;
}

/// The first `n_octets` of a frame of 8 MiB.
fn unfinished(n_octets: usize) -> BytesMut {
    let mut octets = encode(&request("echo", "1", vec![7; 8 * 1024 * 1024 - 1024]));
    octets.truncate(n_octets);
    octets
}

async fn unfinished_frames_are_bounded_in_all(link: Link) {
    const BOUND: usize = 4 * 1024 * 1024;
    const N_SENDERS: usize = 12;
    let bytes = Arc::new(ByteBudget::new(BOUND));
    let config = ServerConfig {
        bytes: Arc::clone(&bytes),
        ..ServerConfig::default()
    };
    let bench = link.serve_with(config, Conditions::default()).await;
    let part = unfinished(1024 * 1024);
    let mut senders = Vec::new();
    for _ in 0..N_SENDERS {
        let mut raw = bench.raw().await;
        // Who is refused may see it while it still writes.
        let _ = within(SOON, raw.write_all(&part)).await;
        senders.push(raw);
    }
    within(SOON, async {
        while bytes.n_refused() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(bytes.held() <= BOUND, "{} octets held", bytes.held());
    assert!(bytes.held() > BOUND / 4, "{} octets held", bytes.held());
    // The last found no room, and was told so.
    let mut last = senders.pop().expect("one of them");
    let err = recv(&mut last).await.expect("an answer");
    assert_eq!(
        (err.kind, err.headers.get_str("code").as_deref()),
        (FrameType::Err, Some("resource-exhausted")),
        "{err}"
    );
    // Short calls need no room.
    let client = bench.client().await;
    assert_eq!(unary(&client, "echo", "x").await.expect("an echo"), "x");
    client.close().await;
    drop((senders, last));
    within(SOON, async {
        while bytes.held() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    bench.stop().await;
}

async fn a_frame_whose_rest_does_not_come_is_given_up(link: Link) {
    let session = SessionConfig {
        limits: Limits {
            fragment_age_max: Duration::from_millis(300),
            ..Limits::default()
        },
        ..SessionConfig::default()
    };
    let bench = link
        .serve_with(with_session(session), Conditions::default())
        .await;
    let mut raw = bench.raw().await;
    raw.write_all(&unfinished(1024 * 1024))
        .await
        .expect("written");
    let err = recv(&mut raw).await.expect("an answer");
    assert_eq!(
        err.headers.get_str("code").as_deref(),
        Some("resource-exhausted"),
        "{err}"
    );
    bench.stop().await;
}

async fn replies_that_are_not_taken_are_bounded(link: Link) {
    const N_CALLS: usize = 64;
    let bytes = Arc::new(ByteBudget::unlimited());
    let config = ServerConfig {
        bytes: Arc::clone(&bytes),
        held_bytes_max: 2 * 1024 * 1024,
        ..ServerConfig::default()
    };
    let conditions = Conditions {
        window_bytes: 64 * 1024,
        ..Conditions::default()
    };
    let bench = link.serve_with(config, conditions).await;
    let (mut reader, mut writer) = tokio::io::split(bench.raw().await);
    let octets = encode(&request("large", "1", ""));
    for _ in 0..N_CALLS {
        writer.write_all(&octets).await.expect("written");
    }
    within(SOON, async {
        while bytes.n_refused() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(bytes.held() <= 2 * 1024 * 1024, "{} held", bytes.held());
    let (mut decoder, mut input) = (
        postern_core::wire::Decoder::new(usize::MAX),
        BytesMut::new(),
    );
    let mut statuses = BTreeMap::<String, usize>::new();
    within(LONG, async {
        loop {
            while let Some(frame) = decoder.decode(&mut input).expect("whole frames") {
                let status = frame.headers.get_str("status").expect("a status");
                *statuses.entry(status.into_owned()).or_default() += 1;
            }
            if statuses.values().sum::<usize>() == N_CALLS {
                return;
            }
            let n_octets = reader.read_buf(&mut input).await.expect("open");
            assert!(n_octets > 0, "the connection ended: {statuses:?}");
        }
    })
    .await;
    let count = |status: &str| statuses.get(status).copied().unwrap_or(0);
    assert!(count("success") > 0, "{statuses:?}");
    assert!(count("resource-exhausted") > 0, "{statuses:?}");
    assert_eq!(count("success") + count("resource-exhausted"), N_CALLS);
    drop((reader, writer));
    bench.stop().await;
}

/// A reply is read for longer than a session may be idle.
#[tokio::test]
async fn a_slow_reader_that_goes_on_is_not_idle() {
    let read = read_slowly(Ending::Stays).await;
    assert!(read >= LARGE, "{read} octets of the reply");
}

/// A reply is read for longer than the last word of a session may take.
#[tokio::test]
async fn a_slow_reader_that_has_closed_its_side_gets_the_whole_reply() {
    let read = read_slowly(Ending::HalfCloses).await;
    assert!(read >= LARGE, "{read} octets of the reply");
}

const LARGE: usize = 1024 * 1024;

#[derive(PartialEq, Eq)]
enum Ending {
    Stays,
    HalfCloses,
}

/// Octets of a large reply that is read in 32 pieces, 60 ms apart.
async fn read_slowly(ending: Ending) -> usize {
    let session = SessionConfig {
        idle_timeout: Some(Duration::from_millis(300)),
        ..SessionConfig::default()
    };
    let conditions = Conditions {
        window_bytes: LARGE / 32,
        ..Conditions::default()
    };
    let link = Link::MemoryStream;
    let bench = link.serve_with(with_session(session), conditions).await;
    let (mut reader, mut writer) = tokio::io::split(bench.raw().await);
    let octets = encode(&request("echo", "1", vec![7; LARGE]));
    let writing = async {
        writer.write_all(&octets).await.expect("written");
        if ending == Ending::HalfCloses {
            writer.shutdown().await.expect("half closed");
        }
        writer
    };
    let mut read = 0;
    let mut buffer = vec![0; LARGE / 32];
    let reading = async {
        while read < LARGE {
            tokio::time::sleep(Duration::from_millis(60)).await;
            match reader.read(&mut buffer).await {
                Ok(n_octets) if n_octets > 0 => read += n_octets,
                Ok(_) | Err(_) => break,
            }
        }
    };
    within(LONG, async { tokio::join!(writing, reading) }).await;
    bench.stop().await;
    read
}

async fn greet(raw: &mut RawStream, features: &str) {
    let hello = Frame {
        headers: headers(&[("agent", "test"), ("features", features)]),
        ..Frame::new(FrameType::Hello)
    };
    send(raw, &hello).await;
    let welcome = recv(raw).await.map(|frame| frame.kind);
    assert_eq!(welcome, Some(FrameType::Welcome));
}

/// The next DATA frame; PINGs come between to a peer that has closed its side.
async fn recv_data(raw: &mut RawStream) -> Frame {
    loop {
        let frame = recv(raw).await.expect("an answer");
        if frame.kind == FrameType::Data {
            return frame;
        }
        assert_eq!(frame.kind, FrameType::Ping, "instead of DATA");
    }
}
