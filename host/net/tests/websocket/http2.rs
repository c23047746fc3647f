//! WebSocket as a stream of HTTP/2 (RFC 8441), beside other streams.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, Version};
use http_body_util::{BodyExt, Empty};
use hyper::{
    body::Incoming,
    client::conn::http2::{self, SendRequest},
    ext::Protocol,
    upgrade::Upgraded,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use postern_net::http::HttpConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    listener::{Listener, until, within},
    raw::{CLOSE, TEXT, frame},
};

type Client = SendRequest<Empty<Bytes>>;

async fn client(listener: &Listener) -> Client {
    let stream = TcpStream::connect(listener.address).await.expect("up");
    let (client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .expect("a connection");
    tokio::spawn(connection);
    client
}

async fn ask(
    client: &mut Client,
    method: Method,
    path: &str,
    protocol: Option<&'static str>,
) -> Response<Incoming> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://localhost{path}"))
        .version(Version::HTTP_2)
        .header("sec-websocket-version", "13");
    if let Some(protocol) = protocol {
        request = request.extension(Protocol::from_static(protocol));
    }
    let request = request.body(Empty::new()).expect("a request");
    within(client.ready()).await.expect("open");
    within(client.send_request(request))
        .await
        .expect("an answer")
}

async fn open(client: &mut Client, path: &str) -> TokioIo<Upgraded> {
    let response = ask(client, Method::CONNECT, path, Some("websocket")).await;
    assert_eq!(response.status(), 200);
    TokioIo::new(hyper::upgrade::on(response).await.expect("a stream"))
}

/// The next frame, of 125 octets at most.
async fn recv(stream: &mut TokioIo<Upgraded>) -> (u8, Vec<u8>) {
    within(async {
        let first = stream.read_u8().await.expect("a frame");
        let mut payload = vec![0; usize::from(stream.read_u8().await.expect("a length"))];
        stream.read_exact(&mut payload).await.expect("whole");
        (first, payload)
    })
    .await
}

#[tokio::test]
async fn a_stream_is_a_websocket_beside_requests_of_its_connection() {
    let listener = Listener::start().await;
    let mut client = client(&listener).await;
    let mut calls = open(&mut client, "/ws/test/echo").await;
    let mut session = open(&mut client, "/vstp").await;
    calls
        .write_all(&frame(TEXT, br#"{"id":"1"}"#))
        .await
        .expect("written");
    let answer = br#"{"type":"response","id":"1"}"#.to_vec();
    assert_eq!(recv(&mut calls).await, (TEXT, answer.clone()));
    // A PING of VSTP, and its PONG.
    let ping = postern_core::wire::Frame::new(postern_core::wire::FrameType::Ping);
    let mut octets = bytes::BytesMut::new();
    ping.encode(&mut octets).expect("short");
    session
        .write_all(&frame(0x82, &octets))
        .await
        .expect("written");
    let (_, pong) = recv(&mut session).await;
    let pong = postern_core::wire::Frame::decode_datagram(pong.into(), 1000).expect("a frame");
    assert_eq!(pong.kind, postern_core::wire::FrameType::Pong);
    let response = ask(&mut client, Method::GET, "/v1/services", None).await;
    let body = within(response.into_body().collect())
        .await
        .expect("a body")
        .to_bytes();
    assert_eq!(body, "[]");
    calls
        .write_all(&frame(TEXT, br#"{"id":"1"}"#))
        .await
        .expect("written");
    assert_eq!(recv(&mut calls).await, (TEXT, answer));
    // One ends, the other goes on.
    session
        .write_all(&frame(CLOSE, b"\x03\xe8"))
        .await
        .expect("written");
    assert_eq!(recv(&mut session).await, (CLOSE, b"\x03\xe8".to_vec()));
    assert_eq!(
        within(session.read(&mut [0; 1]))
            .await
            .expect("closed in order"),
        0
    );
    calls.write_all(&frame(TEXT, b"{}")).await.expect("written");
    assert_eq!(recv(&mut calls).await.0, TEXT);
    drop((calls, session, client));
    listener.stop().await;
}

#[tokio::test]
async fn what_is_no_websocket_is_refused_by_its_status() {
    let listener = Listener::start().await;
    let mut client = client(&listener).await;
    let status = async |client: &mut Client, method, path: &str, protocol| {
        ask(client, method, path, protocol).await.status().as_u16()
    };
    assert_eq!(status(&mut client, Method::GET, "/vstp", None).await, 426);
    assert_eq!(
        status(&mut client, Method::CONNECT, "/vstp", Some("connect-udp")).await,
        426
    );
    assert_eq!(
        status(
            &mut client,
            Method::CONNECT,
            "/v1/services/a/b",
            Some("websocket")
        )
        .await,
        405
    );
    assert_eq!(
        status(&mut client, Method::CONNECT, "/nowhere", Some("websocket")).await,
        404
    );
    drop(client);
    listener.stop().await;
}

#[tokio::test]
async fn draining_ends_streams_with_going_away_after_their_calls() {
    let listener = Listener::start().await;
    let mut client = client(&listener).await;
    let mut calls = open(&mut client, "/ws/test/sum").await;
    calls
        .write_all(&frame(TEXT, br#"{"id":"1","type":"open"}"#))
        .await
        .expect("written");
    until(|| listener.service.n_calls.load(Ordering::SeqCst) == 1).await;
    listener.shutdown.drain();
    calls
        .write_all(&frame(TEXT, br#"{"id":"1","type":"end"}"#))
        .await
        .expect("written");
    assert_eq!(
        recv(&mut calls).await.1,
        br#"{"type":"response","id":"1","payload":0}"#
    );
    assert_eq!(
        recv(&mut calls).await,
        (CLOSE, b"\x03\xe9draining".to_vec())
    );
    drop((calls, client));
    listener.stop().await;
}

#[tokio::test]
async fn a_stream_whose_client_takes_nothing_ends_alone() {
    let listener = Listener::start_with(HttpConfig {
        write_timeout: Duration::from_millis(300),
        ..HttpConfig::default()
    })
    .await;
    let mut client = client(&listener).await;
    let mut slow = open(&mut client, "/ws/test/endless").await;
    let mut calls = open(&mut client, "/ws/test/echo").await;
    slow.write_all(&frame(TEXT, br#"{"id":"1"}"#))
        .await
        .expect("written");
    until(|| listener.counters.slow_readers.value() == 1).await;
    // What had come is there, then the stream is reset.
    let mut octets = vec![0; 64 * 1024];
    within(async {
        while slow
            .read(&mut octets)
            .await
            .is_ok_and(|n_octets| n_octets > 0)
        {}
    })
    .await;
    calls
        .write_all(&frame(TEXT, br#"{"id":"1"}"#))
        .await
        .expect("written");
    assert_eq!(recv(&mut calls).await.1, br#"{"type":"response","id":"1"}"#);
    drop((slow, calls, client));
    listener.stop().await;
}

#[tokio::test]
async fn a_connection_that_goes_cancels_the_calls_of_its_streams() {
    let listener = Listener::start().await;
    let mut client = client(&listener).await;
    let mut calls = open(&mut client, "/ws/test/never").await;
    calls
        .write_all(&frame(TEXT, br#"{"id":"1"}"#))
        .await
        .expect("written");
    until(|| listener.service.n_calls.load(Ordering::SeqCst) == 1).await;
    drop((calls, client));
    until(|| listener.service.n_cancelled.load(Ordering::SeqCst) == 1).await;
    listener.stop().await;
}
