//! Calls by `GET` of methods without side effects.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::*;

const GREETING: &[u8] = b"{\"greeting\": \"Hello, Buf!\"}";

async fn get(fixture: &Fixture, is_http2: bool, method: &str, query: &str) -> Response<Bytes> {
    let target = format!("/{GREET}/{method}?{query}");
    ask(is_http2, fixture.request("GET", &target), "").await
}

#[tokio::test]
async fn the_examples_of_the_documentation_are_answered_as_it_says() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let message = "message=%7B%22name%22%3A%22Buf%22%7D";
    for query in [
        format!("{message}&encoding=json&connect=v1"),
        format!("encoding=json&{message}"),
        format!("unknown=1&encoding=json&{message}"),
    ] {
        for is_http2 in [false, true] {
            let response = get(&fixture, is_http2, "Greet", &query).await;
            check(&response, 200, JSON, GREETING);
            assert_eq!(field(&response, "vary"), "accept-encoding");
        }
    }
    fixture.close().await;
}

#[tokio::test]
async fn octets_come_in_base64_and_compressed() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let message = URL_SAFE_NO_PAD.encode(b"\n\x03Buf");
    let query = format!("encoding=proto&base64=1&message={message}&connect=v1");
    let response = get(&fixture, false, "Greet", &query).await;
    check(&response, 200, PROTO, b"\n\x0bHello, Buf!");
    let message = URL_SAFE_NO_PAD.encode(gzip(b"\n\x03Buf"));
    let query = format!("encoding=proto&base64=1&message={message}&compression=gzip&connect=v1");
    let response = get(&fixture, true, "Greet", &query).await;
    check(&response, 200, PROTO, b"\n\x0bHello, Buf!");
    // No octets are no content of any coding.
    let query = "encoding=proto&message=&compression=gzip&connect=v1";
    let response = get(&fixture, true, "Greet", query).await;
    check(&response, 200, PROTO, b"\n\x08Hello, !");
    fixture.close().await;
}

#[tokio::test]
async fn a_method_that_may_change_something_is_called_by_post_alone() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let query = "encoding=json&message=%7B%7D&connect=v1";
    let response = get(&fixture, false, "GreetAgain", query).await;
    check_failed(&response, 405, "unknown");
    assert_eq!(field(&response, "allow"), "POST");
    let response = get(&fixture, false, "Nothing", query).await;
    check_failed(&response, 405, "unknown");
    let response = get(&fixture, false, "GreetIndividuals", query).await;
    check_failed(&response, 415, "unknown");
    fixture.close().await;
}

#[tokio::test]
async fn a_service_that_is_not_there_yet_is_unavailable_by_get_and_by_post() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let marked = "/soon/Any?encoding=json&message=%7B%7D&connect=v1";
    let unmarked = "/soon/Any?encoding=json&message=%7B%7D";
    for request in [
        fixture.request("GET", marked),
        fixture.request("GET", unmarked),
        fixture.post("/soon/Any", PROTO),
        fixture.post("/soon/Any", JSON),
    ] {
        let response = ask(false, request, "{}").await;
        check_failed(&response, 503, "unavailable");
        assert_eq!(field(&response, "retry-after"), "1");
    }
    fixture.close().await;
}

#[tokio::test]
async fn a_query_that_says_too_little_is_refused() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    for (query, status, code) in [
        ("message=%7B%7D&connect=v1", 415, "unknown"),
        ("encoding=cbor&message=%7B%7D&connect=v1", 415, "unknown"),
        ("encoding=json&connect=v1", 400, "invalid_argument"),
        (
            "encoding=proto&message=%08%ff&connect=v1",
            400,
            "invalid_argument",
        ),
        (
            "encoding=proto&base64=1&message=*&connect=v1",
            400,
            "invalid_argument",
        ),
        (
            "encoding=json&message=1&compression=br&connect=v1",
            501,
            "unimplemented",
        ),
        (
            "encoding=json&message=1&compression=gzip&connect=v1",
            400,
            "invalid_argument",
        ),
    ] {
        let response = get(&fixture, false, "Greet", query).await;
        check_failed(&response, status, code);
    }
    fixture.close().await;
}

#[tokio::test]
async fn a_page_of_another_site_calls_nothing() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let target = format!("/{GREET}/Greet?encoding=json&message=%7B%7D&connect=v1");
    let request = fixture.request("GET", &target);
    let request = request.header("sec-fetch-site", "cross-site");
    let response = ask(false, request, "").await;
    check_failed(&response, 403, "permission_denied");
    fixture.close().await;
}
