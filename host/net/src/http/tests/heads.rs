//! Heads that are refused before hyper sees them, and clients that close one side or write on.

use super::*;

/// Sends `request` whatever the listener answers meanwhile, then reads to the end.
async fn exchange(fixture: &Fixture, request: &[u8]) -> String {
    let socket = TcpStream::connect(fixture.address).await.expect("connects");
    let (mut reader, mut writer) = socket.into_split();
    let writing = async {
        // A listener that has answered may have closed.
        let _ = writer.write_all(request).await;
        let _ = writer.shutdown().await;
    };
    let mut response = Vec::new();
    let both = async { tokio::join!(writing, reader.read_to_end(&mut response)).1 };
    let read = timeout(PATIENCE, both).await.expect("the listener answers");
    read.expect("the answer is not lost by a reset");
    String::from_utf8_lossy(&response).into_owned()
}

async fn check(fixture: &Fixture, request: &str, status: u16, kind: &str, message: &str) {
    let response = exchange(fixture, request.as_bytes()).await;
    let begin = format!("HTTP/1.1 {status} ");
    assert!(response.starts_with(&begin), "{request:?}: {response}");
    for part in [
        &format!("x-postern-error: {kind}\r\n"),
        "content-type: application/json\r\n",
        &format!("\"code\":{status}"),
        message,
    ] {
        assert!(response.contains(part), "{part} in {response}");
    }
}

#[tokio::test]
async fn every_refusal_of_a_head_has_the_form_of_the_others() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let invalid = "invalid-argument";
    let get = "GET /v1/services HTTP/1.1\r\n";
    check(
        &fixture,
        &format!("{get}\r\n"),
        400,
        invalid,
        "no host field",
    )
    .await;
    let two = format!("{get}host: x\r\nhost: y\r\n\r\n");
    check(&fixture, &two, 400, invalid, "2 host fields").await;
    check(
        &fixture,
        "GET / HTTP/9\r\n\r\n",
        400,
        invalid,
        "is not HTTP/1",
    )
    .await;
    check(&fixture, "\u{16}\u{3}\u{1}", 400, invalid, "is not HTTP/1").await;
    let gzip = format!("{get}host: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n");
    check(&fixture, &gzip, 501, "unimplemented", "other than chunked").await;
    let identity = format!("{get}host: x\r\ntransfer-encoding: identity\r\n\r\n");
    check(
        &fixture,
        &identity,
        400,
        invalid,
        "do not end in one chunked",
    )
    .await;
    let both = format!("{get}host: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n");
    check(
        &fixture,
        &both,
        400,
        invalid,
        "a content-length and a transfer coding",
    )
    .await;
    let fields = "a: b\r\n".repeat(300);
    let fields = format!("{get}host: x\r\n{fields}\r\n");
    check(
        &fixture,
        &fields,
        431,
        invalid,
        "more than 300 header fields",
    )
    .await;
    let long = format!("{get}host: x\r\na: {}\r\n\r\n", "x".repeat(96 * 1024));
    check(&fixture, &long, 431, invalid, "limit of 98304 octets").await;
    let target = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(65_534));
    check(&fixture, &target, 414, invalid, "limit of 65534 octets").await;
    assert_eq!(fixture.counters.protocol_errors.value(), 10);
}

#[tokio::test]
async fn fields_up_to_the_limit_are_served() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    // Host and length are two of them.
    let response = fixture
        .raw(&post("echo/Say", &"a: b\r\n".repeat(298), "1"))
        .await;
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
}

/// hyper has room for 100 by itself.
#[tokio::test]
async fn few_and_many_fields_come_on_one_connection() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let many = "a: b\r\n".repeat(298);
    let requests = [
        ("", "first"),
        (&many, "second"),
        ("", "third"),
        (&many, "fourth"),
    ]
    .map(|(fields, body)| post("echo/Say", fields, body));
    let mut socket = TcpStream::connect(fixture.address).await.expect("connects");
    for request in &requests {
        socket.write_all(request.as_bytes()).await.expect("writes");
        let response = read_response(&mut socket).await;
        let body = request.rsplit("\r\n").next().unwrap_or_default();
        assert!(response.ends_with(&format!("\r\n\r\n{body}")), "{response}");
        assert!(!response.contains("connection: close"), "{response}");
    }
    let too_many = format!("GET / HTTP/1.1\r\nhost: x\r\n{many}a: b\r\na: b\r\n\r\n");
    let response = exchange(&fixture, (requests.concat() + &too_many).as_bytes()).await;
    let parts: Vec<_> = ["first", "second", "third", "fourth", "HTTP/1.1 431 "]
        .iter()
        .filter_map(|part| response.find(part))
        .collect();
    assert!(parts.len() == 5 && parts.is_sorted(), "{response}");
}

#[tokio::test]
async fn what_was_asked_before_a_bad_head_is_answered_first() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let requests =
        post("echo/Say", "", "first") + &post("echo/Say", "", "second") + "GET /\r\n\r\n";
    let response = exchange(&fixture, requests.as_bytes()).await;
    let parts: Vec<_> = ["first", "second", "HTTP/1.1 400 "]
        .iter()
        .filter_map(|part| response.find(part))
        .collect();
    assert!(parts.len() == 3 && parts.is_sorted(), "{response}");
}

#[tokio::test]
async fn a_client_that_closes_its_sending_side_gets_its_reply() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    for request in [
        post("echo/Say", "", "whole"),
        post("late/Say", "", "whole"),
        "POST /v1/services/late/Say HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n\
         5\r\nwhole\r\n0\r\n\r\n"
            .to_owned(),
        "POST /v1/services/late/Say HTTP/1.0\r\ncontent-length: 5\r\n\r\nwhole".to_owned(),
    ] {
        let response = exchange(&fixture, request.as_bytes()).await;
        assert!(response.ends_with("\r\n\r\nwhole"), "{request}: {response}");
    }
}

#[tokio::test]
async fn a_reply_before_its_request_was_read_says_that_the_connection_ends() {
    let config = HttpConfig {
        message_bytes_max: 10,
        ..HttpConfig::default()
    };
    let fixture = Fixture::open(config).await;
    for (n_octets, status, ends) in [
        (10, "200", false),
        // So little is read and dropped.
        (64 * 1024, "413", false),
        (64 * 1024 + 1, "413", true),
    ] {
        let request = post("echo/Say", "", &"x".repeat(n_octets));
        let response = exchange(&fixture, request.as_bytes()).await;
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status}")),
            "{response}"
        );
        assert_eq!(response.contains("connection: close"), ends, "{response}");
    }
}

#[tokio::test]
async fn an_early_refusal_reaches_a_client_that_writes_on() {
    let config = HttpConfig {
        message_bytes_max: 10,
        ..HttpConfig::default()
    };
    let fixture = Fixture::open(config).await;
    // More than the buffers of both sockets hold.
    let body = "x".repeat(16 << 20);
    check(
        &fixture,
        &post("echo/Say", "", &body),
        413,
        "invalid-argument",
        "limit of 10",
    )
    .await;
    let chunk = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let chunked = "POST /v1/services/echo/Say HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked";
    let chunked = format!("{chunked}\r\n\r\n{chunk}");
    check(&fixture, &chunked, 413, "invalid-argument", "limit of 10").await;
    let html = post("echo/Say", "content-type: text/plain\r\n", &body);
    check(&fixture, &html, 415, "invalid-argument", "text/plain").await;
    let headless = format!("POST / HTTP/1.1\r\n\r\n{body}");
    check(
        &fixture,
        &headless,
        400,
        "invalid-argument",
        "no host field",
    )
    .await;
}

#[tokio::test]
async fn a_head_that_trickles_is_408_on_a_kept_connection_too() {
    let header_timeout = Duration::from_millis(300);
    let fixture = Fixture::open(HttpConfig {
        header_timeout,
        ..HttpConfig::default()
    })
    .await;
    for before in ["", "echo/Say"] {
        let mut socket = TcpStream::connect(fixture.address).await.expect("connects");
        if !before.is_empty() {
            let request = post(before, "", "1");
            socket.write_all(request.as_bytes()).await.expect("writes");
            assert!(read_response(&mut socket).await.ends_with("\r\n\r\n1"));
        }
        let (mut reader, mut writer) = socket.into_split();
        let trickling = async {
            for octet in b"GET /v1/services HTTP/1.1\r\nx-slow: "
                .iter()
                .chain([b'x'; 10_000].iter())
            {
                if writer.write_all(&[*octet]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let mut response = Vec::new();
        let reading = async {
            while !is_whole(&String::from_utf8_lossy(&response)) {
                if !matches!(reader.read_buf(&mut response).await, Ok(1..)) {
                    break;
                }
            }
        };
        tokio::select! {
            () = trickling => {}
            ended = timeout(PATIENCE, reading) => ended.expect("the listener answers"),
        }
        let response = String::from_utf8_lossy(&response);
        assert!(
            response.starts_with("HTTP/1.1 408 "),
            "{before:?}: {response}"
        );
        assert!(response.contains("within 300 ms"), "{response}");
        assert!(
            response.contains("x-postern-error: deadline-exceeded\r\n"),
            "{response}"
        );
    }
}
