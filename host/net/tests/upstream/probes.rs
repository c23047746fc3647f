//! Health checks: what they ask, and what they see of a peer that is well, hung or gone.

use std::time::Duration;

use postern_core::{Blame, Kind, Retry};
use postern_net::{
    Pool, PoolConfig, Probe, ServerConfig, Upstream,
    memory::{Conditions, Network},
    upstream::ProbeQuestion,
};
use tokio::time::Instant;

use crate::bench::{Gateway, Link, begin, hang, only_host, pool, unary, until};

const TIMEOUT: Duration = Duration::from_secs(2);

async fn is_well(link: Link) {
    let gateway = Gateway::serve(link).await;
    let pool = pool(PoolConfig::default());
    let upstream = gateway.upstream(&pool);
    // Once to open a session, once over one that is open.
    for _ in 0..2 {
        let probed = upstream.probe(&Probe::default()).await;
        assert_eq!(probed.address, *gateway.target.destination());
        assert_eq!(probed.outcome.expect("a pong"), "");
        assert!(probed.latency < TIMEOUT);
    }
    let health = Probe {
        question: ProbeQuestion::health("test"),
        ..Probe::default()
    };
    let probed = upstream.probe(&health).await;
    assert_eq!(probed.outcome.expect("healthy"), r#"{"status":"healthy"}"#);
    assert_eq!(*gateway.service.arrived.lock(), ["{}"]);
    assert_eq!(only_host(&pool).opened, 1);
    pool.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_peer_on_tcp_is_well() {
    is_well(Link::Tcp).await;
}

#[tokio::test]
async fn a_peer_on_udp_is_well() {
    is_well(Link::Udp).await;
}

#[tokio::test]
async fn a_peer_in_memory_is_well() {
    is_well(Link::MemoryStream).await;
}

#[tokio::test(start_paused = true)]
async fn a_hung_peer_is_seen_within_the_timeout() {
    let network = Network::new(1, Conditions::default());
    let pool = pool(PoolConfig::default());
    let upstream = Upstream::new(&pool, vec![hang(&network)]).expect("an address");
    for question in [ProbeQuestion::Ping, ProbeQuestion::health("test")] {
        let start = Instant::now();
        let timeout = TIMEOUT;
        let probed = upstream.probe(&Probe { question, timeout }).await;
        assert_eq!(start.elapsed(), TIMEOUT);
        assert_eq!(probed.latency, TIMEOUT);
        let error = probed.outcome.expect_err("hung");
        assert_eq!(
            (error.kind, error.blame),
            (Kind::DeadlineExceeded, Blame::Upstream)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_latency_is_the_way_there_and_back() {
    let delay = Duration::from_millis(40);
    let conditions = Conditions {
        delay,
        ..Conditions::default()
    };
    let gateway =
        Gateway::serve_with(Link::MemoryStream, ServerConfig::default(), conditions).await;
    let upstream = gateway.upstream(&pool(PoolConfig::default()));
    let probed = upstream.probe(&Probe::default()).await;
    assert!(probed.outcome.is_ok());
    let slack = Duration::from_millis(5);
    assert!(
        (2 * delay..=2 * delay + slack).contains(&probed.latency),
        "{:?}",
        probed.latency
    );
}

#[tokio::test(start_paused = true)]
async fn a_ping_lost_on_the_way_is_said_again() {
    let gateway = Gateway::serve(Link::MemoryDatagram).await;
    let upstream = gateway.upstream(&pool(PoolConfig::default()));
    assert!(unary(&upstream, "echo", "x").await.is_ok());
    gateway.network.set_conditions(Conditions {
        loss_percent: 30,
        ..Conditions::default()
    });
    let mut n_answered = 0;
    for _ in 0..100 {
        n_answered += usize::from(upstream.probe(&Probe::default()).await.outcome.is_ok());
    }
    // Said once 49 % come back, said four times 1 - 0.51^4 = 93 %.
    assert!(n_answered >= 80, "{n_answered}");
}

#[tokio::test]
async fn a_peer_that_is_gone_fails_the_check_at_once() {
    let gateway = Gateway::serve(Link::Tcp).await;
    let pool = pool(PoolConfig::default());
    let upstream = gateway.upstream(&pool);
    assert!(upstream.probe(&Probe::default()).await.outcome.is_ok());
    gateway.kill().await;
    until(&pool, |host| host.open == 0).await;
    let start = Instant::now();
    let error = upstream
        .probe(&Probe::default())
        .await
        .outcome
        .expect_err("gone");
    assert!(start.elapsed() < TIMEOUT);
    assert_eq!(
        (error.kind, error.retry),
        (Kind::Unavailable, Retry::Elsewhere)
    );
}

#[tokio::test(start_paused = true)]
async fn a_busy_peer_is_asked_all_the_same() {
    let gateway = Gateway::serve(Link::MemoryStream).await;
    let pool: Pool = pool(PoolConfig {
        connections_per_host_max: 1,
        calls_per_session_max: 1,
        ..PoolConfig::default()
    });
    let upstream = gateway.upstream(&pool);
    let _busy = begin(&upstream, "never", "");
    until(&pool, |host| host.calls_in_flight == 1).await;
    for question in [ProbeQuestion::Ping, ProbeQuestion::health("test")] {
        let timeout = TIMEOUT;
        let probed = upstream.probe(&Probe { question, timeout }).await;
        assert!(probed.outcome.is_ok(), "{probed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_health_check_that_the_service_fails_is_its_error() {
    let gateway = Gateway::serve(Link::MemoryStream).await;
    let upstream = gateway.upstream(&pool(PoolConfig::default()));
    let question = ProbeQuestion::Call {
        service: "test".into(),
        method: "none".into(),
    };
    let timeout = TIMEOUT;
    let probed = upstream.probe(&Probe { question, timeout }).await;
    assert_eq!(probed.outcome.expect_err("unknown").kind, Kind::NotFound);
    assert!(unary(&upstream, "echo", "x").await.is_ok());
}
