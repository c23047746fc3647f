//! The reverse proxy in front of servers of others, go-httpbin and nginx: what passes through the gateway
//! is what the server says to a client that asks it at once.

mod asked;
mod long;

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use bytes::Bytes;
use postern_tests::{Gateway, Setup, ToolProcess, free_address, system_tool, tool};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use self::asked::{Asked, Protocol, Seen, ask};
use crate::{
    figure,
    proxy::Server,
    share,
    websocket::socket::{CLOSE, Socket},
};

/// go-httpbin at a port of its own.
struct HttpBin {
    address: SocketAddr,
    _process: ToolProcess,
}

impl HttpBin {
    async fn start() -> Self {
        // More than the longest body that passes here.
        const BODY_BYTES_MAX: u64 = 4 << 30;
        let address = free_address().expect("a free port");
        let mut command = Command::new(tool("go-httpbin"));
        command
            .args(["-host", &address.ip().to_string()])
            .args(["-port", &address.port().to_string()])
            .args(["-max-body-size", &BODY_BYTES_MAX.to_string()])
            .args(["-max-duration", "1m", "-log-level", "OFF"])
            .stdin(Stdio::null());
        let mut process = ToolProcess::start(&mut command);
        process.listening(address).await;
        Self {
            address,
            _process: process,
        }
    }
}

/// nginx with a folder of files.
struct Nginx {
    address: SocketAddr,
    folder: TempDir,
    _process: ToolProcess,
}

impl Nginx {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let address = free_address().expect("a free port");
        fs::create_dir(folder.path().join("www")).expect("a folder");
        let mut config = String::from("daemon off;\nmaster_process off;\npid nginx.pid;\n");
        // Writing to a `String` cannot fail.
        let _ = write!(
            config,
            "events {{ worker_connections 256; }}\nhttp {{\n  access_log off;\n  sendfile on;\n"
        );
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            let _ = writeln!(config, "  {kind}_temp_path {kind};");
        }
        let _ = write!(config, "  server {{ listen {address}; root www; }}\n}}\n");
        fs::write(folder.path().join("nginx.conf"), config).expect("written");
        let mut command = Command::new(system_tool("nginx"));
        command
            .arg("-p")
            .arg(folder.path())
            .args(["-c", "nginx.conf", "-e", "error.log"])
            .stdin(Stdio::null());
        let mut process = ToolProcess::start(&mut command);
        process.listening(address).await;
        Self {
            address,
            folder,
            _process: process,
        }
    }
}

/// A gateway that hands every request on to `upstream` and adds nothing.
async fn in_front_of(upstream: SocketAddr) -> Gateway {
    let setup = Setup {
        http: "hosts = [\"shop.example\"]\nforwarded.send = \"none\"\n".to_owned(),
        config: format!(
            "[routes.every]\npath = \"/{{rest*}}\"\nupstream = \"shop\"\n\
             [instances.one]\nservice = \"shop\"\naddresses = [\"http://{upstream}\"]\n"
        ),
        ..Setup::default()
    };
    Gateway::start(setup).await
}

/// Octets of every value, none of which is text where another was.
fn octets(length: usize) -> Bytes {
    (0..length)
        .map(|at| u8::try_from(at * 7 % 251).expect("below 251"))
        .collect()
}

/// What is asked of go-httpbin. Nothing of an answer depends on when it is given, or on chance: it
/// knows no order of several cookies or trailers.
fn requests() -> Vec<Asked> {
    let put = Asked::new("PUT", "/anything/a%2Fb/%C3%A9;v=1?x=1&x=%20&&y=&z=%26%3D+")
        .field("x-twice", "1")
        .field("x-other", "a, b")
        .field("x-twice", "2")
        .field("cookie", "a=1; b=\"2\"")
        .field("accept", "text/html, */*;q=0.1")
        .field("authorization", "Bearer abc.def")
        .field("timeout-ms", "5000")
        .field("version", "9")
        .field("content-type", "application/octet-stream");
    let mut requests = vec![
        put.clone().body(octets(100_000)),
        put.clone().flowing(octets(100_000)),
        put.body(Bytes::new()),
        Asked::new("POST", "/post")
            .field("content-type", "application/x-www-form-urlencoded")
            .body(Bytes::from_static(b"a=1&a=2&b=%20")),
        Asked::new("POST", "/post")
            .field("content-type", "application/json")
            .body(Bytes::from_static(b"{ \"a\" : [1, 2] }")),
        // A failure of the instance, which is not asked again for a POST.
        Asked::new("POST", "/status/503").body(Bytes::new()),
        Asked::new("GET", "/range/1000").field("range", "bytes=10-29"),
        // Without `te` no trailers are sent over HTTP/1.1 (RFC 9110 section 6.5.1).
        Asked::new("GET", "/trailers?x-sum=7").field("te", "trailers"),
        Asked::new("GET", "/etag/tag").field("if-none-match", "\"tag\""),
        Asked::new("GET", "/cookies").field("cookie", "a=1; b=2"),
        Asked::new("GET", "/image").field("accept", "image/webp"),
    ];
    for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
        requests.push(Asked::new(method, "/anything?method"));
    }
    for method in ["POST", "PATCH"] {
        requests.push(Asked::new(method, "/anything?method").body(Bytes::new()));
    }
    for target in [
        "/status/200",
        "/status/204",
        "/status/302",
        "/status/418",
        "/status/501",
        "/response-headers?X-A=1&X-A=2&x-b=%22",
        "/cookies/set?a=1",
        "/redirect-to?url=http%3A%2F%2Felse.example%2F&status_code=307",
        "/basic-auth/user/pass",
        "/gzip",
        "/deflate",
        "/image/png",
        "/encoding/utf8",
        "/bytes/5000?seed=7",
        "/stream-bytes/50000?seed=7",
        "/stream/20",
        "/base64/aGVsbG8=",
        "/dump/request?raw",
        "/nowhere",
    ] {
        requests.push(Asked::new("GET", target));
    }
    requests
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_is_asked_and_answers_as_if_no_gateway_were_there() {
    let _machine = share().await;
    let upstream = HttpBin::start().await;
    let gateway = in_front_of(upstream.address).await;
    let requests = requests();
    for asked in &requests {
        let expected = ask(upstream.address, Protocol::Http1, asked).await;
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let seen = ask(gateway.http, protocol, asked).await;
            let what = format!("{protocol:?} {} {}", asked.method, asked.target);
            check(&seen, &expected, &what);
        }
    }
    let n_requests = requests.len();
    figure(&format!(
        "proxy before go-httpbin: {n_requests} requests over HTTP/1.1 and HTTP/2 as without it"
    ));
}

#[track_caller]
fn check(seen: &Seen, expected: &Seen, what: &str) {
    assert_eq!(seen.status, expected.status, "{what}");
    let is_same = seen.body == expected.body;
    let (seen_text, expected_text) = (
        String::from_utf8_lossy(&seen.body),
        String::from_utf8_lossy(&expected.body),
    );
    assert!(is_same, "{what}: {seen_text}\ninstead of {expected_text}");
    assert_eq!(seen.fields, expected.fields, "{what}");
    assert_eq!(seen.trailers, expected.trailers, "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_upstream_says_it_was_sent_is_what_was_sent() {
    let _machine = share().await;
    let upstream = HttpBin::start().await;
    let gateway = in_front_of(upstream.address).await;
    let asked = Asked::new("PUT", "/anything/a%2Fb?x=1&x=%20")
        .field("x-twice", "1")
        .field("x-between", "b")
        .field("x-twice", "2")
        .body(octets(1000));
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let seen = ask(gateway.http, protocol, &asked).await;
        let told: Value = serde_json::from_slice(&seen.body).expect("JSON");
        assert_eq!(told["method"], "PUT", "{told}");
        assert_eq!(
            told["url"],
            format!("http://{}/anything/a%2Fb?x=1&x=%20", asked::AUTHORITY),
            "{told}"
        );
        assert_eq!(told["args"]["x"], serde_json::json!(["1", " "]), "{told}");
        let twice = &told["headers"]["X-Twice"];
        assert_eq!(*twice, serde_json::json!(["1", "2"]), "{told}");
        assert_eq!(told["headers"]["Content-Length"][0], "1000", "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_an_upstream_pass_in_order() {
    const N_EVENTS: usize = 20;
    let _machine = share().await;
    let upstream = HttpBin::start().await;
    let gateway = in_front_of(upstream.address).await;
    let target = format!("/sse?count={N_EVENTS}&duration=200ms");
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let seen = ask(gateway.http, protocol, &Asked::new("GET", &target)).await;
        let kind = seen.value("content-type").unwrap_or_default();
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        let text = String::from_utf8(seen.body.to_vec()).expect("text");
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        let ids: Vec<_> = data
            .map(|data| serde_json::from_str::<Value>(data).expect("JSON")["id"].as_u64())
            .collect();
        let expected: Vec<_> = (0..N_EVENTS as u64).map(Some).collect();
        assert_eq!(ids, expected, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_of_an_upstream_passes_both_ways_to_its_end() {
    const N_MESSAGES: usize = 200;
    const BINARY: u8 = 0x82;
    let _machine = share().await;
    let upstream = HttpBin::start().await;
    let gateway = in_front_of(upstream.address).await;
    let path = "/websocket/echo?max_fragment_size=65536&max_message_size=65536";
    let mut socket = Socket::open(&gateway, path, "").await;
    for n in 0..N_MESSAGES {
        let message = octets(n * 300);
        socket.send(BINARY, &message).await;
        let echoed = socket.recv().await.expect("open");
        assert!(
            echoed == (BINARY, message.to_vec()),
            "message {n} of {} octets",
            message.len()
        );
    }
    socket.send(CLOSE, &1000_u16.to_be_bytes()).await;
    assert_eq!(socket.close_code().await, 1000);
    assert_eq!(socket.recv().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_nginx_pass_with_ranges_and_conditions() {
    let _machine = share().await;
    let nginx = Nginx::start().await;
    let www = nginx.folder.path().join("www");
    fs::write(www.join("index.html"), "<p>hello</p>").expect("written");
    fs::write(www.join("file.bin"), octets(300_000)).expect("written");
    let gateway = in_front_of(nginx.address).await;
    let whole = ask(
        nginx.address,
        Protocol::Http1,
        &Asked::new("GET", "/file.bin"),
    )
    .await;
    assert_eq!((whole.status, &whole.body), (200, &octets(300_000)));
    let tag = whole.value("etag").expect("an entity tag").to_owned();
    let get = |target| Asked::new("GET", target);
    let requests = [
        get("/"),
        get("/file.bin"),
        get("/none"),
        Asked::new("HEAD", "/file.bin"),
        get("/file.bin").field("range", "bytes=100000-100099"),
        get("/file.bin").field("range", "bytes=-5"),
        get("/file.bin").field("range", "bytes=900000-"),
        get("/file.bin").field("if-none-match", &tag),
        get("/file.bin").field("if-match", "\"another\""),
        Asked::new("POST", "/file.bin").body(octets(1000)),
    ];
    for asked in &requests {
        let expected = ask(nginx.address, Protocol::Http1, asked).await;
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let seen = ask(gateway.http, protocol, asked).await;
            let what = format!("{protocol:?} {asked:?}");
            check(&seen, &expected, &what);
        }
    }
}

/// Sixty fields: every third has the name of the one before the last, and mixed case comes in lower.
fn many_fields() -> (String, String) {
    let (mut sent, mut names) = (String::new(), Vec::<(String, Vec<usize>)>::new());
    for n in 0..60 {
        let name = if n % 3 == 2 {
            format!("X-Field-{}", n - 2)
        } else {
            format!("X-Field-{n}")
        };
        // Writing to a `String` cannot fail.
        let _ = write!(sent, "{name}: {n}\r\n");
        let name = name.to_lowercase();
        match names.iter_mut().find(|(other, _)| *other == name) {
            Some((_, values)) => values.push(n),
            None => names.push((name, vec![n])),
        }
    }
    let mut passed = String::new();
    for (name, values) in names {
        for n in values {
            let _ = write!(passed, "{name}: {n}\r\n");
        }
    }
    (sent, passed)
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_pass_in_order_with_duplicates_and_trailers_both_ways() {
    let _machine = share().await;
    let (sent, passed) = many_fields();
    let fields = sent.clone();
    let (seen, mut requests) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::serving(move |mut stream, head| {
        let (fields, seen) = (fields.clone(), seen.clone());
        async move {
            let mut body = Vec::new();
            while !body.ends_with(b"0\r\nx-sum: 7\r\n\r\n") {
                body.push(stream.read_u8().await.expect("a whole request"));
            }
            let body = String::from_utf8(body).expect("text");
            let _ = seen.send(format!("{head}{body}"));
            let answer = format!(
                "HTTP/1.1 207 Multi-Status\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n{fields}\
                 trailer: x-end\r\ntransfer-encoding: chunked\r\n\r\n\
                 4\r\nback\r\n0\r\nx-end: 9\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).await.expect("taken");
        }
    })
    .await;
    let gateway = in_front_of(([127, 0, 0, 1], server.port()).into()).await;
    let mut stream = TcpStream::connect(gateway.http).await.expect("it listens");
    let request = format!(
        "POST /a%2Fb?x=1&x=%20 HTTP/1.1\r\nhost: shop.example:81\r\n{sent}te: trailers\r\n\
         connection: te, close\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n\
         5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("taken");
    let mut answer = String::new();
    let reading = stream.read_to_string(&mut answer);
    let read = tokio::time::timeout(Duration::from_secs(60), reading).await;
    read.expect("in time").expect("text");
    let asked = requests.recv().await.expect("a request");
    let begin = "POST /a%2Fb?x=1&x=%20 HTTP/1.1\r\nhost: shop.example:81\r\n";
    assert!(asked.starts_with(&format!("{begin}{passed}")), "{asked}");
    assert!(
        asked.ends_with("\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n"),
        "{asked}"
    );
    assert!(asked.contains("\r\ntrailer: x-sum\r\n"), "{asked}");
    assert!(
        answer.starts_with("HTTP/1.1 207 Multi-Status\r\n"),
        "{answer}"
    );
    assert!(answer.contains(&format!("GMT\r\n{passed}")), "{answer}");
    assert!(
        answer.ends_with("4\r\nback\r\n0\r\nx-end: 9\r\n\r\n"),
        "{answer}"
    );
}
