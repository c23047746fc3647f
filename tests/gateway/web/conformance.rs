//! What the tests of `wasi:http` by others ask of a host, in our own words (`host/docs/web-components.md` says which
//! is where): odd fields, requests and responses, and what becomes of a request to another server.

use std::{collections::BTreeMap, sync::Arc};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
};

use super::*;

/// A request as it came, with what follows its body; nothing when it broke off.
async fn received(stream: &mut TcpStream) -> Option<String> {
    let mut all = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&all).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_lowercase();
            let length = head.split("content-length: ").nth(1);
            let length = length.and_then(|rest| rest.lines().next()?.parse().ok());
            let is_whole = match head.contains("\r\ntransfer-encoding: chunked") {
                true => {
                    let has_more = body.contains("\r\n0\r\nx-sum: ");
                    body.ends_with("\r\n\r\n") && (has_more || body.ends_with("0\r\n\r\n"))
                }
                false => body.len() >= length.unwrap_or(0),
            };
            if is_whole {
                return Some(text);
            }
        }
        let octet = stream.read_u8().await.ok()?;
        all.push(octet);
    }
}

/// A server that gives what it was sent, or below `/trailers` pieces and what follows them. It answers `/first` once
/// it has been asked for `/second`.
async fn server() -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let second = Arc::<Notify>::default();
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let second = Arc::clone(&second);
            tokio::spawn(async move {
                let Some(asked) = received(&mut stream).await else {
                    return;
                };
                match asked.split(' ').nth(1) {
                    Some("/first") => second.notified().await,
                    Some("/second") => second.notify_one(),
                    _ => {}
                }
                let head = "connection: close\r\n";
                let response = if asked.contains(" /trailers ") {
                    format!(
                        "HTTP/1.1 200 OK\r\n{head}trailer: x-checksum\r\ntransfer-encoding: chunked\r\n\r\n\
                         3\r\npay\r\n4\r\nload\r\n0\r\nx-checksum: abc123\r\n\r\n"
                    )
                } else {
                    let length = asked.len();
                    format!("HTTP/1.1 209 Fine\r\n{head}content-length: {length}\r\n\r\n{asked}")
                };
                // Whoever is gone reads nothing.
                let _ = stream.write_all(response.as_bytes()).await;
            });
        }
    });
    (port, serving)
}

/// What both versions make of fields, of statuses, and of headers that belong to a request or a response.
const ALIKE: [(&str, &str); 3] = [
    (
        // All characters of a token, and octets of a value, as RFC 9110 section 5.6.2 has them.
        "syntax",
        "names 21-21 23-27 2a-2b 2d-2e 30-39 41-5a 5e-7a 7c-7c 7e-7e\n\
         values 09-09 20-7e 80-ff\n\
         Err(HeaderError::InvalidSyntax) Err(HeaderError::InvalidSyntax)\n\
         Err(HeaderError::InvalidSyntax) Err(HeaderError::InvalidSyntax)\n\
         Some(HeaderError::InvalidSyntax)\n\
         Err(HeaderError::InvalidSyntax)\n\
         Err(HeaderError::InvalidSyntax) false",
    ),
    (
        "immutable",
        "Err(HeaderError::Immutable) Err(HeaderError::Immutable) Err(HeaderError::Immutable) true\n\
         Err(HeaderError::Immutable) Err(HeaderError::Immutable) Err(HeaderError::Immutable) true",
    ),
    (
        "statuses",
        "200\n200 Ok(()) 200\n404 Ok(()) 404\n599 Ok(()) 599\n99 Err(()) 599\n1000 Err(()) 599\n\
         65535 Err(()) 599",
    ),
];

/// What only components of 0.2 see so. Their host keeps methods and schemes as they are written, and an empty path.
const IN_0_2: [(&str, &str); 5] = [
    (
        "fields",
        "false []\ntrue [\"1\", \"2\"]\n[\"3\", \"4\"] 2\nfalse Ok(()) 0\n[\"1\", \"2\"]",
    ),
    (
        "methods",
        "Method::Get None\n\
         21-21 23-27 2a-2b 2d-2e 30-39 41-5a 5e-7a 7c-7c 7e-7e\n\
         GET Ok(()) Method::Other(\"GET\"), PATCH Ok(()) Method::Other(\"PATCH\"), \
         get Ok(()) Method::Other(\"get\"), coucou Ok(()) Method::Other(\"coucou\")\n\
         Err(()) Err(()) Err(())\n\
         Method::Other(\"coucou\")",
    ),
    (
        "targets",
        "None None\n\
         \"/a?b=c\" Ok(()) Some(\"/a?b=c\")\n\
         \"/a/../b\" Ok(()) Some(\"/a/../b\")\n\
         \"\" Ok(()) Some(\"\")\n\
         \"/bad\\npath\" Err(()) Some(\"\")\n\
         \"example.org:80\" Ok(()) Some(\"example.org:80\")\n\
         \"[::1]:443\" Ok(()) Some(\"[::1]:443\")\n\
         \"bad-\\nhost\" Err(()) Some(\"[::1]:443\")\n\
         \"a:what\" Ok(()) Some(\"a:what\")\n\
         \"\" Err(()) Some(\"a:what\")\n\
         Ok(()) Some(Scheme::Http)\n\
         Ok(()) Some(Scheme::Other(\"https\"))\n\
         Err(()) Some(Scheme::Other(\"https\"))",
    ),
    ("options", "None None\nSome(1) Some(2) Some(3)"),
    (
        "lengths",
        "false true Ok(())\n\
         false true Err(ErrorCode::HttpRequestBodySize(Some(5)))\n\
         false false Err(ErrorCode::HttpRequestBodySize(Some(19)))",
    ),
];

/// What only components of 0.3 see so.
const IN_0_3: [(&str, &str); 5] = [
    (
        "fields",
        "false []\ntrue [\"1\", \"2\"]\n[\"3\", \"4\"]\nOk([\"3\", \"4\"]) Ok([])\nfalse Ok(()) 0\n\
         [\"1\", \"2\"]",
    ),
    (
        "methods",
        "Method::Get None\n\
         21-21 23-27 2a-2b 2d-2e 30-39 41-5a 5e-7a 7c-7c 7e-7e\n\
         GET Ok(()) Method::Get, PATCH Ok(()) Method::Patch, \
         get Ok(()) Method::Other(\"get\"), coucou Ok(()) Method::Other(\"coucou\")\n\
         Err(()) Err(()) Err(())\n\
         Method::Other(\"coucou\")",
    ),
    (
        "targets",
        "None None\n\
         \"/a?b=c\" Ok(()) Some(\"/a?b=c\")\n\
         \"/a/../b\" Ok(()) Some(\"/a/../b\")\n\
         \"\" Ok(()) Some(\"/\")\n\
         \"/bad\\npath\" Err(()) Some(\"/\")\n\
         \"example.org:80\" Ok(()) Some(\"example.org:80\")\n\
         \"[::1]:443\" Ok(()) Some(\"[::1]:443\")\n\
         \"bad-\\nhost\" Err(()) Some(\"[::1]:443\")\n\
         \"a:what\" Err(()) Some(\"[::1]:443\")\n\
         \"\" Err(()) Some(\"[::1]:443\")\n\
         Ok(()) Some(Scheme::Http)\n\
         Ok(()) Some(Scheme::Https)\n\
         Err(()) Some(Scheme::Https)",
    ),
    (
        "options",
        "None None\n\
         Some(1) Some(2) Some(3), None Some(2) Some(3)\n\
         Some(1) Some(2) Some(3) Err(RequestOptionsError::Immutable)\n\
         true",
    ),
    // Of 64 KiB, with what the host counts for a field beside its octets.
    ("size", "HeaderError::SizeExceeded after 59"),
];

/// Names that are of one connection, and one that is not.
const OF_CONNECTIONS: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "host",
];

/// The guest sees `expected` in the check `name`.
async fn check(gateway: &Gateway, guest: &str, name: &str, expected: &str) {
    let answer = get(gateway, &format!("/{guest}/check?{name}")).await;
    assert_eq!(answer.text(), expected, "{guest} {name}");
    assert_eq!(answer.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_fields_requests_and_responses_are_judged_as_the_proposal_says() {
    let _machine = share().await;
    let gateway = gateway(&GUESTS, "").await;
    let refused = "Err(HeaderError::Forbidden)";
    let mut forbidden: Vec<_> = OF_CONNECTIONS
        .map(|name| format!("{name} {refused} {refused} {refused}"))
        .to_vec();
    forbidden.push("x-own Ok(()) Ok(()) Ok(())".to_owned());
    let forbidden = forbidden.join("\n");
    for (guest, own) in [("web-p2", &IN_0_2), ("web-p3", &IN_0_3)] {
        for (name, expected) in ALIKE.iter().chain(own) {
            check(&gateway, guest, name, expected).await;
        }
        check(&gateway, guest, "forbidden", &forbidden).await;
    }
    // 0.2 has no error for it.
    let answer = get(&gateway, "/web-p2/flood").await;
    assert_eq!(answer.status, 500);
    let message = "plugin web-p2 trapped: total size of fields exceeds limit";
    assert!(answer.text().contains(message), "{}", answer.text());
    check(&gateway, "web-p2", "forbidden", &forbidden).await;
}

/// What the guest in `web-p3` saw of a request with these headers.
async fn exchanged(gateway: &Gateway, headers: &BTreeMap<&str, String>) -> String {
    let mut request = Request::get("/web-p3/exchange");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let answer = send(gateway, request.body(nothing()).expect("a request")).await;
    assert_eq!(answer.status, 200, "{headers:?}: {}", answer.text());
    answer.text().to_lowercase()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_a_request_to_another_server_is_told() {
    let _machine = share().await;
    let (port, serving) = server().await;
    let manifest = "[grants]\nhttp = [\"127.0.0.1:*\", \"*:*\"]\n[limits]\ntime = \"60s\"\n";
    let gateway = gateway(&["web-p3"], manifest).await;
    let ask = async |url: &str, more: &[(&'static str, &str)]| {
        let mut headers = BTreeMap::from([("x-url", url.to_owned())]);
        headers.extend(
            more.iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        exchanged(&gateway, &headers).await
    };
    let own = format!("http://127.0.0.1:{port}");
    // All of a request arrives, and what follows its body.
    let more = [("x-method", "PATCH"), ("x-send", "payload"), ("x-end", "7")];
    let said = ask(&format!("{own}/a%2Fb?c=d&c=e&f="), &more).await;
    let begin = "209 ok(none)\npatch /a%2fb?c=d&c=e&f= http/1.1\r\n";
    assert!(said.starts_with(begin), "{said}");
    assert!(
        said.contains(&format!("\r\nhost: 127.0.0.1:{port}\r\n")),
        "{said}"
    );
    assert!(
        said.contains("\r\ntransfer-encoding: chunked\r\n"),
        "{said}"
    );
    let end = "\r\n\r\n7\r\npayload\r\n0\r\nx-sum: 7\r\n\r\n\nsent: ok(())";
    assert!(said.ends_with(end), "{said}");
    let more = [("x-send", "payload"), ("x-length", "7")];
    let said = ask(&format!("{own}/length"), &more).await;
    assert!(said.contains("\r\ncontent-length: 7\r\n"), "{said}");
    assert!(said.ends_with("\r\n\r\npayload\nsent: ok(())"), "{said}");
    let said = ask(&format!("{own}/trailers"), &[("x-method", "GET")]).await;
    assert_eq!(
        said,
        "200 ok(some([\"x-checksum=abc123\"]))\npayload\nsent: ok(())"
    );
    // Bodies that are not what they were said to be do not arrive whole.
    for (path, more) in [
        ("short", [("x-send", "payload"), ("x-length", "9")]),
        ("long", [("x-send", "payload"), ("x-length", "3")]),
        ("given-up", [("x-send", "payload"), ("x-end", "error")]),
    ] {
        let said = ask(&format!("{own}/{path}"), &more).await;
        assert!(
            said.starts_with("errorcode::connectionterminated\n"),
            "{path}: {said}"
        );
    }
    for (url, code) in [
        ("http://127.0.0.1:1/", "destinationunavailable"),
        ("http://nonexistent.invalid/", "destinationunavailable"),
        (&*format!("ws://127.0.0.1:{port}/"), "httpprotocolerror"),
        (&own, "httprequesturiinvalid"),
    ] {
        let said = ask(url, &[]).await;
        assert!(said.starts_with(&format!("errorcode::{code}\n")), "{said}");
    }
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_to_other_servers_are_under_way_side_by_side() {
    let _machine = share().await;
    let (port, serving) = server().await;
    let manifest = format!("[grants]\nhttp = [\"127.0.0.1:{port}\"]\n[limits]\ntime = \"60s\"\n");
    let gateway = gateway(&["web-p2"], &manifest).await;
    let mut request = Request::get("/web-p2/both");
    for path in ["first", "second"] {
        request = request.header("x-url", format!("127.0.0.1:{port}/{path}"));
    }
    let answer = send(&gateway, request.body(nothing()).expect("a request")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let at = |path: &str| answer.text().find(&format!("GET {path} HTTP/1.1"));
    assert_eq!(at("/first"), Some(0), "{}", answer.text());
    assert!(at("/second") > at("/first"), "{}", answer.text());
    serving.abort();
}

/// A request over a connection of its own that wants to be told to go ahead, and what comes first.
async fn expecting(gateway: &Gateway, path: &str) -> (TcpStream, String) {
    let host = gateway.http;
    let mut stream = TcpStream::connect(gateway.http).await.expect("it listens");
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\
         connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut first = String::new();
    while !first.ends_with("\r\n\r\n") {
        let octet = timeout(PATIENCE, stream.read_u8()).await;
        first.push(char::from(octet.expect("in time").expect("an answer")));
    }
    (stream, first)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_goes_ahead_when_a_component_reads() {
    let _machine = share().await;
    let gateway = gateway(&GUESTS, "").await;
    for name in GUESTS {
        let (mut stream, first) = expecting(&gateway, &format!("/{name}/length")).await;
        assert_eq!(first, "HTTP/1.1 100 Continue\r\n\r\n", "{name}");
        stream.write_all(b"whole").await.expect("sent");
        let mut rest = String::new();
        let read = timeout(PATIENCE, stream.read_to_string(&mut rest)).await;
        read.expect("in time").expect("read");
        assert!(rest.starts_with("HTTP/1.1 200 "), "{name}: {rest}");
        // As one piece where it was there before the component waited, else in chunks.
        let is_whole = rest.ends_with("\r\n\r\n5") || rest.ends_with("\r\n1\r\n5\r\n0\r\n\r\n");
        assert!(is_whole, "{name}: {rest}");
        // One that answers first reads or does not; nobody goes ahead for it.
        let (_, first) = expecting(&gateway, &format!("/{name}/other")).await;
        assert!(first.starts_with("HTTP/1.1 404 "), "{name}: {first}");
    }
}

/// Imports what no host with this `wasmtime-wasi-http` has.
const INFORMATIONAL: &str = r#"(component
  (import "wasi:http/types@0.2.6" (instance $types
    (export "fields" (type $fields (sub resource)))
    (export "incoming-request" (type (sub resource)))
    (export "response-outparam" (type $out (sub resource)))
    (export "[method]response-outparam.send-informational" (func
      (param "self" (borrow $out)) (param "status" u16) (param "headers" (own $fields))
      (result (result))))))
  (alias export $types "incoming-request" (type $request))
  (alias export $types "response-outparam" (type $out))
  (alias export $types "[method]response-outparam.send-informational" (func $send))
  (core func $lowered (canon lower (func $send)))
  (core module $module
    (import "host" "send" (func (param i32 i32 i32) (result i32)))
    (func (export "handle") (param i32 i32)))
  (core instance $core (instantiate $module
    (with "host" (instance (export "send" (func $lowered))))))
  (func $handle (param "request" (own $request)) (param "response-out" (own $out))
    (canon lift (core func $core "handle")))
  (instance $handler (export "handle" (func $handle)))
  (export "wasi:http/incoming-handler@0.2.6" (instance $handler)))"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_would_send_informational_responses_is_refused_by_that_name() {
    let _machine = share().await;
    let component = wat::parse_str(INFORMATIONAL).expect("the text is right");
    let gateway = Gateway::start(Setup::default()).await;
    gateway.deploy("early.wasm", &component);
    patiently("it is refused", async || {
        let log = gateway.log();
        log.lines()
            .any(|line| line.contains("early") && line.contains("send-informational"))
    })
    .await;
    assert_eq!(get(&gateway, "/early").await.status, 404);
}
