//! Connections: shared and opened; HTTP/2, TLS, the PROXY protocol.

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
    certificates::Authority,
    fields, forwarder, forwarder_with, get,
    kept::{OK, whole},
    octets, patient, request,
    upstreams::RawUpstream,
};

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
