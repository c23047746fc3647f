//! Requests that two readers could take for two different things: each with what the client was told
//! and what the upstream saw of it.

use std::sync::Arc;

use postern_core::route::PathRewrite;
use postern_net::http::{ForwardedSend, HttpConfig};

use crate::{forwarder, front::Front, patient, upstreams::RawUpstream};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
/// The request that shows where the one before it ended for both readers.
const LAST: &str = "GET /last HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
const LAST_SEEN: &str = "GET /last HTTP/1.1\r\nhost: x\r\n\r\n";

/// Sends `octets` and a last request behind them; `statuses` are told, `seen` is what arrives.
async fn check(octets: &str, statuses: &[&str], seen: &[&str]) {
    let mut upstream = RawUpstream::serving(|_, mut connection| async move {
        while connection.request().await.is_some() {
            connection.send(OK).await;
        }
    })
    .await;
    let mut config = HttpConfig::default();
    config.forwarded.send = ForwardedSend::Nothing;
    let forwarder = Arc::new(forwarder(upstream.port));
    let front = Front::with(forwarder, config, PathRewrite::Keep).await;
    let told = front.ask(&format!("{octets}{LAST}")).await;
    let lines = told.split("HTTP/1.").skip(1);
    let told_statuses: Vec<_> = lines
        .map(|line| line.get(2..5).unwrap_or_default())
        .collect();
    assert_eq!(told_statuses, statuses, "{octets:?}: {told}");
    for expected in seen {
        assert_eq!(patient(upstream.seen()).await, *expected, "{octets:?}");
    }
    assert!(upstream.has_seen_all(), "{octets:?}");
}

const REFUSED: &[&str] = &["400"];
const BOTH: &[&str] = &["200", "200"];

#[tokio::test]
async fn a_length_beside_a_transfer_coding_is_refused() {
    // CL.TE and TE.CL.
    let smuggled = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\
                    transfer-encoding: chunked\r\n\r\n0\r\n\r\nG";
    check(smuggled, REFUSED, &[]).await;
    let smuggled = "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\
                    content-length: 4\r\n\r\n5c\r\nGPOST / HTTP/1.1\r\n\r\n0\r\n\r\n";
    check(smuggled, REFUSED, &[]).await;
}

#[tokio::test]
async fn a_transfer_coding_that_is_not_plainly_chunked_is_refused() {
    for coding in [
        "transfer-encoding: xchunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding: identity, chunked, identity",
        "transfer-encoding:\u{b}chunked",
        "transfer-encoding : chunked",
        "x: y\r\n transfer-encoding: chunked",
        "transfer-encoding\n: chunked",
    ] {
        let request = format!("POST / HTTP/1.1\r\nhost: x\r\n{coding}\r\n\r\n0\r\n\r\n");
        check(&request, REFUSED, &[]).await;
    }
    let gzip = "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
    check(gzip, &["501"], &[]).await;
}

#[tokio::test]
async fn lengths_are_one_number_or_refused() {
    for length in [
        "content-length: 3\r\ncontent-length: 4",
        "content-length: 3, 4",
        "content-length: +3",
        "content-length: -1",
        "content-length: 0x3",
        "content-length: 3 3",
        "content-length:",
        "content-length: 18446744073709551616",
        "content-length : 3",
        "content-length: 3\r\n\tx",
    ] {
        let request = format!("POST / HTTP/1.1\r\nhost: x\r\n{length}\r\n\r\nabc");
        check(&request, REFUSED, &[]).await;
    }
}

#[tokio::test]
async fn the_same_length_twice_is_one() {
    let twice = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\nabc";
    let seen = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc";
    check(twice, BOTH, &[seen, LAST_SEEN]).await;
}

#[tokio::test]
async fn chunks_are_written_anew() {
    // Extensions and leading zeros are read and not passed on; what is in a chunk is no request.
    let chunked = "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: Chunked\r\n\r\n\
                   0019;a=\"b\r\n\"\r\n";
    check(chunked, REFUSED, &[]).await;
    let hidden = "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n\
                  001c ;a=b\r\nGET /hidden HTTP/1.1\r\na: b\r\n\r\n0\r\n\r\n";
    let seen = "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n\
                1C\r\nGET /hidden HTTP/1.1\r\na: b\r\n\r\n0\r\n\r\n";
    check(hidden, BOTH, &[seen, LAST_SEEN]).await;
}

#[tokio::test]
async fn a_body_of_a_get_is_its_body() {
    let request =
        "GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 23\r\n\r\nGET /hidden HTTP/1.1\r\n\r";
    let seen = "GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 23\r\n\r\nGET /hidden HTTP/1.1\r\n\r";
    check(request, BOTH, &[seen, LAST_SEEN]).await;
}

#[tokio::test]
async fn lines_are_lines() {
    for request in [
        "GET / HTTP/1.1\r\nhost: x\r\nx: a\rb: c\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\r\nx: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\r\nx : a\r\n\r\n",
        "GET / HTTP/1.1\r\n host: x\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\r\nx: a\r\n folded: b\r\n\r\n",
        "GET /a b HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET / HTTP/1.1 x\r\nhost: x\r\n\r\n",
        "GET\t/ HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET / HTTP/2.0\r\nhost: x\r\n\r\n",
    ] {
        check(request, REFUSED, &[]).await;
    }
    // A lone line feed ends a line (RFC 9112 section 2.2), and is written as both.
    let bare = "GET / HTTP/1.1\nhost: x\nx: a\n\n";
    let seen = "GET / HTTP/1.1\r\nhost: x\r\nx: a\r\n\r\n";
    check(bare, BOTH, &[seen, LAST_SEEN]).await;
}

#[tokio::test]
async fn one_host_is_asked_for() {
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: x/y\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: u@x\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nhost: b\r\n\r\n",
        "GET http://u@a/ HTTP/1.1\r\nhost: u@a\r\n\r\n",
    ] {
        check(request, REFUSED, &[]).await;
    }
}

#[tokio::test]
async fn requests_behind_one_another_are_told_apart() {
    let pipelined = "POST /one HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc\
                     GET /two HTTP/1.1\r\nhost: x\r\n\r\n";
    let one = "POST /one HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc";
    let two = "GET /two HTTP/1.1\r\nhost: x\r\n\r\n";
    check(pipelined, &["200", "200", "200"], &[one, two, LAST_SEEN]).await;
}

#[tokio::test]
async fn http_1_0_is_answered_once() {
    let request = "GET / HTTP/1.0\r\nhost: x\r\n\r\n";
    let seen = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    check(request, &["200"], &[seen]).await;
    let chunked = "POST / HTTP/1.0\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    check(chunked, REFUSED, &[]).await;
}

#[tokio::test]
async fn no_other_protocol_hides_requests() {
    // HTTP/2 without TLS would carry requests that nobody here sees.
    let h2c = "GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\n\
               upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n";
    let seen = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    check(h2c, BOTH, &[seen, LAST_SEEN]).await;
    let connect = "CONNECT evil:80 HTTP/1.1\r\nhost: evil:80\r\n\r\n";
    check(connect, &["404", "200"], &[LAST_SEEN]).await;
}
