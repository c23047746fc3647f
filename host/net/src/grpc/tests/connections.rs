//! What becomes of calls on connections that are shared, full, closing, idle and dead.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use h2::Reason;
use postern_core::{Blame, Body, BodyStream, Kind, Retry, service::CallKind};

use super::{
    super::GrpcUpstreamConfig,
    fixture::{Server, answer, call, echo, read, reply_with, unary, until, upstream_at},
    raw::{Manner, RawServer},
};

#[tokio::test]
async fn calls_share_one_connection_until_it_is_full() {
    let config = GrpcUpstreamConfig {
        streams_max: 3,
        ..GrpcUpstreamConfig::default()
    };
    let server = Server::with(
        config,
        u32::MAX,
        answer(|_, mut respond| async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            reply_with(&mut respond, b"x");
        }),
    )
    .await;
    let calls = |n: usize| join_all((0..n).map(|_| unary(&server.upstream, "x")));
    assert!(calls(3).await.iter().all(Result::is_ok));
    assert_eq!(server.n_connections.load(SeqCst), 1);
    assert!(calls(4).await.iter().all(Result::is_ok));
    assert_eq!(server.n_connections.load(SeqCst), 2);
    // One is opened at a time; who comes meanwhile takes what is there.
    for _ in 0..20 {
        assert!(calls(100).await.iter().all(Result::is_ok));
    }
    assert_eq!(server.n_connections.load(SeqCst), 10, "the limit");
}

#[tokio::test]
async fn no_connection_has_more_calls_than_the_instance_allows() {
    let (running, most) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let seen = Arc::clone(&most);
    let config = GrpcUpstreamConfig {
        connections_max: 2,
        ..GrpcUpstreamConfig::default()
    };
    let server = Server::with(
        config,
        4,
        answer(move |_, mut respond| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            async move {
                most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                tokio::time::sleep(Duration::from_millis(5)).await;
                running.fetch_sub(1, SeqCst);
                reply_with(&mut respond, b"x");
            }
        }),
    )
    .await;
    // The instance's settings have come.
    unary(&server.upstream, "x").await.expect("answered");
    let outcomes = join_all((0..200).map(|_| unary(&server.upstream, "x"))).await;
    assert!(outcomes.iter().all(Result::is_ok), "calls wait for a place");
    assert_eq!(server.n_connections.load(SeqCst), 2);
    assert!(seen.load(SeqCst) <= 2 * 4, "{seen:?}");
}

#[tokio::test]
async fn a_call_for_which_no_place_comes_free_says_so() {
    let config = GrpcUpstreamConfig {
        connections_max: 1,
        connect_timeout: Duration::from_millis(200),
        ..GrpcUpstreamConfig::default()
    };
    let server = Server::with(
        config,
        1,
        answer(|_, respond| async move {
            std::future::pending::<()>().await;
            drop(respond);
        }),
    )
    .await;
    let first = server.upstream.call_of_kind(call("Hang", "x"), None);
    let first = tokio::time::timeout(Duration::from_millis(100), first);
    assert!(first.await.is_err());
    let upstream = server.upstream.clone();
    let _hanging = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
        upstream.call_of_kind(call("Hang", "x"), None).await
    }));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let error = unary(&server.upstream, "x").await.expect_err("full");
    assert_eq!(
        (error.kind, error.blame),
        (Kind::Unavailable, Blame::Gateway)
    );
    assert_eq!(error.retry, Retry::Elsewhere);
    assert!(error.message.contains("grpc.connections-max"), "{error}");
}

#[tokio::test]
async fn refused_streams_are_sent_again_and_at_last_elsewhere() {
    let refused = Arc::<Mutex<Vec<Bytes>>>::default();
    let first = Arc::clone(&refused);
    let server = Server::new(answer(move |request, mut respond| {
        let refused = Arc::clone(&first);
        async move {
            if request.uri().path().ends_with("Never") {
                return respond.send_reset(Reason::REFUSED_STREAM);
            }
            let mut body = request.into_body();
            let octets = body.data().await.expect("some").expect("whole");
            let is_first = {
                let mut refused = refused.lock().expect("whole");
                let is_first = !refused.contains(&octets);
                refused.push(octets);
                is_first
            };
            match is_first {
                true => respond.send_reset(Reason::REFUSED_STREAM),
                false => reply_with(&mut respond, b"second"),
            }
        }
    }))
    .await;
    assert_eq!(
        unary(&server.upstream, "x").await.expect("answered"),
        "second"
    );
    let error = server.upstream.call_of_kind(call("Never", "x"), None).await;
    let error = error.expect_err("refused");
    assert_eq!(
        (error.kind, error.retry),
        (Kind::Unavailable, Retry::Elsewhere)
    );
}

#[tokio::test]
async fn of_a_thousand_calls_none_is_lost_to_goaway() {
    let server = RawServer::new(GrpcUpstreamConfig::default(), Manner::GoAwayAfter(37)).await;
    let calls = (0..1000).map(|n| {
        let upstream = server.upstream.clone();
        async move {
            let message = format!("call {n}");
            let answered = unary(&upstream, &message).await;
            assert_eq!(answered.expect("not lost"), message);
        }
    });
    join_all(calls).await;
    let mut answered = server.answered.lock().expect("whole").clone();
    assert_eq!(answered.len(), 1000, "none is made twice");
    answered.sort();
    answered.dedup();
    assert_eq!(answered.len(), 1000);
    assert!(server.n_connections.load(SeqCst) >= 1000 / 37);
}

#[tokio::test]
async fn a_stream_above_the_last_one_is_sent_again_from_its_first_message() {
    let server = RawServer::new(GrpcUpstreamConfig::default(), Manner::GoAwayAfter(1)).await;
    let streamed = |n: usize| {
        let upstream = server.upstream.clone();
        async move {
            let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
            let stream = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
            let mut call = call("Echo", "");
            call.body = Body::Messages(BodyStream::new(stream));
            let sending = async move {
                let message = Bytes::from(format!("stream {n}"));
                sender.send(Ok(message)).await.expect("taken");
                // By then most streams have been told that they are above the last one.
                tokio::time::sleep(Duration::from_millis(20)).await;
            };
            let kind = Some(CallKind::ClientStream);
            let (reply, ()) = tokio::join!(upstream.call_of_kind(call, kind), sending);
            read(reply.expect("answered")).await.expect("whole").0
        }
    };
    let all = join_all((0..8).map(streamed)).await;
    for (n, messages) in all.into_iter().enumerate() {
        assert_eq!(messages, [format!("stream {n}")]);
    }
}

#[tokio::test]
async fn a_connection_that_breaks_off_leaves_open_what_became_of_its_calls() {
    let server = RawServer::new(GrpcUpstreamConfig::default(), Manner::BreakOff).await;
    let error = unary(&server.upstream, "x").await.expect_err("broken");
    assert_eq!(
        (error.kind, error.blame),
        (Kind::Unavailable, Blame::Upstream)
    );
    assert_eq!(error.retry, Retry::IfIdempotent);
}

#[tokio::test]
async fn a_connection_without_a_sign_of_life_is_given_up() {
    let config = GrpcUpstreamConfig {
        keep_alive_interval: Duration::from_millis(50),
        keep_alive_timeout: Duration::from_millis(50),
        ..GrpcUpstreamConfig::default()
    };
    let server = RawServer::new(config, Manner::Silent).await;
    let answered = tokio::time::timeout(Duration::from_secs(5), unary(&server.upstream, "x"));
    let error = answered.await.expect("in time").expect_err("dead");
    assert_eq!(
        (error.kind, error.retry),
        (Kind::Unavailable, Retry::IfIdempotent)
    );
}

#[tokio::test]
async fn a_connection_without_calls_is_closed_and_another_opened() {
    let config = GrpcUpstreamConfig {
        keep_timeout: Duration::from_millis(40),
        ..GrpcUpstreamConfig::default()
    };
    let server = Server::with(config, u32::MAX, answer(echo)).await;
    for n_connections in 1..=2 {
        unary(&server.upstream, "x").await.expect("answered");
        assert_eq!(server.n_connections.load(SeqCst), n_connections);
        assert_eq!(server.upstream.n_opened(), n_connections as u64);
        let is_closed = || server.upstream.shared.connections.n_open() == 0;
        until("the connection is closed", is_closed).await;
    }
}

#[tokio::test]
async fn nobody_at_the_address_is_told_as_such() {
    let upstream = upstream_at(1, GrpcUpstreamConfig::default());
    let error = unary(&upstream, "x").await.expect_err("nobody");
    assert_eq!(
        (error.kind, error.retry),
        (Kind::Unavailable, Retry::Elsewhere)
    );
    let expected = "cannot connect to grpc://127.0.0.1:1: ";
    assert!(error.message.starts_with(expected), "{error}");
}
