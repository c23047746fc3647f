//! What a plugin uses and counts, as `/metrics`, `/plugins/NAME` and `postern plugins info` tell it; and the
//! directory as a plugin sees it. Asked of the guests `probe` and `misbehave`.

use std::time::Duration;

use postern_core::{Body, BodyStream, Call, Handler, Kind};
use postern_tests::{
    CallerTransport, Gateway, Setup, call, component, connect, free_address, patiently,
};
use serde_json::{Value, json};

use crate::share;

/// The sum of the samples of `name` that have all of `labels`; 0 where there are none.
async fn sum(gateway: &Gateway, name: &str, labels: &[(&str, &str)]) -> f64 {
    let (_, text) = gateway.admin("/metrics").await.expect("it answers");
    let has = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        let (found, written) = series.split_once('{').unwrap_or((series, ""));
        let mut labels = labels.iter();
        let all = labels.all(|(label, value)| written.contains(&format!("{label}=\"{value}\"")));
        (found == name && all).then(|| value.parse::<f64>().expect("a number"))
    };
    text.lines().filter_map(has).sum()
}

async fn ask(handler: &dyn Handler, target: &str, body: Value) -> Value {
    let reply = call(handler, target, body.to_string()).await;
    let reply = reply.unwrap_or_else(|error| panic!("{target}: {error}"));
    serde_json::from_slice(&reply).expect("json")
}

/// What a call is refused with.
async fn refused(handler: &dyn Handler, target: &str, body: Value) -> (Kind, String) {
    let error = call(handler, target, body.to_string()).await;
    let error = error.expect_err("refused");
    (error.kind, error.message.into_owned())
}

fn increase(name: &str, labels: &Value) -> Value {
    json!({ "change": "increase", "name": name, "labels": labels, "value": 1.0 })
}

#[tokio::test]
async fn what_a_plugin_uses_is_counted_by_version() {
    let _machine = share().await;
    let manifest = "version = \"1.0.0\"\n[limits]\ntime = \"3s\"\n[instances]\nmax-calls = 2\n";
    let setup = Setup::default().plugin("misbehave").plugin("probe");
    let setup = setup.file("misbehave.toml", manifest);
    let gateway = Gateway::start(setup).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let misbehave = [("plugin", "misbehave")];
    let with = |label: &'static str, value: &'static str| [("plugin", "misbehave"), (label, value)];

    let before = sum(
        &gateway,
        "postern_plugin_processor_seconds_total",
        &misbehave,
    )
    .await;
    for _ in 0..3 {
        ask(&*handler, "misbehave/Burn", json!({ "ms": 60 })).await;
    }
    let computed = sum(
        &gateway,
        "postern_plugin_processor_seconds_total",
        &misbehave,
    )
    .await
        - before;
    let in_calls = sum(
        &gateway,
        "postern_plugin_call_duration_seconds_sum",
        &misbehave,
    )
    .await;
    // Between what it must have computed at a tenth of a processor, and what it cannot have.
    assert!(
        computed >= 0.018 && computed <= in_calls + 0.5,
        "{computed} s of {in_calls} s"
    );
    let ok = with("outcome", "ok");
    assert_eq!(sum(&gateway, "postern_plugin_calls_total", &ok).await, 3.0);
    let calls = with("reason", "calls");
    assert!(sum(&gateway, "postern_plugin_instances_retired_total", &calls).await >= 1.0);

    call(&*handler, "misbehave/Trap", "null")
        .await
        .expect_err("it traps");
    for (name, reason) in [
        ("postern_plugin_traps_total", "unreachable"),
        ("postern_plugin_instances_retired_total", "trapped"),
    ] {
        assert_eq!(
            sum(&gateway, name, &with("reason", reason)).await,
            1.0,
            "{name}"
        );
    }
    assert!(sum(&gateway, "postern_plugin_memory_live_bytes", &misbehave).await > 0.0);
    assert!(sum(&gateway, "postern_plugin_memory_bytes", &misbehave).await >= 65536.0);

    for _ in 0..2 {
        ask(&*handler, "probe/KvGet", json!({ "key": "k" })).await;
    }
    let kv = [("plugin", "probe"), ("import", "kv")];
    assert_eq!(
        sum(&gateway, "postern_plugin_host_calls_total", &kv).await,
        2.0
    );
    assert!(sum(&gateway, "postern_plugin_host_call_seconds_total", &kv).await > 0.0);
}

#[tokio::test]
async fn calls_that_queue_are_counted_with_their_time() {
    let _machine = share().await;
    let manifest = "[limits]\ntime = \"10s\"\n[instances]\nmax = 1\nmode = \"single\"\n";
    let setup = Setup::default().plugin("misbehave");
    let gateway = Gateway::start(setup.file("misbehave.toml", manifest)).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let burn = json!({ "ms": 200 });
    let both = tokio::join!(
        ask(&*handler, "misbehave/Burn", burn.clone()),
        ask(&*handler, "misbehave/Burn", burn)
    );
    drop(both);
    let labels = [("plugin", "misbehave")];
    assert!(sum(&gateway, "postern_plugin_queue_waits_total", &labels).await >= 1.0);
    assert!(sum(&gateway, "postern_plugin_queue_wait_seconds_total", &labels).await > 0.0);
    assert_eq!(
        sum(&gateway, "postern_plugin_queue_length", &labels).await,
        0.0
    );
}

#[tokio::test]
async fn a_change_of_version_loses_neither_counts_nor_the_plugins_own() {
    let _machine = share().await;
    let setup = Setup::default().plugin("probe");
    let gateway = Gateway::start(setup.file("probe.toml", "log-level = \"info\"\n")).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let jobs = increase("jobs", &json!([["queue", "mail"]]));
    ask(&*handler, "probe/Measure", jobs.clone()).await;
    let told = json!({ "name": "seconds", "kind": "histogram", "help": "Time of jobs", "bounds": [1.0, 2.0] });
    ask(&*handler, "probe/Declare", told).await;
    for value in [0.5, 1.5, 9.0] {
        let observed = json!({ "change": "observe", "name": "seconds", "value": value });
        ask(&*handler, "probe/Measure", observed).await;
    }
    for (change, value) in [("set", 7.0), ("adjust", -2.5)] {
        let changed = json!({ "change": change, "name": "backlog", "value": value });
        ask(&*handler, "probe/Measure", changed).await;
    }

    // Another component of the same name: its octets differ.
    let mut other = component("probe").to_vec();
    other.extend_from_slice(b"\x00\x08\x07another");
    let reloads = [("plugin", "probe"), ("result", "ok")];
    gateway.deploy("probe.wasm", &other);
    patiently("the other version takes calls", async || {
        sum(&gateway, "postern_plugin_reloads_total", &reloads).await >= 2.0
    })
    .await;
    ask(&*handler, "probe/Measure", jobs).await;

    let labels = [("plugin", "probe"), ("queue", "mail")];
    assert_eq!(
        sum(&gateway, "postern_plugin_counter_jobs_total", &labels).await,
        2.0
    );
    let probe = [("plugin", "probe")];
    assert_eq!(
        sum(&gateway, "postern_plugin_gauge_backlog", &probe).await,
        4.5
    );
    assert_eq!(
        sum(&gateway, "postern_plugin_histogram_seconds_count", &probe).await,
        3.0
    );
    let bucket = [("plugin", "probe"), ("le", "2.0")];
    assert_eq!(
        sum(&gateway, "postern_plugin_histogram_seconds_bucket", &bucket).await,
        2.0
    );
    let ok = [("plugin", "probe"), ("outcome", "ok")];
    assert_eq!(sum(&gateway, "postern_plugin_calls_total", &ok).await, 8.0);

    own_metrics_are_shown_and_go(&gateway).await;
}

/// What is refused counts, operators see what the plugin counts itself, and that goes with the plugin.
async fn own_metrics_are_shown_and_go(gateway: &Gateway) {
    gateway.deploy("probe.wasm", b"no component");
    let refused = [("plugin", "probe"), ("result", "refused")];
    patiently("what is no component is refused", async || {
        sum(gateway, "postern_plugin_reloads_total", &refused).await >= 1.0
    })
    .await;
    let shown = gateway.admin_json("/plugins/probe").await;
    let metrics = shown["metrics"].as_array().expect("its own metrics");
    let names: Vec<_> = metrics
        .iter()
        .map(|metric| metric["name"].as_str())
        .collect();
    assert_eq!(names, [Some("backlog"), Some("jobs"), Some("seconds")]);
    assert_eq!(metrics[1]["series"][0]["value"], 2.0);
    let told = gateway.postern(&["plugins", "info", "probe"]);
    assert!(told.out.contains("jobs{queue=\"mail\"} 2"), "{}", told.out);
    assert!(told.out.contains("calls of the host: "), "{}", told.out);
    let listed = gateway.postern(&["plugins", "list"]);
    assert!(listed.out.contains("PROCESSOR"), "{}", listed.out);

    gateway.remove("probe.wasm");
    patiently("its metrics go with the plugin", async || {
        let (_, text) = gateway.admin("/metrics").await.expect("it answers");
        !text.contains("postern_plugin_counter_jobs")
    })
    .await;
}

#[tokio::test]
async fn one_metric_and_one_series_too_many_are_refused_by_the_manifests_limits() {
    let _machine = share().await;
    let manifest = "[limits]\nmetrics = 2\nmetric-series = 3\n";
    let setup = Setup::default().plugin("probe");
    let gateway = Gateway::start(setup.file("probe.toml", manifest)).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    for (name, value) in [("a", "1"), ("b", "1"), ("b", "2")] {
        ask(
            &*handler,
            "probe/Measure",
            increase(name, &json!([["v", value]])),
        )
        .await;
    }
    for (name, labels, kind, told) in [
        ("c", json!([]), Kind::ResourceExhausted, "limits.metrics "),
        (
            "a",
            json!([]),
            Kind::ResourceExhausted,
            "limits.metric-series",
        ),
        ("a-b", json!([]), Kind::InvalidArgument, "letters, digits"),
        ("a", json!([["le", "1"]]), Kind::InvalidArgument, "taken"),
    ] {
        let (found, message) = refused(&*handler, "probe/Measure", increase(name, &labels)).await;
        assert_eq!(found, kind, "{message}");
        assert!(message.contains(told), "{message:?} does not say {told:?}");
    }
    let told = json!({ "change": "set", "name": "a", "value": 1.0 });
    let (kind, message) = refused(&*handler, "probe/Measure", told).await;
    assert_eq!(kind, Kind::FailedPrecondition, "{message}");
    let of = [("plugin", "probe")];
    assert_eq!(
        sum(&gateway, "postern_plugin_counter_a_total", &of).await,
        1.0
    );
    assert_eq!(
        sum(&gateway, "postern_plugin_counter_b_total", &of).await,
        2.0
    );
}

#[tokio::test]
async fn a_change_counts_once_on_either_path_and_also_when_its_call_traps() {
    let _machine = share().await;
    let gateway = Gateway::start(Setup::default().plugin("probe")).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let count = async |name: &str| {
        sum(
            &gateway,
            &format!("postern_plugin_counter_{name}_total"),
            &[("plugin", "probe")],
        )
        .await
    };
    let mut inline = increase("inline", &json!([]));
    inline["times"] = 5.into();
    ask(&*handler, "probe/Measure", inline.clone()).await;
    assert_eq!(count("inline").await, 5.0);
    inline["traps"] = true.into();
    call(&*handler, "probe/Measure", inline.to_string())
        .await
        .expect_err("it traps");
    assert_eq!(count("inline").await, 10.0);
    // A line of the log takes the calls to the other path.
    let line = json!({ "level": "info", "message": "from here on fibers" });
    ask(&*handler, "probe/Log", line).await;
    ask(&*handler, "probe/Measure", increase("inline", &json!([]))).await;
    assert_eq!(count("inline").await, 11.0);
}

#[tokio::test]
async fn a_plugin_looks_up_and_watches_what_its_manifest_grants() {
    let _machine = share().await;
    let address = free_address().expect("a port");
    let config = "[directory]\nregistration = \"open\"\nprobe-interval = \"1h\"\n".to_owned();
    let setup = Setup {
        config,
        ..Setup::default()
    };
    let setup = setup.plugin("probe").file(
        "probe.toml",
        "[limits]\ntime = \"20s\"\n[grants]\ndirectory = [\"users\"]\n",
    );
    let gateway = Gateway::start(setup).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let (kind, message) = refused(&*handler, "probe/Discover", json!("orders")).await;
    assert_eq!(kind, Kind::PermissionDenied);
    assert!(
        message.contains("`directory = [\"orders\"]` below [grants]"),
        "{message}"
    );

    let nobody = ask(&*handler, "probe/Discover", json!("users")).await;
    assert_eq!(nobody["instances"], json!([]));
    let look = json!({ "service": "users", "revision": nobody["revision"], "timeout_ms": 20 });
    assert_eq!(ask(&*handler, "probe/NextChange", look).await, Value::Null);

    let mut watched = {
        let mut call = Call::unary("probe", "Watch", "\"users\"");
        call.body = Body::Messages(BodyStream::once("\"users\"".into(), None));
        let reply = handler.call(call).await.expect("it watches");
        reply.body.into_messages(1 << 20)
    };
    let mut next = async || -> Value {
        let message = tokio::time::timeout(Duration::from_secs(30), watched.next()).await;
        let message = message.expect("within the time").expect("a message");
        serde_json::from_slice(&message.expect("no failure")).expect("json")
    };
    assert_eq!(next().await["instances"], json!([]));
    let entry = json!({
        "instance": "users-1", "service": "users", "addresses": [format!("tcp://{address}")],
        "version": "1.2.0", "zone": "a", "metadata": { "rack": "7" },
    });
    ask(&*handler, "directory/register", entry).await;
    let listing = next().await;
    let instance = json!({
        "id": "users-1", "addresses": [format!("tcp://{address}")], "version": "1.2.0", "zone": "a",
        "weight": 100, "metadata": { "rack": "7" }, "healthy": true,
    });
    assert_eq!(listing["instances"], json!([instance]));
    let found = ask(&*handler, "probe/Discover", json!("users")).await;
    assert_eq!(found, listing);
    ask(
        &*handler,
        "directory/unregister",
        json!({ "instance": "users-1" }),
    )
    .await;
    assert_eq!(next().await["instances"], json!([]));

    // One that waits is woken.
    let look = json!({ "service": "users", "revision": nobody["revision"], "timeout_ms": 15_000 });
    let again = json!({ "instance": "users-2", "service": "users", "addresses": [format!("tcp://{address}")] });
    let (changed, _) = tokio::join!(ask(&*handler, "probe/NextChange", look), async {
        tokio::task::yield_now().await;
        ask(&*handler, "directory/register", again).await
    });
    assert_eq!(changed["instances"][0]["id"], "users-2");
}
