//! The front by a client of hyper over HTTP/2, and by raw octets where that writes nothing of the kind.

mod connections;
mod double;
mod fixture;
mod limits;
mod refusals;
mod web;

use bytes::Bytes;
use postern_core::{Kind, Transport};
use tokio::time::timeout;

use self::fixture::{Answer, Fixture, PATIENCE, PREFACE, frames, message, raw_head};
use super::{
    coding::ACCEPTED,
    metadata::decode_binary,
    status::{RpcStatus, StatusDetails as _, ValueDetails},
};
use crate::http::{Coding, GrpcConfig, HttpConfig};

#[tokio::test]
async fn a_unary_call_has_head_message_and_trailers() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let answer = fixture.call("test.Echo/Unary", &[], message("hello")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "application/grpc");
    assert_eq!(answer.headers["grpc-accept-encoding"], ACCEPTED);
    assert!(!answer.headers.contains_key("grpc-status"));
    assert_eq!(frames(&answer.body), [(0, "hello".into())]);
    assert_eq!(answer.trailers["grpc-status"], "0");
    let peer = fixture.double.last_call().context.peer;
    assert_eq!(peer.transport, Transport::Grpc);
}

#[tokio::test]
async fn the_call_begins_with_its_message_where_that_is_at_hand_or_the_only_one() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    // What is written at once is there at once, though nothing is known of the method.
    let body = b"\0\0\x06\0\x01\0\0\0\x01\0\0\0\0\x01x";
    let octets = [PREFACE, &raw_head("open/what", 1), body].concat();
    fixture.raw(&octets, b"\0\0\0\0\x01x").await;
    assert_eq!(fixture.double.last_call().body, "one");
    fixture.call("test.Echo/Unary", &[], message("x")).await;
    assert_eq!(fixture.double.last_call().body, "one");
    let (sender, reply) = fixture.begin("open/what", &[]);
    sender.send(message("x")).await.expect("sent");
    fixture.double.wait_for_calls(3).await;
    assert_eq!(fixture.double.last_call().body, "messages");
    drop(sender);
    assert_eq!(reply.answer().await.code(), "0");
}

#[tokio::test]
async fn messages_go_both_ways_while_both_are_open() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let (sender, reply) = fixture.begin("test.Echo/Chat", &[]);
    let mut reply = reply.await_head().await;
    for text in ["a", "bb", ""] {
        sender.send(message(text)).await.expect("sent");
        assert_eq!(reply.next().await, Some(message(text)));
    }
    drop(sender);
    let answer = reply.rest().await;
    assert_eq!((&*answer.body, answer.code()), (&b""[..], "0"));
    assert_eq!(answer.trailers["x-n-messages"], "3");
}

#[tokio::test]
async fn many_messages_up_and_many_down() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let up = [message("a"), message("b"), message("c")].concat();
    let answer = fixture.call("test.Echo/Up", &[], up.into()).await;
    assert_eq!(frames(&answer.body), [(0, "abc".into())]);
    let answer = fixture.call("test.Echo/Down", &[], message("3")).await;
    let sent = ["0", "1", "2"].map(|text| (0, Bytes::from(text)));
    assert_eq!(frames(&answer.body), sent);
    assert_eq!(answer.code(), "0");
}

#[tokio::test]
async fn metadata_passes_in_both_directions() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let sent = [
        ("x-twice", "2"),
        ("x-twice", "1"),
        ("x-data-bin", "q6urqw=="),
        ("grpc-timeout", "5S"),
        ("te", "trailers"),
    ];
    let answer = fixture.call("test.Echo/Chat", &sent, message("x")).await;
    let call = fixture.double.last_call();
    let of = |name: &str| {
        let values = call.headers.values(name.as_bytes());
        values.map(|value| value.into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of("x-twice"), [b"2", b"1"]);
    assert_eq!(of("x-data-bin"), [[0xab; 4]]);
    assert_eq!(of("content-type"), [b"application/protobuf"]);
    assert!(of("grpc-timeout").is_empty() && of("te").is_empty());
    // Initial metadata are echoed by the double, and those of its own are trailing.
    let twice: Vec<_> = answer.headers.get_all("x-twice").iter().collect();
    assert_eq!(twice, ["2", "1"]);
    assert_eq!(answer.headers["x-data-bin"], "q6urqw");
    assert_eq!(answer.trailers["x-sum-bin"], "AAE");
}

#[tokio::test]
async fn what_a_message_is_stands_in_the_content_type() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let json = [("content-type", "application/grpc+json; charset=utf-8")];
    let answer = fixture.call("test.Echo/Unary", &json, message("{}")).await;
    assert_eq!(answer.headers["content-type"], "application/grpc+json");
    let call = fixture.double.last_call();
    let told = call.headers.get_str("content-type");
    assert_eq!(told.as_deref(), Some("application/json"));
}

#[tokio::test]
async fn a_failure_before_all_else_is_trailers_only() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    for kind in Kind::ALL {
        let path = format!("fail/{}", kind.name());
        let answer = fixture.call(&path, &[], message("")).await;
        assert_eq!((answer.status, &*answer.body), (200, &b""[..]));
        assert!(answer.trailers.is_empty(), "all is in the head");
        let head = &answer.headers;
        assert_eq!(head["grpc-status"], &*kind.grpc().to_string());
        assert_eq!(head["grpc-message"], "on purpose: 50%25 %C3%A9");
        assert_eq!(head["x-colour"], "green");
        assert_eq!(head["grpc-retry-pushback-ms"], "1500");
        let details = decode_binary(head["grpc-status-details-bin"].as_bytes());
        let details: RpcStatus =
            prost::Message::decode(&*details.expect("base64")).expect("a status");
        assert_eq!(details.message, "on purpose: 50% é");
        let json = ValueDetails.to_json(&details.details);
        assert_eq!(json.as_deref(), Some(&b"{\"n\":1}"[..]));
    }
}

#[tokio::test]
async fn a_failure_behind_messages_is_in_the_trailers() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let answer = fixture.call("test.Echo/Breaks", &[], message("")).await;
    assert_eq!(frames(&answer.body), [(0, "first".into())]);
    assert!(!answer.headers.contains_key("grpc-status"));
    assert_eq!((answer.code(), answer.told()), ("15", "broken"));
}

#[tokio::test]
async fn a_reply_of_octets_or_of_nothing_is_one_message() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let answer = fixture.call("test.Echo/Octets", &[], message("")).await;
    assert_eq!(frames(&answer.body), [(0, "one message".into())]);
    assert_eq!(answer.trailers["x-sum"], "1");
    let answer = fixture.call("test.Echo/Nothing", &[], message("")).await;
    assert_eq!(frames(&answer.body), [(0, Bytes::new())]);
    // A stream may have none at all.
    let answer = fixture
        .call("test.Echo/NothingDown", &[], message(""))
        .await;
    assert_eq!((frames(&answer.body), answer.code()), (Vec::new(), "0"));
}

#[tokio::test]
async fn a_failing_status_of_http_is_a_failure() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let answer = fixture.call("test.Echo/Status", &[], message("")).await;
    assert_eq!((answer.code(), answer.told()), ("5", "no such user"));
}

#[tokio::test]
async fn a_timeout_is_the_deadline_of_all_of_the_call() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let timeout = [("grpc-timeout", "50m")];
    for path in ["test.Echo/Hang", "test.Echo/HangLater"] {
        let answer = fixture.call(path, &timeout, message("")).await;
        assert_eq!(answer.code(), "4", "{path}");
        fixture.double.wait_for(0).await;
    }
    fixture.call("test.Echo/Unary", &[], message("")).await;
    assert!(fixture.double.last_call().context.deadline.is_none());
}

#[tokio::test]
async fn a_client_that_resets_its_stream_ends_the_call() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let (sender, reply) = fixture.begin("test.Echo/Hang", &[]);
    sender.send(message("")).await.expect("sent");
    drop(sender);
    fixture.double.wait_for(1).await;
    drop(reply);
    fixture.double.wait_for(0).await;
    // The same once the first message of the reply is there.
    let (sender, reply) = fixture.begin("test.Echo/HangLater", &[]);
    sender.send(message("")).await.expect("sent");
    drop(sender);
    let mut reply = reply.await_head().await;
    assert_eq!(reply.next().await, Some(message("first")));
    fixture.double.wait_for(1).await;
    drop(reply);
    fixture.double.wait_for(0).await;
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_request_is_an_answer() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let (sender, reply) = fixture.begin("test.Echo/Early", &[]);
    let answer = timeout(PATIENCE, reply.answer()).await.expect("in time");
    assert_eq!(frames(&answer.body), [(0, "early".into())]);
    assert_eq!(answer.code(), "0");
    drop(sender);
}

#[tokio::test]
async fn messages_are_packed_one_by_one() {
    let long = "z".repeat(5000);
    for coding in [Coding::Gzip, Coding::Zstd] {
        let fixture = Fixture::open(HttpConfig::default()).await;
        let packed = fixture::packed(&long, coding).await;
        let body = [&packed[..], &message("plain")].concat();
        let head = [
            ("grpc-encoding", coding.name()),
            ("grpc-accept-encoding", "identity,gzip,zstd"),
        ];
        let answer = fixture.call("test.Echo/Chat", &head, body.into()).await;
        // Who packs is answered so, but for what is short.
        assert_eq!(answer.headers["grpc-encoding"], coding.name());
        let sent = frames(&answer.body);
        assert_eq!(
            (sent.len(), sent[0].0, &sent[1]),
            (2, 1, &(0, "plain".into()))
        );
        assert!(sent[0].1.len() < 1000);
        assert_eq!(fixture::unpacked(sent[0].1.clone(), coding).await, long);
    }
}

#[tokio::test]
async fn a_client_is_sent_no_coding_that_it_does_not_take() {
    let config = HttpConfig {
        grpc: GrpcConfig {
            encodings: vec![Coding::Zstd, Coding::Gzip],
            packed_bytes_min: 0,
            ..GrpcConfig::default()
        },
        ..HttpConfig::default()
    };
    let fixture = Fixture::open(config).await;
    for (accepted, coding, flag) in [
        ("gzip,zstd", Some("zstd"), 1),
        ("identity, gzip", Some("gzip"), 1),
        ("identity,snappy", None, 0),
    ] {
        let head = [("grpc-accept-encoding", accepted)];
        let answer = fixture.call("test.Echo/Unary", &head, message("x")).await;
        let told = answer.headers.get("grpc-encoding");
        assert_eq!(told.map(|value| value.to_str().expect("text")), coding);
        assert_eq!(frames(&answer.body)[0].0, flag, "{accepted}");
    }
    // A handler has the last word.
    let head = [("grpc-accept-encoding", "gzip"), ("x-packed", "identity")];
    let answer = fixture.call("test.Echo/Packed", &head, message("x")).await;
    assert_eq!(frames(&answer.body), [(0, "x".into())]);
}

#[tokio::test]
async fn clients_need_not_say_that_they_take_trailers() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let answer: Answer = fixture.call("test.Echo/Unary", &[], message("x")).await;
    assert_eq!(answer.code(), "0");
}
