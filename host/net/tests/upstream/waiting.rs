//! Calls that wait for a session, and sessions that wait for calls. In virtual time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use postern_core::{Blame, Call, Handler, Kind, Retry};
use postern_net::{Pool, PoolConfig, ServerConfig, Upstream, memory::Conditions};
use tokio::time::Instant;

use crate::bench::{Gateway, Link, begin, body_of, only_host, pool, settle, unary, until};

/// Counts how often a call is to be polled.
#[derive(Default)]
struct Wakes(AtomicU32);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// One session with one call on it, and whoever comes must wait.
async fn narrow(change: impl Fn(&mut PoolConfig)) -> (Gateway, Pool, Upstream) {
    let mut config = PoolConfig {
        connections_per_host_max: 1,
        calls_per_session_max: 1,
        ..PoolConfig::default()
    };
    change(&mut config);
    let gateway = Gateway::serve(Link::MemoryStream).await;
    let pool = pool(config);
    let upstream = gateway.upstream(&pool);
    (gateway, pool, upstream)
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_as_long_as_it_may_and_is_told_for_what() {
    let four = |config: &mut PoolConfig| config.wait_timeout = Duration::from_secs(4);
    let (gateway, pool, upstream) = narrow(four).await;
    let _busy = begin(&upstream, "never", "");
    until(&pool, |host| host.calls_in_flight == 1).await;
    let start = Instant::now();
    let error = unary(&upstream, "echo", "x").await.expect_err("no room");
    assert_eq!(start.elapsed(), Duration::from_secs(4));
    assert_eq!(
        (error.kind, error.blame, error.retry),
        (Kind::ResourceExhausted, Blame::Gateway, Retry::Elsewhere)
    );
    let address = gateway.target.destination().socket_addr().expect("bound");
    let expected = format!(
        "no session with memory {address} within 4s: all 1 are in use by 1 calls; raise \
         connections-per-host-max or calls-per-session-max"
    );
    assert_eq!(error.message, expected);
    assert_eq!(only_host(&pool).timed_out, 1);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_arms_no_timer_for_the_deadline_and_names_the_address_when_it_is_asked() {
    let gateway = Gateway::serve(Link::MemoryStream).await;
    let upstream = gateway.upstream(&pool(PoolConfig::default()));
    assert_eq!(unary(&upstream, "echo", "x").await.expect("an echo"), "x");
    let mut call = Call::unary("test", "never", "");
    call.context.deadline = Some((Instant::now() + Duration::from_secs(2)).into_std());
    let mut answering = upstream.call(call);
    let wakes = Arc::<Wakes>::default();
    let waker = Waker::from(Arc::clone(&wakes));
    let mut poll = || answering.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(poll().is_pending());
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(wakes.0.load(Relaxed), 0);
    let Poll::Ready(asked) = poll() else {
        panic!("the deadline is over");
    };
    let error = asked.expect_err("the deadline is over");
    assert_eq!(
        (error.kind, error.blame),
        (Kind::DeadlineExceeded, Blame::Upstream)
    );
    assert!(
        error
            .message
            .ends_with("did not answer before the deadline"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_call_ends_its_waiting() {
    let (_gateway, pool, upstream) = narrow(|_| {}).await;
    let _busy = begin(&upstream, "never", "");
    until(&pool, |host| host.calls_in_flight == 1).await;
    let start = Instant::now();
    let mut call = Call::unary("test", "echo", "x");
    call.context.deadline = Some((start + Duration::from_millis(70)).into_std());
    let error = body_of(&upstream, call).await.expect_err("no room");
    assert_eq!(start.elapsed(), Duration::from_millis(70));
    assert_eq!(
        (error.kind, error.blame),
        (Kind::DeadlineExceeded, Blame::Gateway)
    );
    assert_eq!(only_host(&pool).waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn as_many_calls_wait_as_may_and_the_next_is_refused_at_once() {
    let (_gateway, pool, upstream) = narrow(|config| config.waiting_max = 2).await;
    let _busy = begin(&upstream, "never", "");
    until(&pool, |host| host.calls_in_flight == 1).await;
    let _waiting = [begin(&upstream, "echo", "1"), begin(&upstream, "echo", "2")];
    settle().await;
    let start = Instant::now();
    let error = unary(&upstream, "echo", "3").await.expect_err("too many");
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(
        (error.kind, error.retry),
        (Kind::ResourceExhausted, Retry::Elsewhere)
    );
    assert!(error.message.contains("(waiting-max)"), "{error}");
    let host = only_host(&pool);
    assert_eq!((host.waiting, host.refused), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_are_sent_in_the_order_in_which_they_came() {
    let (gateway, pool, upstream) = narrow(|_| {}).await;
    let mut calls = Vec::new();
    for n in 0..20 {
        calls.push(begin(&upstream, "sleep", (20 - n).to_string()));
        settle().await;
    }
    for call in calls {
        call.await.expect("no panic").expect("an answer");
    }
    let arrived = gateway.service.arrived.lock().clone();
    let expected: Vec<_> = (0..20).map(|n| (20 - n).to_string()).collect();
    assert_eq!(arrived, expected);
    assert_eq!(only_host(&pool).opened, 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_while_it_waits_is_never_sent_and_holds_up_nobody() {
    let (gateway, _pool, upstream) = narrow(|_| {}).await;
    let first = begin(&upstream, "sleep", "100");
    settle().await;
    let dropped = begin(&upstream, "echo", "dropped");
    settle().await;
    let last = begin(&upstream, "echo", "last");
    settle().await;
    dropped.abort();
    assert!(first.await.expect("no panic").is_ok());
    assert_eq!(last.await.expect("no panic").expect("an echo"), "last");
    assert_eq!(*gateway.service.arrived.lock(), ["100", "last"]);
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_under_way_gives_its_place_to_the_next() {
    let (_gateway, pool, upstream) = narrow(|_| {}).await;
    let busy = begin(&upstream, "never", "");
    until(&pool, |host| host.calls_in_flight == 1).await;
    let next = begin(&upstream, "echo", "next");
    settle().await;
    let start = Instant::now();
    busy.abort();
    assert_eq!(next.await.expect("no panic").expect("an echo"), "next");
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_dropped_at_any_moment_on_many_threads_leave_nothing_behind() {
    let gateway = Gateway::serve(Link::Tcp).await;
    let pool = pool(PoolConfig {
        connections_per_host_max: 2,
        calls_per_session_max: 4,
        ..PoolConfig::default()
    });
    let upstream = gateway.upstream(&pool);
    let mut rng = postern_core::testing::Rng::new(1);
    let mut kept = Vec::new();
    for n in 0..1000_u32 {
        let call = begin(&upstream, "sleep", rng.below(3).to_string());
        if n % 3 == 0 {
            kept.push(call);
        } else {
            let after = Duration::from_micros(rng.below(3_000));
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                call.abort();
            });
        }
        if n % 50 == 49 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    for call in kept {
        call.await.expect("no panic").expect("an answer");
    }
    until(&pool, |host| host.calls_in_flight == 0 && host.waiting == 0).await;
    let host = only_host(&pool);
    assert_eq!((host.open, host.idle, host.opened), (2, 2, 2));
    pool.close().await;
    gateway.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_limit_over_all_addresses_holds_and_an_idle_session_makes_room() {
    let network = postern_net::memory::Network::new(1, Conditions::default());
    let at = ([127, 0, 0, 1], 0).into();
    let mut gateways = Vec::new();
    for _ in 0..3 {
        let config = ServerConfig::default();
        gateways.push(Gateway::serve_at(Link::MemoryStream, at, config, network.clone()).await);
    }
    let pool = pool(PoolConfig {
        connections_max: 2,
        connections_per_host_max: 2,
        calls_per_session_max: 1,
        ..PoolConfig::default()
    });
    let upstreams: Vec<_> = gateways.iter().map(|g| g.upstream(&pool)).collect();
    let _busy = begin(&upstreams[0], "never", "");
    settle().await;
    assert!(unary(&upstreams[1], "echo", "x").await.is_ok());
    assert_eq!(pool.snapshot().connections, 2);
    // The idle session with the second is closed for the third.
    assert!(unary(&upstreams[2], "echo", "x").await.is_ok());
    assert_eq!(pool.snapshot().connections, 2);
    assert_eq!(gateways[1].counters.connections_open(), 0);
    let _busy_too = begin(&upstreams[2], "never", "");
    settle().await;
    let error = unary(&upstreams[1], "echo", "x").await.expect_err("full");
    assert!(
        error
            .message
            .ends_with("all 2 of the pool are in use for other addresses; raise connections-max"),
        "{error}"
    );
    assert_eq!(pool.snapshot().connections, 2);
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_says_bye_at_its_time_and_the_next_call_opens_another() {
    let gateway = Gateway::serve(Link::MemoryStream).await;
    let pool = pool(PoolConfig::default());
    let upstream = gateway.upstream(&pool);
    assert!(unary(&upstream, "echo", "x").await.is_ok());
    tokio::time::sleep(Duration::from_secs(299)).await;
    assert_eq!(gateway.counters.connections_open(), 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(gateway.counters.connections_open(), 0);
    let host = only_host(&pool);
    assert_eq!((host.open, host.lost, host.opened), (0, 0, 1));
    assert!(unary(&upstream, "echo", "x").await.is_ok());
    let host = only_host(&pool);
    assert_eq!((host.opened, host.reconnects, host.failed), (2, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn keep_alive_holds_a_session_that_the_peer_would_close() {
    let mut config = ServerConfig::default();
    config.session.keep_alive = None;
    config.session.idle_timeout = Some(Duration::from_secs(100));
    let gateway = Gateway::serve_with(Link::MemoryStream, config, Conditions::default()).await;
    let pool = pool(PoolConfig {
        idle_timeout: Duration::from_secs(100_000),
        ..PoolConfig::default()
    });
    let upstream = gateway.upstream(&pool);
    assert!(unary(&upstream, "echo", "x").await.is_ok());
    tokio::time::sleep(Duration::from_secs(10_000)).await;
    let host = only_host(&pool);
    assert_eq!((host.open, host.opened, host.lost), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn warm_sessions_are_there_before_the_first_call() {
    let gateway = Gateway::serve(Link::MemoryStream).await;
    let pool = pool(PoolConfig {
        warm: 2,
        ..PoolConfig::default()
    });
    let upstream = gateway.upstream(&pool);
    until(&pool, |host| host.open == 2).await;
    tokio::time::sleep(Duration::from_secs(1000)).await;
    assert_eq!(gateway.counters.connections_open(), 2);
    assert!(unary(&upstream, "echo", "x").await.is_ok());
    assert_eq!(only_host(&pool).opened, 2);
    pool.close().await;
    assert_eq!(gateway.counters.connections_open(), 0);
}
