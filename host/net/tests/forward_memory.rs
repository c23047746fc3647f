//! What the proxy holds of bodies that are longer than all that it may hold. Alone in its process, as
//! the process's memory is looked at.

use std::{convert::Infallible, net::Ipv4Addr, pin::Pin, sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt;
use hyper::{body::Incoming, client, server, service::service_fn};
use hyper_util::rt::TokioIo;
use postern_core::{
    BoxFuture, Call, Error, Headers, Text,
    route::{HttpRoute, PathRewrite, PathTemplate, RouteEnd, RouteRule, RouteTable, UpstreamEnd},
};
use postern_net::{
    ByteBudget, Counters, Shutdown,
    http::{
        Catalog, ForwardAddress, ForwardConfig, Forwarder, HttpConfig, HttpRoutes, HttpServer,
        RouteSchemas,
    },
};
use tokio::net::{TcpListener, TcpStream};

const MIB: usize = 1 << 20;
/// Octets each way.
const LENGTH: usize = 256 * MIB;
/// Octets that the process may grow by; those of both ends and the proxy between them.
const GROWTH_MAX: usize = 24 * MIB;

/// Octets that depend on where they stand.
struct Long {
    at: usize,
}

impl HttpBody for Long {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.at == LENGTH {
            return Poll::Ready(None);
        }
        let piece = vec![mark(self.at); PIECE];
        self.at += PIECE;
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }
}

const PIECE: usize = 64 * 1024;

fn mark(at: usize) -> u8 {
    u8::try_from(at / PIECE % 251).expect("below 251")
}

/// Reads a `Long` to its end.
async fn check(mut body: Incoming) {
    let mut at = 0;
    while let Some(frame) = body.frame().await {
        let data = frame.expect("whole").into_data().expect("data");
        for (idx, octet) in data.iter().enumerate().step_by(4096) {
            assert_eq!(*octet, mark(at + idx), "at {}", at + idx);
        }
        at += data.len();
    }
    assert_eq!(at, LENGTH);
}

async fn answer(request: Request<Incoming>) -> Result<Response<Long>, Infallible> {
    check(request.into_body()).await;
    Ok(Response::new(Long { at: 0 }))
}

struct Nothing;

impl Catalog for Nothing {
    fn services(&self, _: Option<Text>, _: Call) -> BoxFuture<Result<Bytes, Error>> {
        Box::pin(async { Ok(Bytes::new()) })
    }
}

async fn upstream() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut builder = server::conn::http1::Builder::new();
        builder.max_buf_size(PIECE);
        let serving = builder.serve_connection(TokioIo::new(stream), service_fn(answer));
        serving.await.expect("a good end");
    });
    port
}

async fn proxy(port: u16) -> std::net::SocketAddr {
    let address = ForwardAddress::Host {
        is_secure: false,
        host: "127.0.0.1".into(),
        port,
    };
    let handler = Arc::new(Forwarder::new(address, ForwardConfig::default()));
    let end = UpstreamEnd {
        service: "shop".into(),
        path: PathRewrite::Keep,
        host: None,
    };
    let route = HttpRoute {
        name: "shop".into(),
        rule: RouteRule::new(PathTemplate::parse("/{rest*}").expect("a template")),
        end: RouteEnd::Upstream(end),
        status: None,
        headers: Headers::new(),
        has_problems: false,
        timeout_ms: None,
    };
    let routes = HttpRoutes::default();
    routes.set(RouteTable::new([route]), RouteSchemas::default());
    let config = HttpConfig {
        // Less than a hundredth of what passes.
        held_bytes_max: 2 * MIB,
        ..HttpConfig::default()
    };
    let (any, counters) = (([127, 0, 0, 1], 0).into(), Arc::<Counters>::default());
    let bytes = Arc::new(ByteBudget::unlimited());
    let server = HttpServer::bind(any, config, handler, Arc::new(Nothing), counters, bytes).await;
    let server = server.expect("a free port").with_routes(routes, "http");
    let address = server.local_addr().socket_addr().expect("a port");
    tokio::spawn(server.serve(Shutdown::new()));
    address
}

/// The most that this process ever had in memory, in octets.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("the kernel tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .expect("a number")
        .parse::<usize>()
        .expect("a number")
        * 1024
}

#[tokio::test]
async fn a_body_of_any_length_is_held_in_pieces_each_way() {
    let address = proxy(upstream().await).await;
    let stream = TcpStream::connect(address).await.expect("it listens");
    let mut builder = client::conn::http1::Builder::new();
    builder.max_buf_size(PIECE);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.expect("http");
    let driver = tokio::spawn(connection);
    let before = peak();
    let request = Request::post("/long")
        .header("host", "x")
        .body(Long { at: 0 });
    let exchange = async {
        let response = sender.send_request(request.expect("a request")).await;
        check(response.expect("answered").into_body()).await;
    };
    let exchanged = tokio::time::timeout(Duration::from_secs(300), exchange).await;
    exchanged.expect("it passes in time");
    let growth = peak() - before;
    assert!(growth < GROWTH_MAX, "{growth} octets more for {LENGTH}");
    driver.abort();
}
