//! What a guest asks of every import comes again, and what a caller sends in confidence is not in the file.

use std::{fs, path::Path};

use postern_core::{Call, Handler, Kind};
use postern_tests::{CallerTransport, Gateway, Setup, call, component, connect, free_address};
use serde_json::{Value, json};

use super::{Recording, check_equal, edit, shadow};
use crate::share;

/// What the guest asks for in 16 calls: of itself, of other services, of the directory, of its metrics.
async fn use_probe(gateway: &Gateway, handler: &dyn Handler) {
    let ask = async |method: &str, body: Value| -> Value {
        let reply = call(handler, &format!("probe/{method}"), body.to_string()).await;
        let reply = reply.unwrap_or_else(|error| panic!("{method}: {error}"));
        serde_json::from_slice(&reply).expect("JSON")
    };
    ask("Context", Value::Null).await;
    assert_eq!(ask("Config", json!("colour")).await, "red");
    assert_eq!(ask("Environment", json!("CITY")).await, "Rome");
    let through = json!({ "service": "echo", "method": "Echo", "body": { "a": 1 } });
    ask("Call", through).await;
    ask("KvIncrement", json!({ "key": "n" })).await;
    let failed = call(handler, "probe/Annotate", "{\"fails\":\"aborted\"}");
    failed.await.expect_err("told to");
    ask("Log", json!({ "level": "warn", "message": "seen" })).await;
    let counted = gateway.postern(&["call", "--transport", "http", "probe/CountTo", "3"]);
    assert_eq!(counted.out, "1\n2\n3\n", "{counted:?}");
    fs::write(gateway.folder().join("numbers"), "1\n2\n4\n").expect("written");
    let sum = ["call", "--stream", "--data-file", "numbers", "probe/Sum"];
    let sum = gateway.postern(&sum);
    assert_eq!(sum.out, "7.0\n", "{sum:?}");

    let nobody = ask("Discover", json!("users")).await;
    assert_eq!(nobody["instances"], json!([]));
    let look =
        |ms: u64| json!({ "service": "users", "revision": nobody["revision"], "timeout_ms": ms });
    assert_eq!(ask("NextChange", look(20)).await, Value::Null);
    let address = free_address().expect("a port");
    let entry = json!({
        "instance": "users-1", "service": "users", "addresses": [format!("tcp://{address}")],
        "version": "1.2.0", "zone": "a", "metadata": { "rack": "7" },
    });
    let registered = call(handler, "directory/register", entry.to_string());
    registered.await.expect("it is registered");
    let changed = ask("NextChange", look(15_000)).await;
    assert_eq!(
        changed["instances"][0]["metadata"]["rack"], "7",
        "{changed}"
    );
    assert_eq!(ask("Discover", json!("users")).await, changed);

    let declaration = json!({ "name": "jobs", "kind": "counter", "help": "Jobs that were done" });
    ask("Declare", declaration).await;
    let jobs = |kind: &str| {
        json!({
            "change": "increase", "name": "jobs", "labels": [["kind", kind]], "value": 2.0, "times": 3,
        })
    };
    ask("Measure", jobs("mail")).await;
    // The manifest allows one series.
    let refused = call(handler, "probe/Measure", jobs("print").to_string()).await;
    let refused = refused.expect_err("one series too many");
    assert_eq!(refused.kind, Kind::ResourceExhausted);
}

async fn jobs(gateway: &Gateway) -> Vec<String> {
    let (_, text) = gateway.admin("/metrics").await.expect("it answers");
    let of_jobs = text
        .lines()
        .filter(|line| line.starts_with("postern_plugin_counter_jobs"));
    of_jobs.map(ToOwned::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn other_services_streams_headers_and_settings_come_again() {
    let _machine = share().await;
    let manifest = "[config]\ncolour = \"red\"\n[limits]\ntime = \"20s\"\nmetric-series = 1\n[grants]\n\
                    services = [\"echo\"]\ndirectory = [\"users\"]\nenv = { CITY = \"Rome\" }\n";
    let setup = Setup {
        config: "[directory]\nregistration = \"open\"\nprobe-interval = \"1h\"\n".to_owned(),
        ..Setup::default()
    };
    let setup = setup.plugin("probe").plugin("echo");
    let gateway = Gateway::start(setup.file("probe.toml", manifest)).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let recording = Recording::begin(&gateway, "probe", "probe", &["--calls", "16"]);
    use_probe(&gateway, &*handler).await;
    let (finished, file) = recording.end();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let counted = jobs(&gateway).await;
    let mail = |line: &String| line.contains("kind=\"mail\"") && line.ends_with(" 6.0");
    assert!(counted.iter().any(mail), "{counted:?}");
    check_equal(&shadow(gateway.folder(), &file, &[]), 16);
    assert_eq!(jobs(&gateway).await, counted, "a replay counts nothing");

    // The same without the grants, the limits, the settings, the environment and the other service.
    let folder = tempfile::tempdir().expect("a folder");
    let replay = |file: &Path, component: &[u8]| {
        let path = folder.path().join("probe.wasm");
        fs::write(&path, component).expect("written");
        let path = path.to_string_lossy().into_owned();
        shadow(folder.path(), file, &["--component", &path])
    };
    let probe = component("probe");
    check_equal(&replay(&file, &probe), 16);

    // Another answer of the directory is another reply; another metric is a note.
    edit(&file, "\"rack\",\"7\"", "\"rack\",\"8\"");
    edit(
        &file,
        "\"jobs{kind=\\\"mail\\\"}\",\"2\"",
        "\"jobs{kind=\\\"mail\\\"}\",\"3\"",
    );
    let (finished, json) = replay(&file, &probe);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert_eq!(json["counts"]["equal"], 14, "{json:#}");
    assert_eq!(json["counts"]["reply"], 2, "{json:#}");
    let told = json["calls"].to_string();
    assert!(told.contains("/metadata/rack"), "{told}");
    assert!(told.contains("recorded was metrics.increase"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_left_out_unless_they_are_asked_for() {
    let _machine = share().await;
    let gateway = Gateway::start(Setup::default().plugin("probe")).await;
    let handler = connect(&gateway, CallerTransport::Http).await;
    let context = async || {
        let mut call = Call::unary("probe", "Context", "null");
        let fields = [("authorization", "Bearer s3cret"), ("x-colour", "red")];
        for (name, value) in fields {
            call.headers.push(name, value).expect("a header");
        }
        let reply = handler.call(call).await.expect("answered");
        let reply = reply.body.into_one(1 << 20).await.expect("one");
        let seen = String::from_utf8_lossy(&reply).into_owned();
        assert!(seen.contains("s3cret"), "the guest sees it: {seen}");
    };
    let recording = Recording::begin(&gateway, "probe", "without", &["--calls", "1"]);
    context().await;
    let (_, without) = recording.end();
    let text = fs::read_to_string(&without).expect("text");
    // The reply says it; what the caller sent does not.
    let call: Value = serde_json::from_str(text.lines().nth(1).expect("a call")).expect("JSON");
    assert!(!call["request"].to_string().contains("s3cret"), "{call:#}");
    assert!(call["request"].to_string().contains("x-colour"), "{call:#}");
    assert_eq!(call["request"]["left-out"][0], "authorization");
    let (finished, json) = shadow(gateway.folder(), &without, &[]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(
        json["calls"].to_string().contains("--with-credentials"),
        "{json:#}"
    );

    let arguments = ["--calls", "1", "--with-credentials"];
    let recording = Recording::begin(&gateway, "probe", "with", &arguments);
    context().await;
    let (_, with) = recording.end();
    check_equal(&shadow(gateway.folder(), &with, &[]), 1);
}
