//! What a plugin may use and reach, and what becomes of one that traps again and again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use postern_core::{Blame, Body, BoxFuture, Call, Error, Handler, Kind, Reply, Retry};
use postern_wasm::{
    Grants, OnTrap, Plugin, PluginLimits, PluginSpec, SocketGrant, Stage, TrapBounds, TrapReason,
    TrapState,
};

use crate::guest::{Fixture, all, answer, asynchronous, call, interceptor, messages};

fn limited(limits: PluginLimits) -> PluginSpec {
    PluginSpec {
        limits,
        ..PluginSpec::default()
    }
}

/// How the stream `method` ends, and how many messages came before.
async fn end_of(plugin: &Plugin, method: &str) -> (usize, Option<Error>) {
    let mut call = Call::unary("test", method, "");
    call.body = messages(vec![]);
    let reply = plugin.call(call).await.expect("a reply");
    let Body::Messages(mut body) = reply.body else {
        panic!("a stream")
    };
    let mut n_messages = 0;
    while let Some(message) = body.next().await {
        match message {
            Ok(_) => n_messages += 1,
            Err(error) => return (n_messages, Some(error)),
        }
    }
    (n_messages, None)
}

#[track_caller]
fn check_trap(plugin: &Plugin, error: &Error, message: &str, reason: TrapReason) {
    assert_eq!((error.blame, &*error.message), (Blame::Guest, message));
    let stats = plugin.stats().snapshot();
    assert_eq!(stats.traps_with(reason), 1, "{stats:?}");
}

#[tokio::test]
async fn tables_without_end_meet_their_limit() {
    let fixture = Fixture::new();
    let limits = PluginLimits {
        table_elements_max: 1000,
        ..PluginLimits::default()
    };
    let plugin = fixture.plugin("all", &all(), limited(limits)).await;
    let error = call(&plugin, "b", b"").await.unwrap_err();
    let message = "plugin all trapped: out of table limit 1000 elements";
    check_trap(&plugin, &error, message, TrapReason::TableLimit);
    assert_eq!(answer(&plugin, "e", b"on").await, "on");
}

#[tokio::test]
async fn a_component_of_too_many_core_instances_is_refused_with_the_limit() {
    let fixture = Fixture::new();
    let limits = |core_instances_max| PluginLimits {
        core_instances_max,
        ..PluginLimits::default()
    };
    let plugin = fixture.plugin("all", &all(), limited(limits(2))).await;
    let refusal = plugin.deploy(all().into(), limited(limits(1))).await;
    let refusal = refusal.unwrap_err();
    assert_eq!(refusal.stage, Stage::Warmed);
    let expected = "it has more core instances than its limits.core-instances of 1";
    assert!(refusal.reason.contains(expected), "{}", refusal.reason);
    assert!(refusal.needs.settings);
    assert_eq!(answer(&plugin, "e", b"on").await, "on");
}

#[tokio::test]
async fn an_endless_loop_meets_the_limit_of_processor_time() {
    let fixture = Fixture::new();
    let limits = PluginLimits {
        cpu_max: Duration::from_millis(60),
        time_max: Duration::from_secs(600),
        ..PluginLimits::default()
    };
    let plugin = fixture.plugin("all", &all(), limited(limits)).await;
    let error = call(&plugin, "l", b"").await.unwrap_err();
    assert_eq!(error.kind, Kind::DeadlineExceeded);
    let message = "plugin all exceeded its processor time limit 60 ms";
    check_trap(&plugin, &error, message, TrapReason::CpuLimit);
    assert_eq!(answer(&plugin, "e", b"on").await, "on");
}

#[tokio::test]
async fn an_endless_loop_in_a_stream_ends_after_the_messages_before_it() {
    let fixture = Fixture::new();
    let limits = PluginLimits {
        cpu_max: Duration::from_millis(60),
        time_max: Duration::from_secs(600),
        ..PluginLimits::default()
    };
    let plugin = fixture.plugin("all", &all(), limited(limits)).await;
    let (n_messages, error) = end_of(&plugin, "l").await;
    assert_eq!(n_messages, 1);
    let message = "plugin all exceeded its processor time limit 60 ms";
    check_trap(&plugin, &error.unwrap(), message, TrapReason::CpuLimit);
}

#[tokio::test]
async fn a_stream_has_its_time_between_two_messages_and_one_for_all_of_them() {
    let fixture = Fixture::new();
    // Ten messages of 20 ms take longer than `time_max` together.
    let limits = PluginLimits {
        stream_time_max: Duration::from_millis(600),
        time_max: Duration::from_millis(500),
        cpu_max: Duration::from_millis(500),
        ..PluginLimits::default()
    };
    let plugin = fixture.plugin("all", &all(), limited(limits)).await;
    let (n_messages, error) = end_of(&plugin, "d").await;
    let message = "plugin all exceeded its stream time limit 600 ms";
    let error = error.unwrap();
    assert_eq!(error.kind, Kind::DeadlineExceeded);
    check_trap(&plugin, &error, message, TrapReason::StreamTimeLimit);
    assert!(n_messages <= 30, "{n_messages} messages of 20 ms");
}

#[tokio::test]
async fn a_stream_may_call_the_host_anew_after_each_message() {
    let fixture = Fixture::new();
    let limits = |host_calls_max| PluginLimits {
        host_calls_max,
        ..PluginLimits::default()
    };
    // One call beside: the header.
    let plugin = fixture.plugin("all", &all(), limited(limits(401))).await;
    let (n_messages, error) = end_of(&plugin, "m").await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(n_messages, 5);
    let plugin = fixture.plugin("few", &all(), limited(limits(400))).await;
    let mut call = Call::unary("test", "m", "");
    call.body = messages(vec![]);
    let error = plugin.call(call).await.expect_err("it is stopped");
    let message = "plugin few trapped: more than 400 calls of imported functions";
    check_trap(&plugin, &error, message, TrapReason::HostCallLimit);
}

#[tokio::test]
async fn a_call_that_logs_too_much_is_ended() {
    let fixture = Fixture::new();
    let limits = |log_call_bytes_max| PluginLimits {
        log_call_bytes_max,
        ..PluginLimits::default()
    };
    crate::guest::hear_lines();
    // 300 lines of ten octets.
    let plugin = fixture.plugin("all", &all(), limited(limits(3000))).await;
    assert_eq!(answer(&plugin, "w", b"0123456789").await[..], [1]);
    let plugin = fixture.plugin("all", &all(), limited(limits(2999))).await;
    let error = call(&plugin, "w", b"0123456789").await.unwrap_err();
    let message = "plugin all trapped: more than 2999 octets logged and printed";
    check_trap(&plugin, &error, message, TrapReason::LogLimit);
}

#[tokio::test]
async fn octets_of_the_log_have_a_rate() {
    let fixture = Fixture::new();
    let limits = PluginLimits {
        log_bytes_per_second: 100,
        ..PluginLimits::default()
    };
    let plugin = fixture.plugin("all", &all(), limited(limits)).await;
    crate::guest::hear_lines();
    answer(&plugin, "w", b"0123456789").await;
    let stats = plugin.stats().snapshot();
    assert_eq!(stats.log_lines + stats.log_lines_dropped, 300);
    // Ten at once, and ten a second while it runs.
    assert!((10..60).contains(&stats.log_lines), "{}", stats.log_lines);
}

/// Answers at the deadline of the call that it has none.
struct Late;

impl Handler for Late {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        let deadline = call.context.deadline.expect("calls of plugins have one");
        Box::pin(async move {
            tokio::time::sleep_until(deadline.into()).await;
            Err(Error::deadline_exceeded(Blame::Upstream, "late"))
        })
    }
}

fn calling(limits: PluginLimits) -> PluginSpec {
    PluginSpec {
        grants: Grants {
            services: vec!["us*".to_owned()],
            ..Grants::default()
        },
        ..limited(limits)
    }
}

#[tokio::test]
async fn one_call_of_the_host_has_a_time_of_its_own_and_the_guest_goes_on() {
    let fixture = Fixture::new();
    fixture.runtime.set_client(Arc::new(Late));
    let limits = PluginLimits {
        host_call_time_max: Duration::from_millis(50),
        time_max: Duration::from_secs(600),
        ..PluginLimits::default()
    };
    let plugin = fixture.plugin("all", &all(), calling(limits)).await;
    let error = call(&plugin, "x", b"users").await.unwrap_err();
    assert_eq!(error.kind, Kind::DeadlineExceeded);
    let expected = "no answer within 50 ms, the limits.host-call-time of this plugin";
    assert_eq!(error.message, expected);
    let sandbox = plugin.sandbox();
    assert_eq!(
        (sandbox.host_calls_late, sandbox.host_calls_in_flight),
        (1, 0)
    );
    assert_eq!(plugin.stats().snapshot().traps, [0; TrapReason::ALL.len()]);
    fixture.runtime.shutdown();
}

#[tokio::test]
async fn a_call_of_the_host_ends_with_the_plugins_time() {
    let fixture = Fixture::new();
    fixture.runtime.set_client(Arc::new(Late));
    let limits = PluginLimits {
        time_max: Duration::from_millis(80),
        ..PluginLimits::default()
    };
    let plugin = fixture.plugin("all", &all(), calling(limits)).await;
    let error = call(&plugin, "x", b"users").await.unwrap_err();
    let message = "plugin all exceeded its time limit 80 ms";
    check_trap(&plugin, &error, message, TrapReason::TimeLimit);
    fixture.runtime.shutdown();
}

#[tokio::test]
async fn one_call_of_the_host_more_than_may_be_under_way_is_refused() {
    let fixture = Fixture::new();
    fixture.runtime.set_client(Arc::new(Late));
    let limits = PluginLimits {
        host_calls_in_flight_max: 1,
        host_call_time_max: Duration::from_millis(500),
        time_max: Duration::from_secs(600),
        ..PluginLimits::default()
    };
    let plugin = fixture.plugin("all", &all(), calling(limits)).await;
    let (first, second) = tokio::join!(call(&plugin, "x", b"users"), call(&plugin, "x", b"users"));
    let kinds = [first, second].map(|answer| answer.map(drop).unwrap_err().kind);
    assert!(kinds.contains(&Kind::ResourceExhausted), "{kinds:?}");
    assert!(kinds.contains(&Kind::DeadlineExceeded), "{kinds:?}");
    let sandbox = plugin.sandbox();
    assert_eq!(
        (sandbox.host_calls_refused, sandbox.host_calls_in_flight),
        (1, 0)
    );
    fixture.runtime.shutdown();
}

fn trapping(on_trap: OnTrap) -> PluginSpec {
    PluginSpec {
        on_trap,
        traps: TrapBounds {
            threshold: 2,
            window: Duration::from_secs(600),
            back_off: Duration::from_millis(200),
            back_off_max: Duration::from_secs(600),
        },
        ..PluginSpec::default()
    }
}

/// Waits until a call is answered.
async fn until_answered(plugin: &Plugin) {
    let start = Instant::now();
    while let Err(error) = call(plugin, "e", b"on").await {
        assert_eq!(error.kind, Kind::Unavailable, "{error}");
        assert!(matches!(error.retry, Retry::After(_)), "{error:?}");
        assert!(start.elapsed() < Duration::from_secs(30), "{error}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn too_many_traps_close_a_plugin_for_a_while_that_doubles() {
    let fixture = Fixture::new();
    let mut changes = fixture.runtime.trap_changes().expect("the first asks");
    let plugin = fixture
        .plugin("all", &all(), trapping(OnTrap::Closed))
        .await;
    call(&plugin, "t", b"").await.unwrap_err();
    assert_eq!(answer(&plugin, "e", b"on").await, "on");
    call(&plugin, "t", b"").await.unwrap_err();
    let error = call(&plugin, "e", b"on").await.unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable);
    let said = "2 traps within 600 s, the last: unreachable";
    assert!(error.message.ends_with(said), "{error}");
    assert!(
        error
            .retry_after()
            .is_some_and(|left| left <= Duration::from_millis(200))
    );
    until_answered(&plugin).await;
    call(&plugin, "t", b"").await.unwrap_err();
    let status = plugin.trap_status().expect("it is in service");
    assert_eq!((status.policy, status.state), ("closed", TrapState::Closed));
    assert!(plugin.release() && !plugin.release());
    assert_eq!(answer(&plugin, "e", b"on").await, "on");
    let mut told = Vec::new();
    while let Ok(change) = changes.try_recv() {
        told.push(change.to);
    }
    let expected = [
        TrapState::Closed,
        TrapState::Trying,
        TrapState::Closed,
        TrapState::Serving,
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_quarantine_lasts_until_it_is_released_or_something_else_is_deployed() {
    let fixture = Fixture::new();
    let spec = trapping(OnTrap::Quarantine);
    let plugin = fixture.plugin("all", &all(), spec.clone()).await;
    for release in [true, false] {
        for _ in 0..2 {
            call(&plugin, "t", b"").await.unwrap_err();
        }
        let error = call(&plugin, "e", b"on").await.unwrap_err();
        assert_eq!(error.kind, Kind::Unavailable);
        assert!(
            error
                .message
                .starts_with("plugin all is in quarantine: 2 traps"),
            "{error}"
        );
        match release {
            true => assert!(plugin.release()),
            false => drop(plugin.deploy(all().into(), spec.clone()).await.unwrap()),
        }
        assert_eq!(answer(&plugin, "e", b"on").await, "on");
    }
    let quarantined = ("quarantined", 2);
    assert!(plugin.sandbox().trap_changes.contains(&quarantined));
}

#[tokio::test]
async fn a_callers_deadline_is_no_trap_that_counts() {
    let fixture = Fixture::new();
    let plugin = fixture.plugin("all", &all(), trapping(OnTrap::Stop)).await;
    for _ in 0..3 {
        let mut request = Call::unary("test", "l", "");
        request.context.deadline = Some(Instant::now() + Duration::from_millis(30));
        plugin.call(request).await.unwrap_err();
    }
    assert_eq!(answer(&plugin, "e", b"on").await, "on");
}

#[tokio::test]
async fn calls_pass_by_no_plugin_that_answers_them_itself() {
    let fixture = Fixture::new();
    let plugin = Plugin::new(&fixture.runtime, "all");
    let refusal = plugin.deploy(all().into(), trapping(OnTrap::Open)).await;
    let refusal = refusal.unwrap_err();
    let expected = "answers them itself (role handler): take \"closed\"";
    assert!(refusal.reason.contains(expected), "{}", refusal.reason);
    assert!(refusal.needs.settings);
    let refusal = Plugin::new(&fixture.runtime, "async")
        .deploy(asynchronous().into(), trapping(OnTrap::Open))
        .await;
    let refusal = refusal.unwrap_err();
    let expected = "answers them itself (role async-stream-handler): take";
    assert!(refusal.reason.contains(expected), "{}", refusal.reason);
    let component = interceptor().into();
    let deployed = plugin.deploy(component, trapping(OnTrap::Open)).await;
    deployed.expect("one that stands in the way of calls");
}

#[test]
fn grants_of_sockets_are_none_by_default() {
    assert_eq!(Grants::default().sockets, []);
    assert!(SocketGrant::parse("tcp:*:*").is_ok());
}
