//! Pages of other sites, and names of others that lead here: refused by the listener and by the
//! operators' one, while what is no browser passes.

use postern_core::Kind;
use postern_tests::{CallerTransport, Gateway, Setup, call, connect};

use super::raw::{DATA, Frames, WINDOW, ask, head_to};
use crate::share;

async fn gateway(http: &str, admin: &str) -> Gateway {
    let setup = Setup {
        http: http.to_owned(),
        admin: admin.to_owned(),
        ..Setup::default()
    };
    Gateway::start(setup.plugin("echo")).await
}

/// A request without a body, with these lines of its head.
fn request(line: &str, host: &str, lines: &str) -> String {
    format!("{line} HTTP/1.1\r\nhost: {host}\r\n{lines}content-length: 0\r\n\r\n")
}

fn check(answer: &str, status: u16, claim: &str) {
    let begin = format!("HTTP/1.1 {status} ");
    assert!(answer.starts_with(&begin), "{claim}: {answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_of_others_is_refused_unless_it_is_in_hosts() {
    const ECHO: &str = "POST /v1/services/echo/Echo";
    let _machine = share().await;
    for (hosts, status) in [("", 403), ("hosts = [\"edge.example\"]\n", 200)] {
        let gateway = gateway(hosts, "").await;
        for host in ["edge.example", "EDGE.example:8080"] {
            check(
                &ask(gateway.http, request(ECHO, host, "")).await,
                status,
                host,
            );
        }
        for host in ["localhost:1", "127.0.0.1", "[::1]:80"] {
            check(&ask(gateway.http, request(ECHO, host, "")).await, 200, host);
        }
        let rebound = request(ECHO, "rebound.example", "");
        check(&ask(gateway.http, rebound).await, 403, "another name");
        // The same over HTTP/2.
        let mut frames = Frames::open(gateway.http, WINDOW).await;
        for (id, authority) in [(1, "edge.example"), (3, "rebound.example")] {
            let data = super::frame(DATA, super::END_STREAM, id, b"{}");
            frames
                .send(&[head_to(authority, id, "echo/Echo"), data].concat())
                .await;
            let text = frames.text(id).await;
            let is_refused = text.contains("is not called");
            assert_eq!(is_refused, id == 3 || status == 403, "{authority}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_rebinds_its_name_drains_no_gateway() {
    let _machine = share().await;
    let mut gateway = gateway("", "hosts = [\"ops.example\"]\n").await;
    for (host, lines) in [
        ("rebound.example:9900", ""),
        ("rebound.example", "origin: http://rebound.example\r\n"),
        ("127.0.0.1:9900", "origin: https://page.example\r\n"),
        ("127.0.0.1:9900", "sec-fetch-site: cross-site\r\n"),
    ] {
        for line in ["POST /drain", "GET /config"] {
            let told = ask(gateway.admin, request(line, host, lines)).await;
            check(&told, 403, host);
        }
    }
    let (status, body) = gateway.admin("/readyz").await.expect("asked");
    assert_eq!(status, 200, "it goes on: {body}");
    let tcp = connect(&gateway, CallerTransport::Tcp).await;
    call(&*tcp, "echo/Echo", "{}").await.expect("it serves on");
    // By a name that is listed, it drains.
    let told = ask(gateway.admin, request("POST /drain", "ops.example", "")).await;
    check(&told, 202, "ops.example");
    let after = call(&*tcp, "echo/Echo", "{}").await;
    assert!(after.is_err_and(|error| error.kind == Kind::Unavailable));
    assert_eq!(gateway.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_learns_and_calls_nothing() {
    let _machine = share().await;
    let gateway = gateway("", "").await;
    let echo = "POST /v1/services/echo/Echo";
    // A content type that is no text: a page may send it anywhere without asking first.
    let unreadable = |fields: &str| {
        let head = format!("{echo} HTTP/1.1\r\nhost: localhost\r\n{fields}content-type: ");
        [head.as_bytes(), b"\xff\xfe\r\ncontent-length: 0\r\n\r\n"].concat()
    };
    for (fields, status) in [
        ("origin: https://page.example\r\n", 403),
        ("origin: null\r\n", 403),
        ("sec-fetch-site: cross-site\r\n", 403),
        ("sec-fetch-site: same-site\r\n", 403),
        ("", 200),
    ] {
        for octets in [
            request(echo, "localhost", fields).into_bytes(),
            unreadable(fields),
            request("GET /v1/services", "localhost", fields).into_bytes(),
            request("GET /v1/services/echo", "localhost", fields).into_bytes(),
        ] {
            let claim = String::from_utf8_lossy(&octets).into_owned();
            let told = ask(gateway.http, octets).await;
            check(&told, status, &claim);
            assert!(status == 200 || !told.contains("Echo"), "{told}");
        }
    }
}
