//! What the listener answers itself, each at its edge and one past it.

use super::*;

/// Expects the answer to begin with `status` and to hold each of `parts`.
async fn check(fixture: &Fixture, request: &str, status: u16, parts: &[&str]) {
    let response = fixture.raw(request).await;
    assert!(
        response.starts_with(&format!("HTTP/1.1 {status} ")),
        "{request}: {response}"
    );
    for part in parts {
        assert!(response.contains(part), "{part} in {response}");
    }
}

#[tokio::test]
async fn other_paths_are_404_and_say_what_exists() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let parts = [
        "nothing is at /nope",
        "POST /v1/services/{service}/{method}",
        "x-postern-error: not-found",
    ];
    check(
        &fixture,
        "GET /nope?x=1 HTTP/1.1\r\nhost: x\r\n\r\n",
        404,
        &parts,
    )
    .await;
    let parts = ["path segment %zz is not percent-encoded utf-8"];
    check(&fixture, &post("%zz/m", "", ""), 400, &parts).await;
}

#[tokio::test]
async fn wrong_verbs_are_405_with_allow() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    for verb in ["GET", "PUT", "DELETE", "PATCH"] {
        let request = format!("{verb} /v1/services/echo/Say HTTP/1.1\r\nhost: x\r\n\r\n");
        check(
            &fixture,
            &request,
            405,
            &["allow: POST, OPTIONS\r\n", "\"code\":405"],
        )
        .await;
    }
    let request = "POST /v1/services HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n";
    check(&fixture, request, 405, &["allow: GET, HEAD, OPTIONS\r\n"]).await;
    let request = "OPTIONS /v1/services/echo/Say HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    check(&fixture, request, 204, &["allow: POST, OPTIONS\r\n"]).await;
}

#[tokio::test]
async fn a_body_is_taken_at_the_limit_and_413_one_octet_over() {
    let config = HttpConfig {
        message_bytes_max: 10,
        ..HttpConfig::default()
    };
    let fixture = Fixture::open(config).await;
    check(
        &fixture,
        &post("echo/Say", "", "0123456789"),
        200,
        &["0123456789"],
    )
    .await;
    let parts = [
        "body of 11 octets or more exceeds the limit of 10",
        "\"code\":413",
    ];
    check(&fixture, &post("echo/Say", "", "0123456789a"), 413, &parts).await;
    let chunked =
        "POST /v1/services/echo/Say HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    check(
        &fixture,
        &format!("{chunked}5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n"),
        200,
        &["0123456789"],
    )
    .await;
    check(
        &fixture,
        &format!("{chunked}5\r\n01234\r\n6\r\n56789a\r\n0\r\n\r\n"),
        413,
        &parts,
    )
    .await;
}

#[tokio::test]
async fn content_that_a_web_page_may_send_unasked_is_415() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    for media in [
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "Text/Plain",
    ] {
        let head = format!("content-type: {media}\r\n");
        check(
            &fixture,
            &post("echo/Say", &head, "{}"),
            415,
            &["send application/json"],
        )
        .await;
    }
    for media in [
        "application/json; charset=utf-8",
        "application/vnd.x+json",
        "application/octet-stream",
    ] {
        let head = format!("content-type: {media}\r\n");
        check(&fixture, &post("echo/Say", &head, "{}"), 200, &["{}"]).await;
    }
    let parts = ["is not accepted; send one of gzip, deflate, br, zstd or identity"];
    check(
        &fixture,
        &post("echo/Say", "content-encoding: compress\r\n", "x"),
        415,
        &parts,
    )
    .await;
}

#[tokio::test]
async fn a_timeout_must_be_a_number() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    for name in ["timeout-ms", "x-timeout-ms"] {
        let parts = ["\\\"soon\\\" is not a number of milliseconds"];
        check(
            &fixture,
            &post("echo/Say", &format!("{name}: soon\r\n"), ""),
            400,
            &parts,
        )
        .await;
        check(
            &fixture,
            &post("tell/Me", &format!("{name}: {}\r\n", u64::MAX), ""),
            200,
            &[],
        )
        .await;
    }
}

#[tokio::test]
async fn a_body_that_does_not_arrive_in_time_is_408() {
    let body_timeout = Duration::from_millis(50);
    let fixture = Fixture::open(HttpConfig {
        body_timeout,
        ..HttpConfig::default()
    })
    .await;
    let mut request = post("echo/Say", "", "0123");
    request.pop();
    let parts = [
        "the body did not arrive within 50 ms",
        "x-postern-error: deadline-exceeded",
    ];
    check(&fixture, &request, 408, &parts).await;
}

#[tokio::test]
async fn a_head_that_does_not_fit_is_431() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    // More than a section of the VSTP holds, but within what is read of a head.
    let head = format!("x-long: {}\r\n", "v".repeat(95_000));
    check(&fixture, &post("echo/Say", &head, ""), 200, &[]).await;
    let head = format!("x-long: {}\r\n", "v".repeat(120_000));
    check(&fixture, &post("echo/Say", &head, ""), 431, &[]).await;
}

#[tokio::test]
async fn what_is_not_http_is_refused_and_counted() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let response = fixture
        .raw("VT\u{1}\u{3} this is another protocol\r\n\r\n")
        .await;
    assert!(response.starts_with("HTTP/1.1 400"), "{response:?}");
    assert_eq!(fixture.counters.protocol_errors.value(), 1);
}
