//! What keeps connections of HTTP/2 and what ends them, as clients see it that write their own frames. Each key is far
//! from its default, so that what happens within `SOON` is its doing.

use postern_tests::{Gateway, Setup};
use tokio::{io::AsyncWriteExt as _, time::timeout};

use crate::{
    http::raw::{DATA, END_HEADERS, END_STREAM, Frames, HEADERS, RST_STREAM, SOON, WINDOW, frame},
    share,
};

const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
/// What the PINGs of these clients carry; those of the gateway carry something else.
const OURS: &[u8] = b"of tests";
const NO_ERROR: u32 = 0;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

/// A gateway with the guest `echo`, and these keys of its HTTP listener.
async fn gateway(http: &str) -> Gateway {
    let setup = Setup {
        http: http.to_owned(),
        ..Setup::default()
    };
    Gateway::start(setup.plugin("echo")).await
}

/// The head of a call whose messages are to come.
fn head(stream: u32, path: &str) -> Vec<u8> {
    // Literal fields without indexing (RFC 7541 section 6.2.2): `:path`, `:authority` and `content-type` of the
    // static table, behind `:method: POST` and `:scheme: http`.
    let mut block = vec![0x83, 0x86];
    let fields: [(&[u8], &str); 3] = [
        (&[4], path),
        (&[1], "x.localhost"),
        (&[0x0f, 31 - 0x0f], "application/grpc"),
    ];
    for (name, value) in fields {
        block.extend_from_slice(name);
        block.push(u8::try_from(value.len()).expect("short"));
        block.extend_from_slice(value.as_bytes());
    }
    frame(HEADERS, END_HEADERS, stream, &block)
}

/// A message as gRPC frames it.
fn message(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).expect("short").to_be_bytes();
    [&[0][..], &length, text.as_bytes()].concat()
}

fn data(flags: u8, stream: u32, text: &str) -> Vec<u8> {
    frame(DATA, flags, stream, &message(text))
}

/// Makes a whole call and has it answered.
async fn call(frames: &mut Frames, stream: u32) {
    let octets = [
        head(stream, "/echo/Echo"),
        data(END_STREAM, stream, "a call"),
    ];
    frames.send(&octets.concat()).await;
    assert_eq!(frames.wait_for(DATA, stream).await, message("a call"));
}

fn pings(n: usize) -> Vec<u8> {
    frame(PING, 0, 0, OURS).repeat(n)
}

/// Calls of which nothing but the head comes before they are given up.
fn resets(streams: impl Iterator<Item = u32>) -> Vec<u8> {
    let calls = streams.map(|stream| {
        let reset = frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
        [head(stream, "/echo/Echo"), reset].concat()
    });
    calls.collect::<Vec<_>>().concat()
}

/// Reads until a PING of the gateway comes, and answers it.
async fn answer_ping(frames: &mut Frames) {
    let pinged = loop {
        let payload = frames.wait_for(PING, 0).await;
        if payload != OURS {
            break payload;
        }
    };
    frames.send(&frame(PING, ACK, 0, &pinged)).await;
}

/// Code and debug data of the next GOAWAY.
async fn goaway(frames: &mut Frames) -> (u32, String) {
    let payload = frames.wait_for(GOAWAY, 0).await;
    let (_last, rest) = payload.split_at(4);
    let (code, debug) = rest.split_first_chunk().expect("a code");
    (
        u32::from_be_bytes(*code),
        String::from_utf8_lossy(debug).into_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_pings_as_pings_max_are_answered_and_one_more_ends_the_connection() {
    let _machine = share().await;
    let gateway = gateway("http2.pings-max = 20\n").await;
    let mut calm = Frames::open(gateway.http, WINDOW).await;
    // The SETTINGS behind the preface count as well; a call forgives all of them.
    for (stream, n_pings) in [(1, 19), (3, 20), (5, 20)] {
        calm.send(&pings(n_pings)).await;
        for _ in 0..n_pings {
            while calm.wait_for(PING, 0).await != OURS {}
        }
        call(&mut calm, stream).await;
    }
    let mut flood = Frames::open(gateway.http, WINDOW).await;
    flood.send(&pings(20)).await;
    let told = goaway(&mut flood).await;
    assert_eq!(told, (ENHANCE_YOUR_CALM, "too_many_pings".to_owned()));
    flood.ended().await;
    call(&mut calm, 7).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_resets_as_resets_max_are_taken_and_one_more_ends_the_connection() {
    let _machine = share().await;
    let gateway = gateway("http2.resets-max = 10\n").await;
    let mut calm = Frames::open(gateway.http, WINDOW).await;
    calm.send(&resets((1..).step_by(2).take(10))).await;
    call(&mut calm, 21).await;
    let mut flood = Frames::open(gateway.http, WINDOW).await;
    flood.send(&resets((1..).step_by(2).take(11))).await;
    let told = goaway(&mut flood).await;
    assert_eq!(told, (ENHANCE_YOUR_CALM, "too_many_resets".to_owned()));
    flood.ended().await;
    call(&mut calm, 23).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_pinged_after_ping_interval_and_gone_after_ping_timeout() {
    let _machine = share().await;
    let gateway = gateway("http2.ping-interval = \"100ms\"\nhttp2.ping-timeout = \"4s\"\n").await;
    let in_flight = [head(1, "/echo/EchoStream"), data(0, 1, "a")].concat();
    let mut alive = Frames::open(gateway.http, WINDOW).await;
    alive.send(&in_flight).await;
    for _ in 0..5 {
        answer_ping(&mut alive).await;
    }
    alive.send(&data(0, 1, "b")).await;
    while alive.wait_for(DATA, 1).await != message("b") {}
    let mut mute = Frames::open(gateway.http, WINDOW).await;
    mute.send(&in_flight).await;
    assert_ne!(mute.wait_for(PING, 0).await, OURS);
    mute.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_that_are_answered_do_not_keep_a_connection_from_its_idle_timeout() {
    let _machine = share().await;
    let gateway = gateway("http2.ping-interval = \"100ms\"\nidle-timeout = \"1s\"\n").await;
    let mut idle = Frames::open(gateway.http, WINDOW).await;
    call(&mut idle, 1).await;
    let answering = async {
        while let Some((kind, _, payload)) = idle.next().await {
            if kind == PING {
                // The gateway may close meanwhile.
                let pong = frame(PING, ACK, 0, &payload);
                let _ = idle.socket.write_all(&pong).await;
            }
        }
    };
    timeout(SOON, answering)
        .await
        .expect("it closes what is idle");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_of_connection_age_max_is_told_to_go_and_ends_its_calls_first() {
    let _machine = share().await;
    let gateway = gateway("connection-age-max = \"2s\"\n").await;
    let mut old = Frames::open(gateway.http, WINDOW).await;
    old.send(&[head(1, "/echo/EchoStream"), data(0, 1, "a")].concat())
        .await;
    assert_eq!(old.wait_for(DATA, 1).await, message("a"));
    // First without a last stream, and with the last one once the client has answered the PING between them.
    assert_eq!(goaway(&mut old).await.0, NO_ERROR);
    answer_ping(&mut old).await;
    assert_eq!(goaway(&mut old).await.0, NO_ERROR);
    old.send(&data(END_STREAM, 1, "b")).await;
    assert_eq!(old.wait_for(DATA, 1).await, message("b"));
    // The trailers.
    old.wait_for(HEADERS, 1).await;
    old.ended().await;
    let mut new = Frames::open(gateway.http, WINDOW).await;
    call(&mut new, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_is_cut_off_after_connection_age_grace() {
    let _machine = share().await;
    let gateway = gateway("connection-age-max = \"1s\"\nconnection-age-grace = \"500ms\"\n").await;
    let mut old = Frames::open(gateway.http, WINDOW).await;
    old.send(&[head(1, "/echo/EchoStream"), data(0, 1, "a")].concat())
        .await;
    assert_eq!(old.wait_for(DATA, 1).await, message("a"));
    assert_eq!(goaway(&mut old).await.0, NO_ERROR);
    // The call has neither an end nor trailers.
    while let Some((kind, stream, _)) = old.next().await {
        assert_ne!((kind, stream), (HEADERS, 1));
    }
}
