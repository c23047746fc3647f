//! Connections of HTTP/1.1: who gets one, how long it is kept, when it is closed.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use postern_core::{Body, Error, Handler, Kind, Reply, Retry};
use postern_net::http::ForwardConfig;
use tokio::{io::AsyncWriteExt, task::JoinSet};

use crate::{forwarder, forwarder_with, get, patient, request, upstreams::RawUpstream};

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

pub(crate) async fn whole(reply: Result<Reply, Error>) -> Bytes {
    let body = reply.expect("answered").body.into_one(1 << 20);
    patient(body).await.expect("whole")
}

/// An upstream that says of each request on which connection it came.
async fn numbered() -> RawUpstream {
    RawUpstream::serving(|number, mut connection| async move {
        while connection.request().await.is_some() {
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}");
            connection.send(&answer).await;
        }
    })
    .await
}

#[tokio::test]
async fn one_connection_takes_one_request_after_the_other() {
    let upstream = numbered().await;
    let forwarder = forwarder(upstream.port);
    for _ in 0..5 {
        assert_eq!(whole(patient(forwarder.call(get("/"))).await).await, "0");
    }
}

#[tokio::test]
async fn a_connection_is_free_when_the_last_octet_of_its_response_is_read() {
    let upstream = numbered().await;
    let forwarder = forwarder(upstream.port);
    for body in [Body::Empty, Body::One("x".into())] {
        for _ in 0..3 {
            let call = request("POST", "/", &[], body.try_clone().expect("at hand"));
            let reply = patient(forwarder.call(call)).await.expect("a head");
            let mut pieces = reply.body.into_octets();
            let piece = patient(pieces.next())
                .await
                .expect("a piece")
                .expect("good");
            assert_eq!(piece, "0");
        }
    }
}

/// Lets whatever is ready run.
async fn settled() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_body_that_is_not_read_to_its_end_closes_its_connection() {
    let upstream = RawUpstream::serving(|number, mut connection| async move {
        connection.request().await;
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{number}");
        connection.send(&answer).await;
        // Closed by the other side.
        connection.request().await;
    })
    .await;
    let forwarder = forwarder(upstream.port);
    for number in ["0", "1"] {
        let reply = patient(forwarder.call(get("/"))).await.expect("a head");
        let mut body = reply.body.into_octets();
        let piece = patient(body.next()).await.expect("a piece").expect("good");
        assert_eq!(piece, number);
    }
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_replaced_unseen() {
    let upstream = RawUpstream::serving(|_, mut connection| async move {
        connection.request().await;
        connection.send(OK).await;
    })
    .await;
    let forwarder = forwarder(upstream.port);
    for _ in 0..5 {
        let call = request("POST", "/", &[], Body::One("x".into()));
        assert_eq!(whole(patient(forwarder.call(call)).await).await, "ok");
        settled().await;
    }
}

#[tokio::test]
async fn no_more_connections_than_the_limit_are_kept_or_open() {
    let upstream = RawUpstream::serving(|_, mut connection| async move {
        connection.request().await;
        std::future::pending::<()>().await;
    })
    .await;
    let config = ForwardConfig {
        connections_max: 2,
        ..ForwardConfig::default()
    };
    let forwarder = forwarder_with(upstream.port, config);
    let mut upstream = upstream;
    let mut waiting = JoinSet::new();
    for _ in 0..2 {
        waiting.spawn(forwarder.call(get("/")));
        upstream.seen().await;
    }
    let refused = patient(forwarder.call(get("/"))).await.expect_err("full");
    assert_eq!(
        (refused.kind, refused.retry),
        (Kind::Unavailable, Retry::Elsewhere)
    );
    let expected = format!(
        "2 connections with http://127.0.0.1:{} are open, which is the limit (http.connections-max)",
        upstream.port
    );
    assert_eq!(*refused.message, *expected);
    waiting.shutdown().await;
    // A call that is dropped gives its connection up.
    let admitted = async {
        loop {
            tokio::select! {
                refused = forwarder.call(get("/")) => drop(refused.expect_err("no answer")),
                _ = upstream.seen() => return,
            }
            tokio::task::yield_now().await;
        }
    };
    patient(admitted).await;
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed_in_time() {
    let (ended, mut closed) = tokio::sync::mpsc::unbounded_channel();
    let upstream = RawUpstream::serving(move |_, mut connection| {
        let ended = ended.clone();
        async move {
            connection.request().await;
            connection.send(OK).await;
            assert_eq!(connection.request().await, None);
            ended.send(()).expect("the test waits");
        }
    })
    .await;
    let config = ForwardConfig {
        keep_timeout: Duration::from_millis(20),
        ..ForwardConfig::default()
    };
    let forwarder = forwarder_with(upstream.port, config);
    assert_eq!(whole(patient(forwarder.call(get("/"))).await).await, "ok");
    patient(closed.recv()).await.expect("closed");
}

#[tokio::test]
async fn a_kept_connection_that_its_upstream_closes_is_closed() {
    let (ended, mut closed) = tokio::sync::mpsc::unbounded_channel();
    let upstream = RawUpstream::serving(move |_, mut connection| {
        let ended = ended.clone();
        async move {
            connection.request().await;
            connection.send(OK).await;
            connection.stream.shutdown().await.expect("open");
            assert_eq!(connection.request().await, None);
            ended.send(()).expect("the test waits");
        }
    })
    .await;
    let forwarder = forwarder(upstream.port);
    assert_eq!(whole(patient(forwarder.call(get("/"))).await).await, "ok");
    patient(closed.recv()).await.expect("closed");
    drop(forwarder);
}

#[tokio::test]
async fn idle_connections_are_kept_up_to_their_limit() {
    let (ended, mut closed) = tokio::sync::mpsc::unbounded_channel();
    let arrived = Arc::new(tokio::sync::Barrier::new(3));
    let upstream = RawUpstream::serving(move |number, mut connection| {
        let (ended, arrived) = (ended.clone(), Arc::clone(&arrived));
        async move {
            connection.request().await;
            arrived.wait().await;
            connection.send(OK).await;
            assert_eq!(connection.request().await, None);
            ended.send(number).expect("the test waits");
        }
    })
    .await;
    let config = ForwardConfig {
        idle_connections_max: 1,
        ..ForwardConfig::default()
    };
    let forwarder = forwarder_with(upstream.port, config);
    let mut calls = JoinSet::new();
    for _ in 0..3 {
        let answer = forwarder.call(get("/"));
        calls.spawn(async move { whole(answer.await).await });
    }
    while let Some(answer) = patient(calls.join_next()).await {
        assert_eq!(answer.expect("no panic"), "ok");
    }
    for _ in 0..2 {
        patient(closed.recv()).await.expect("closed");
    }
    settled().await;
    assert!(closed.try_recv().is_err(), "one is kept");
}
