//! Connections: kept, closed, shared, opened; HTTP/2, TLS, the PROXY protocol.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use postern_core::{
    Body, BoxFuture, Call, Error, Handler, HttpStatus, Kind, Peer, Reply, Retry, Text, Transport,
};
use postern_net::{
    ByteBudget, Counters, ProxyVersion, Shutdown,
    http::{
        Catalog, ForwardAddress, ForwardConfig, Forwarder, HttpConfig, HttpServer, HttpVersions,
    },
    tls::{ClientTls, ClientTlsSettings, ServerTls, ServerTlsSettings, alpn},
};
use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    certificates::Authority, fields, forwarder, forwarder_with, get, octets, patient, request,
    upstreams::RawUpstream,
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

async fn whole(reply: Result<Reply, Error>) -> Bytes {
    let body = reply.expect("answered").body.into_one(1 << 20);
    patient(body).await.expect("whole")
}

/// An upstream that says of each request on which connection it came.
async fn numbered() -> RawUpstream {
    RawUpstream::serving(|number, mut connection| async move {
        while connection.request().await.is_some() {
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}");
            connection.send(&answer).await;
        }
    })
    .await
}

#[tokio::test]
async fn one_connection_takes_one_request_after_the_other() {
    let upstream = numbered().await;
    let forwarder = forwarder(upstream.port);
    for _ in 0..5 {
        assert_eq!(whole(patient(forwarder.call(get("/"))).await).await, "0");
        // It is given back by the task that drives it.
        settled().await;
    }
}

/// Lets whatever is ready run.
async fn settled() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_body_that_is_not_read_to_its_end_closes_its_connection() {
    let upstream = RawUpstream::serving(|number, mut connection| async move {
        connection.request().await;
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{number}");
        connection.send(&answer).await;
        // Closed by the other side.
        connection.request().await;
    })
    .await;
    let forwarder = forwarder(upstream.port);
    for number in ["0", "1"] {
        let reply = patient(forwarder.call(get("/"))).await.expect("a head");
        let mut body = reply.body.into_octets();
        let piece = patient(body.next()).await.expect("a piece").expect("good");
        assert_eq!(piece, number);
    }
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_replaced_unseen() {
    let upstream = RawUpstream::serving(|_, mut connection| async move {
        connection.request().await;
        connection.send(OK).await;
    })
    .await;
    let forwarder = forwarder(upstream.port);
    for _ in 0..5 {
        let call = request("POST", "/", &[], Body::One("x".into()));
        assert_eq!(whole(patient(forwarder.call(call)).await).await, "ok");
        settled().await;
    }
}

#[tokio::test]
async fn no_more_connections_than_the_limit_are_kept_or_open() {
    let upstream = RawUpstream::serving(|_, mut connection| async move {
        connection.request().await;
        std::future::pending::<()>().await;
    })
    .await;
    let config = ForwardConfig {
        connections_max: 2,
        ..ForwardConfig::default()
    };
    let forwarder = forwarder_with(upstream.port, config);
    let mut upstream = upstream;
    let mut waiting = JoinSet::new();
    for _ in 0..2 {
        waiting.spawn(forwarder.call(get("/")));
        upstream.seen().await;
    }
    let refused = patient(forwarder.call(get("/"))).await.expect_err("full");
    assert_eq!(
        (refused.kind, refused.retry),
        (Kind::Unavailable, Retry::Elsewhere)
    );
    let expected = format!(
        "2 connections with http://127.0.0.1:{} are open, which is the limit (http.connections-max)",
        upstream.port
    );
    assert_eq!(*refused.message, *expected);
    waiting.shutdown().await;
    // A call that is dropped gives its connection up.
    let admitted = async {
        loop {
            tokio::select! {
                refused = forwarder.call(get("/")) => drop(refused.expect_err("no answer")),
                _ = upstream.seen() => return,
            }
            tokio::task::yield_now().await;
        }
    };
    patient(admitted).await;
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed_in_time() {
    let (ended, mut closed) = tokio::sync::mpsc::unbounded_channel();
    let upstream = RawUpstream::serving(move |_, mut connection| {
        let ended = ended.clone();
        async move {
            connection.request().await;
            connection.send(OK).await;
            assert_eq!(connection.request().await, None);
            ended.send(()).expect("the test waits");
        }
    })
    .await;
    let config = ForwardConfig {
        keep_timeout: Duration::from_millis(20),
        ..ForwardConfig::default()
    };
    let forwarder = forwarder_with(upstream.port, config);
    assert_eq!(whole(patient(forwarder.call(get("/"))).await).await, "ok");
    patient(closed.recv()).await.expect("closed");
}

#[tokio::test]
async fn idle_connections_are_kept_up_to_their_limit() {
    let (ended, mut closed) = tokio::sync::mpsc::unbounded_channel();
    let arrived = Arc::new(tokio::sync::Barrier::new(3));
    let upstream = RawUpstream::serving(move |number, mut connection| {
        let (ended, arrived) = (ended.clone(), Arc::clone(&arrived));
        async move {
            connection.request().await;
            arrived.wait().await;
            connection.send(OK).await;
            assert_eq!(connection.request().await, None);
            ended.send(number).expect("the test waits");
        }
    })
    .await;
    let config = ForwardConfig {
        idle_connections_max: 1,
        ..ForwardConfig::default()
    };
    let forwarder = forwarder_with(upstream.port, config);
    let mut calls = JoinSet::new();
    for _ in 0..3 {
        let answer = forwarder.call(get("/"));
        calls.spawn(async move { whole(answer.await).await });
    }
    while let Some(answer) = patient(calls.join_next()).await {
        assert_eq!(answer.expect("no panic"), "ok");
    }
    for _ in 0..2 {
        patient(closed.recv()).await.expect("closed");
    }
    settled().await;
    assert!(closed.try_recv().is_err(), "one is kept");
}

/// An upstream of HTTP/2 that sends back what it is sent; its port, and how many connections it has
/// had.
async fn http2_upstream() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let n_connections = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&n_connections);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            counted.fetch_add(1, Ordering::SeqCst);
            let serving = http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service_fn(echo));
            tokio::spawn(serving);
        }
    });
    (port, n_connections)
}

async fn echo(
    request: Request<Incoming>,
) -> Result<Response<http_body_util::combinators::BoxBody<Bytes, hyper::Error>>, Infallible> {
    assert_eq!(request.version(), Version::HTTP_2);
    let uri = request.uri().to_string();
    let mut headers = request.headers().clone();
    headers.insert("x-uri", uri.parse().expect("a value"));
    let collected = request.into_body().collect().await.expect("whole");
    let trailers = collected.trailers().cloned();
    let body = Full::new(collected.to_bytes()).map_err(|never| match never {});
    let body = body.with_trailers(async move { trailers.map(Ok) });
    let mut response = Response::new(body.boxed());
    *response.headers_mut() = headers;
    Ok(response)
}

#[tokio::test]
async fn http_2_takes_many_requests_on_one_connection() {
    let (port, n_connections) = http2_upstream().await;
    let config = ForwardConfig {
        version: HttpVersions::Http2,
        ..ForwardConfig::default()
    };
    let forwarder = forwarder_with(port, config);
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let trailers = Some(fields(&[("x-sum", "3")]));
        let pairs = [("te", "trailers"), ("x-one", "1"), ("x-one", "2")];
        let call = request("PUT", "/a%20b?x=1", &pairs, octets(&["ab", "c"], trailers));
        calls.spawn(forwarder.call(call));
    }
    while let Some(answer) = patient(calls.join_next()).await {
        let reply = answer.expect("no panic").expect("answered");
        let uri = reply.headers.get_str("x-uri").map(|uri| uri.into_owned());
        assert_eq!(uri.as_deref(), Some("http://shop.example:8080/a%20b?x=1"));
        let ones: Vec<_> = reply.headers.values(b"x-one").collect();
        assert_eq!(ones, [&b"1"[..], b"2"]);
        let (body, trailers) = patient(reply.body.collect(99)).await.expect("whole");
        assert_eq!(body, "abc");
        let trailers = trailers.expect("trailers");
        assert_eq!(trailers.get(b"x-sum").as_deref(), Some(&b"3"[..]));
    }
    assert_eq!(n_connections.load(Ordering::SeqCst), 1);
}

struct Nothing;

impl Catalog for Nothing {
    fn services(&self, _: Option<Text>, _: Call) -> BoxFuture<Result<Bytes, Error>> {
        Box::pin(async { Ok(Bytes::new()) })
    }
}

/// Answers with what it is sent, and who it is called by.
struct Echo;

impl Handler for Echo {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        Box::pin(async move {
            let body = call.body.into_one(usize::MAX).await?;
            let origin = call.context.peer.origin.to_string();
            Ok(Reply::one([body, origin.into()].concat()))
        })
    }
}

/// A listener of Postern as an upstream.
async fn listener(config: HttpConfig, tls: Option<Arc<ServerTls>>) -> SocketAddr {
    let (any, counters) = (([127, 0, 0, 1], 0).into(), Arc::<Counters>::default());
    let bytes = Arc::new(ByteBudget::unlimited());
    let (handler, catalog) = (Arc::new(Echo), Arc::new(Nothing));
    let server = HttpServer::bind(any, config, handler, catalog, counters, bytes).await;
    let server = server.expect("a free port").with_tls(tls);
    let address = server.local_addr().socket_addr().expect("a port");
    tokio::spawn(server.serve(Shutdown::new()));
    address
}

#[tokio::test]
async fn https_speaks_what_both_know_and_believes_whom_it_should() {
    let authority = Authority::new("own");
    let settings = ServerTlsSettings::new(authority.pair(&["localhost"]));
    let tls = ServerTls::new(settings, &alpn::HTTP).expect("good");
    let address = listener(HttpConfig::default(), Some(Arc::new(tls))).await;
    let secure = |version, authority: &Authority| {
        let settings = ClientTlsSettings {
            authorities: Some(vec![authority.pem()]),
            ..ClientTlsSettings::default()
        };
        let config = ForwardConfig {
            version,
            tls: Arc::new(ClientTls::new(settings).expect("an authority")),
            ..ForwardConfig::default()
        };
        let address = ForwardAddress::Host {
            is_secure: true,
            host: "localhost".into(),
            port: address.port(),
        };
        Forwarder::new(address, config)
    };
    let call = || {
        let json = [("content-type", "application/json")];
        request(
            "POST",
            "/v1/services/echo/Say",
            &json,
            Body::One("{}".into()),
        )
    };
    for version in [
        HttpVersions::Negotiated,
        HttpVersions::Http1,
        HttpVersions::Http2,
    ] {
        let forwarder = secure(version, &authority);
        for _ in 0..2 {
            let answer = whole(patient(forwarder.call(call())).await).await;
            assert!(
                answer.starts_with(b"{}127.0.0.1:"),
                "{version:?}: {answer:?}"
            );
        }
    }
    let stranger = secure(HttpVersions::Negotiated, &Authority::new("other"));
    let refused = patient(stranger.call(call()))
        .await
        .expect_err("not believed");
    assert_eq!(
        (refused.kind, refused.retry),
        (Kind::Unavailable, Retry::Elsewhere)
    );
}

#[tokio::test]
async fn who_speaks_no_http_2_is_told_by_name() {
    let upstream = RawUpstream::answering(&[OK]).await;
    let config = ForwardConfig {
        version: HttpVersions::Http2,
        ..ForwardConfig::default()
    };
    let failed = patient(forwarder_with(upstream.port, config).call(get("/"))).await;
    assert!(failed.is_err());
}

fn from(client: &str) -> Call {
    let mut call = get("/");
    let origin = client.parse::<SocketAddr>().expect("an address").into();
    call.context.peer = Arc::new(Peer::new(Transport::Http, origin));
    call
}

#[tokio::test]
async fn an_upstream_is_told_of_each_client_on_a_connection_of_its_own() {
    let texts = "PROXY TCP4 192.0.2.7 127.0.0.1 4711 ";
    let octets = "\r\n\r\n\0\r\nQUIT\n!\u{11}\0\u{c}";
    for (version, begin) in [(ProxyVersion::V1, texts), (ProxyVersion::V2, octets)] {
        let mut upstream = RawUpstream::serving(move |_, mut connection| async move {
            connection.octets(begin.len()).await;
            connection.request().await;
            connection.send(OK).await;
        })
        .await;
        let config = ForwardConfig {
            send_proxy: Some(version),
            ..ForwardConfig::default()
        };
        let forwarder = forwarder_with(upstream.port, config);
        for _ in 0..2 {
            let reply = patient(forwarder.call(from("192.0.2.7:4711"))).await;
            assert_eq!(whole(reply).await, "ok");
            assert_eq!(upstream.seen().await, begin);
            assert!(upstream.seen().await.contains("GET / HTTP/1.1\r\n"));
        }
    }
}

#[tokio::test]
async fn a_listener_believes_the_header_of_a_trusted_proxy_alone() {
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        for is_trusted in [true, false] {
            let trusted = if is_trusted {
                "127.0.0.0/8"
            } else {
                "192.0.2.0/24"
            };
            let mut config = HttpConfig {
                proxy_protocol: true,
                ..HttpConfig::default()
            };
            config
                .forwarded
                .trusted
                .0
                .push(trusted.parse().expect("a network"));
            let port = listener(config, None).await.port();
            let config = ForwardConfig {
                send_proxy: Some(version),
                ..ForwardConfig::default()
            };
            let mut call = from("192.0.2.7:4711");
            let facts = call.http.as_mut().expect("facts");
            facts.path = "/v1/services/echo/Say".into();
            facts.method = "POST".into();
            let reply = patient(forwarder_with(port, config).call(call)).await;
            if is_trusted {
                assert_eq!(whole(reply).await, "192.0.2.7:4711");
            } else {
                // It is octets that are no request.
                let status = reply.expect("refused").status.map(HttpStatus::number);
                assert_eq!(status, Some(400), "{version:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_trusted_proxy_begins_with_a_header() {
    let mut config = HttpConfig {
        proxy_protocol: true,
        ..HttpConfig::default()
    };
    config
        .forwarded
        .trusted
        .0
        .push("127.0.0.1".parse().expect("an address"));
    let port = listener(config, None).await.port();
    let failed = patient(forwarder(port).call(get("/v1/services"))).await;
    assert_eq!(failed.expect_err("closed").kind, Kind::Unavailable);
}

#[tokio::test]
async fn a_header_that_does_not_end_is_given_its_time() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut config = HttpConfig {
        proxy_protocol: true,
        handshake_timeout: Duration::from_millis(50),
        ..HttpConfig::default()
    };
    config
        .forwarded
        .trusted
        .0
        .push("127.0.0.1".parse().expect("an address"));
    let address = listener(config, None).await;
    for begin in ["", "PROXY TCP4 ", "\r\n\r\n\0\r\nQUIT\n"] {
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("up");
        stream.write_all(begin.as_bytes()).await.expect("taken");
        let mut rest = Vec::new();
        let n_octets = patient(stream.read_to_end(&mut rest)).await;
        assert_eq!(n_octets.unwrap_or(0), 0, "closed without a word");
    }
}

#[tokio::test]
async fn a_trusted_proxy_says_by_a_field_for_whom_it_asks() {
    let mut config = HttpConfig::default();
    config
        .forwarded
        .trusted
        .0
        .push("127.0.0.1".parse().expect("an address"));
    let trusting = listener(config, None).await.port();
    let other = listener(HttpConfig::default(), None).await.port();
    let asked = |port| async move {
        let pairs = [("x-forwarded-for", "10.1.1.1, 192.0.2.7")];
        let call = request("POST", "/v1/services/echo/Say", &pairs, Body::Empty);
        let answer = whole(patient(forwarder(port).call(call)).await).await;
        String::from_utf8(answer.to_vec()).expect("text")
    };
    assert_eq!(asked(trusting).await, "192.0.2.7:0");
    assert!(asked(other).await.starts_with("127.0.0.1:"));
}
