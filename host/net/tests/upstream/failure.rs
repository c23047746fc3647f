//! Peers that are killed, dead, mute, or end what they began.

use std::time::Duration;

use futures_util::future::join_all;
use postern_core::{Blame, Kind, Retry};
use postern_net::{
    PoolConfig, ServerConfig, Upstream,
    memory::{Conditions, Network},
};
use tokio::time::Instant;

use crate::bench::{
    Gateway, Link, begin, crash, hang, only_host, pool, settle, swallow, unary, until, within,
};

#[tokio::test]
async fn a_gateway_killed_under_calls_fails_them_as_sent_and_is_called_again_when_it_is_back() {
    let gateway = Gateway::serve(Link::Tcp).await;
    let address = gateway.target.destination().socket_addr().expect("bound");
    let pool = pool(PoolConfig::default());
    let upstream = gateway.upstream(&pool);
    assert!(unary(&upstream, "echo", "x").await.is_ok());
    let calls: Vec<_> = (0..5).map(|_| begin(&upstream, "never", "")).collect();
    until(&pool, |host| host.calls_in_flight == 5).await;
    // Sent is what has arrived.
    within(Duration::from_secs(5), async {
        while gateway.service.arrived.lock().len() < 6 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    gateway.kill().await;
    for call in calls {
        let call = within(Duration::from_secs(5), call).await;
        let error = call.expect("no panic").expect_err("killed");
        assert_eq!(
            (error.kind, error.blame, error.retry),
            (Kind::Unavailable, Blame::Upstream, Retry::IfIdempotent),
            "{error}"
        );
        assert!(error.message.contains(&address.to_string()), "{error}");
    }
    let error = unary(&upstream, "echo", "x").await.expect_err("gone");
    assert_eq!(
        (error.kind, error.retry),
        (Kind::Unavailable, Retry::Elsewhere)
    );
    assert!(error.message.contains("refused"), "{error}");
    let network = Network::new(1, Conditions::default());
    let gateway = Gateway::serve_at(Link::Tcp, address, ServerConfig::default(), network).await;
    // Nobody calls, and yet it is found again.
    until(&pool, |host| host.open == 1 && host.down.is_none()).await;
    assert_eq!(unary(&upstream, "echo", "x").await.expect("an echo"), "x");
    let host = only_host(&pool);
    assert_eq!((host.lost, host.reconnects), (1, 1));
    assert!(host.failed >= 1);
    pool.close().await;
    gateway.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_address_costs_one_connect_timeout_and_not_one_per_call() {
    let network = Network::new(1, Conditions::default());
    let target = swallow(&network);
    let address = target.destination().socket_addr().expect("bound");
    let mut client = postern_net::ClientConfig {
        speak: postern_net::Speak::Vsp,
        ..postern_net::ClientConfig::default()
    };
    client.session.hello_timeout = Duration::from_secs(60);
    let pool = postern_net::Pool::new(PoolConfig::default(), client).expect("settings that fit");
    let upstream = Upstream::new(&pool, vec![target]).expect("an address");
    let start = Instant::now();
    let first = join_all((0..10).map(|_| unary(&upstream, "echo", "x"))).await;
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    for outcome in first {
        let error = outcome.expect_err("dead");
        assert_eq!(error.retry, Retry::Elsewhere);
        assert!(
            error.message.starts_with(&format!(
                "memory {address} is down: no session with {address} within 5s; failures in a \
                 row: 1, next try in "
            )),
            "{error}"
        );
    }
    // For a minute: attempts go on, and no call waits for one.
    for _ in 0..600 {
        let start = Instant::now();
        let error = unary(&upstream, "echo", "x").await.expect_err("dead");
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(
            (error.kind, error.retry),
            (Kind::Unavailable, Retry::Elsewhere)
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let host = only_host(&pool);
    // 5 s each, and a pause of at most 10 s.
    assert!((4..=12).contains(&host.failed), "{host:?}");
    assert_eq!(host.refused, 610);
}

#[tokio::test(start_paused = true)]
async fn a_cut_network_that_heals_is_used_again_within_the_longest_pause() {
    let gateway = Gateway::serve(Link::MemoryStream).await;
    let pool = pool(PoolConfig {
        backoff_max: Duration::from_secs(3),
        ..PoolConfig::default()
    });
    let upstream = gateway.upstream(&pool);
    assert!(unary(&upstream, "echo", "x").await.is_ok());
    gateway.network.cut();
    settle().await;
    for _ in 0..300 {
        assert!(unary(&upstream, "echo", "x").await.is_err());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    gateway.network.heal();
    let start = Instant::now();
    until(&pool, |host| host.open == 1).await;
    assert!(
        start.elapsed() <= Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
    assert!(unary(&upstream, "echo", "x").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_is_said_to_be_well_is_called_at_once() {
    let gateway = Gateway::serve(Link::MemoryStream).await;
    let pool = pool(PoolConfig {
        backoff_min: Duration::from_secs(10),
        ..PoolConfig::default()
    });
    let upstream = gateway.upstream(&pool);
    assert!(unary(&upstream, "echo", "x").await.is_ok());
    gateway.network.cut();
    settle().await;
    assert!(unary(&upstream, "echo", "x").await.is_err());
    until(&pool, |host| host.down.is_some()).await;
    gateway.network.heal();
    let start = Instant::now();
    assert!(unary(&upstream, "echo", "x").await.is_err());
    upstream.revive();
    assert!(unary(&upstream, "echo", "x").await.is_ok());
    assert!(start.elapsed() < Duration::from_secs(1), "no pause");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_breaks_at_every_call_is_left_alone_for_longer_and_longer() {
    let network = Network::new(1, Conditions::default());
    let pool = pool(PoolConfig::default());
    let upstream = Upstream::new(&pool, vec![crash(&network)]).expect("an address");
    let (mut n_sent, mut n_refused) = (0, 0);
    for _ in 0..600 {
        let error = unary(&upstream, "echo", "x").await.expect_err("broken");
        match error.retry {
            Retry::IfIdempotent => n_sent += 1,
            Retry::Elsewhere => n_refused += 1,
            Retry::Never | Retry::After(_) | Retry::Forbidden => panic!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let host = only_host(&pool);
    assert!((6..=40).contains(&n_sent), "{n_sent} sent, {host:?}");
    assert_eq!(n_sent + n_refused, 600);
    // The last one may be open and not called yet.
    assert_eq!(
        (host.lost + host.open as u64, host.failed),
        (host.opened, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_hangs_is_cut_after_two_keep_alives_and_its_calls_fail_as_sent() {
    let network = Network::new(1, Conditions::default());
    let pool = pool(PoolConfig::default());
    let upstream = Upstream::new(&pool, vec![hang(&network)]).expect("an address");
    let start = Instant::now();
    let mut call = postern_core::Call::unary("test", "echo", "x");
    call.context.deadline = Some((start + Duration::from_secs(1000)).into_std());
    let error = crate::bench::body_of(&upstream, call)
        .await
        .expect_err("hung");
    assert_eq!(start.elapsed(), Duration::from_secs(120));
    assert_eq!(
        (error.kind, error.retry),
        (Kind::Unavailable, Retry::IfIdempotent)
    );
    assert!(error.message.contains("no PONG within 60s"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_the_peer_ends_in_order_is_replaced_without_a_failed_call() {
    let mut config = ServerConfig::default();
    config.session.keep_alive = None;
    config.session.idle_timeout = Some(Duration::from_secs(10));
    let gateway = Gateway::serve_with(Link::MemoryStream, config, Conditions::default()).await;
    let pool = pool(PoolConfig::default());
    let upstream = gateway.upstream(&pool);
    for n in 1..=5 {
        assert!(unary(&upstream, "echo", "x").await.is_ok());
        assert_eq!(only_host(&pool).opened, n);
        tokio::time::sleep(Duration::from_secs(11)).await;
    }
    assert_eq!(only_host(&pool).failed, 0);
}

#[tokio::test(start_paused = true)]
async fn closing_is_bounded_and_cuts_what_is_left() {
    let gateway = Gateway::serve(Link::MemoryStream).await;
    let pool = pool(PoolConfig {
        drain_timeout: Duration::from_secs(12),
        ..PoolConfig::default()
    });
    let upstream = gateway.upstream(&pool);
    let start = Instant::now();
    let mut call = postern_core::Call::unary("test", "never", "x");
    call.context.deadline = Some((start + Duration::from_secs(1000)).into_std());
    let endless = tokio::spawn({
        let upstream = upstream.clone();
        async move { crate::bench::body_of(&upstream, call).await }
    });
    until(&pool, |host| host.calls_in_flight == 1).await;
    let start = Instant::now();
    pool.close().await;
    assert!(
        start.elapsed() <= Duration::from_secs(14),
        "{:?}",
        start.elapsed()
    );
    assert!(start.elapsed() >= Duration::from_secs(12));
    let error = endless.await.expect("no panic").expect_err("cut");
    assert_eq!(error.retry, Retry::IfIdempotent);
    assert_eq!(pool.snapshot().connections, 0);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_pool_and_its_upstreams_cuts_every_session() {
    let gateway = Gateway::serve(Link::MemoryStream).await;
    let pool = pool(PoolConfig::default());
    let upstream = gateway.upstream(&pool);
    assert!(unary(&upstream, "echo", "x").await.is_ok());
    drop((pool, upstream));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(gateway.counters.connections_open(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_no_datagram_peer_acknowledges_may_have_begun_and_retires_the_session() {
    let gateway = Gateway::serve(Link::MemoryDatagram).await;
    let pool = pool(PoolConfig::default());
    let upstream = gateway.upstream(&pool);
    assert!(unary(&upstream, "echo", "x").await.is_ok());
    gateway.network.cut();
    let error = unary(&upstream, "echo", "x").await.expect_err("lost");
    assert_eq!(
        (error.kind, error.retry),
        (Kind::Unavailable, Retry::IfIdempotent),
        "{error}"
    );
    gateway.network.heal();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(unary(&upstream, "echo", "x").await.is_ok());
    assert_eq!(only_host(&pool).opened, 2);
}
