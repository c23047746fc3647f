//! What an upstream is sent.

use postern_core::{Blame, Body, Error, Handler, Kind};

use crate::{broken, fields, forwarder, get, octets, patient, request, upstreams::RawUpstream};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// What an upstream is sent of `call`.
async fn sent(call: postern_core::Call) -> String {
    let mut upstream = RawUpstream::answering(&[OK]).await;
    let reply = patient(forwarder(upstream.port).call(call)).await;
    assert_eq!(reply.expect("answered").status, None);
    upstream.seen().await
}

#[tokio::test]
async fn method_target_host_and_every_field_arrive_as_sent() {
    let pairs = [
        ("x-one", "1"),
        ("x-two", "a, b"),
        ("x-one", "2"),
        ("accept-encoding", "gzip"),
        ("timeout-ms", "5"),
    ];
    let target = "/a%2Fb//c/./d/../%zz;p=1?x=1&x=%20&?/";
    let seen = sent(request("PURGE", target, &pairs, Body::Empty)).await;
    let expected = format!(
        "PURGE {target} HTTP/1.1\r\nhost: shop.example:8080\r\nx-one: 1\r\nx-one: 2\r\n\
         x-two: a, b\r\naccept-encoding: gzip\r\ntimeout-ms: 5\r\n\r\n"
    );
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_body_at_hand_has_its_own_length() {
    for pairs in [&[][..], &[("content-length", "99")]] {
        let seen = sent(request("PUT", "/x", pairs, Body::One("abc".into()))).await;
        let expected = "PUT /x HTTP/1.1\r\nhost: shop.example:8080\r\ncontent-length: 3\r\n\r\nabc";
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn no_body_declares_none() {
    let seen = sent(request(
        "POST",
        "/x",
        &[("content-length", "0")],
        Body::Empty,
    ))
    .await;
    assert!(seen.contains("content-length: 0\r\n"), "{seen}");
    let seen = sent(request(
        "POST",
        "/x",
        &[("content-length", "7")],
        Body::Empty,
    ))
    .await;
    assert!(!seen.contains("content-length: 7"), "{seen}");
}

#[tokio::test]
async fn a_stream_has_the_length_that_it_declares() {
    let body = octets(&["ab", "cde"], None);
    let seen = sent(request("PUT", "/x", &[("content-length", "5")], body)).await;
    let expected = "PUT /x HTTP/1.1\r\nhost: shop.example:8080\r\ncontent-length: 5\r\n\r\nabcde";
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_stream_of_unknown_length_is_chunked_and_has_its_trailers() {
    let body = octets(&["ab", "cde"], Some(fields(&[("x-sum", "9")])));
    let seen = sent(request("POST", "/x", &[("trailer", "x-sum")], body)).await;
    let expected = "POST /x HTTP/1.1\r\nhost: shop.example:8080\r\ntrailer: x-sum\r\n\
                    transfer-encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\nx-sum: 9\r\n\r\n";
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_body_that_does_not_keep_to_its_length_ends_the_connection() {
    for (pieces, blame) in [(&["ab"][..], Blame::Client), (&["abcd"], Blame::Gateway)] {
        let mut upstream = RawUpstream::answering(&[OK]).await;
        let call = request(
            "PUT",
            "/x",
            &[("content-length", "3")],
            octets(pieces, None),
        );
        let failed = patient(forwarder(upstream.port).call(call)).await;
        assert_eq!(failed.expect_err("cut").blame, blame);
        let seen = upstream.seen().await;
        let (_, body) = seen.split_once("\r\n\r\n").expect("a head");
        assert!(body.len() < 3, "{body}");
    }
}

#[tokio::test]
async fn a_client_that_breaks_off_is_to_blame_and_its_request_is_cut() {
    let mut upstream = RawUpstream::answering(&[OK]).await;
    let gone = Error::new(Kind::Cancelled, Blame::Client, "the body ended early");
    let call = request("POST", "/x", &[], broken(&["ab"], gone));
    let failed = patient(forwarder(upstream.port).call(call)).await;
    let error = failed.expect_err("cut");
    assert_eq!((error.kind, error.blame), (Kind::Cancelled, Blame::Client));
    let seen = upstream.seen().await;
    assert!(!seen.contains("\r\n0\r\n"), "{seen}");
}

#[tokio::test]
async fn trailers_are_asked_for_as_the_client_asks() {
    let seen = sent(request("GET", "/", &[("te", "trailers")], Body::Empty)).await;
    assert!(
        seen.contains("te: trailers\r\nconnection: te\r\n"),
        "{seen}"
    );
}

#[tokio::test]
async fn fields_of_a_connection_are_written_by_nobody_else() {
    let pairs = [
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("keep-alive", "timeout=5"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABk"),
        ("host", "evil"),
    ];
    let seen = sent(request("GET", "/", &pairs, Body::Empty)).await;
    assert_eq!(seen, "GET / HTTP/1.1\r\nhost: shop.example:8080\r\n\r\n");
}

#[tokio::test]
async fn a_server_is_asked_as_a_whole() {
    let seen = sent(request("OPTIONS", "*", &[], Body::Empty)).await;
    assert!(seen.starts_with("OPTIONS * HTTP/1.1\r\n"), "{seen}");
}

#[tokio::test]
async fn a_request_without_a_host_gets_that_of_the_upstream() {
    let mut call = get("/");
    call.http.as_mut().expect("facts").authority = "".into();
    let mut upstream = RawUpstream::answering(&[OK]).await;
    patient(forwarder(upstream.port).call(call))
        .await
        .expect("answered");
    let host = format!("host: 127.0.0.1:{}\r\n", upstream.port);
    assert!(upstream.seen().await.contains(&host));
}

#[tokio::test]
async fn what_cannot_stand_in_a_request_is_refused_before_anything_is_sent() {
    let mut upstream = RawUpstream::answering(&[OK]).await;
    let forwarder = forwarder(upstream.port);
    let length = request("PUT", "/", &[("content-length", "x")], Body::Empty);
    let method = request("A B", "/", &[], Body::Empty);
    for call in [length, method, get("/a b"), get("a\r\nx: y")] {
        let refused = patient(forwarder.call(call)).await.expect_err("refused");
        assert_eq!(refused.kind, Kind::InvalidArgument, "{refused}");
    }
    let connect = request("CONNECT", "/", &[], Body::Empty);
    let refused = patient(forwarder.call(connect)).await.expect_err("refused");
    assert_eq!(refused.kind, Kind::Unimplemented);
    assert!(upstream.has_seen_all());
}

#[tokio::test]
async fn a_body_waits_for_the_go_ahead() {
    let upstream = RawUpstream::serving(|_, mut connection| async move {
        let head = connection.head().await;
        assert!(head.contains("expect: 100-continue\r\n"), "{head}");
        connection.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        let mut body = [0; 5];
        tokio::io::AsyncReadExt::read_exact(&mut connection.stream, &mut body)
            .await
            .expect("a body");
        assert_eq!(&body, b"abcde");
        connection.send(OK).await;
    })
    .await;
    let pairs = [("expect", "100-continue"), ("content-length", "5")];
    let call = request("PUT", "/", &pairs, octets(&["abcde"], None));
    let reply = patient(forwarder(upstream.port).call(call)).await;
    assert_eq!(reply.expect("answered").status, None);
}

#[tokio::test]
async fn a_body_that_is_not_wanted_is_not_sent() {
    const REFUSAL: &str = "HTTP/1.1 417 Expectation Failed\r\ncontent-length: 2\r\n\r\nno";
    let mut upstream = RawUpstream::serving(|_, mut connection| async move {
        connection.head().await;
        connection.send(REFUSAL).await;
        // All that comes is the end.
        assert_eq!(connection.request().await, None);
    })
    .await;
    let pairs = [("expect", "100-continue"), ("content-length", "5")];
    let call = request("PUT", "/", &pairs, octets(&["abcde"], None));
    let reply = patient(forwarder(upstream.port).call(call)).await;
    let reply = reply.expect("answered");
    assert_eq!(
        reply.status.map(postern_core::HttpStatus::number),
        Some(417)
    );
    let body = patient(reply.body.into_one(10)).await;
    assert_eq!(body.expect("whole"), "no");
    upstream.seen().await;
    assert!(upstream.has_seen_all());
}
