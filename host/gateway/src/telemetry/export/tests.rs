//! The text of the metrics.

use std::time::Duration;

use postern_core::{Kind, Transport};
use postern_net::Counters;
use postern_wasm::{OwnMetricKind, OwnSample, OwnValue, PluginStats, TrapReason};

use super::*;
use crate::telemetry::calls::{self, Booking, CallBook};

fn numbers() -> MetricsSnapshot {
    let book = CallBook::default();
    let users = book.service(&"users".into());
    users.know(&["find".into()]);
    users.begin();
    users.on_request_message(3);
    let booking = Booking {
        transport: Transport::Tcp,
        outcome: calls::BookedOutcome::Failed(Kind::NotFound),
        duration: Duration::from_millis(1),
        bytes_in: 3,
        bytes_out: 0,
    };
    users.end("find", &booking);
    let counters = Counters::default();
    counters.retransmits.add(4);
    let transport = TransportNumbers {
        listener: "vstp".to_owned(),
        transport: "udp",
        readings: counters.readings().to_vec(),
    };
    let mut stats = PluginStats::default().snapshot();
    stats.traps[TrapReason::MemoryLimit as usize] = 2;
    stats.reloads_refused = 1;
    stats.queue_wait_nanos = 1_500_000_000;
    stats.processor_nanos = 250_000_000;
    stats.call_buckets[0] = 3;
    let plugin = PluginNumbers {
        plugin: "users".to_owned(),
        version: None,
        generation: 7,
        is_active: true,
        is_held: true,
        signature_refusals: 2,
        versions: vec![VersionStats {
            version: "1.2.0".to_owned(),
            is_alive: true,
            stats,
        }],
        own_metrics: vec![jobs()],
    };
    MetricsSnapshot {
        calls: book.numbers(),
        upstream_calls: book.numbers(),
        transports: vec![transport],
        plugins: vec![plugin],
        resident_bytes: Some(4096),
        ..MetricsSnapshot::default()
    }
}

fn jobs() -> OwnMetric {
    OwnMetric {
        name: "jobs".to_owned(),
        kind: OwnMetricKind::Counter,
        help: "Jobs done".to_owned(),
        samples: vec![OwnSample {
            labels: vec![("queue".to_owned(), "a\"b".to_owned())],
            value: OwnValue::Number(2.5),
        }],
    }
}

#[track_caller]
fn check(line: &str) {
    let text = exposition(numbers());
    assert!(
        text.lines().any(|written| written == line),
        "{line} not in\n{text}"
    );
}

#[test]
fn counts_calls_by_service_transport_and_outcome() {
    check(r#"postern_calls_total{service="users",transport="tcp",outcome="not-found"} 1"#);
    check(r#"postern_call_request_bytes_total{service="users"} 3"#);
    check(r#"postern_calls_in_flight{service="users"} 0"#);
}

#[test]
fn counts_calls_by_method_and_messages_by_size() {
    check(r#"postern_method_calls_total{service="users",method="find",outcome="not-found"} 1"#);
    let of = r#"service="users",method="find""#;
    check(&format!(
        "postern_method_call_duration_seconds_count{{{of}}} 1"
    ));
    let of = r#"service="users",direction="request""#;
    check(&format!(
        r#"postern_call_message_bytes_bucket{{le="64.0",{of}}} 1"#
    ));
    check(&format!("postern_call_message_bytes_sum{{{of}}} 3.0"));
}

#[test]
fn counts_calls_to_instances_of_grpc_by_themselves() {
    check(r#"postern_upstream_calls_total{service="users",outcome="not-found"} 1"#);
    let of = r#"service="users",method="find",outcome="not-found""#;
    check(&format!("postern_upstream_method_calls_total{{{of}}} 1"));
    let of = r#"service="users",direction="request""#;
    check(&format!("postern_upstream_message_bytes_sum{{{of}}} 3.0"));
    check(r#"postern_upstream_call_duration_seconds_count{service="users"} 1"#);
    check(r#"postern_upstream_calls_in_flight{service="users"} 0"#);
}

#[test]
fn durations_are_cumulative_buckets_in_seconds() {
    check(r#"postern_call_duration_seconds_bucket{le="0.0005",service="users"} 0"#);
    check(r#"postern_call_duration_seconds_bucket{le="0.001",service="users"} 1"#);
    check(r#"postern_call_duration_seconds_bucket{le="+Inf",service="users"} 1"#);
    check(r#"postern_call_duration_seconds_count{service="users"} 1"#);
}

#[test]
fn names_listener_and_transport_of_what_the_wire_counts() {
    check(r#"postern_retransmits_total{listener="vstp",transport="udp"} 4"#);
    check(r#"postern_received_bytes_total{listener="vstp",transport="udp"} 0"#);
    check(r#"postern_reassembly_sessions{listener="vstp",transport="udp"} 0"#);
}

#[test]
fn counts_traps_and_reloads_of_a_plugin_by_reason() {
    let of = r#"plugin="users",version="1.2.0""#;
    check(&format!(
        r#"postern_plugin_traps_total{{{of},reason="memory-limit"}} 2"#
    ));
    check(&format!(
        "postern_plugin_queue_wait_seconds_total{{{of}}} 1.5"
    ));
    check(&format!(
        r#"postern_plugin_call_duration_seconds_bucket{{le="0.00001",{of}}} 3"#
    ));
    check(&format!(
        "postern_plugin_processor_seconds_total{{{of}}} 0.25"
    ));
    check(r#"postern_plugin_generation{plugin="users"} 7"#);
    check(r#"postern_plugin_held{plugin="users"} 1"#);
    check(r#"postern_plugin_signature_refusals_total{plugin="users"} 2"#);
    check(&format!(
        r#"postern_plugin_reloads_total{{{of},result="refused"}} 1"#
    ));
}

#[test]
fn a_plugins_own_metrics_stand_under_its_name_and_their_kind() {
    check(r#"postern_plugin_counter_jobs_total{plugin="users",queue="a\"b"} 2.5"#);
    check("# HELP postern_plugin_counter_jobs Jobs done");
}

#[test]
fn says_what_runs_and_ends_as_openmetrics_wants() {
    check("postern_process_resident_memory_bytes 4096");
    check("postern_ready 0");
    let text = exposition(numbers());
    assert!(
        text.contains("postern_build_info{version=\"0.1.0\""),
        "{text}"
    );
    assert!(text.ends_with("# EOF\n"));
}
