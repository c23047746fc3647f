//! What becomes of what an upstream answers, or does not.

use std::time::Duration;

use postern_core::{Blame, Body, Handler, HttpStatus, Kind, Reply, Retry};
use postern_net::http::ForwardConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{forwarder, forwarder_with, get, octets, patient, request, upstreams::RawUpstream};

async fn answered(method: &str, answer: &'static [&'static str]) -> Reply {
    let upstream = RawUpstream::answering(answer).await;
    let call = request(method, "/", &[], Body::Empty);
    let reply = patient(forwarder(upstream.port).call(call)).await;
    reply.expect("answered")
}

fn listed(reply: &Reply) -> Vec<(String, String)> {
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).expect("text");
    let all = reply.headers.iter();
    all.map(|(name, value)| (text(name), text(&value)))
        .collect()
}

#[tokio::test]
async fn status_fields_and_body_come_as_they_are() {
    let reply = answered(
        "GET",
        &[
            "HTTP/1.1 418 Teapot\r\nSet-Cookie: a\r\nX-Other: 1\r\nset-cookie: b\r\n\
           date: Thu, 01 Jan 1970 00:00:00 GMT\r\nconnection: close, x-hop\r\nx-hop: 1\r\n\
           content-length: 5\r\n\r\nhello",
        ],
    )
    .await;
    assert_eq!(reply.status.map(HttpStatus::number), Some(418));
    let expected = [
        ("set-cookie", "a"),
        ("set-cookie", "b"),
        ("x-other", "1"),
        ("date", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("content-length", "5"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(listed(&reply), expected);
    assert_eq!(reply.body.into_one(9).await.expect("whole"), "hello");
}

#[tokio::test]
async fn as_many_fields_come_as_a_head_may_have() {
    let answer = |n_fields: usize| {
        let mut head = "HTTP/1.1 200 OK\r\n".to_owned();
        for idx in 1..n_fields {
            head.push_str(&format!("x-many: {idx}\r\n"));
        }
        head + "content-length: 2\r\n\r\nok"
    };
    for n_fields in [100, 101, 300, 301] {
        let answer = answer(n_fields);
        let upstream = RawUpstream::serving(move |_, mut connection| {
            let answer = answer.clone();
            async move {
                connection.request().await;
                connection.send(&answer).await;
            }
        })
        .await;
        let outcome = patient(forwarder(upstream.port).call(get("/"))).await;
        if n_fields > 300 {
            let error = outcome.expect_err("too many");
            assert_eq!((error.kind, error.blame), (Kind::Internal, Blame::Upstream));
            continue;
        }
        let reply = outcome.expect("answered");
        let values: Vec<_> = reply.headers.values(b"x-many").collect();
        let expected = (1..n_fields).map(|idx| idx.to_string().into_bytes());
        assert!(values.into_iter().eq(expected), "{n_fields}");
        let body = patient(reply.body.into_one(9)).await.expect("whole");
        assert_eq!(body, "ok");
    }
}

#[tokio::test]
async fn a_response_that_nobody_reads_holds_up_no_request() {
    const N_OCTETS: usize = 4 << 20;
    let (sender, mut uploaded) = tokio::sync::mpsc::unbounded_channel();
    let upstream = RawUpstream::serving(move |_, mut connection| {
        let uploaded = sender.clone();
        async move {
            connection.head().await;
            let (mut reader, mut writer) = connection.stream.into_split();
            let answering = async move {
                let head = "HTTP/1.1 200 OK\r\ncontent-length: 67108864\r\n\r\n";
                writer.write_all(head.as_bytes()).await.expect("open");
                // More than waits anywhere on its way.
                let _ = writer.write_all(&vec![b'y'; 64 << 20]).await;
            };
            let reading = async move {
                let mut octets = vec![0; N_OCTETS];
                reader.read_exact(&mut octets).await.expect("all of it");
                uploaded.send(()).expect("the test waits");
            };
            tokio::join!(answering, reading);
        }
    })
    .await;
    let (length, piece) = (N_OCTETS.to_string(), "x".repeat(N_OCTETS / 64).leak());
    let fields = [("content-length", length.as_str())];
    let call = request("POST", "/", &fields, octets(&[&*piece; 64], None));
    let reply = patient(forwarder(upstream.port).call(call)).await;
    let reply = reply.expect("a head");
    patient(uploaded.recv()).await.expect("uploaded");
    drop(reply);
}

#[tokio::test]
async fn trailers_follow_a_chunked_body() {
    let reply = answered(
        "GET",
        &[
            "HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n\
           2\r\nab\r\n0\r\nx-sum: 7\r\n\r\n",
        ],
    )
    .await;
    let (body, trailers) = patient(reply.body.collect(9)).await.expect("whole");
    assert_eq!(body, "ab");
    let sum = trailers
        .expect("trailers")
        .get_str("x-sum")
        .map(|sum| sum.into_owned());
    assert_eq!(sum.as_deref(), Some("7"));
}

#[tokio::test]
async fn a_response_without_content_keeps_its_length() {
    for (method, status) in [("HEAD", "200 OK"), ("GET", "304 Not Modified")] {
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 1000\r\netag: \"x\"\r\n\r\n");
        let reply = answered(method, Vec::leak(vec![&*String::leak(answer)])).await;
        assert!(!reply.body.is_stream(), "{status}");
        let length = reply
            .headers
            .get_str("content-length")
            .map(|one| one.into_owned());
        assert_eq!(length.as_deref(), Some("1000"), "{status}");
    }
    let reply = answered("GET", &["HTTP/1.1 204 No Content\r\n\r\n"]).await;
    assert!(!reply.body.is_stream());
    assert_eq!(reply.status.map(HttpStatus::number), Some(204));
}

#[tokio::test]
async fn responses_before_the_one_that_counts_are_passed_over() {
    let reply = answered(
        "GET",
        &[
            "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
           HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        ],
    )
    .await;
    assert_eq!(reply.body.into_one(9).await.expect("whole"), "ok");
}

#[tokio::test]
async fn a_body_that_ends_with_its_connection_is_whole() {
    let reply = answered("GET", &["HTTP/1.1 200 OK\r\n\r\nto the end"]).await;
    assert_eq!(reply.body.into_one(99).await.expect("whole"), "to the end");
}

#[tokio::test]
async fn a_body_that_is_cut_ends_with_an_error_of_the_upstream() {
    for answer in [
        &["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort"],
        &["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n"],
    ] {
        let Body::Octets(mut body) = answered("GET", answer).await.body else {
            panic!("it flows");
        };
        assert_eq!(
            patient(body.next()).await.expect("a piece").expect("good"),
            "short"
        );
        let error = patient(body.next())
            .await
            .expect("an end")
            .expect_err("an early one");
        assert_eq!(
            (error.kind, error.blame),
            (Kind::Unavailable, Blame::Upstream)
        );
        assert!(body.next().await.is_none());
    }
}

/// How a request to `upstream` fails.
async fn failure(upstream: &RawUpstream, config: ForwardConfig) -> (Kind, Blame, Retry) {
    let failed = patient(forwarder_with(upstream.port, config).call(get("/"))).await;
    let error = failed.expect_err("no answer");
    (error.kind, error.blame, error.retry)
}

#[tokio::test]
async fn who_does_not_answer_is_late() {
    let upstream = RawUpstream::serving(|_, mut connection| async move {
        connection.request().await;
        std::future::pending::<()>().await;
    })
    .await;
    let config = ForwardConfig {
        head_timeout: Duration::from_millis(50),
        ..ForwardConfig::default()
    };
    let late = failure(&upstream, config).await;
    assert_eq!(
        late,
        (Kind::DeadlineExceeded, Blame::Upstream, Retry::IfIdempotent)
    );
}

#[tokio::test]
async fn who_says_no_more_is_late() {
    let upstream = RawUpstream::serving(|_, mut connection| async move {
        connection.request().await;
        connection
            .send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort")
            .await;
        std::future::pending::<()>().await;
    })
    .await;
    let config = ForwardConfig {
        idle_timeout: Duration::from_millis(50),
        ..ForwardConfig::default()
    };
    let reply = patient(forwarder_with(upstream.port, config).call(get("/"))).await;
    let error = patient(reply.expect("a head").body.into_one(99)).await;
    let error = error.expect_err("no end");
    assert_eq!(
        (error.kind, error.blame),
        (Kind::DeadlineExceeded, Blame::Upstream)
    );
}

#[tokio::test]
async fn who_closes_without_an_answer_may_have_done_it() {
    let upstream = RawUpstream::serving(|_, mut connection| async move {
        connection.request().await;
    })
    .await;
    let gone = failure(&upstream, ForwardConfig::default()).await;
    assert_eq!(
        gone,
        (Kind::Unavailable, Blame::Upstream, Retry::IfIdempotent)
    );
}

#[tokio::test]
async fn who_does_not_speak_http_is_broken() {
    for answer in [
        &["SSH-2.0-OpenSSH_9.6\r\n"],
        &["HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"],
        &["HTTP/1.1 200 OK\r\nbad field\r\n\r\n"],
        &["HTTP/1.1 999 What\r\ncontent-length: 0\r\n\r\n"],
        &["HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"],
    ] {
        let upstream = RawUpstream::answering(answer).await;
        let (kind, blame, _) = failure(&upstream, ForwardConfig::default()).await;
        assert_eq!(
            (kind, blame),
            (Kind::Internal, Blame::Upstream),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn nobody_there_is_unavailable_and_nothing_was_sent() {
    let upstream = RawUpstream::answering(&[]).await;
    let port = upstream.port;
    drop(upstream);
    // The task that listened ends in its own time.
    let forwarder = forwarder(port);
    let refused = async {
        loop {
            let outcome = forwarder.call(get("/")).await;
            let error = outcome.expect_err("nobody answers");
            if error.message.starts_with("cannot connect") {
                return error;
            }
            tokio::task::yield_now().await;
        }
    };
    let error = patient(refused).await;
    assert_eq!(
        (error.kind, error.retry),
        (Kind::Unavailable, Retry::Elsewhere)
    );
    let expected = format!("cannot connect to http://127.0.0.1:{port}: ");
    assert!(error.message.starts_with(&expected), "{error}");
}

#[tokio::test]
async fn a_sign_of_life_is_an_answer_below_400_or_a_connection() {
    let mut upstream =
        RawUpstream::answering(&["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"]).await;
    let well = patient(forwarder(upstream.port).probe(Some("/health?full"))).await;
    well.expect("well");
    let seen = upstream.seen().await;
    let host = format!(
        "GET /health?full HTTP/1.1\r\nhost: 127.0.0.1:{}\r\n",
        upstream.port
    );
    assert!(seen.starts_with(&host), "{seen}");
    let upstream = RawUpstream::answering(&["HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"]).await;
    let ill = patient(forwarder(upstream.port).probe(Some("/health"))).await;
    assert_eq!(ill.expect_err("ill").kind, Kind::Unavailable);
    patient(forwarder(upstream.port).probe(None))
        .await
        .expect("it listens");
}
