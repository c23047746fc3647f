//! Guests that misbehave are stopped with a named reason; the next call is served.

use std::time::{Duration, Instant};

use postern_core::{Blame, Call, Handler, Kind};
use postern_wasm::{OnTrap, Outcome, Plugin, PluginLimits, PluginSpec, PluginState, TrapReason};

use crate::guest::{Fixture, all, answer, call};

/// Calls `method` and expects that the guest is stopped; the call after it must succeed.
async fn check(
    method: &str,
    body: &[u8],
    limits: PluginLimits,
    kind: Kind,
    message: &str,
    reason: TrapReason,
) {
    let fixture = Fixture::new();
    let plugin = fixture
        .plugin(
            "all",
            &all(),
            PluginSpec {
                limits,
                ..PluginSpec::default()
            },
        )
        .await;
    let error = call(&plugin, method, body).await.unwrap_err();
    assert_eq!(
        (error.kind, error.blame, &*error.message),
        (kind, Blame::Guest, message)
    );
    let stats = plugin.stats().snapshot();
    assert_eq!(stats.traps_with(reason), 1, "{stats:?}");
    assert_eq!(answer(&plugin, "e", b"on").await, "on");
}

#[tokio::test]
async fn a_trap_is_unreachable() {
    let message = "plugin all trapped: unreachable";
    check(
        "t",
        b"",
        PluginLimits::default(),
        Kind::Internal,
        message,
        TrapReason::Unreachable,
    )
    .await;
}

#[tokio::test]
async fn allocation_without_end_meets_the_memory_limit() {
    let message = "plugin all trapped: out of memory limit 32 MiB";
    check(
        "a",
        b"",
        PluginLimits {
            memory_bytes_max: 32 << 20,
            ..PluginLimits::default()
        },
        Kind::Internal,
        message,
        TrapReason::MemoryLimit,
    )
    .await;
}

#[tokio::test]
async fn recursion_without_end_is_a_stack_overflow() {
    let message = "plugin all trapped: stack overflow";
    check(
        "s",
        b"",
        PluginLimits::default(),
        Kind::Internal,
        message,
        TrapReason::StackOverflow,
    )
    .await;
}

#[tokio::test]
async fn division_by_zero_is_named() {
    let message = "plugin all trapped: integer divide by zero";
    check(
        "d",
        b"",
        PluginLimits::default(),
        Kind::Internal,
        message,
        TrapReason::Arithmetic,
    )
    .await;
}

#[tokio::test]
async fn a_read_beyond_memory_is_named() {
    let message = "plugin all trapped: out of bounds memory access";
    check(
        "o",
        b"",
        PluginLimits::default(),
        Kind::Internal,
        message,
        TrapReason::MemoryAccess,
    )
    .await;
}

#[tokio::test]
async fn an_endless_loop_meets_the_time_limit() {
    let limits = PluginLimits {
        time_max: Duration::from_millis(100),
        ..PluginLimits::default()
    };
    let message = "plugin all exceeded its time limit 100 ms";
    check(
        "l",
        b"",
        limits,
        Kind::DeadlineExceeded,
        message,
        TrapReason::TimeLimit,
    )
    .await;
}

#[tokio::test]
async fn an_answer_one_octet_too_long_is_refused() {
    let limits = PluginLimits {
        output_bytes_max: 4,
        ..PluginLimits::default()
    };
    let message = "plugin all trapped: output of 5 octets exceeds the limit of 4";
    check(
        "e",
        b"12345",
        limits.clone(),
        Kind::Internal,
        message,
        TrapReason::OutputLimit,
    )
    .await;
    let fixture = Fixture::new();
    let plugin = fixture
        .plugin(
            "all",
            &all(),
            PluginSpec {
                limits,
                ..PluginSpec::default()
            },
        )
        .await;
    assert_eq!(answer(&plugin, "e", b"1234").await, "1234");
}

#[tokio::test]
async fn one_call_too_many_of_the_host_is_refused() {
    let message = "plugin all trapped: more than 500 calls of imported functions";
    let body = 501_u32.to_le_bytes();
    let limits = PluginLimits {
        host_calls_max: 500,
        ..PluginLimits::default()
    };
    check(
        "m",
        &body,
        limits.clone(),
        Kind::Internal,
        message,
        TrapReason::HostCallLimit,
    )
    .await;
    let fixture = Fixture::new();
    let spec = PluginSpec {
        limits,
        ..PluginSpec::default()
    };
    let plugin = fixture.plugin("all", &all(), spec).await;
    assert_eq!(answer(&plugin, "m", &500_u32.to_le_bytes()).await[..], [1]);
}

#[tokio::test]
async fn a_message_too_large_for_the_guest_does_not_reach_it() {
    let fixture = Fixture::new();
    let limits = PluginLimits {
        input_bytes_max: 4,
        ..PluginLimits::default()
    };
    let plugin = fixture
        .plugin(
            "all",
            &all(),
            PluginSpec {
                limits,
                ..PluginSpec::default()
            },
        )
        .await;
    assert_eq!(answer(&plugin, "e", b"1234").await, "1234");
    let error = call(&plugin, "e", b"12345").await.unwrap_err();
    assert_eq!(
        (error.kind, error.blame),
        (Kind::ResourceExhausted, Blame::Client)
    );
}

#[tokio::test]
async fn the_callers_deadline_stops_a_guest_before_its_own_limit() {
    let fixture = Fixture::new();
    let plugin = fixture.plugin("all", &all(), PluginSpec::default()).await;
    let start = Instant::now();
    let mut request = Call::unary("test", "l", "");
    request.context.deadline = Some(start + Duration::from_millis(60));
    let error = plugin.call(request).await.unwrap_err();
    assert_eq!(error.kind, Kind::DeadlineExceeded);
    assert_eq!(
        plugin.stats().snapshot().traps_with(TrapReason::Deadline),
        1
    );
}

#[tokio::test]
async fn a_looping_guest_leaves_its_thread_to_others() {
    let fixture = Fixture::new();
    let plugin = fixture.plugin("all", &all(), PluginSpec::default()).await;
    let looping = call(&plugin, "l", b"");
    let others = async {
        let mut n_answers = 0;
        for _ in 0..20 {
            assert_eq!(answer(&plugin, "e", b"x").await, "x");
            n_answers += 1;
            tokio::task::yield_now().await;
        }
        n_answers
    };
    // One thread: the answers come only if the loop yields it.
    tokio::pin!(looping);
    tokio::select! {
        biased;
        result = &mut looping => panic!("the loop ended first: {result:?}"),
        n_answers = others => assert_eq!(n_answers, 20),
    }
}

#[tokio::test]
async fn a_flood_of_lines_is_cut_to_the_burst() {
    let fixture = Fixture::new();
    let limits = PluginLimits {
        log_lines_per_second: 10,
        log_lines_burst: 50,
        ..PluginLimits::default()
    };
    let spec = PluginSpec {
        limits,
        ..PluginSpec::default()
    };
    let plugin = fixture.plugin("all", &all(), spec).await;
    crate::guest::hear_lines();
    answer(&plugin, "w", b"line").await;
    let stats = plugin.stats().snapshot();
    assert_eq!(stats.log_lines + stats.log_lines_dropped, 300);
    // 50 at once, and what the rate gives while the guest runs.
    assert!((50..100).contains(&stats.log_lines), "{}", stats.log_lines);
}

#[tokio::test]
async fn on_trap_stop_ends_the_plugin_until_it_is_deployed_again() {
    let fixture = Fixture::new();
    let spec = PluginSpec {
        on_trap: OnTrap::Stop,
        ..PluginSpec::default()
    };
    let plugin = fixture.plugin("all", &all(), spec.clone()).await;
    call(&plugin, "t", b"").await.unwrap_err();
    let error = call(&plugin, "e", b"").await.unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable);
    assert_eq!(error.message, "plugin all has stopped: unreachable");
    assert_eq!(plugin.status().state, PluginState::Stopped);
    plugin.deploy(all().into(), spec).await.unwrap();
    assert_eq!(answer(&plugin, "e", b"on").await, "on");
}

#[tokio::test]
async fn a_cancelled_call_costs_its_instance_and_is_counted() {
    let fixture = Fixture::new();
    let plugin: Plugin = fixture.plugin("all", &all(), PluginSpec::default()).await;
    let before = plugin.stats().snapshot().instances_live;
    let cancelled = tokio::time::timeout(Duration::from_millis(30), call(&plugin, "l", b"")).await;
    assert!(cancelled.is_err());
    // A guest that computes at this moment is dropped by the thread that it computes on.
    let mut stats = plugin.stats().snapshot();
    for _ in 0..1_000 {
        if stats.instances_live < before && stats.calls_with(Outcome::Cancelled) > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        stats = plugin.stats().snapshot();
    }
    assert_eq!(stats.calls_with(Outcome::Cancelled), 1);
    assert_eq!(stats.instances_live, before - 1);
    assert_eq!(answer(&plugin, "e", b"on").await, "on");
}
