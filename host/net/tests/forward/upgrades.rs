//! Streams of another protocol, towards the upstream.

use std::time::Duration;

use bytes::Bytes;
use postern_core::{Blame, Body, BodyStream, Call, Handler, HttpStatus, Kind, Reply};
use postern_net::http::ForwardConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};

use crate::{forwarder, forwarder_with, patient, request, upstreams::RawUpstream};

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\n\
                      upgrade: websocket\r\nsec-websocket-accept: x\r\n\r\n";

/// A request to go on in another protocol, and where what the client sends then is put.
fn upgrade() -> (mpsc::Sender<Bytes>, Call) {
    let (sender, mut pieces) = mpsc::channel(1);
    let pieces = futures_util::stream::poll_fn(move |cx| {
        pieces
            .poll_recv(cx)
            .map(|piece: Option<Bytes>| piece.map(Ok))
    });
    let body = Body::Octets(BodyStream::new(pieces));
    let mut call = request("GET", "/chat", &[("sec-websocket-key", "k")], body);
    call.http.as_mut().expect("facts").upgrade = Some("websocket".into());
    (sender, call)
}

/// An upstream that says hello and then what it is sent.
async fn echoing() -> RawUpstream {
    RawUpstream::serving(|_, mut connection| async move {
        connection.head().await;
        connection.send(SWITCH).await;
        connection.send("hello").await;
        let (mut reader, mut writer) = connection.stream.split();
        // Whichever side breaks ends the test.
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
        let _ = writer.write_all(b"bye").await;
    })
    .await
}

fn switched(reply: Reply) -> BodyStream {
    assert_eq!(reply.status, Some(HttpStatus::SWITCHING_PROTOCOLS));
    let protocol = reply.headers.get_str("upgrade").map(|one| one.into_owned());
    assert_eq!(protocol.as_deref(), Some("websocket"));
    reply.body.into_octets()
}

async fn text(stream: &mut BodyStream, n_octets: usize) -> String {
    let mut octets = Vec::new();
    while octets.len() < n_octets {
        let piece = patient(stream.next()).await.expect("more");
        octets.extend_from_slice(&piece.expect("good"));
    }
    String::from_utf8(octets).expect("text")
}

#[tokio::test]
async fn both_directions_flow_and_end_one_after_the_other() {
    let mut upstream = echoing().await;
    let (client, call) = upgrade();
    let reply = patient(forwarder(upstream.port).call(call)).await;
    let mut stream = switched(reply.expect("switched"));
    let seen = upstream.seen().await;
    let expected = "GET /chat HTTP/1.1\r\nhost: shop.example:8080\r\nsec-websocket-key: k\r\n\
                    upgrade: websocket\r\nconnection: upgrade\r\n\r\n";
    assert_eq!(seen, expected);
    assert_eq!(text(&mut stream, 5).await, "hello");
    for said in ["one", "two"] {
        client.send(said.into()).await.expect("taken");
        assert_eq!(text(&mut stream, 3).await, said);
    }
    drop(client);
    assert_eq!(text(&mut stream, 3).await, "bye");
    assert!(patient(stream.next()).await.is_none());
}

#[tokio::test]
async fn neither_direction_waits_for_the_other() {
    let upstream = echoing().await;
    let (client, call) = upgrade();
    let reply = patient(forwarder(upstream.port).call(call)).await;
    let mut stream = switched(reply.expect("switched"));
    assert_eq!(text(&mut stream, 5).await, "hello");
    // More than all buffers on the way hold, which nobody reads until it is all sent.
    let sending = tokio::spawn(async move {
        for _ in 0..256 {
            client.send(vec![7; 64 * 1024].into()).await.expect("taken");
        }
    });
    let mut n_octets = 0;
    while n_octets < 256 * 64 * 1024 {
        let piece = patient(stream.next()).await.expect("more");
        n_octets += piece.expect("good").len();
    }
    patient(sending).await.expect("all is sent");
}

#[tokio::test]
async fn an_upstream_that_does_not_switch_answers_as_ever() {
    let answer = "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno";
    let upstream = RawUpstream::answering(Vec::leak(vec![answer])).await;
    let (_client, call) = upgrade();
    let reply = patient(forwarder(upstream.port).call(call)).await;
    let reply = reply.expect("answered");
    assert_eq!(reply.status.map(HttpStatus::number), Some(403));
    let body = patient(reply.body.into_one(9)).await;
    assert_eq!(body.expect("whole"), "no");
}

#[tokio::test]
async fn a_client_that_is_gone_closes_the_upstream() {
    let (ended, mut closed) = mpsc::unbounded_channel();
    let upstream = RawUpstream::serving(move |_, mut connection| {
        let ended = ended.clone();
        async move {
            connection.head().await;
            connection.send(SWITCH).await;
            let mut rest = Vec::new();
            // A reset is an end, too.
            let _ = connection.stream.read_to_end(&mut rest).await;
            ended.send(()).expect("the test waits");
        }
    })
    .await;
    let (_client, call) = upgrade();
    let reply = patient(forwarder(upstream.port).call(call)).await;
    drop(switched(reply.expect("switched")));
    patient(closed.recv()).await.expect("closed");
}

#[tokio::test]
async fn a_stream_on_which_nothing_moves_ends() {
    let upstream = echoing().await;
    let config = ForwardConfig {
        idle_timeout: Duration::from_millis(50),
        ..ForwardConfig::default()
    };
    let (_client, call) = upgrade();
    let reply = patient(forwarder_with(upstream.port, config).call(call)).await;
    let mut stream = switched(reply.expect("switched"));
    assert_eq!(text(&mut stream, 5).await, "hello");
    let end = patient(stream.next()).await.expect("an end");
    let error = end.expect_err("an early one");
    assert_eq!(
        (error.kind, error.blame),
        (Kind::DeadlineExceeded, Blame::Upstream)
    );
}
