//! Ending: what is in flight is answered, nothing new is taken, and a second signal ends at once.

use std::time::{Duration, Instant};

use postern_tests::{CallerTransport, Gateway, Setup, call, connect, patiently};

use crate::share;

/// A plugin that computes for as long as it is told to.
async fn gateway() -> Gateway {
    let limits = "[plugins.limits]\ntime = \"20s\"\n".to_owned();
    let setup = Setup {
        config: limits,
        ..Setup::default()
    };
    Gateway::start(setup.plugin("misbehave")).await
}

async fn busy(gateway: &Gateway) {
    patiently("the calls are being answered", async || {
        let plugin = gateway.admin_json("/plugins/misbehave").await;
        plugin["instances"].as_u64() > Some(0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_lets_calls_in_flight_finish() {
    let _machine = share().await;
    let mut gateway = gateway().await;
    let mut calls = Vec::new();
    for transport in CallerTransport::ALL {
        let handler = connect(&gateway, transport).await;
        let body = "{\"ms\":1500}";
        calls.push((
            transport,
            tokio::spawn(async move { call(&*handler, "misbehave/Burn", body).await }),
        ));
    }
    busy(&gateway).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let status = gateway.terminate().await;
    for (transport, call) in calls {
        let answer = call.await.expect("the caller does not panic");
        assert!(answer.is_ok(), "{transport}: {answer:?}");
    }
    assert_eq!(status.code(), Some(0), "{}", gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once() {
    let _machine = share().await;
    let mut gateway = gateway().await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let call =
        tokio::spawn(async move { call(&*handler, "misbehave/Burn", "{\"ms\":15000}").await });
    busy(&gateway).await;
    gateway.signal("TERM");
    // Two signals of one kind that nobody has looked at yet are one.
    patiently("the first signal is followed", async || {
        gateway.log().contains("draining; a second signal")
    })
    .await;
    let begin = Instant::now();
    gateway.signal("TERM");
    gateway.ended().await;
    assert!(
        begin.elapsed() < Duration::from_secs(3),
        "{:?}",
        begin.elapsed()
    );
    assert!(call.await.expect("the caller does not panic").is_err());
}
