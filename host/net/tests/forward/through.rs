//! From the client's octets to the upstream's and back.

use std::{sync::Arc, time::Duration};

use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use postern_core::route::PathRewrite;
use postern_net::http::{ForwardConfig, ForwardedSend, HttpConfig};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
};

use crate::{forwarder, forwarder_with, front::Front, patient, upstreams::RawUpstream};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A listener that tells its upstream nothing of its own.
async fn silent(upstream: &RawUpstream) -> Front {
    let mut config = HttpConfig::default();
    config.forwarded.send = ForwardedSend::Nothing;
    let forwarder = Arc::new(forwarder(upstream.port));
    Front::with(forwarder, config, PathRewrite::Keep).await
}

#[tokio::test]
async fn a_request_and_its_response_pass_as_sent() {
    let answer = "HTTP/1.1 202 Other\r\nx-b: 1\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n\
                  date: Thu, 01 Jan 1970 00:00:00 GMT\r\nserver: theirs\r\ncontent-length: 5\r\n\r\nhello";
    let mut upstream = RawUpstream::answering(Vec::leak(vec![answer])).await;
    let front = silent(&upstream).await;
    let request = "PATCH /a%2Fb/%C3%A9?x=1&x=%20&? HTTP/1.1\r\nHost: Shop.Example:81\r\nX-B: 1\r\n\
                   X-A: a, b\r\nx-b: 2\r\ncontent-type: text/plain\r\ncookie: a=1\r\n\
                   timeout-ms: 5000\r\nversion: 9\r\nContent-Length: 3\r\n\r\nabc";
    let mut client = front.client().await;
    client.send(request).await;
    let response = client.until("hello").await;
    let expected = "PATCH /a%2Fb/%C3%A9?x=1&x=%20&? HTTP/1.1\r\nhost: Shop.Example:81\r\nx-b: 1\r\n\
                    x-b: 2\r\nx-a: a, b\r\ncontent-type: text/plain\r\ncookie: a=1\r\n\
                    timeout-ms: 5000\r\nversion: 9\r\ncontent-length: 3\r\n\r\nabc";
    assert_eq!(upstream.seen().await, expected);
    let expected = "HTTP/1.1 202 Accepted\r\nx-b: 1\r\nset-cookie: a=1\r\n\
                    set-cookie: b=2\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\nserver: theirs\r\n\
                    content-length: 5\r\n\r\nhello";
    assert_eq!(response, expected);
}

#[tokio::test]
async fn fields_of_a_connection_stay_on_it_both_ways() {
    let answer = "HTTP/1.1 200 OK\r\nconnection: x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\n\
                  x-kept: 1\r\ncontent-length: 2\r\n\r\nok";
    let mut upstream = RawUpstream::answering(Vec::leak(vec![answer])).await;
    let front = silent(&upstream).await;
    let request = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close, X-Hop\r\nconnection: x-too\r\n\
                   x-hop: 1\r\nx-too: 1\r\nkeep-alive: 5\r\nproxy-connection: close\r\n\
                   te: gzip, trailers\r\nupgrade: h2c\r\nhttp2-settings: AAA\r\nx-kept: 1\r\n\r\n";
    let response = front.ask(request).await;
    let expected =
        "GET / HTTP/1.1\r\nhost: x\r\nx-kept: 1\r\nte: trailers\r\nconnection: te\r\n\r\n";
    assert_eq!(upstream.seen().await, expected);
    assert!(response.contains("x-kept: 1\r\n"), "{response}");
    assert!(
        !response.contains("x-hop") && !response.contains("keep-alive"),
        "{response}"
    );
}

#[tokio::test]
async fn an_upstream_is_told_who_asks() {
    let mut upstream = RawUpstream::answering(&[OK]).await;
    let front = Front::of(&upstream).await;
    let request = "GET / HTTP/1.1\r\nhost: shop.example\r\nconnection: close\r\n\
                   x-forwarded-for: 10.9.9.9\r\nforwarded: for=10.9.9.9\r\n\r\n";
    front.ask(request).await;
    let expected = "GET / HTTP/1.1\r\nhost: shop.example\r\nx-forwarded-for: 127.0.0.1\r\n\
                    x-forwarded-proto: http\r\nx-forwarded-host: shop.example\r\n\r\n";
    assert_eq!(upstream.seen().await, expected);
}

#[tokio::test]
async fn pages_of_other_sites_are_the_upstreams_to_judge() {
    let mut upstream = RawUpstream::answering(&[OK]).await;
    let front = silent(&upstream).await;
    let page = "host: x\r\nconnection: close\r\norigin: https://other.example\r\n\
                sec-fetch-site: cross-site\r\n\r\n";
    let response = front.ask(&format!("GET /a HTTP/1.1\r\n{page}")).await;
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    let seen = upstream.seen().await;
    assert!(seen.contains("origin: https://other.example\r\n"), "{seen}");
    // What the gateway serves itself stays closed to them.
    for own in ["/v1/services", "/v1/services/echo/Say"] {
        let response = front.ask(&format!("GET {own} HTTP/1.1\r\n{page}")).await;
        assert!(response.starts_with("HTTP/1.1 403 "), "{own}: {response}");
    }
    assert!(upstream.has_seen_all());
}

#[tokio::test]
async fn a_target_in_absolute_form_names_the_host() {
    let mut upstream = RawUpstream::answering(&[OK]).await;
    let front = silent(&upstream).await;
    front
        .ask("GET http://shop.example:81/a?b HTTP/1.1\r\nhost: shop.example:81\r\nconnection: close\r\n\r\n")
        .await;
    let expected = "GET /a?b HTTP/1.1\r\nhost: shop.example:81\r\n\r\n";
    assert_eq!(upstream.seen().await, expected);
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let answer = "HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n\
                  2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n";
    let mut upstream = RawUpstream::answering(Vec::leak(vec![answer])).await;
    let front = silent(&upstream).await;
    let request = "POST / HTTP/1.1\r\nhost: x\r\nte: trailers\r\nconnection: close\r\n\
                   trailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n\
                   3;ext=1\r\nabc\r\n0\r\nx-sum: 9\r\n\r\n";
    let response = front.ask(request).await;
    let seen = upstream.seen().await;
    assert!(
        seen.ends_with("\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 9\r\n\r\n"),
        "{seen}"
    );
    assert!(
        response.ends_with("2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n"),
        "{response}"
    );
}

#[tokio::test]
async fn a_response_without_content_has_none() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n";
    let not_modified = "HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\n\r\n";
    let nothing = "HTTP/1.1 204 No Content\r\n\r\n";
    let upstream = RawUpstream::answering(Vec::leak(vec![head, not_modified, nothing, OK])).await;
    let front = silent(&upstream).await;
    let mut client = front.client().await;
    client.send("HEAD / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let response = client.until("\r\n\r\n").await;
    assert!(response.contains("content-length: 1000\r\n"), "{response}");
    for status in ["304 Not Modified", "204 No Content"] {
        client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let response = client.until("\r\n\r\n").await;
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status}")),
            "{response}"
        );
        assert!(!response.contains("content-type"), "{response}");
    }
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(client.until("ok").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_client_is_asked_for_its_body_when_the_upstream_asks() {
    let go_on = Arc::new(Notify::new());
    let wait = Arc::clone(&go_on);
    let mut upstream = RawUpstream::serving(move |_, mut connection| {
        let wait = Arc::clone(&wait);
        async move {
            connection.head().await;
            wait.notified().await;
            connection.send("HTTP/1.1 100 Continue\r\n\r\n").await;
            connection.octets(3).await;
            connection.send(OK).await;
        }
    })
    .await;
    let front = silent(&upstream).await;
    let mut client = front.client().await;
    client
        .send("PUT / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")
        .await;
    let head = upstream.seen().await;
    assert!(head.contains("expect: 100-continue\r\n"), "{head}");
    go_on.notify_one();
    assert_eq!(
        client.until("\r\n\r\n").await,
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    client.send("abc").await;
    assert!(client.until("ok").await.starts_with("HTTP/1.1 200"));
    assert_eq!(upstream.seen().await, "abc");
}

#[tokio::test]
async fn a_client_is_told_no_before_it_sends_its_body() {
    let refusal = "HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno";
    let upstream = RawUpstream::serving(move |_, mut connection| async move {
        connection.head().await;
        connection.send(refusal).await;
    })
    .await;
    let front = silent(&upstream).await;
    let request = "PUT / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n";
    let response = front.ask(request).await;
    assert!(response.starts_with("HTTP/1.1 413"), "{response}");
    assert!(
        response.contains("connection: close\r\n") && response.ends_with("no"),
        "{response}"
    );
}

#[tokio::test]
async fn events_pass_as_they_come() {
    let next = Arc::new(Notify::new());
    let wait = Arc::clone(&next);
    let upstream = RawUpstream::serving(move |_, mut connection| {
        let wait = Arc::clone(&wait);
        async move {
            connection.request().await;
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
            connection.send(head).await;
            for number in 0..3 {
                connection.send(&format!("data: {number}\n\n")).await;
                wait.notified().await;
            }
        }
    })
    .await;
    let front = silent(&upstream).await;
    let mut client = front.client().await;
    client.send("GET /events HTTP/1.1\r\nhost: x\r\n\r\n").await;
    for number in 0..3 {
        client.until(&format!("data: {number}\n\n")).await;
        // The upstream says nothing more before this one has come.
        next.notify_one();
    }
    client.until("\r\n0\r\n\r\n").await;
}

#[tokio::test]
async fn a_response_that_is_cut_is_cut_for_the_client() {
    for (answer, end) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort",
            "\r\n\r\nshort",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n",
            "5\r\nshort\r\n",
        ),
    ] {
        let upstream = RawUpstream::answering(Vec::leak(vec![answer])).await;
        let front = silent(&upstream).await;
        // The client keeps the connection, and yet it is closed.
        let response = front.ask("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(response.ends_with(end), "{response}");
    }
}

#[tokio::test]
async fn failures_have_the_statuses_of_a_gateway() {
    let status = async |upstream: &RawUpstream, config: ForwardConfig| {
        let forwarder = Arc::new(forwarder_with(upstream.port, config));
        let front = Front::with(forwarder, HttpConfig::default(), PathRewrite::Keep).await;
        let request = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        let response = front.ask(request).await;
        response.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    let garbage = RawUpstream::answering(&["SSH-2.0-x\r\n"]).await;
    assert_eq!(status(&garbage, ForwardConfig::default()).await, "502");
    let closing = RawUpstream::answering(&[""]).await;
    assert_eq!(status(&closing, ForwardConfig::default()).await, "502");
    let silent = RawUpstream::serving(|_, mut connection| async move {
        connection.request().await;
        std::future::pending::<()>().await;
    })
    .await;
    let hasty = ForwardConfig {
        head_timeout: Duration::from_millis(50),
        ..ForwardConfig::default()
    };
    assert_eq!(status(&silent, hasty).await, "504");
    let full = ForwardConfig {
        connections_max: 0,
        ..ForwardConfig::default()
    };
    assert_eq!(status(&silent, full).await, "503");
}

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\n\
                      upgrade: websocket\r\nsec-websocket-accept: x\r\n\r\n";

/// An upstream that switches, says hello and then what it is sent.
async fn switching() -> RawUpstream {
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

#[tokio::test]
async fn a_websocket_passes_over_http_1() {
    let mut upstream = switching().await;
    let front = silent(&upstream).await;
    let mut client = front.client().await;
    let request = "GET /chat HTTP/1.1\r\nhost: x\r\nconnection: keep-alive, Upgrade\r\n\
                   upgrade: WebSocket\r\nsec-websocket-key: k\r\nsec-websocket-version: 13\r\n\r\n";
    client.send(request).await;
    let response = client.until("\r\n\r\n").await;
    assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
    for field in [
        "connection: upgrade\r\n",
        "upgrade: websocket\r\n",
        "sec-websocket-accept: x\r\n",
    ] {
        assert!(response.contains(field), "{field} in {response}");
    }
    let seen = upstream.seen().await;
    let expected = "GET /chat HTTP/1.1\r\nhost: x\r\nsec-websocket-key: k\r\n\
                    sec-websocket-version: 13\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
    assert_eq!(seen, expected);
    client.until("hello").await;
    client.send("one").await;
    client.until("one").await;
    client.stream.shutdown().await.expect("open");
    assert_eq!(client.rest().await, "bye");
}

#[tokio::test]
async fn a_websocket_passes_from_http_2_to_http_1() {
    let mut upstream = switching().await;
    let front = silent(&upstream).await;
    let stream = TcpStream::connect(front.address).await.expect("it listens");
    let handshake = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = handshake
        .handshake(TokioIo::new(stream))
        .await
        .expect("http/2");
    let driver = tokio::spawn(connection);
    // The listener says first that it can.
    let request = || {
        Request::builder()
            .method("CONNECT")
            .uri("http://shop.example/chat?room=1")
            .version(Version::HTTP_2)
            .extension(hyper::ext::Protocol::from_static("websocket"))
            .header("sec-websocket-version", "13")
            .body(Empty::<bytes::Bytes>::new())
            .expect("a request")
    };
    let response = patient(async {
        loop {
            match sender.send_request(request()).await {
                Ok(response) => return response,
                Err(error) => assert!(error.is_user(), "{error}"),
            }
            sender.ready().await.expect("open");
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(!response.headers().contains_key("sec-websocket-accept"));
    let seen = upstream.seen().await;
    assert!(
        seen.starts_with("GET /chat?room=1 HTTP/1.1\r\nhost: shop.example\r\n"),
        "{seen}"
    );
    assert!(seen.contains("\r\nsec-websocket-key: "), "{seen}");
    let upgraded = hyper::upgrade::on(response).await.expect("a stream");
    let mut stream = TokioIo::new(upgraded);
    let mut said = [0; 5];
    patient(stream.read_exact(&mut said)).await.expect("hello");
    stream.write_all(b"world").await.expect("open");
    patient(stream.read_exact(&mut said))
        .await
        .expect("an echo");
    assert_eq!(&said, b"world");
    stream.shutdown().await.expect("open");
    let mut rest = Vec::new();
    patient(stream.read_to_end(&mut rest))
        .await
        .expect("an end");
    assert_eq!(rest, b"bye");
    driver.abort();
}

#[tokio::test]
async fn a_websocket_that_is_refused_is_answered_as_ever() {
    let refusal = "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno";
    let upstream = RawUpstream::answering(Vec::leak(vec![refusal, OK])).await;
    let front = silent(&upstream).await;
    let mut client = front.client().await;
    let request = "GET /chat HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\n\
                   upgrade: websocket\r\n\r\n";
    client.send(request).await;
    let response = client.until("no").await;
    assert!(response.starts_with("HTTP/1.1 403 "), "{response}");
}

#[tokio::test]
async fn a_websocket_is_cut_when_the_listener_has_drained() {
    let upstream = switching().await;
    let config = HttpConfig {
        drain_timeout: Duration::from_millis(50),
        ..HttpConfig::default()
    };
    let forwarder = Arc::new(forwarder(upstream.port));
    let mut front = Front::with(forwarder, config, PathRewrite::Keep).await;
    let mut client = front.client().await;
    let request = "GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    client.send(request).await;
    client.until("hello").await;
    front.shutdown.drain();
    patient(&mut front.task).await.expect("it drains");
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn cookies_of_http_2_are_one_field_of_http_1() {
    let mut upstream = RawUpstream::answering(&[OK]).await;
    let front = silent(&upstream).await;
    let stream = TcpStream::connect(front.address).await.expect("it listens");
    let handshake = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = handshake
        .handshake(TokioIo::new(stream))
        .await
        .expect("http/2");
    let driver = tokio::spawn(connection);
    let request = Request::get("http://shop.example/a")
        .header("cookie", "a=1")
        .header("x-one", "1")
        .header("cookie", "b=2")
        .body(Empty::<bytes::Bytes>::new());
    let response = patient(sender.send_request(request.expect("a request"))).await;
    let body = response.expect("answered").into_body().collect().await;
    assert_eq!(body.expect("whole").to_bytes(), "ok");
    let expected = "GET /a HTTP/1.1\r\nhost: shop.example\r\ncookie: a=1; b=2\r\nx-one: 1\r\n\r\n";
    assert_eq!(upstream.seen().await, expected);
    driver.abort();
}
