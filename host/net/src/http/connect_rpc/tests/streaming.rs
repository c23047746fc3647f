//! Calls of many messages in envelopes.

use std::convert::Infallible;

use futures_util::Stream;
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::body::Incoming;
use tokio::sync::mpsc;

use super::*;
use crate::http::{Coding, GrpcConfig};

const STREAM_JSON: &str = "application/connect+json";
const STREAM_PROTO: &str = "application/connect+proto";

fn path(method: &str) -> String {
    format!("/{GREET}/{method}")
}

/// The last envelope of a response, and what stands before it.
#[track_caller]
fn split_end(body: &[u8]) -> (&[u8], Value) {
    let mut rest = body;
    loop {
        let length: [u8; 4] = rest[1..5].try_into().expect("four");
        let end = 5 + u32::from_be_bytes(length) as usize;
        if rest[0] & 2 != 0 {
            assert_eq!(end, rest.len(), "something follows the end");
            let before = &body[..body.len() - rest.len()];
            return (before, serde_json::from_slice(&rest[5..]).expect("json"));
        }
        rest = &rest[end..];
    }
}

/// Checks a response that failed before its first message.
#[track_caller]
fn check_failed_stream(response: &Response<Bytes>, code: &str) -> String {
    assert_eq!(response.status(), 200);
    let (before, end) = split_end(response.body());
    assert_eq!(before, b"");
    assert_eq!(end["error"]["code"], code, "{end}");
    end["error"]["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn the_examples_of_the_documentation_are_answered_as_it_says() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    for is_http2 in [false, true] {
        let names = ["{\"name\": \"Buf\"}", "{\"name\": \"Connect\"}"];
        let body = names.map(|name| envelope(0, name)).concat();
        let request = fixture.post(&path("GreetGroup"), STREAM_JSON);
        let response = ask(is_http2, request, body).await;
        let greeting = "{\"greeting\": \"Hello, Buf and Connect!\"}";
        let expected = [envelope(0, greeting), envelope(2, "{}")].concat();
        check(&response, 200, STREAM_JSON, &expected);

        let request = fixture.post(&path("GreetIndividuals"), STREAM_PROTO);
        let response = ask(is_http2, request, envelope(0, "12345678")).await;
        let end = "{\"error\":{\"code\":\"unavailable\",\"message\":\"overloaded\"}}";
        check(&response, 200, STREAM_PROTO, &envelope(2, end));
        assert_eq!(field(&response, "acme-region"), "eu");
    }
    fixture.close().await;
}

#[tokio::test]
async fn an_error_behind_messages_ends_the_stream() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let post = || fixture.post(&path("GreetIndividuals"), STREAM_JSON);
    let response = ask(true, post(), envelope(0, "{}")).await;
    let whole = [
        envelope(0, "{\"n\":1}"),
        envelope(0, "{\"n\":2}"),
        envelope(2, "{}"),
    ];
    check(&response, 200, STREAM_JSON, &whole.concat());
    let response = ask(true, post(), envelope(0, "{\"fails\":true}")).await;
    let (before, end) = split_end(response.body());
    assert_eq!(before, envelope(0, "{\"n\":1}"));
    assert_eq!(end["error"]["code"], "unavailable");
    fixture.close().await;
}

#[tokio::test]
async fn what_follows_a_reply_and_what_a_failure_says_is_in_the_last_envelope() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let response = ask(false, fixture.post("/says/It", STREAM_JSON), "").await;
    assert_eq!(field(&response, "acme-region"), "eu");
    let (before, end) = split_end(response.body());
    assert_eq!(before, envelope(0, "{}"));
    let metadata = json!({"acme-operation-cost": ["237"], "t-bin": ["AAE"]});
    assert_eq!(end, json!({ "metadata": metadata }));
    let response = ask(false, fixture.post("/fail/aborted", STREAM_JSON), "").await;
    let (_, end) = split_end(response.body());
    assert_eq!(end["error"]["code"], "aborted");
    assert_eq!(end["error"]["details"][0]["type"], "google.protobuf.Value");
    let metadata = json!({"acme-reason": ["on purpose"], "r-bin": ["AAE"], "retry-after": ["2"]});
    assert_eq!(end["metadata"], metadata);
    fixture.close().await;
}

#[tokio::test]
async fn messages_are_compressed_as_the_client_says() {
    let fixture = Fixture::open(HttpConfig {
        grpc: GrpcConfig {
            encodings: vec![Coding::Gzip],
            packed_bytes_min: 8,
            ..GrpcConfig::default()
        },
        ..HttpConfig::default()
    })
    .await;
    let sent = [
        envelope(1, gzip(b"long enough")),
        envelope(0, "short"),
        envelope(1, ""),
    ];
    let request = fixture.post("/echo/Say", STREAM_PROTO);
    let request = request.header("connect-content-encoding", "gzip");
    let response = ask(true, request, sent.concat()).await;
    assert_eq!(field(&response, "connect-content-encoding"), "gzip");
    // What is in envelopes is not compressed once more.
    assert_eq!(field(&response, "content-encoding"), "");
    let (before, end) = split_end(response.body());
    assert_eq!(end, json!({}));
    let length = u32::from_be_bytes(before[1..5].try_into().expect("four")) as usize;
    assert_eq!(
        (before[0], gunzip(&before[5..5 + length])),
        (1, b"long enough".to_vec())
    );
    let rest = [envelope(0, "short"), envelope(0, "")].concat();
    assert_eq!(before[5 + length..], rest);
    let request = fixture.post("/echo/Say", STREAM_PROTO);
    let request = request.header("connect-accept-encoding", "br, gzip");
    let response = ask(true, request, envelope(0, "long enough")).await;
    assert_eq!(
        (response.body()[0], &response.body()[5..7]),
        (1, &b"\x1f\x8b"[..])
    );
    fixture.close().await;
}

#[tokio::test]
async fn bodies_that_are_no_envelopes_are_refused() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let post = || fixture.post(&path("GreetIndividuals"), STREAM_PROTO);
    let unknown = post().header("connect-content-encoding", "br");
    let response = ask(true, unknown, envelope(0, "x")).await;
    assert!(check_failed_stream(&response, "unimplemented").contains("gzip"));
    for (body, code) in [
        // Compressed, and nobody says how; an end, which no request has; a flag of the future.
        (envelope(1, "x"), "internal"),
        (envelope(2, "{}"), "internal"),
        (envelope(0x80, "x"), "internal"),
        // Not whole, and longer than it is.
        (b"\0\0\0".to_vec(), "internal"),
        (b"\0\0\0\0\x02a".to_vec(), "internal"),
        // One message is taken.
        (Vec::new(), "unimplemented"),
        (
            [envelope(0, "x"), envelope(0, "x")].concat(),
            "unimplemented",
        ),
    ] {
        let shown = body.escape_ascii().to_string();
        let response = ask(true, post(), body).await;
        let message = check_failed_stream(&response, code);
        assert!(!message.is_empty(), "{shown}");
    }
    fixture.close().await;
}

#[tokio::test]
async fn a_message_has_a_limit_however_it_comes() {
    let fixture = Fixture::open(HttpConfig {
        grpc: GrpcConfig {
            message_bytes_max: 1000,
            ..GrpcConfig::default()
        },
        ..HttpConfig::default()
    })
    .await;
    let told =
        "message of 1001 octets exceeds the limit of 1000 (grpc.message-bytes-max of the listener)";
    let post = || fixture.post("/echo/Say", STREAM_PROTO);
    let whole = envelope(0, vec![b'x'; 1000]);
    let response = ask(true, post(), whole.clone()).await;
    assert_eq!(split_end(response.body()), (&whole[..], json!({})));
    let packed = || post().header("connect-content-encoding", "gzip");
    for (request, body) in [
        (post(), envelope(0, vec![b'x'; 1001])),
        (packed(), envelope(1, gzip(&[b'x'; 1001]))),
    ] {
        let response = ask(true, request, body).await;
        let message = check_failed_stream(&response, "resource_exhausted");
        assert_eq!(message, told);
    }
    fixture.close().await;
}

#[tokio::test]
async fn what_is_no_stream_is_refused_by_its_status() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let request = fixture.post(&path("GreetGroup"), "application/connect+cbor");
    check_failed(&ask(true, request, "").await, 415, "unknown");
    let request = fixture.post(&path("Greet"), STREAM_JSON);
    check_failed(&ask(true, request, envelope(0, "{}")).await, 415, "unknown");
    // Messages both ways at a time take HTTP/2.
    let request = fixture.post(&path("GreetEach"), STREAM_JSON);
    check_failed(
        &ask(false, request, envelope(0, "{}")).await,
        505,
        "unknown",
    );
    fixture.close().await;
}

/// A body whose pieces are sent one by one, and the response to it.
async fn duplex(request: request::Builder) -> (mpsc::Sender<Vec<u8>>, Response<Incoming>) {
    let (sender, receiver) = mpsc::channel(1);
    let body = StreamBody::new(frames(receiver));
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let request = request.body(Box::pin(body)).expect("a request");
    let response = timeout(PATIENCE, client.request(request)).await;
    (sender, response.expect("in time").expect("answered"))
}

fn frames(
    receiver: mpsc::Receiver<Vec<u8>>,
) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send {
    stream::unfold(receiver, |mut receiver| async {
        let piece = receiver.recv().await?;
        Some((Ok(Frame::data(Bytes::from(piece))), receiver))
    })
}

#[tokio::test]
async fn both_sides_speak_at_a_time_over_http2() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let (sender, response) = duplex(fixture.post(&path("GreetEach"), STREAM_JSON)).await;
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    for name in ["Buf", "Connect"] {
        let message = format!("{{\"name\":\"{name}\"}}");
        sender.send(envelope(0, message)).await.expect("taken");
        let frame = timeout(PATIENCE, body.frame()).await.expect("in time");
        let octets = frame.expect("a frame").expect("whole").into_data();
        let greeting = format!("{{\"greeting\": \"Hello, {name}!\"}}");
        assert_eq!(octets.expect("data"), envelope(0, greeting));
    }
    drop(sender);
    let rest = timeout(PATIENCE, body.collect()).await.expect("in time");
    assert_eq!(rest.expect("whole").to_bytes(), envelope(2, "{}"));
    fixture.close().await;
}

#[tokio::test]
async fn a_message_that_does_not_arrive_is_given_up() {
    let fixture = Fixture::open(HttpConfig {
        body_timeout: Duration::from_millis(50),
        ..HttpConfig::default()
    })
    .await;
    let (_sender, response) = duplex(fixture.post("/echo/Say", PROTO)).await;
    assert_eq!(response.status(), 504);
    let (sender, response) = duplex(fixture.post("/echo/Say", STREAM_PROTO)).await;
    assert_eq!(response.status(), 200);
    // Between two messages a client may be silent, and within one it may not.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = envelope(0, "ab");
    sender.send(begun[..6].to_vec()).await.expect("taken");
    let body = timeout(PATIENCE, response.into_body().collect()).await;
    let body = body.expect("in time").expect("whole").to_bytes();
    let (_, end) = split_end(&body);
    assert_eq!(end["error"]["code"], "deadline_exceeded");
    fixture.close().await;
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_call() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    for (content_type, body) in [(PROTO, Vec::new()), (STREAM_PROTO, envelope(0, ""))] {
        let request = fixture.post("/hang/On", content_type);
        let asking = tokio::spawn(ask(true, request, body));
        let begun = timeout(PATIENCE, fixture.greeter.begun.notified()).await;
        begun.expect("the call begins");
        asking.abort();
        let gone = timeout(PATIENCE, fixture.greeter.gone.notified()).await;
        gone.expect("the call ends");
    }
    fixture.close().await;
}
