//! What is no call, and how clients are told.

use bytes::Bytes;

use super::fixture::{Fixture, frames, message, packed};
use crate::http::{Coding, HttpConfig};

#[track_caller]
fn check(answer: &super::Answer, code: &str, told: &str) {
    assert_eq!(answer.status, 200);
    assert_eq!((answer.code(), answer.told()), (code, told));
}

#[tokio::test]
async fn bodies_that_are_no_frames_are_internal() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    for (body, told) in [
        (
            &b"\0\0\0"[..],
            "the body ends with 3 octets of a message that is not whole",
        ),
        (
            b"\0\0\0\0\x05abcd",
            "the body ends with 9 octets of a message that is not whole",
        ),
        (
            b"\x02\0\0\0\0",
            "flags 0x02 of a message have a meaning that is not known here",
        ),
        (
            b"\x01\0\0\0\x01x",
            "a message is flagged as compressed, and the head names no encoding",
        ),
    ] {
        let body = Bytes::from_static(body);
        for path in ["test.Echo/Unary", "test.Echo/Up", "open/what"] {
            let answer = fixture.call(path, &[], body.clone()).await;
            if path == "open/what" && answer.headers.get("grpc-status").is_none() {
                // The error came to the handler with its body.
                assert_eq!(answer.code(), "13", "{path} {told}");
                continue;
            }
            check(&answer, "13", told);
        }
    }
    let gzip = [("grpc-encoding", "gzip")];
    let body = Bytes::from_static(b"\x01\0\0\0\x01x");
    let answer = fixture.call("test.Echo/Unary", &gzip, body).await;
    assert_eq!(answer.code(), "13");
}

#[tokio::test]
async fn a_method_of_one_message_takes_one() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let none = "the method takes one message, the request has none";
    let more = "the method takes one message, the request has more";
    for path in ["test.Echo/Unary", "test.Echo/Down"] {
        let answer = fixture.call(path, &[], Bytes::new()).await;
        check(&answer, "12", none);
        let two = [message("1"), message("2")].concat().into();
        let answer = fixture.call(path, &[], two).await;
        check(&answer, "12", more);
    }
}

#[tokio::test]
async fn an_encoding_that_is_not_known_is_answered_by_those_that_are() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let head = [("grpc-encoding", "snappy")];
    let body = packed("x", Coding::Gzip).await;
    let answer = fixture.call("test.Echo/Unary", &head, body).await;
    assert_eq!(answer.code(), "12");
    let accepted = "identity,gzip,zstd,deflate";
    assert_eq!(answer.headers["grpc-accept-encoding"], accepted);
}

#[tokio::test]
async fn heads_that_make_no_call_have_a_status() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let timeout = [("grpc-timeout", "5s")];
    let answer = fixture.call("test.Echo/Unary", &timeout, message("")).await;
    let told = "grpc-timeout \"5s\" is not 1 to 8 digits and one of H, M, S, m, u and n";
    check(&answer, "3", told);
    let metadata = [("x-bin", "*")];
    let answer = fixture
        .call("test.Echo/Unary", &metadata, message(""))
        .await;
    check(&answer, "13", "the value of x-bin is not base64");
    let answer = fixture.call("nothing", &[], message("")).await;
    check(&answer, "12", "path \"/nothing\" is not /SERVICE/METHOD");
    let page = [("origin", "https://evil.example")];
    let answer = fixture.call("test.Echo/Unary", &page, message("")).await;
    let told = "a page of https://evil.example may not call this gateway";
    check(&answer, "7", told);
}

#[tokio::test]
async fn what_nobody_knows_is_unimplemented_and_what_a_handler_misses_is_not_found() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let answer = fixture.call("fail/not-found", &[], message("")).await;
    assert_eq!(answer.code(), "5");
}

#[tokio::test]
async fn content_types_and_methods_that_are_none_of_grpc_are_refused_as_http() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    for (path, content_type, status, code) in [
        ("test.Echo/Unary", "application/grpcx", 415, ""),
        ("test.Echo/Unary", "application/grpc+thrift", 415, ""),
        ("open/what", "application/grpc+thrift", 200, "0"),
        ("test.Echo/Unary", "text/plain", 415, ""),
        ("open/what", "text/plain", 404, ""),
    ] {
        let head = [("content-type", content_type)];
        let answer = fixture.call(path, &head, message("")).await;
        let told = (answer.status, answer.code());
        assert_eq!(told, (status, code), "{path} {content_type}");
    }
    let only = HttpConfig {
        is_grpc_only: true,
        ..HttpConfig::default()
    };
    let fixture = Fixture::open(only).await;
    let strange = [("content-type", "application/xml")];
    for path in ["test.Echo/Unary", "v1/services/open/what"] {
        let answer = fixture.call(path, &strange, message("")).await;
        assert_eq!(answer.status, 415, "{path}");
    }
    let answer = fixture.call("test.Echo/Unary", &[], message("x")).await;
    assert_eq!(frames(&answer.body), [(0, "x".into())]);
    let get = b"GET /v1/services HTTP/1.1\r\nhost: x\r\n\r\n";
    let read = fixture.raw(get, b"\r\n\r\n").await;
    assert!(read.starts_with(b"HTTP/1.1 405"), "{}", read.escape_ascii());
}

#[tokio::test]
async fn grpc_over_http1_is_told_what_it_needs() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let post = b"POST /test.Echo/Unary HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc\r\n\
        content-length: 5\r\n\r\n\0\0\0\0\0";
    let read = fixture.raw(post, b"}").await;
    assert!(read.starts_with(b"HTTP/1.1 505"), "{}", read.escape_ascii());
    assert!(String::from_utf8_lossy(&read).contains("gRPC needs HTTP/2"));
}
