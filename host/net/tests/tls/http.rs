//! HTTP over TLS: both versions, half-closed connections, refusals, and how a connection ends.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use postern_core::{BoxFuture, Call, Error, Handler, Reply, Text, Transport};
use postern_net::{
    ByteBudget, Counters, Shutdown,
    http::{Catalog, HttpClient, HttpClientConfig, HttpConfig, HttpServer},
    tls::{ServerTls, ServerTlsSettings, alpn},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{Echo, PATIENCE, certificates::Authority, trusting};

struct Nothing;

impl Catalog for Nothing {
    fn services(&self, _: Option<Text>, _: Call) -> BoxFuture<Result<Bytes, Error>> {
        Box::pin(async { Ok(Bytes::new()) })
    }
}

/// Says whether a call of it is under way, for ever.
#[derive(Default)]
struct Hanging(Arc<AtomicBool>);

struct RunningCall(Arc<AtomicBool>);

impl Drop for RunningCall {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl Handler for Hanging {
    fn call(&self, _: Call) -> BoxFuture<Result<Reply, Error>> {
        self.0.store(true, Ordering::SeqCst);
        let under_way = RunningCall(Arc::clone(&self.0));
        Box::pin(async move {
            let _under_way = under_way;
            std::future::pending().await
        })
    }
}

/// A listener for HTTPS; `stop` it at the end of the test.
struct Served {
    address: SocketAddr,
    authority: Authority,
    counters: Arc<Counters>,
    shutdown: Shutdown,
    server: JoinHandle<()>,
}

impl Served {
    async fn start(handler: Arc<dyn Handler>) -> Self {
        let authority = Authority::new("own");
        let settings = ServerTlsSettings::new(authority.pair(&["localhost"]));
        let tls = ServerTls::new(settings, &alpn::HTTP).expect("good");
        let (any, counters) = (([127, 0, 0, 1], 0).into(), Arc::<Counters>::default());
        let (config, bytes) = (HttpConfig::default(), Arc::new(ByteBudget::unlimited()));
        let bound = Arc::clone(&counters);
        let server = HttpServer::bind(any, config, handler, Arc::new(Nothing), bound, bytes).await;
        let server = server.expect("a free port").with_tls(Some(Arc::new(tls)));
        let address = server.local_addr().socket_addr().expect("bound");
        let shutdown = Shutdown::new();
        let server = tokio::spawn(server.serve(shutdown.clone()));
        Self {
            address,
            authority,
            counters,
            shutdown,
            server,
        }
    }

    fn client(&self, http2: bool) -> HttpClient {
        let base = format!("https://localhost:{}", self.address.port());
        let config = HttpClientConfig {
            http2,
            tls: Arc::new(trusting(&self.authority)),
            ..HttpClientConfig::default()
        };
        HttpClient::new(&base, config).expect("an address")
    }

    async fn raw(&self) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.expect("it listens");
        let config = trusting(&self.authority)
            .config(&["http/1.1"])
            .expect("made");
        let name = "localhost".try_into().expect("a name");
        let connected = TlsConnector::from(config).connect(name, stream).await;
        connected.expect("a good certificate")
    }

    async fn stop(self) {
        self.shutdown.drain();
        let ended = tokio::time::timeout(PATIENCE, self.server).await;
        ended.expect("it drains").expect("no panic");
    }
}

fn post(body: &str) -> String {
    let length = body.len();
    format!(
        "POST /v1/services/echo/Say HTTP/1.1\r\nhost: localhost\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn both_versions_go_over_tls_and_the_handler_knows_of_it() {
    let echo = Arc::<Echo>::default();
    let served = Served::start(Arc::clone(&echo) as Arc<dyn Handler>).await;
    for (http2, protocol) in [(false, None), (true, Some("h2"))] {
        let reply = served
            .client(http2)
            .call(Call::unary("echo", "Say", "7"))
            .await;
        let body = reply.expect("answered").body.into_one(9).await;
        assert_eq!(body.expect("one message"), "7");
        let peer = echo.peer.lock().clone().expect("somebody has called");
        assert_eq!(peer.transport, Transport::Https);
        let facts = peer.tls.as_ref().expect("facts");
        assert_eq!(facts.protocol.as_deref(), protocol);
        assert_eq!(facts.server_name.as_deref(), Some("localhost"));
    }
    served.stop().await;
}

#[tokio::test]
async fn a_client_that_has_closed_its_sending_side_gets_its_reply_and_a_whole_end() {
    let served = Served::start(Arc::<Echo>::default()).await;
    let mut stream = served.raw().await;
    stream
        .write_all(post("7").as_bytes())
        .await
        .expect("written");
    stream.shutdown().await.expect("close_notify");
    let mut response = String::new();
    // An end without close_notify would be an error.
    stream
        .read_to_string(&mut response)
        .await
        .expect("a whole end");
    assert!(response.ends_with("\r\n\r\n7"), "{response}");
    served.stop().await;
}

#[tokio::test]
async fn a_head_that_is_not_taken_is_refused_inside_of_tls() {
    let served = Served::start(Arc::<Echo>::default()).await;
    let mut stream = served.raw().await;
    stream.write_all(b"no head\r\n\r\n").await.expect("written");
    let mut response = String::new();
    stream
        .read_to_string(&mut response)
        .await
        .expect("a whole end");
    assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    assert_eq!(served.counters.protocol_errors.value(), 1);
    served.stop().await;
}

#[tokio::test]
async fn whoever_speaks_no_tls_is_told_nothing_of_http() {
    let served = Served::start(Arc::<Echo>::default()).await;
    let mut stream = TcpStream::connect(served.address)
        .await
        .expect("it listens");
    stream
        .write_all(post("7").as_bytes())
        .await
        .expect("written");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    // At most an alert of TLS: content type 21.
    assert!(answer.first().is_none_or(|kind| *kind == 21), "{answer:?}");
    assert_eq!(served.counters.handshakes_failed.value(), 1);
    served.stop().await;
}

#[tokio::test]
async fn a_client_that_is_gone_cancels_its_call() {
    let hanging = Hanging::default();
    let is_under_way = Arc::clone(&hanging.0);
    let served = Served::start(Arc::new(hanging)).await;
    let becomes = async |expected: bool| {
        let waiting = async {
            while is_under_way.load(Ordering::SeqCst) != expected {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        waited.unwrap_or_else(|_| panic!("it is not {expected}"));
    };
    // One that is reset, and one that has closed both sides in order and answers octets by a reset.
    for is_reset in [true, false] {
        let mut stream = served.raw().await;
        stream
            .write_all(post("7").as_bytes())
            .await
            .expect("written");
        becomes(true).await;
        if is_reset {
            let (socket, _) = stream.into_inner();
            socket.set_zero_linger().expect("a socket");
            drop(socket);
        } else {
            stream.shutdown().await.expect("close_notify");
            drop(stream);
        }
        becomes(false).await;
    }
    served.stop().await;
}
