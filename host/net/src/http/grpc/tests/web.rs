//! gRPC-Web over both versions of HTTP.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::header;

use super::fixture::{Answer, Fixture, frames, message};
use crate::http::{Cors, CorsConfig, HttpConfig};

const WEB: (&str, &str) = ("content-type", "application/grpc-web+proto");
const TEXT: (&str, &str) = ("content-type", "application/grpc-web-text");

/// The messages of a reply and the lines of its last frame.
fn read(body: &Bytes) -> (Vec<Bytes>, String) {
    let mut frames = frames(body);
    let (flag, trailers) = frames.pop().expect("trailers");
    assert_eq!(flag, 0x80);
    let messages = frames.into_iter().map(|(_, message)| message).collect();
    (
        messages,
        String::from_utf8(trailers.to_vec()).expect("text"),
    )
}

/// Undoes base64 whose pieces are padded one by one.
fn of_text(body: &Bytes) -> Bytes {
    let mut octets = Vec::new();
    for piece in body.chunks(4) {
        STANDARD.decode_vec(piece, &mut octets).expect("base64");
    }
    octets.into()
}

#[tokio::test]
async fn trailers_are_the_last_frame() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let answer = fixture.call("test.Echo/Unary", &[WEB], message("x")).await;
    assert_eq!(answer.headers["content-type"], WEB.1);
    assert!(answer.trailers.is_empty());
    let told = (vec!["x".into()], "grpc-status: 0\r\n".to_owned());
    assert_eq!(read(&answer.body), told);
    let answer = fixture.call("test.Echo/Down", &[WEB], message("2")).await;
    assert_eq!(read(&answer.body).0, ["0", "1"]);
}

#[tokio::test]
async fn a_failure_is_a_last_frame_alone() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let answer = fixture.call("fail/not-found", &[WEB], message("")).await;
    assert_eq!(answer.status, 200);
    let (messages, trailers) = read(&answer.body);
    assert!(messages.is_empty());
    assert!(trailers.contains("grpc-status: 5\r\ngrpc-message: on purpose: 50%25 %C3%A9\r\n"));
    let answer = fixture.call("nothing", &[TEXT], Bytes::new()).await;
    assert!(
        read(&of_text(&answer.body))
            .1
            .starts_with("grpc-status: 12\r\n")
    );
}

#[tokio::test]
async fn text_is_base64_in_both_directions() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let body = Bytes::from(STANDARD.encode(message("3")));
    let answer = fixture.call("test.Echo/Down", &[TEXT], body.clone()).await;
    assert_eq!(answer.headers["content-type"], TEXT.1);
    assert_eq!(read(&of_text(&answer.body)).0, ["0", "1", "2"]);
    // What the client takes may differ from what it sends.
    let head = [TEXT, ("accept", "application/grpc-web")];
    let answer = fixture.call("test.Echo/Down", &head, body).await;
    assert_eq!(read(&answer.body).0, ["0", "1", "2"]);
    let answer = fixture
        .call("test.Echo/Unary", &[TEXT], Bytes::from_static(b"*"))
        .await;
    assert!(read(&of_text(&answer.body)).1.starts_with("grpc-status: "));
}

#[tokio::test]
async fn it_comes_over_http1_too() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let head = "POST /test.Echo/Unary HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
        content-type: application/grpc-web\r\ncontent-length: 6\r\n\r\n";
    let request = [head.as_bytes(), &message("x")].concat();
    let read = fixture.raw(&request, b"no such octets").await;
    let shown = read.escape_ascii().to_string();
    assert!(read.starts_with(b"HTTP/1.1 200"), "{shown}");
    assert!(
        shown.contains("\\x80\\x00\\x00\\x00\\x10grpc-status: 0\\r\\n"),
        "{shown}"
    );
}

#[tokio::test]
async fn pages_that_may_call_may_read() {
    let cors = CorsConfig {
        origins: vec!["https://app.example".to_owned()],
        methods: vec!["POST".to_owned()],
        headers: vec!["*".to_owned()],
        exposed_headers: vec!["retry-after".to_owned()],
        credentials: false,
        max_age: Duration::from_secs(60),
    };
    let config = HttpConfig {
        cors: Some(Cors::new(&cors).expect("origins")),
        ..HttpConfig::default()
    };
    let fixture = Fixture::open(config).await;
    let head = [WEB, ("origin", "https://app.example"), ("x-mine", "1")];
    let answer: Answer = fixture.call("test.Echo/Unary", &head, message("x")).await;
    let exposed = answer.headers[header::ACCESS_CONTROL_EXPOSE_HEADERS].to_str();
    let exposed = exposed.expect("text");
    for name in [
        "retry-after",
        "grpc-status",
        "grpc-message",
        "grpc-status-details-bin",
        "x-mine",
    ] {
        assert!(
            exposed.split(", ").any(|exposed| exposed == name),
            "{name} of {exposed}"
        );
    }
}
