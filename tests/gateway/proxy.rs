//! The reverse proxy of the real gateway: routes to instances of HTTP, with what every service has.

use std::{
    future::Future,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use postern_tests::{CallerTransport, Gateway, Setup, call, connect, patiently};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::share;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
const BROKEN: &str = "HTTP/1.1 503 No\r\ncontent-length: 4\r\nconnection: close\r\n\r\nfull";
/// The route of these tests.
const ROUTE: &str = "[routes.shop]\npath = \"/shop/{rest*}\"\nupstream = \"shop\"\n\
                     strip-prefix = \"/shop\"\n";

/// An upstream that answers each connection's request and closes it. It ends with the test.
pub(crate) struct Server {
    port: u16,
    n_requests: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Server {
    /// Sends what `answer` makes of a request's head.
    async fn answering(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let answer = Arc::new(answer);
        Self::serving(move |mut stream, head| {
            let answer = answer(&head);
            async move {
                // Whoever is gone reads nothing.
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
            }
        })
        .await
    }

    pub(crate) async fn serving<F>(
        serve: impl Fn(TcpStream, String) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let n_requests = Arc::<AtomicUsize>::default();
        let (counted, serve) = (Arc::clone(&n_requests), Arc::new(serve));
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let (counted, serve) = (Arc::clone(&counted), Arc::clone(&serve));
                tokio::spawn(async move {
                    if let Some(head) = head(&mut stream).await {
                        if !head.starts_with("GET /healthz ") {
                            counted.fetch_add(1, Ordering::SeqCst);
                        }
                        serve(stream, head).await;
                    }
                });
            }
        });
        Self {
            port,
            n_requests,
            task,
        }
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    fn n_requests(&self) -> usize {
        self.n_requests.load(Ordering::SeqCst)
    }

    pub(crate) fn instance(&self, name: &str) -> String {
        let port = self.port;
        format!(
            "[instances.{name}]\nservice = \"shop\"\naddresses = [\"http://127.0.0.1:{port}\"]\n"
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The head of a request; `None` where the connection ends before.
async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// A gateway with the route and these tables, and these keys of its HTTP listener.
async fn gateway(http: &str, config: &str) -> Gateway {
    let setup = Setup {
        http: format!("hosts = [\"shop.example\", \"x\"]\n{http}"),
        config: format!("{ROUTE}{config}"),
        ..Setup::default()
    };
    Gateway::start(setup).await
}

/// All that comes of `request`, whose connection ends with it.
async fn ask(gateway: &Gateway, request: &str) -> String {
    let mut stream = TcpStream::connect(gateway.http).await.expect("it listens");
    stream.write_all(request.as_bytes()).await.expect("taken");
    let mut told = Vec::new();
    let reading = stream.read_to_end(&mut told);
    // A reset is an end, too.
    let _ = tokio::time::timeout(Duration::from_secs(60), reading)
        .await
        .expect("an end in time");
    String::from_utf8(told).expect("text")
}

async fn get(gateway: &Gateway, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: shop.example\r\nconnection: close\r\n\r\n");
    ask(gateway, &request).await
}

fn status(told: &str) -> &str {
    told.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_to_instances_of_http_as_they_came() {
    let _machine = share().await;
    let echo = |head: &str| {
        let length = head.len();
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nx-theirs: 1\r\n\r\n{head}")
    };
    let server = Server::answering(echo).await;
    let gateway = gateway("", &server.instance("one")).await;
    let told = get(&gateway, "/shop/a%2Fb?x=%20").await;
    assert_eq!(status(&told), "200", "{told}");
    assert!(told.contains("x-theirs: 1\r\n"), "{told}");
    let expected = "GET /a%2Fb?x=%20 HTTP/1.1\r\nhost: shop.example\r\n\
                    x-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: http\r\n\
                    x-forwarded-host: shop.example\r\n\r\n";
    assert!(told.ends_with(expected), "{told}");
    assert_eq!(status(&get(&gateway, "/other").await), "404");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_says_who_asks_as_it_is_configured() {
    let _machine = share().await;
    let echo = |head: &str| {
        let length = head.len();
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{head}")
    };
    let server = Server::answering(echo).await;
    let http = "proxy-protocol = true\nforwarded.trusted = [\"127.0.0.0/8\", \"192.0.2.7\"]\n\
                forwarded.accept = \"forwarded\"\nforwarded.send = \"both\"\n";
    let gateway = gateway(http, &server.instance("one")).await;
    let request = "PROXY TCP4 192.0.2.7 127.0.0.1 4711 80\r\nGET /shop/ HTTP/1.1\r\n\
                   host: shop.example\r\nconnection: close\r\nforwarded: for=203.0.113.9\r\n\
                   x-forwarded-for: 10.0.0.1\r\n\r\n";
    let told = ask(&gateway, request).await;
    for field in [
        "x-forwarded-for: 203.0.113.9, 192.0.2.7\r\n",
        "forwarded: for=203.0.113.9, for=192.0.2.7;host=shop.example;proto=http\r\n",
    ] {
        assert!(told.contains(field), "{field} in {told}");
    }
    // Whoever is trusted begins with a header.
    assert_eq!(get(&gateway, "/shop/").await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_upstream_fails_no_request() {
    let _machine = share().await;
    let (dead, server) = (
        Server::answering(|_| String::new()).await,
        Server::answering(|_| OK.to_owned()).await,
    );
    let tables = format!("{}{}", dead.instance("dead"), server.instance("well"));
    dead.task.abort();
    let gateway = gateway("", &tables).await;
    for _ in 0..10 {
        assert_eq!(status(&get(&gateway, "/shop/").await), "200");
        // Nothing of the body was read when nobody was there.
        let post = "POST /shop/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                    transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        assert_eq!(status(&ask(&gateway, post).await), "200");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_of_a_failure_is_tried_elsewhere_where_that_is_safe_and_passed_on_else() {
    let _machine = share().await;
    let (broken, server) = (
        Server::answering(|_| BROKEN.to_owned()).await,
        Server::answering(|_| OK.to_owned()).await,
    );
    let both = format!("{}{}", broken.instance("broken"), server.instance("well"));
    let trying = gateway("", &both).await;
    for _ in 0..4 {
        assert_eq!(status(&get(&trying, "/shop/").await), "200");
    }
    assert!(broken.n_requests() > 0);
    let alone = gateway("", &broken.instance("broken")).await;
    let post = "POST /shop/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let n_before = broken.n_requests();
    let told = ask(&alone, post).await;
    assert!(status(&told) == "503" && told.ends_with("full"), "{told}");
    assert_eq!(broken.n_requests(), n_before + 1);
    // Failures in a row open the breaker, as of any service.
    patiently("the breaker opens", async || {
        ask(&alone, post).await.contains("circuit breaker")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_answers_its_health_path_with_a_failure_is_asked_nothing_more() {
    let _machine = share().await;
    let (ill, server) = (
        Server::answering(|head| {
            let is_asked = head.starts_with("GET /healthz ");
            if is_asked { BROKEN } else { OK }.to_owned()
        })
        .await,
        Server::answering(|_| OK.to_owned()).await,
    );
    let tables = format!(
        "{}{}[services.shop.http]\nhealth-path = \"/healthz\"\n\
         [directory]\nprobe-interval = \"100ms\"\nprobe-down-interval = \"100ms\"\npanic-percent = 0\n",
        ill.instance("ill"),
        server.instance("well")
    );
    let gateway = gateway("", &tables).await;
    patiently("it is asked nothing", async || {
        let n_before = ill.n_requests();
        for _ in 0..8 {
            assert_eq!(status(&get(&gateway, "/shop/").await), "200");
        }
        ill.n_requests() == n_before
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_flows_longer_than_a_call_may_take() {
    let _machine = share().await;
    let server = Server::serving(|mut stream, _| async move {
        let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n";
        stream.write_all(head).await.expect("open");
        // Four times what a call may take.
        tokio::time::sleep(Duration::from_millis(400)).await;
        stream.write_all(b"data: 2\n\n").await.expect("open");
    })
    .await;
    let tables = format!(
        "{}[calls]\ntimeout = \"100ms\"\ntimeout-max = \"100ms\"\n",
        server.instance("one")
    );
    let gateway = gateway("", &tables).await;
    let told = get(&gateway, "/shop/events").await;
    assert!(
        told.contains("data: 1\n\n") && told.contains("data: 2\n\n"),
        "{told}"
    );
    assert!(told.ends_with("0\r\n\r\n"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_says_nothing_has_the_times_of_its_service() {
    let _machine = share().await;
    let silent = Server::serving(|mut stream, head| async move {
        if head.starts_with("GET /begun ") {
            let begun = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort";
            stream.write_all(begun).await.expect("open");
        }
        let mut rest = Vec::new();
        // Closed by the gateway.
        let _ = stream.read_to_end(&mut rest).await;
    })
    .await;
    let tables = format!(
        "{}[services.shop]\nretry.attempts = 1\n[services.shop.http]\nhead-timeout = \"100ms\"\n\
         idle-timeout = \"100ms\"\n",
        silent.instance("one")
    );
    let gateway = gateway("", &tables).await;
    assert_eq!(status(&get(&gateway, "/shop/").await), "504");
    let told = get(&gateway, "/shop/begun").await;
    assert!(told.ends_with("\r\n\r\nshort"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_passes_through_the_gateway() {
    let _machine = share().await;
    let server = Server::serving(|mut stream, head| async move {
        assert!(head.contains("upgrade: websocket\r\n"), "{head}");
        let switch = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                       upgrade: websocket\r\n\r\nhello";
        stream.write_all(switch).await.expect("open");
        let (mut reader, mut writer) = stream.split();
        // Whichever side breaks ends the test.
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
    })
    .await;
    let gateway = gateway("", &server.instance("one")).await;
    let mut stream = TcpStream::connect(gateway.http).await.expect("it listens");
    let request = "GET /shop/chat HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\n\
                   upgrade: websocket\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("taken");
    let response = head(&mut stream).await.expect("a response");
    assert_eq!(status(&response), "101", "{response}");
    for said in ["hello", "world"] {
        let mut octets = [0; 5];
        stream.read_exact(&mut octets).await.expect("open");
        assert_eq!(octets, said.as_bytes());
        stream.write_all(b"world").await.expect("open");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_an_instance_of_http_goes_as_a_gateway_takes_calls() {
    let _machine = share().await;
    let behind = Gateway::start(Setup::default().plugin("echo")).await;
    let address = behind.http;
    let tables =
        format!("[instances.behind]\nservice = \"echo\"\naddresses = [\"http://{address}\"]\n");
    let gateway = gateway("", &tables).await;
    let caller = connect(&gateway, CallerTransport::Tcp).await;
    let answer = call(&caller, "echo/Echo", "{\"a\":1}").await;
    assert_eq!(answer.expect("answered"), "{\"a\":1}");
}
