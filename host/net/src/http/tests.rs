//! The listener over real sockets: our client for what it speaks, raw octets for what it must refuse.

mod heads;
mod held;
mod hosts;
mod refusals;
mod sharing;
mod sockets;
mod streams;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use postern_core::{
    Blame, Body, BodyStream, BoxFuture, Call, Error, Handler, Headers, Kind, Reply, Retry, Text,
};
use postern_system::clock;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};

use super::*;
use crate::{ByteBudget, Counters, Shutdown};

#[tokio::test]
async fn a_call_comes_back_over_both_versions_of_http() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    for http2 in [false, true] {
        let client = fixture.client(http2);
        let reply = client
            .call(Call::unary("echo", "Say", "{\"a\":1}"))
            .await
            .expect("echoes");
        assert_eq!(one(reply).await, "{\"a\":1}");
    }
    assert_eq!(fixture.counters.frames_in.value(), 2);
    assert!(fixture.counters.bytes_in.value() > 100 && fixture.counters.bytes_out.value() > 100);
}

#[tokio::test]
async fn names_with_slashes_and_spaces_arrive_whole() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let reply = fixture
        .client(false)
        .call(Call::unary("tell", "a/b c%é", ""))
        .await
        .expect("tells");
    let told = one(reply).await;
    assert!(told.starts_with("tell a/b c%é\n"), "{told}");
}

#[tokio::test]
async fn head_and_context_of_a_request_reach_the_handler() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let head = format!(
        "X-Tenant: blue\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n\
         Connection: X-Hop-Too\r\nX-Hop-Too: 1\r\nTimeout-Ms: 5000\r\n\
         x-correlation-id: c-7\r\nversion: 1.2\r\npriority: 200\r\ntraceparent: {trace}\r\n"
    );
    let response = fixture.raw(&post("tell/Me", &head, "")).await;
    let trace = format!("trace={trace}");
    for told in [
        "x-tenant=blue",
        "version=1.2",
        "correlation=c-7",
        "priority=200",
        &trace,
        "has-deadline=true",
    ] {
        assert!(response.contains(told), "{told} in {response}");
    }
    assert!(
        !response.contains("x-hop") && !response.contains("timeout-ms="),
        "{response}"
    );
    assert!(response.contains("x-correlation-id: c-7\r\n"), "{response}");
}

#[tokio::test]
async fn reply_headers_pass_but_for_those_of_the_wire() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let response = fixture.raw(&post("headers/Get", "", "")).await;
    assert!(response.contains("x-colour: green\r\n"), "{response}");
    assert!(
        response.contains("content-type: text/css\r\n"),
        "{response}"
    );
    assert!(
        !response.contains("msg-id") && !response.contains("keep-alive"),
        "{response}"
    );
}

#[tokio::test]
async fn every_kind_of_error_has_its_status_and_comes_back_the_same() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let client = fixture.client(false);
    for kind in Kind::ALL {
        let error = client
            .call(Call::unary("fail", kind.name(), ""))
            .await
            .expect_err("fails");
        assert_eq!((error.kind, &*error.message), (kind, "on purpose"));
        assert_eq!(error.blame, kind.peer_blame(), "{kind}");
        assert_eq!(error.details.as_deref(), Some(&b"{\"n\":1}"[..]));
        // 1.5 s are two whole ones on this wire.
        assert_eq!(error.retry, Retry::After(Duration::from_secs(2)));
        let headers = error.headers.expect("those of the handler");
        let told: Vec<_> = headers.iter().collect();
        assert_eq!(told, [(&b"x-colour"[..], (&b"green"[..]).into())]);
        let response = fixture
            .raw(&post(&format!("fail/{}", kind.name()), "", ""))
            .await;
        assert!(
            response.starts_with(&format!("HTTP/1.1 {}", kind.http())),
            "{response}"
        );
        assert!(response.contains("retry-after: 2\r\n"), "{response}");
    }
}

#[tokio::test]
async fn the_catalogue_lists_services_and_tells_one() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let list = fixture.client(false).services().await.expect("lists");
    assert_eq!(
        list,
        "{\"services\":[{\"name\":\"echo\",\"version\":\"1.0.0\",\"methods\":[]}]}"
    );
    let one = fixture
        .raw("GET /v1/services/echo HTTP/1.1\r\nhost: x\r\n\r\n")
        .await;
    assert!(
        one.ends_with("{\"name\":\"echo\",\"version\":\"1.0.0\",\"methods\":[]}"),
        "{one}"
    );
    let none = fixture
        .raw("GET /v1/services/nix HTTP/1.1\r\nhost: x\r\n\r\n")
        .await;
    assert!(
        none.starts_with("HTTP/1.1 404") && none.contains("no service nix is here"),
        "{none}"
    );
}

#[tokio::test]
async fn the_catalogue_sees_who_asks() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    for path in ["/v1/services", "/v1/services/echo"] {
        let refused = fixture
            .raw(&format!(
                "GET {path} HTTP/1.1\r\nhost: x\r\nx-barred: 1\r\n\r\n"
            ))
            .await;
        assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
        assert!(!refused.contains("echo"), "{refused}");
    }
}

#[tokio::test]
async fn head_has_the_length_but_no_body() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let response = fixture
        .raw("HEAD /v1/services HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await;
    assert!(response.contains("content-length: 61\r\n"), "{response}");
    assert!(response.ends_with("\r\n\r\n"), "{response}");
}

#[tokio::test]
async fn a_client_that_leaves_cancels_its_call() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let mut socket = TcpStream::connect(fixture.address).await.expect("connects");
    socket
        .write_all(post("hang/On", "", "").as_bytes())
        .await
        .expect("writes");
    fixture.handler.wait_for(1).await;
    drop(socket);
    fixture.handler.wait_for(0).await;
}

#[tokio::test]
async fn a_client_stops_waiting_at_the_deadline() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let mut call = Call::unary("hang", "On", "");
    call.context.deadline = Some(clock::now() + Duration::from_millis(50));
    let error = fixture
        .client(false)
        .call(call)
        .await
        .expect_err("nobody answers");
    assert_eq!(error.kind, Kind::DeadlineExceeded);
    fixture.handler.wait_for(0).await;
}

#[tokio::test]
async fn a_door_that_is_not_there_is_unavailable() {
    let client = HttpClient::new("127.0.0.1:1", HttpClientConfig::default()).expect("an address");
    let error = client
        .call(Call::unary("echo", "Say", ""))
        .await
        .expect_err("refused");
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(
        error.message.contains("connection refused"),
        "{}",
        error.message
    );
}

/// A listener on a free port, in front of `Double`.
struct Fixture {
    address: SocketAddr,
    counters: Arc<Counters>,
    handler: Arc<Double>,
    shutdown: Shutdown,
    serving: JoinHandle<()>,
    bytes: Arc<ByteBudget>,
    reconfigure: HttpReconfigure,
}

/// Answers by service name; see `Handler for Double`.
#[derive(Default)]
struct Double {
    n_hanging: Arc<AtomicUsize>,
}

struct OneService;

impl Fixture {
    async fn open(config: HttpConfig) -> Self {
        let counters = Arc::new(Counters::default());
        let handler = Arc::new(Double::default());
        let (joint, catalog) = (Arc::clone(&handler), Arc::new(OneService));
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let bytes = Arc::new(ByteBudget::new(64 << 20));
        let server = HttpServer::bind(
            address,
            config,
            joint,
            catalog,
            Arc::clone(&counters),
            Arc::clone(&bytes),
        );
        let server = server.await.expect("a free port");
        let address = server.local_addr().socket_addr().expect("bound");
        let shutdown = Shutdown::new();
        let reconfigure = server.reconfigure();
        let serving = tokio::spawn(server.serve(shutdown.clone()));
        Self {
            address,
            counters,
            handler,
            shutdown,
            serving,
            bytes,
            reconfigure,
        }
    }

    fn client(&self, http2: bool) -> HttpClient {
        let config = HttpClientConfig {
            http2,
            ..HttpClientConfig::default()
        };
        HttpClient::new(&self.address.to_string(), config).expect("an address")
    }

    /// Sends `request` as it is and reads the answer.
    async fn raw(&self, request: &str) -> String {
        let mut socket = TcpStream::connect(self.address).await.expect("connects");
        socket.write_all(request.as_bytes()).await.expect("writes");
        read_response(&mut socket).await
    }
}

impl Double {
    async fn wait_for(&self, n_hanging: usize) {
        let there = async {
            while self.n_hanging.load(Ordering::SeqCst) != n_hanging {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, there).await.expect("calls come and go");
    }
}

impl Handler for Double {
    /// Calls of `together` are told how many they are.
    fn call_batch(&self, calls: Vec<Call>) -> Vec<BoxFuture<Result<Reply, Error>>> {
        let n_calls = calls.len();
        let each = calls.into_iter().map(|call| match &*call.service {
            "together" => Box::pin(async move { Ok(Reply::one(n_calls.to_string())) }),
            _ => self.call(call),
        });
        each.collect()
    }

    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        let n_hanging = Arc::clone(&self.n_hanging);
        Box::pin(async move {
            match &*call.service {
                "echo" => Ok(Reply::new(Headers::new(), call.body)),
                "tell" => Ok(Reply::one(tell(&call))),
                "headers" => {
                    let mut reply = Reply::one("x");
                    for (key, value) in [
                        ("x-colour", "green"),
                        ("content-type", "text/css"),
                        ("access-control-allow-origin", "*"),
                        ("msg-id", "1"),
                        ("keep-alive", "5"),
                        ("bad key", "x"),
                    ] {
                        reply.headers.push(key, value).expect("short");
                    }
                    Ok(reply)
                }
                "fail" => {
                    let kind = Kind::from_name(&call.method).expect("a kind");
                    let retry = Retry::After(Duration::from_millis(1500));
                    let mut headers = Headers::new();
                    for (key, value) in [("x-colour", "green"), ("etag", "\"of a reply\"")] {
                        headers.push(key, value).expect("short");
                    }
                    let error = Error::new(kind, Blame::Guest, "on purpose");
                    let error = error.with_headers(headers).with_retry(retry);
                    Err(error.with_details("{\"n\":1}"))
                }
                "count" => Ok(Reply::new(
                    Headers::new(),
                    Body::Messages(BodyStream::new(count(&call.method))),
                )),
                "late" => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    Ok(Reply::new(Headers::new(), call.body))
                }
                "large" => Ok(Reply::one("x".repeat((1 << 20) + 100))),
                "hang" => {
                    n_hanging.fetch_add(1, Ordering::SeqCst);
                    let _leaves = Leaves(n_hanging);
                    std::future::pending().await
                }
                other => Err(Error::not_found(format!("no service {other}"))),
            }
        })
    }
}

/// Three messages, and with the method `Broken` an error.
fn count(method: &str) -> impl futures_core::Stream<Item = Result<Bytes, Error>> + use<> {
    let mut items: Vec<_> = (1..=3).map(|n| Ok(Bytes::from(n.to_string()))).collect();
    if method == "Broken" {
        items.push(Err(Error::new(
            Kind::DataLoss,
            Blame::Guest,
            "the rest is lost",
        )));
    }
    stream::iter(items)
}

fn tell(call: &Call) -> String {
    let mut told = format!("{} {}\n", call.service, call.method);
    for (key, value) in call.headers.iter() {
        told += &format!("{}={}\n", key.escape_ascii(), value.escape_ascii());
    }
    let context = &call.context;
    let trace = context.trace.map(|trace| trace.to_string());
    let trace = trace.unwrap_or_default();
    told += &format!(
        "correlation={}\npriority={}\n",
        context.correlation, context.priority
    );
    told += &format!(
        "trace={trace}\nhas-deadline={}\n",
        context.deadline.is_some()
    );
    told
}

struct Leaves(Arc<AtomicUsize>);

impl Drop for Leaves {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

const ECHO: &str = "{\"name\":\"echo\",\"version\":\"1.0.0\",\"methods\":[]}";

impl Catalog for OneService {
    fn services(&self, name: Option<Text>, asked: Call) -> BoxFuture<Result<Bytes, Error>> {
        let is_barred = asked.headers.get_str("x-barred").is_some();
        Box::pin(async move {
            if is_barred {
                return Err(Error::new(Kind::Unauthenticated, Blame::Client, "barred"));
            }
            match name.as_deref() {
                None => Ok(format!("{{\"services\":[{ECHO}]}}").into()),
                Some("echo") => Ok(ECHO.into()),
                Some(name) => Err(Error::not_found(format!("no service {name} is here"))),
            }
        })
    }

    fn openapi(&self, listener: Text, asked: Call) -> BoxFuture<Result<Bytes, Error>> {
        let is_barred = asked.headers.get_str("x-barred").is_some();
        Box::pin(async move {
            match is_barred {
                true => Err(Error::new(Kind::Unauthenticated, Blame::Client, "barred")),
                false => Ok(format!("{{\"openapi\":\"3.1.0\",\"x\":\"{listener}\"}}").into()),
            }
        })
    }
}

/// A request for `target` with further header lines and a body.
fn post(target: &str, head: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /v1/services/{target} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n{head}\r\n{body}"
    )
}

async fn one(reply: Reply) -> String {
    let octets = reply.body.into_one(1 << 20).await.expect("one message");
    String::from_utf8(octets.to_vec()).expect("text")
}

/// Reads one whole response, or what comes until the listener closes.
async fn read_response(socket: &mut TcpStream) -> String {
    let mut octets = Vec::new();
    let reading = async {
        while !is_whole(&String::from_utf8_lossy(&octets)) {
            if !matches!(socket.read_buf(&mut octets).await, Ok(1..)) {
                break;
            }
        }
    };
    timeout(PATIENCE, reading)
        .await
        .expect("the listener answers");
    String::from_utf8_lossy(&octets).into_owned()
}

/// Whether a response is over by its own account; one that is closed by the listener never is.
fn is_whole(response: &str) -> bool {
    let Some((head, body)) = response.split_once("\r\n\r\n") else {
        return false;
    };
    if head.contains("transfer-encoding: chunked") {
        return body.ends_with("\r\n\r\n") && body.contains("0\r\n");
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    !head.contains("connection: close") && length.and_then(|n| n.parse().ok()) == Some(body.len())
}

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
