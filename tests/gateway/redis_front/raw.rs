//! Octets that are no requests, and requests that are cut.

use tokio::io::AsyncWriteExt as _;

use super::Front;
use crate::{figure, share};

/// What is sent, and what is said before the end.
const WRONG: [(&str, &str); 16] = [
    ("*x\r\n", "invalid multibulk length"),
    ("*\r\n", "invalid multibulk length"),
    ("*1 \r\n", "invalid multibulk length"),
    ("*+1\r\n", "invalid multibulk length"),
    ("*01\r\n", "invalid multibulk length"),
    ("*99999999999999999999\r\n", "invalid multibulk length"),
    ("*2147483648\r\n", "invalid multibulk length"),
    ("*1\r\n:1\r\n", "expected '$', got ':'"),
    ("*1\r\n*1\r\n$4\r\nPING\r\n", "expected '$', got '*'"),
    ("*1\r\n\r\n", "expected '$', got ' '"),
    ("*1\r\n$x\r\n", "invalid bulk length"),
    ("*1\r\n$-1\r\n", "invalid bulk length"),
    ("*1\r\n$\r\n", "invalid bulk length"),
    ("*1\r\n$99999999999\r\n", "invalid bulk length"),
    ("SET a \"b\r\n", "unbalanced quotes in request"),
    ("SET a 'b'c\r\n", "unbalanced quotes in request"),
];

#[tokio::test(flavor = "multi_thread")]
async fn octets_that_are_no_request_are_answered_and_the_connection_is_closed() {
    let _machine = share().await;
    let front = Front::start("").await;
    for (octets, said) in WRONG {
        let mut wire = front.wire().await;
        wire.send("PING\r\n").await;
        wire.send(octets).await;
        assert_eq!(wire.text().await, "+PONG\\r\\n", "{octets:?}");
        let expected = format!("-ERR Protocol error: {said}\\r\\n");
        assert_eq!(wire.text().await, expected, "{octets:?}");
        assert_eq!(wire.text().await, "the end", "{octets:?}");
    }
    let long = "1".repeat(70_000);
    for (octets, said) in [
        (format!("*{long}"), "too big mbulk count string"),
        (format!("*1\r\n${long}"), "too big bulk count string"),
        (format!("P{long}"), "too big inline request"),
    ] {
        let mut wire = front.wire().await;
        wire.send(&octets).await;
        assert_eq!(
            wire.text().await,
            format!("-ERR Protocol error: {said}\\r\\n")
        );
    }
    // A page has a browser send what it likes behind such a head.
    for head in ["POST / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: redis\r\n"] {
        let mut wire = front.wire().await;
        wire.send(&format!("{head}\r\nSET stolen 1\r\n")).await;
        let mut said = String::new();
        loop {
            match wire.text().await {
                text if text == "the end" => break,
                text => said.push_str(&text),
            }
        }
        assert!(
            said.ends_with("no listener of HTTP; the connection is closed\\r\\n"),
            "{said}"
        );
    }
    assert_eq!(front.wire().await.ask("EXISTS stolen").await, ":0\\r\\n");
    assert_eq!(front.wire().await.ask("PING").await, "+PONG\\r\\n");
    figure(&format!(
        "requests of RESP that are none: {} answered",
        WRONG.len() + 3
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_cut_short_harm_nobody_else() {
    let _machine = share().await;
    let front = Front::start("").await;
    let request = "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\nhello\r\n";
    for end in 0..request.len() {
        let mut wire = front.wire().await;
        wire.send(&request[..end]).await;
        wire.0.shutdown().await.expect("it is open");
        assert_eq!(wire.text().await, "the end", "cut at {end}");
    }
    let mut wire = front.wire().await;
    assert_eq!(wire.ask("GET a").await, "$-1\\r\\n");
    for octet in request.as_bytes() {
        wire.send([*octet]).await;
    }
    assert_eq!(wire.text().await, "+OK\\r\\n");
}
