//! How long messages may be, and how long they may take.

use std::time::Duration;

use bytes::Bytes;

use super::fixture::{Fixture, frames, message, packed};
use crate::http::{Coding, GrpcConfig, HttpConfig};

fn config(message_bytes_max: usize, reply_bytes_max: usize) -> HttpConfig {
    HttpConfig {
        grpc: GrpcConfig {
            message_bytes_max,
            reply_bytes_max,
            ..GrpcConfig::default()
        },
        ..HttpConfig::default()
    }
}

const TOO_LONG: &str =
    "message of 1001 octets exceeds the limit of 1000 (grpc.message-bytes-max of the listener)";

#[tokio::test]
async fn a_message_at_the_limit_passes_and_one_octet_more_does_not() {
    let fixture = Fixture::open(config(1000, 1 << 20)).await;
    for path in ["test.Echo/Unary", "test.Echo/Up"] {
        let answer = fixture.call(path, &[], message(&"x".repeat(1000))).await;
        assert_eq!(answer.code(), "0", "{path}");
        let answer = fixture.call(path, &[], message(&"x".repeat(1001))).await;
        assert_eq!((answer.code(), answer.told()), ("8", TOO_LONG), "{path}");
    }
}

#[tokio::test]
async fn a_length_that_lies_is_refused_before_its_message_comes() {
    let fixture = Fixture::open(config(1000, 1 << 20)).await;
    let (sender, reply) = fixture.begin("test.Echo/Up", &[]);
    let head = Bytes::from_static(b"\0\xff\xff\xff\xffx");
    sender.send(head).await.expect("sent");
    let answer = reply.answer().await;
    let told = "message of 4294967295 octets exceeds the limit of 1000 \
        (grpc.message-bytes-max of the listener)";
    assert_eq!((answer.code(), answer.told()), ("8", told));
    drop(sender);
}

#[tokio::test]
async fn the_limit_holds_for_what_a_packed_message_becomes() {
    let fixture = Fixture::open(config(1000, 1 << 20)).await;
    let gzip = [("grpc-encoding", "gzip")];
    let body = packed(&"x".repeat(1000), Coding::Gzip).await;
    let answer = fixture.call("test.Echo/Unary", &gzip, body).await;
    assert_eq!(answer.code(), "0");
    let body = packed(&"x".repeat(1001), Coding::Gzip).await;
    let answer = fixture.call("test.Echo/Unary", &gzip, body).await;
    assert_eq!((answer.code(), answer.told()), ("8", TOO_LONG));
}

#[tokio::test]
async fn a_reply_has_a_limit_of_its_own() {
    let told = "message of 5000 octets exceeds the limit of 4999 \
        (grpc.reply-bytes-max of the listener)";
    let fixture = Fixture::open(config(1000, 4999)).await;
    let answer = fixture.call("test.Echo/Huge", &[], message("")).await;
    assert_eq!((answer.code(), answer.told()), ("8", told));
    assert!(answer.body.is_empty());
    let fixture = Fixture::open(config(1000, 5000)).await;
    let answer = fixture.call("test.Echo/Huge", &[], message("")).await;
    assert_eq!(frames(&answer.body)[0].1.len(), 5000);
}

#[tokio::test]
async fn long_messages_go_both_ways() {
    let config = HttpConfig {
        held_bytes_max: 64 << 20,
        ..config(8 << 20, 8 << 20)
    };
    let fixture = Fixture::open(config).await;
    let long = "0123456789abcdef".repeat(1 << 19);
    let answer = fixture.call("test.Echo/Unary", &[], message(&long)).await;
    assert_eq!(answer.code(), "0");
    assert_eq!(frames(&answer.body), [(0, long.into())]);
}

#[tokio::test]
async fn a_message_that_has_begun_is_to_go_on_and_a_stream_may_be_silent() {
    let config = HttpConfig {
        body_timeout: Duration::from_millis(100),
        ..HttpConfig::default()
    };
    let fixture = Fixture::open(config).await;
    let (sender, reply) = fixture.begin("test.Echo/Up", &[]);
    sender.send(message("a")).await.expect("sent");
    tokio::time::sleep(Duration::from_millis(300)).await;
    sender.send(message("b")).await.expect("sent");
    drop(sender);
    assert_eq!(frames(&reply.answer().await.body), [(0, "ab".into())]);
    for path in ["test.Echo/Up", "test.Echo/Unary"] {
        let (sender, reply) = fixture.begin(path, &[]);
        let half = Bytes::from_static(b"\0\0\0\0\x05ab");
        sender.send(half).await.expect("sent");
        assert_eq!(reply.answer().await.code(), "4", "{path}");
        drop(sender);
    }
}
