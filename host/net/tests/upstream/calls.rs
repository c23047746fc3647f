//! What a caller sees when all is well.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use postern_core::{Body, Call, Handler, Kind};
use postern_net::{PoolConfig, Target, Upstream};
use tokio::time::Instant;

use crate::bench::{
    Gateway, Link, begin, body_of, items_of, only_host, pool, settle, stream_of, unary, until,
    within,
};

/// The same tests once per link.
macro_rules! each_link {
    ($($name:ident),+ $(,)?) => {
        mod tcp { $(#[tokio::test] async fn $name() { super::$name(super::Link::Tcp).await; })+ }
        mod quic { $(#[tokio::test] async fn $name() { super::$name(super::Link::Quic).await; })+ }
        mod tls { $(#[tokio::test] async fn $name() { super::$name(super::Link::Tls).await; })+ }
        mod unix { $(#[tokio::test] async fn $name() { super::$name(super::Link::Unix).await; })+ }
        mod ws { $(#[tokio::test] async fn $name() { super::$name(super::Link::WebSocket).await; })+ }
        mod wss { $(#[tokio::test] async fn $name() { super::$name(super::Link::SecureWebSocket).await; })+ }
        mod udp { $(#[tokio::test] async fn $name() { super::$name(super::Link::Udp).await; })+ }
        mod memory {
            $(#[tokio::test] async fn $name() { super::$name(super::Link::MemoryStream).await; })+
        }
        mod memory_datagram {
            $(#[tokio::test] async fn $name() { super::$name(super::Link::MemoryDatagram).await; })+
        }
    };
}

each_link!(
    a_hundred_calls_over_two_sessions_are_all_answered,
    the_next_gateway_knows_the_depth_and_what_is_left_of_the_deadline,
    an_error_of_the_peer_arrives_as_it_was_and_the_session_stays,
    closing_finishes_what_is_under_way_and_begins_nothing_more,
);

async fn a_hundred_calls_over_two_sessions_are_all_answered(link: Link) {
    let gateway = Gateway::serve(link).await;
    let pool = pool(PoolConfig {
        calls_per_session_max: 50,
        connections_per_host_max: 2,
        ..PoolConfig::default()
    });
    let upstream = gateway.upstream(&pool);
    let calls = (0..100).map(|n: u32| {
        let upstream = upstream.clone();
        async move {
            let ms = (20 + n % 7).to_string();
            let answer = unary(&upstream, "sleep", ms.clone()).await;
            assert_eq!(answer.expect("an answer"), ms);
        }
    });
    within(Duration::from_secs(20), join_all(calls)).await;
    let host = only_host(&pool);
    assert_eq!((host.open, host.opened, host.idle), (2, 2, 2));
    assert_eq!(
        (host.calls_in_flight, host.waiting, host.refused),
        (0, 0, 0)
    );
    pool.close().await;
    assert_eq!(pool.snapshot().connections, 0);
    gateway.stop().await;
}

async fn the_next_gateway_knows_the_depth_and_what_is_left_of_the_deadline(link: Link) {
    let gateway = Gateway::serve(link).await;
    let pool = pool(PoolConfig::default());
    let upstream = gateway.upstream(&pool);
    let mut call = Call::unary("test", "depth", "");
    call.context.depth = 2;
    assert_eq!(body_of(&upstream, call).await.expect("an answer"), "3");
    let mut call = Call::unary("test", "time-left", "");
    call.context.deadline = Some((Instant::now() + Duration::from_secs(9)).into_std());
    let left = body_of(&upstream, call).await.expect("an answer");
    let left: u64 = std::str::from_utf8(&left)
        .expect("digits")
        .parse()
        .expect("a number");
    assert!((5_000..=9_000).contains(&left), "{left} ms are left of 9 s");
    pool.close().await;
    gateway.stop().await;
}

async fn an_error_of_the_peer_arrives_as_it_was_and_the_session_stays(link: Link) {
    let gateway = Gateway::serve(link).await;
    let pool = pool(PoolConfig::default());
    let upstream = gateway.upstream(&pool);
    for _ in 0..3 {
        let error = unary(&upstream, "nothing", "").await.expect_err("unknown");
        assert_eq!(
            (error.kind, &*error.message),
            (Kind::NotFound, "no method nothing")
        );
    }
    assert_eq!(only_host(&pool).opened, 1);
    pool.close().await;
    gateway.stop().await;
}

async fn closing_finishes_what_is_under_way_and_begins_nothing_more(link: Link) {
    let gateway = Gateway::serve(link).await;
    let pool = pool(PoolConfig::default());
    let upstream = gateway.upstream(&pool);
    let slow = begin(&upstream, "sleep", "200");
    until(&pool, |host| host.calls_in_flight == 1 && host.open == 1).await;
    let closing = tokio::spawn({
        let pool = pool.clone();
        async move { pool.close().await }
    });
    settle().await;
    let error = unary(&upstream, "echo", "x").await.expect_err("closing");
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(error.message.contains("pool is closing"), "{error}");
    assert_eq!(slow.await.expect("no panic").expect("an answer"), "200");
    within(Duration::from_secs(10), closing)
        .await
        .expect("no panic");
    assert_eq!(pool.snapshot().connections, 0);
    gateway.stop().await;
}

async fn streams_pass_through(link: Link) {
    let gateway = Gateway::serve(link).await;
    let pool = pool(PoolConfig::default());
    let upstream = gateway.upstream(&pool);
    let call = Call {
        body: stream_of(["a", "b", "c"]),
        ..Call::unary("test", "stream-echo", "")
    };
    let reply = upstream.call(call).await.expect("a reply");
    assert_eq!(only_host(&pool).calls_in_flight, 1, "held until its end");
    assert_eq!(items_of(reply.body).await, ["a", "b", "c"]);
    until(&pool, |host| host.calls_in_flight == 0).await;
    pool.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn streams_pass_through_tcp() {
    streams_pass_through(Link::Tcp).await;
}

#[tokio::test]
async fn streams_pass_through_memory() {
    streams_pass_through(Link::MemoryStream).await;
}

#[tokio::test]
async fn a_reply_that_is_dropped_half_way_gives_its_place_back() {
    let gateway = Gateway::serve(Link::Tcp).await;
    let pool = pool(PoolConfig::default());
    let upstream = gateway.upstream(&pool);
    let call = Call {
        body: stream_of(["a", "b", "c"]),
        ..Call::unary("test", "stream-echo", "")
    };
    let Body::Messages(mut stream) = upstream.call(call).await.expect("a reply").body else {
        panic!("no stream");
    };
    assert_eq!(stream.next().await.expect("one").expect("no error"), "a");
    drop(stream);
    until(&pool, |host| host.calls_in_flight == 0 && host.idle == 1).await;
    assert_eq!(unary(&upstream, "echo", "x").await.expect("an echo"), "x");
    pool.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_stream_goes_to_the_address_that_carries_streams() {
    let (udp, tcp) = (
        Gateway::serve(Link::Udp).await,
        Gateway::serve(Link::Tcp).await,
    );
    let pool = pool(PoolConfig::default());
    let addresses = vec![udp.target.clone(), tcp.target.clone()];
    let upstream = Upstream::new(&pool, addresses).expect("addresses");
    assert_eq!(unary(&upstream, "echo", "x").await.expect("an echo"), "x");
    assert_eq!(*udp.service.arrived.lock(), ["x"]);
    let call = Call {
        body: stream_of(["a"]),
        ..Call::unary("test", "stream-echo", "")
    };
    let reply = upstream.call(call).await.expect("a reply");
    assert_eq!(items_of(reply.body).await, ["a"]);
    assert_eq!(tcp.counters.connections_opened.value(), 1);
    pool.close().await;
    udp.stop().await;
    tcp.stop().await;
}

#[tokio::test]
async fn an_address_that_refuses_is_passed_over() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let dead = Target::tcp(closed.local_addr().expect("bound"));
    drop(closed);
    let gateway = Gateway::serve(Link::Udp).await;
    let pool = pool(PoolConfig::default());
    let upstream = Upstream::new(&pool, vec![dead, gateway.target.clone()]).expect("addresses");
    for _ in 0..3 {
        assert_eq!(unary(&upstream, "echo", "x").await.expect("an echo"), "x");
    }
    let probed = upstream.probe(&postern_net::Probe::default()).await;
    assert!(probed.outcome.is_ok(), "{probed:?}");
    assert_eq!(probed.address, *gateway.target.destination());
    pool.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn upstreams_of_one_address_share_its_sessions() {
    let gateway = Gateway::serve(Link::Tcp).await;
    let pool = pool(PoolConfig::default());
    let (users, orders) = (gateway.upstream(&pool), gateway.upstream(&pool));
    for upstream in [&users, &orders] {
        assert_eq!(unary(upstream, "echo", "x").await.expect("an echo"), "x");
    }
    assert_eq!(only_host(&pool).opened, 1);
    drop(users);
    assert_eq!(unary(&orders, "echo", "x").await.expect("an echo"), "x");
    assert_eq!(only_host(&pool).opened, 1);
    drop(orders);
    let closed = async {
        while !pool.snapshot().hosts.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    within(Duration::from_secs(5), closed).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_handler_behind_arc_is_what_a_pipeline_holds() {
    let gateway = Gateway::serve(Link::Tcp).await;
    let pool = pool(PoolConfig::default());
    let handler: Arc<dyn Handler> = Arc::new(gateway.upstream(&pool));
    let reply = handler.call(Call::unary("test", "echo", "x")).await;
    let body = reply.expect("an echo").body.into_one(8).await;
    assert_eq!(body.expect("one"), "x");
    pool.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn an_upstream_without_an_address_is_refused() {
    let error = Upstream::new(&pool(PoolConfig::default()), Vec::new()).expect_err("none");
    assert_eq!(error.kind, Kind::InvalidArgument);
}
