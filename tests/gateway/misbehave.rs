//! Guests that break their limits: each is stopped with a named reason, and nobody else notices.

use std::time::Duration;

use bytes::Bytes;
use postern_core::Kind;
use postern_tests::{CallerTransport, Gateway, Load, Percentiles, Setup, call, connect};

use crate::{figure, own, share};

/// What is called, what the caller reads, and the reason under which it is counted.
const STOPPED: [(&str, &str, Kind, &str); 8] = [
    ("Loop", "null", Kind::DeadlineExceeded, "time-limit"),
    ("Allocate", "null", Kind::Internal, "memory-limit"),
    ("Trap", "null", Kind::Internal, "unreachable"),
    ("Panic", "null", Kind::Internal, "unreachable"),
    ("Exit", "null", Kind::Internal, "exit"),
    ("Recurse", "null", Kind::Internal, "stack-overflow"),
    (
        "BigOutput",
        "{\"bytes\":9000000}",
        Kind::Internal,
        "output-limit",
    ),
    (
        "HostCalls",
        "{\"count\":20000}",
        Kind::Internal,
        "host-call-limit",
    ),
];

/// A gateway whose guests have `time` for a call.
async fn gateway(time: &str) -> Gateway {
    let limits = format!("[plugins.limits]\ntime = \"{time}\"\n");
    let setup = Setup {
        config: limits,
        ..Setup::default()
    };
    Gateway::start(setup.plugin("misbehave").plugin("echo")).await
}

#[tokio::test]
async fn each_is_stopped_with_a_reason_that_has_a_name() {
    let _machine = share().await;
    // Time enough on a busy machine for whatever is stopped by another limit.
    let gateway = gateway("2s").await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    for (method, body, kind, reason) in STOPPED {
        let traps = async || {
            let plugin = gateway.admin_json("/plugins/misbehave").await;
            plugin["traps"][reason].as_u64().unwrap_or_default()
        };
        let before = traps().await;
        let target = format!("misbehave/{method}");
        let error = call(&*handler, &target, body).await.expect_err(method);
        assert_eq!(error.kind, kind, "{method}: {error}");
        assert_eq!(traps().await, before + 1, "{method} counts as {reason}");
        call(&*handler, "misbehave/Echo", "1")
            .await
            .expect("the plugin serves on");
    }
    assert_eq!(
        gateway.admin_json("/plugins/misbehave").await["state"],
        "active"
    );
}

#[tokio::test]
async fn a_flood_of_log_lines_is_cut_and_counted() {
    let _machine = share().await;
    let gateway = gateway("2s").await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let body = "{\"lines\":4000,\"bytes\":100}";
    call(&*handler, "misbehave/FloodLog", body)
        .await
        .expect("the flood does not fail the call");
    let n_lines = gateway
        .log()
        .lines()
        .filter(|line| line.contains("misbehave"))
        .count();
    // 200 lines at once, 100 more a second (defaults of `plugins.limits`), and the host's own.
    assert!((100..1000).contains(&n_lines), "{n_lines} lines were kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_latency_of_others_is_unharmed() {
    let _machine = own().await;
    let gateway = gateway("200ms").await;
    let (echo, misbehave) = (
        connect(&gateway, CallerTransport::Tcp).await,
        connect(&gateway, CallerTransport::Tcp).await,
    );
    let measure = async || {
        let load = Load::start(
            &echo,
            "echo/Echo",
            &Bytes::from_static(b"1"),
            2,
            Duration::from_millis(1),
        );
        tokio::time::sleep(Duration::from_secs(3)).await;
        let outcome = load.stop().await;
        assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
        outcome.answered
    };
    let baseline = measure().await;
    figure(&format!("echo baseline: {baseline}"));
    for (method, body) in [
        ("Loop", "null"),
        ("Allocate", "null"),
        ("Trap", "null"),
        ("FloodLog", "{\"lines\":4000,\"bytes\":100}"),
    ] {
        let target = format!("misbehave/{method}");
        let bad = Load::start(
            &misbehave,
            &target,
            &Bytes::from(body),
            1,
            Duration::from_millis(5),
        );
        let loaded = measure().await;
        bad.stop().await;
        figure(&format!("echo beside {method}: {loaded}"));
        assert_unharmed(method, &baseline, &loaded);
    }
    assert!(gateway.admin_json("/livez").await["status"] == "ok");
}

/// A thread blocked by a guest would show as its whole time limit, 200 ms; half of it is far above
/// what a busy machine of two cores adds.
fn assert_unharmed(method: &str, baseline: &Percentiles, loaded: &Percentiles) {
    let (baseline, p99) = (baseline.at(99), loaded.at(99));
    let limit = baseline + Duration::from_millis(100);
    assert!(p99 <= limit, "{method}: p99 {p99:?}, baseline {baseline:?}");
}
