//! Keys of manifests and of `[plugins]` by what they do to a plugin: what it may see, how long it may
//! take, when its health is asked, and when its file counts as gone.

use std::{
    fs,
    time::{Duration, Instant},
};

use postern_core::{Call, Error, Kind};
use postern_tests::{CallerTransport, Gateway, Setup, call, component, connect, patiently};
use serde_json::{Value, json};

use crate::share;

/// Asks the guest `probe`.
async fn probe(gateway: &Gateway, method: &str, body: Value) -> Result<Value, Error> {
    let handler = connect(gateway, CallerTransport::Tcp).await;
    let reply = call(&*handler, &format!("probe/{method}"), body.to_string()).await?;
    Ok(serde_json::from_slice(&reply).expect("json"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_sees_the_environment_that_its_manifest_grants() {
    let _machine = share().await;
    let manifest = "[grants]\nenv = { COLOUR = \"blue\", LIMIT = 5 }\n";
    let setup = Setup::default()
        .plugin("probe")
        .file("probe.toml", manifest);
    let gateway = Gateway::start(setup).await;
    for (name, value) in [
        ("COLOUR", json!("blue")),
        ("LIMIT", json!("5")),
        // The gateway's own.
        ("PATH", Value::Null),
    ] {
        let seen = probe(&gateway, "Environment", json!(name)).await;
        assert_eq!(seen.expect("answered"), value, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_sees_the_folders_that_its_manifest_grants() {
    let _machine = share().await;
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["read", "written"] {
        fs::create_dir(folder.path().join(name)).expect("made");
        fs::write(folder.path().join(name).join("note"), name).expect("written");
    }
    let host = folder.path().display();
    let manifest = format!("[grants]\nfiles = [\"{host}/read:/in\", \"{host}/written:/out:rw\"]\n");
    let setup = Setup::default()
        .plugin("probe")
        .file("probe.toml", manifest);
    let gateway = Gateway::start(setup).await;
    for (path, text) in [
        ("/in/note", Some("read")),
        ("/out/note", Some("written")),
        ("/in/../written/note", None),
        ("/etc/hostname", None),
    ] {
        let read = probe(&gateway, "ReadFile", json!(path)).await;
        let expected = text.map(|text| json!(text));
        assert_eq!(read.ok(), expected, "{path}");
    }
    for (path, is_written) in [("/out/new", true), ("/in/new", false)] {
        let outcome = probe(&gateway, "WriteFile", json!(path)).await;
        assert_eq!(outcome.is_ok(), is_written, "{path}: {outcome:?}");
    }
    let new = |name: &str| fs::read_to_string(folder.path().join(name).join("new")).ok();
    assert_eq!(
        (new("written"), new("read")),
        (Some("/out/new".to_owned()), None)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_logs_from_the_log_level_of_its_manifest_on() {
    let _machine = share().await;
    for (manifest, levels) in [
        ("# the default\n", ["info", "warn"]),
        ("log-level = \"warn\"\n", ["warn", "warn"]),
    ] {
        let setup = Setup::default()
            .plugin("probe")
            .file("probe.toml", manifest);
        let gateway = Gateway::start(setup).await;
        for level in ["info", "warn"] {
            let line = json!({"level": level, "message": format!("line of {level}")});
            let is_kept = probe(&gateway, "Log", line).await.expect("answered");
            assert_eq!(is_kept, levels.contains(&level), "{manifest:?}: {level}");
        }
        patiently("the warning is written", async || {
            gateway.log().contains("line of warn")
        })
        .await;
        let has_info = gateway.log().contains("line of info");
        assert_eq!(has_info, levels.contains(&"info"), "{manifest:?}");
    }
}

/// What a call of `echo` with a tenant's key ends in, and the log of its gateway.
async fn by_a_tenant(budgets: &str) -> (Option<Kind>, String) {
    // SHA-256 of `secret`.
    let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let manifest = format!(
        "extension = {{ enabled = true }}\n[config.tenants.acme]\nkeys = [\"{hash}\"]\n\
         services = [\"echo\"]\n[budgets]\n{budgets}\n"
    );
    let setup = Setup::default().file("tenant-auth.toml", manifest);
    let gateway = Gateway::start(setup.plugin("echo").plugin("tenant-auth")).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let mut call = Call::unary("echo", "Echo", "{}");
    let key = call.headers.push("x-vsp-api-key", "acme.secret");
    key.expect("short");
    let outcome = handler.call(call).await;
    if outcome.is_err() {
        patiently("the refusal is logged", async || {
            gateway.log().contains("exceeded its budget")
        })
        .await;
    }
    (outcome.err().map(|error| error.kind), gateway.log())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_takes_more_than_its_roles_budget_is_broken_off() {
    let _machine = share().await;
    let (outcome, log) = by_a_tenant("").await;
    assert_eq!(outcome, None, "the defaults are enough: {log}");
    for role in ["authenticator", "authorizer"] {
        let (outcome, log) = by_a_tenant(&format!("{role} = \"1us\"")).await;
        assert_eq!(outcome, Some(Kind::Unavailable), "{role}: {log}");
        assert!(log.contains("exceeded its budget of 1µs"), "{role}: {log}");
    }
    // Frames come over VSTP; `tag` writes into each, or breaks off.
    for (budget, is_enough) in [("20ms", true), ("1us", false)] {
        let manifest =
            format!("[extension]\nenabled = true\n[budgets]\nframe-extension = \"{budget}\"\n");
        let setup = Setup::default().file("tag.toml", manifest);
        let mut gateway = Gateway::start(setup.plugin("echo").plugin("tag")).await;
        let handler = connect(&gateway, CallerTransport::Tcp).await;
        let outcome = call(&*handler, "echo/Echo", "{}").await;
        // Whatever was logged is in the file when the process has ended.
        gateway.terminate().await;
        let log = gateway.log();
        assert_eq!(outcome.is_ok(), is_enough, "{budget}: {outcome:?} {log}");
        let is_told = log.contains("exceeded its budget of 1µs");
        assert_eq!(is_told, !is_enough, "{budget}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_asked_every_health_interval() {
    let _machine = share().await;
    let setup = Setup {
        config: "[plugins]\nhealth-interval = \"100ms\"\n".to_owned(),
        ..Setup::default()
    };
    // It says yes to the first question, which decides whether it takes calls at all.
    let manifest = "config = { checks = 1 }\ninstances = { mode = \"single\" }\n";
    let setup = setup
        .plugin("not-serving")
        .file("not-serving.toml", manifest);
    let gateway = Gateway::start(setup).await;
    let begin = Instant::now();
    patiently("it counts as unhealthy", async || {
        gateway.admin_json("/plugins/not-serving").await["state"] == "unhealthy"
    })
    .await;
    // Two more questions, of which the second comes after 10 s by default.
    let elapsed = begin.elapsed();
    assert!(elapsed < Duration::from_secs(8), "{elapsed:?}");
    let plugin = gateway.admin_json("/plugins/not-serving").await;
    assert_eq!(
        plugin["health"]["message"], "the database is away",
        "{plugin}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_about_health_has_the_health_timeout() {
    let _machine = share().await;
    let setup = Setup {
        config: "[plugins]\nhealth-timeout = \"150ms\"\n".to_owned(),
        ..Setup::default()
    };
    let gateway = Gateway::start(setup.plugin("echo")).await;
    gateway.deploy("health-loop.wasm", &component("health-loop"));
    let mut reason = String::new();
    patiently("it is refused", async || {
        let (_, plugin) = gateway.admin("/plugins/health-loop").await.expect("asked");
        let plugin: Value = serde_json::from_str(&plugin).unwrap_or_default();
        reason = plugin["refusal"]["reason"].to_string();
        plugin["refusal"]["reason"].is_string()
    })
    .await;
    assert!(reason.contains("no answer within 150 ms"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_missed_for_less_than_settle_was_never_gone() {
    let _machine = share().await;
    let setup = Setup {
        config: "[plugins]\nsettle = \"6s\"\n".to_owned(),
        ..Setup::default()
    };
    let gateway = Gateway::start(setup.plugin("echo")).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    gateway.remove("echo.wasm");
    let begin = Instant::now();
    // By default it is gone after half a second.
    while begin.elapsed() < Duration::from_secs(2) {
        call(&*handler, "echo/Echo", "{}")
            .await
            .expect("it serves on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    gateway.deploy("echo.wasm", &component("echo"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(gateway.admin_json("/plugins/echo").await["generation"], 1);
    gateway.remove("echo.wasm");
    patiently("after it, it is gone", async || {
        matches!(gateway.admin("/plugins/echo").await, Ok((404, _)))
    })
    .await;
}
