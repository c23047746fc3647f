//! What becomes of one call.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use h2::Reason;
use postern_core::{Blame, Body, BodyStream, Error, Kind, Retry, service::CallKind};
use postern_system::clock;
use tokio::sync::{mpsc, oneshot};

use super::{
    super::GrpcUpstreamConfig,
    fixture::{
        Server, answer, call, echo, framed, grpc_head, map, messages, read, reply_with,
        take_message, trailers_only, unary,
    },
};
use crate::http::Coding;

#[tokio::test]
async fn a_unary_call_carries_its_message_and_metadata_both_ways() {
    let server = Server::new(answer(echo)).await;
    let mut call = call("Echo", "hello");
    for (name, value) in [("x-a", "2"), ("x-a", "1")] {
        call.headers.push(name, value).expect("short");
    }
    call.headers.push("x-b-bin", [0_u8, 0xff]).expect("short");
    let reply = server
        .upstream
        .call_of_kind(call, Some(CallKind::Unary))
        .await;
    let reply = reply.expect("answered");
    let headers = &reply.headers;
    assert_eq!(
        headers.get_str("content-type").as_deref(),
        Some("application/protobuf")
    );
    let values: Vec<_> = headers
        .values(b"x-a")
        .map(|value| value.into_owned())
        .collect();
    assert_eq!(values, [b"2", b"1"]);
    assert_eq!(headers.get(b"x-b-bin").as_deref(), Some(&[0, 0xff][..]));
    let (messages, trailers) = read(reply).await.expect("whole");
    assert_eq!(messages, ["hello"]);
    let trailers = trailers.expect("trailing metadata");
    assert_eq!(trailers.get_str("x-end").as_deref(), Some("1"));
    assert_eq!(trailers.get(b"x-end-bin").as_deref(), Some(&[0xab; 4][..]));
    assert_eq!(trailers.iter().count(), 2);
}

#[tokio::test]
async fn messages_of_every_kind_are_kept_apart() {
    let server = Server::new(answer(echo)).await;
    for kind in [
        None,
        Some(CallKind::Bidirectional),
        Some(CallKind::ServerStream),
    ] {
        let mut call = call("Echo", "");
        call.body = messages(&["a", "", "ccc"]);
        let reply = server
            .upstream
            .call_of_kind(call, kind)
            .await
            .expect("answered");
        let (messages, _) = read(reply).await.expect("whole");
        assert_eq!(messages, ["a", "", "ccc"]);
    }
    // No message at all: of a stream none, of a unary method an empty one.
    for (kind, n_messages) in [(CallKind::Bidirectional, 0), (CallKind::ServerStream, 1)] {
        let mut call = call("Echo", "");
        call.body = Body::Empty;
        let reply = server.upstream.call_of_kind(call, Some(kind)).await;
        let (messages, _) = read(reply.expect("answered")).await.expect("whole");
        assert_eq!(messages.len(), n_messages);
    }
}

#[tokio::test]
async fn replies_come_while_the_caller_still_sends() {
    let server = Server::new(answer(echo)).await;
    let (sender, mut receiver) = mpsc::channel(1);
    let stream = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    let mut call = call("Echo", "");
    call.body = Body::Messages(BodyStream::new(stream));
    let reply = server
        .upstream
        .call_of_kind(call, None)
        .await
        .expect("answered");
    let mut replies = reply.body.into_messages(1 << 20);
    for n in 0..3_u8 {
        let message = Bytes::from(vec![n; 3]);
        sender.send(Ok(message.clone())).await.expect("taken");
        assert_eq!(
            replies.next().await.expect("more").expect("a message"),
            message
        );
    }
    drop(sender);
    assert!(replies.next().await.is_none());
    assert!(replies.trailers().is_some());
}

#[tokio::test]
async fn a_failure_is_told_with_its_kind_message_and_pushback() {
    let server = Server::new(answer(|_, mut respond| async move {
        let trailers = [
            ("grpc-status", "8"),
            ("grpc-message", "no %E2%98%BA"),
            ("grpc-retry-pushback-ms", "250"),
            ("x-why", "full"),
        ];
        trailers_only(&mut respond, &trailers);
    }))
    .await;
    for kind in [None, Some(CallKind::Unary)] {
        let error = server.upstream.call_of_kind(call("Fail", ""), kind).await;
        let error = error.expect_err("a failure");
        assert_eq!(
            (error.kind, error.blame),
            (Kind::ResourceExhausted, Blame::Upstream)
        );
        assert_eq!(error.message, "no \u{263a}");
        assert_eq!(error.retry, Retry::After(Duration::from_millis(250)));
        let headers = error.headers.expect("metadata");
        assert_eq!(headers.get_str("x-why").as_deref(), Some("full"));
    }
}

#[tokio::test]
async fn a_stream_that_fails_after_messages_gives_them_first() {
    let server = Server::new(answer(|_, mut respond| async move {
        let mut stream = respond.send_response(grpc_head(), false).expect("sent");
        stream.send_data(framed(0, b"one"), false).expect("sent");
        let trailers = map(&[("grpc-status", "15"), ("grpc-message", "torn")]);
        stream.send_trailers(trailers).expect("sent");
    }))
    .await;
    let kind = Some(CallKind::ServerStream);
    let reply = server.upstream.call_of_kind(call("Fail", ""), kind).await;
    let mut stream = reply.expect("begun").body.into_messages(1 << 20);
    assert_eq!(stream.next().await.expect("one").expect("a message"), "one");
    let error = stream.next().await.expect("an end").expect_err("a failure");
    assert_eq!((error.kind, &*error.message), (Kind::DataLoss, "torn"));
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn the_instance_is_told_what_is_left_of_the_deadline() {
    let told = Arc::<Mutex<Option<String>>>::default();
    let seen = Arc::clone(&told);
    let server = Server::new(answer(move |request, mut respond| {
        let timeout = request.headers().get("grpc-timeout");
        let timeout = timeout.map(|value| value.to_str().expect("text").to_owned());
        *seen.lock().expect("whole") = timeout;
        async move { reply_with(&mut respond, b"") }
    }))
    .await;
    let mut call = call("Echo", "");
    call.context.deadline = Some(clock::now() + Duration::from_secs(5));
    server
        .upstream
        .call_of_kind(call, None)
        .await
        .expect("answered");
    let told = told.lock().expect("whole").take().expect("a timeout");
    let micros: u64 = told
        .strip_suffix('u')
        .expect("microseconds")
        .parse()
        .expect("digits");
    assert!((4_000_000..=5_000_000).contains(&micros), "{told}");
}

/// A server that never answers, and tells why its stream was reset.
async fn silent() -> (Server, mpsc::Receiver<Reason>) {
    let (resets, told) = mpsc::channel(1);
    let server = Server::new(answer(move |request, mut respond| {
        let resets = resets.clone();
        async move {
            let is_begun = request.uri().path().ends_with("Begin");
            let mut stream =
                is_begun.then(|| respond.send_response(grpc_head(), false).expect("sent"));
            let reason = std::future::poll_fn(|cx| match &mut stream {
                Some(stream) => stream.poll_reset(cx),
                None => respond.poll_reset(cx),
            });
            let _ = resets.send(reason.await.expect("a reset")).await;
        }
    }))
    .await;
    (server, told)
}

#[tokio::test]
async fn whoever_stops_waiting_cancels_the_stream() {
    let (server, mut resets) = silent().await;
    // Before the reply begins.
    let calling = server.upstream.call_of_kind(call("Hang", "x"), None);
    let late = tokio::time::timeout(Duration::from_millis(100), calling).await;
    assert!(late.is_err());
    assert_eq!(resets.recv().await, Some(Reason::CANCEL));
    // After it.
    let reply = server.upstream.call_of_kind(call("Begin", "x"), None).await;
    drop(reply.expect("begun"));
    assert_eq!(resets.recv().await, Some(Reason::CANCEL));
    // While the caller sends.
    let mut endless = call("Begin", "");
    endless.body = Body::Messages(BodyStream::new(futures_util::stream::pending()));
    let reply = server.upstream.call_of_kind(endless, None).await;
    drop(reply.expect("begun"));
    assert_eq!(resets.recv().await, Some(Reason::CANCEL));
}

#[tokio::test]
async fn a_caller_that_fails_is_told_of_its_own_failure() {
    let (server, mut resets) = silent().await;
    let failing = futures_util::stream::iter([
        Ok(Bytes::from("a")),
        Err(Error::new(Kind::Cancelled, Blame::Client, "gone")),
    ]);
    let mut call = call("Hang", "");
    call.body = Body::Messages(BodyStream::new(failing));
    let error = server
        .upstream
        .call_of_kind(call, None)
        .await
        .expect_err("gone");
    assert_eq!(
        (error.kind, error.blame, &*error.message),
        (Kind::Cancelled, Blame::Client, "gone")
    );
    assert_eq!(resets.recv().await, Some(Reason::CANCEL));
}

#[tokio::test]
async fn messages_are_bounded_both_ways() {
    let config = GrpcUpstreamConfig {
        receive_bytes_max: 10,
        send_bytes_max: 20,
        ..GrpcUpstreamConfig::default()
    };
    let server = Server::with(config, u32::MAX, answer(echo)).await;
    assert_eq!(
        unary(&server.upstream, &"x".repeat(10))
            .await
            .expect("fits")
            .len(),
        10
    );
    for (n_octets, expected) in [
        (
            11,
            (
                Blame::Upstream,
                "message of 11 octets exceeds the limit of 10 (grpc.receive-bytes-max)",
            ),
        ),
        (
            21,
            (
                Blame::Client,
                "message of 21 octets exceeds the limit of 20 (grpc.send-bytes-max)",
            ),
        ),
    ] {
        let error = unary(&server.upstream, &"x".repeat(n_octets)).await;
        let error = error.expect_err("too long");
        assert_eq!((error.blame, &*error.message), expected);
        assert_eq!(
            (error.kind, error.is_too_large),
            (Kind::ResourceExhausted, true)
        );
    }
}

#[tokio::test]
async fn large_messages_pass_through_small_windows() {
    let server = Server::new(answer(echo)).await;
    let long: Bytes = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let one = call("Echo", long.clone());
    let mut streamed = call("Echo", "");
    let pieces: Vec<_> = [long.clone(), long.clone()].map(Ok).into();
    streamed.body = Body::Messages(BodyStream::new(futures_util::stream::iter(pieces)));
    let reply = server
        .upstream
        .call_of_kind(one, None)
        .await
        .expect("answered");
    assert_eq!(
        read(reply).await.expect("whole").0,
        std::slice::from_ref(&long)
    );
    let reply = server
        .upstream
        .call_of_kind(streamed, None)
        .await
        .expect("answered");
    assert_eq!(read(reply).await.expect("whole").0, [long.clone(), long]);
}

#[tokio::test]
async fn packed_messages_are_sent_and_taken() {
    // Flags of the message that came, and the message as it came.
    let server = |coding| async move {
        let config = GrpcUpstreamConfig {
            compression: coding,
            ..GrpcUpstreamConfig::default()
        };
        Server::with(
            config,
            u32::MAX,
            answer(|request, mut respond| async move {
                let mut head = grpc_head();
                if let Some(coding) = request.headers().get("grpc-encoding") {
                    head.headers_mut().insert("grpc-encoding", coding.clone());
                }
                let mut body = request.into_body();
                let mut octets = bytes::BytesMut::new();
                while let Some(Ok(piece)) = body.data().await {
                    octets.extend_from_slice(&piece);
                }
                let flags = octets[0];
                let message = take_message(&mut octets).expect("a message");
                let mut stream = respond.send_response(head, false).expect("sent");
                stream
                    .send_data(framed(flags, &message), false)
                    .expect("sent");
                stream
                    .send_trailers(map(&[
                        ("grpc-status", "0"),
                        ("x-flags", if flags == 1 { "1" } else { "0" }),
                    ]))
                    .expect("sent");
            }),
        )
        .await
    };
    let long = "x".repeat(1000);
    for coding in [None, Some(Coding::Gzip), Some(Coding::Zstd)] {
        let server = server(coding).await;
        let reply = server
            .upstream
            .call_of_kind(call("Echo", long.clone()), None)
            .await;
        let (messages, trailers) = read(reply.expect("answered")).await.expect("whole");
        assert_eq!(messages, [long.as_str()]);
        let flags = trailers
            .expect("trailers")
            .get_str("x-flags")
            .map(|flags| flags.into_owned());
        assert_eq!(
            flags.as_deref(),
            Some(if coding.is_some() { "1" } else { "0" })
        );
    }
}

#[tokio::test]
async fn a_message_that_expands_beyond_the_ratio_is_refused() {
    use std::io::Write as _;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(&vec![0; 8 * 1024 * 1024]).expect("packed");
    let packed = Bytes::from(packed.finish().expect("packed"));
    for (ratio_max, is_taken) in [(100, false), (100_000, true)] {
        let config = GrpcUpstreamConfig {
            receive_bytes_max: 16 * 1024 * 1024,
            compression_ratio_max: ratio_max,
            ..GrpcUpstreamConfig::default()
        };
        let packed = packed.clone();
        let server = Server::with(
            config,
            u32::MAX,
            answer(move |_, mut respond| {
                let packed = packed.clone();
                async move {
                    let mut head = grpc_head();
                    head.headers_mut().extend(map(&[("grpc-encoding", "gzip")]));
                    let mut stream = respond.send_response(head, false).expect("sent");
                    stream.send_data(framed(1, &packed), false).expect("sent");
                    stream
                        .send_trailers(map(&[("grpc-status", "0")]))
                        .expect("sent");
                }
            }),
        )
        .await;
        let kind = Some(CallKind::Unary);
        let reply = server.upstream.call_of_kind(call("Bomb", ""), kind).await;
        match reply {
            Ok(_) => assert!(is_taken),
            Err(error) => {
                assert!(!is_taken, "{error}");
                assert_eq!(
                    (error.kind, error.is_too_large),
                    (Kind::ResourceExhausted, true)
                );
            }
        }
    }
}

/// What a call fails with whose answer is `head` and `octets`.
async fn failure_of(head: http::Response<()>, octets: Bytes) -> Error {
    let server = Server::new(answer(move |_, mut respond| {
        let (head, octets) = (head.clone(), octets.clone());
        async move {
            let mut stream = respond.send_response(head, false).expect("sent");
            stream.send_data(octets, false).expect("sent");
            stream
                .send_trailers(map(&[("grpc-status", "0")]))
                .expect("sent");
        }
    }))
    .await;
    let kind = Some(CallKind::Unary);
    let reply = server.upstream.call_of_kind(call("Bad", ""), kind).await;
    reply.expect_err("a failure")
}

#[tokio::test]
async fn what_is_no_reply_of_grpc_is_told_as_what_it_is() {
    let html = |status| {
        let head = http::Response::builder().status(status);
        head.header("content-type", "text/html")
            .body(())
            .expect("a head")
    };
    let page = Bytes::from_static(b"<html>");
    for (status, kind) in [
        (503, Kind::Unavailable),
        (404, Kind::Unimplemented),
        (200, Kind::Unknown),
    ] {
        let error = failure_of(html(status), page.clone()).await;
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains("text/html"), "{error}");
    }
    for (octets, expected) in [
        (framed(1, b"x"), "names no grpc-encoding"),
        (framed(2, b"x"), "have a meaning that is not known here"),
        (
            Bytes::from_static(b"\0\0\0\0\x09x"),
            "the body ends with 6 octets of a message",
        ),
        (Bytes::new(), "answers without a message"),
        (
            [framed(0, b"a"), framed(0, b"b")].concat().into(),
            "answers with several messages",
        ),
    ] {
        let error = failure_of(grpc_head(), octets).await;
        assert_eq!((error.kind, error.blame), (Kind::Internal, Blame::Upstream));
        assert!(error.message.contains(expected), "{error}");
    }
    let mut unknown = grpc_head();
    unknown
        .headers_mut()
        .extend(map(&[("grpc-encoding", "snappy")]));
    let error = failure_of(unknown, framed(1, b"x")).await;
    assert!(error.message.contains("snappy"), "{error}");
}

#[tokio::test]
async fn a_server_that_answers_early_ends_the_call() {
    let (ended, is_ended) = oneshot::channel::<()>();
    let server = Server::new(answer(|_, mut respond| async move {
        trailers_only(
            &mut respond,
            &[("grpc-status", "7"), ("grpc-message", "no")],
        );
    }))
    .await;
    // Told when nobody reads it any more.
    let pending = futures_util::stream::poll_fn(move |_| {
        let _ = &ended;
        std::task::Poll::<Option<Result<Bytes, Error>>>::Pending
    });
    let mut call = call("Fail", "");
    call.body = Body::Messages(BodyStream::new(pending));
    let error = server
        .upstream
        .call_of_kind(call, None)
        .await
        .expect_err("refused");
    assert_eq!(error.kind, Kind::PermissionDenied);
    assert!(is_ended.await.is_err(), "the body was dropped");
}
