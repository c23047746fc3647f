//! A version that claims more services or routes than the one before waits for an operator, and who that was is
//! recorded.

use std::{fs, os::unix::fs::MetadataExt as _, process::Stdio};

use postern_tests::{Gateway, Setup, ToolProcess, command_in, component, patiently, postern};
use serde_json::{Value, json};

use super::{answers, refused, shows};
use crate::share;

/// A gateway that serves `echo` and holds what asks for more.
async fn serving(manifest: &str) -> Gateway {
    let setup = Setup {
        holds: true,
        ..Setup::default()
    };
    Gateway::start(setup.plugin("echo").file("echo.toml", manifest)).await
}

/// What the version that is held asks for.
async fn growth(gateway: &Gateway) -> Value {
    refused(gateway, "echo", "held until it is approved").await["held"]["growth"].clone()
}

async fn reaches(gateway: &Gateway, generation: u64) {
    shows(gateway, "echo", "the generation serves", |plugin| {
        plugin["generation"] == generation && plugin["held"].is_null()
    })
    .await;
}

fn route(name: &str, path: &str) -> String {
    format!("[routes.{name}]\npath = \"{path}\"\nmethod = \"Echo\"\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_whose_routes_take_more_is_held_and_one_whose_take_less_is_not() {
    let _machine = share().await;
    let first = route("a", "/a/{id}");
    let mut gateway = serving(&first).await;
    // A part of what it had, under another name.
    let part = route("part", "/a/b");
    gateway.deploy("echo.toml", part.as_bytes());
    reaches(&gateway, 2).await;
    let more = format!("{part}{}", route("more", "/c/{rest*}"));
    gateway.deploy("echo.toml", more.as_bytes());
    assert_eq!(growth(&gateway).await, json!(["routes: POST /c/{rest*}"]));
    assert_eq!(gateway.admin_json("/plugins/echo").await["generation"], 2);

    let approved = gateway.postern(&["plugins", "approve", "echo"]);
    assert_eq!(approved.code, Some(0), "{approved:?}");
    assert!(approved.out.contains("POST /c/{rest*}"), "{approved:?}");
    // The connection says no more than this.
    let by = "unknown at 127.0.0.1";
    let log = gateway.postern(&["plugins", "log", "echo"]);
    assert!(
        log.out.contains(&format!("approved by operator {by}")),
        "{log:?}"
    );
    let info = gateway.postern(&["plugins", "info", "echo"]);
    assert!(info.out.contains(&format!(" by {by}")), "{info:?}");
    // It is known after a restart, too.
    gateway.restart().await;
    assert_eq!(
        gateway.admin_json("/plugins/echo").await["source"],
        "folder"
    );
    let both = format!("{more}{}", route("a", "/a/{id}"));
    gateway.deploy("echo.toml", both.as_bytes());
    assert_eq!(growth(&gateway).await, json!(["routes: POST /a/{id}"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_a_component_tells_of_are_held_once_it_has_told() {
    let _machine = share().await;
    let gateway = serving("log-level = \"warn\"\n").await;
    // It imports more, which is seen before it runs, and answers for another service, which it says itself.
    gateway.deploy("echo.wasm", &component("probe"));
    let written = growth(&gateway).await.to_string();
    assert!(
        written.contains("imports: postern:gateway/client"),
        "{written}"
    );
    assert!(!written.contains("services"), "{written}");
    let approved = gateway.postern(&["plugins", "approve", "echo"]);
    assert_eq!(approved.code, Some(1), "{approved:?}");
    assert!(
        approved
            .err
            .contains("it is approved, and refused: held until it is approved"),
        "{approved:?}"
    );
    assert_eq!(growth(&gateway).await, json!(["services: \"probe\""]));
    assert!(answers(&gateway).await, "the version before serves");
    let approved = gateway.postern(&["plugins", "approve", "echo"]);
    assert_eq!(approved.code, Some(0), "{approved:?}");
    assert!(approved.out.contains("takes the calls"), "{approved:?}");
    assert_eq!(
        gateway.postern(&["call", "probe/Config", "\"a\""]).code,
        Some(0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_approves_over_a_unix_socket_is_recorded_by_the_user() {
    let _machine = share().await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = format!(
        "[admin]\naddress = \"unix:{}\"\n[listeners.vstp]\nenabled = false\n[listeners.http]\nenabled = false\n",
        folder.path().join("admin.sock").display()
    );
    let plugins = folder.path().join("plugins");
    fs::create_dir_all(&plugins).expect("made");
    fs::write(folder.path().join("postern.toml"), config).expect("written");
    fs::write(plugins.join("echo.toml"), "log-level = \"warn\"\n").expect("written");
    fs::write(plugins.join("echo.wasm"), component("echo")).expect("written");
    let mut command = command_in(folder.path());
    command
        .arg("run")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _gateway = ToolProcess::start(&mut command);
    let info = || postern(folder.path(), &["plugins", "info", "echo"]);
    patiently("it serves", async || info().out.contains("active")).await;
    let more = "[grants]\nservices = [\"users\"]\n";
    fs::write(plugins.join("echo.toml"), more).expect("written");
    patiently("it is held", async || info().out.contains("held ")).await;
    let approved = postern(folder.path(), &["plugins", "approve", "echo"]);
    assert_eq!(approved.code, Some(0), "{approved:?}");
    let uid = fs::metadata(folder.path()).expect("there").uid();
    let by = format!("uid {uid}");
    let log = postern(folder.path(), &["plugins", "log", "echo"]);
    assert!(
        log.out.contains(&format!("approved by operator {by}")),
        "{log:?}"
    );
    let record = folder.path().join(".postern/trust/echo/approvals.jsonl");
    let record = fs::read_to_string(record).expect("a record");
    let record: Value = serde_json::from_str(&record).expect("one line");
    let recorded = record["by"].as_str().expect("a text");
    assert!(recorded.starts_with(&by), "{record}");
}
