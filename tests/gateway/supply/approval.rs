//! A version that asks for more than the one before waits for an operator.

use std::fs;

use postern_tests::{Gateway, Setup, ToolProcess, command_in, component, patiently, postern};
use serde_json::{Value, json};

use super::{answers, metric, refused, serves, shows};
use crate::share;

const LESS: &str = "# nothing\n";
const MORE: &str = "[grants]\nservices = [\"users\"]\n[limits]\nmemory = \"128MiB\"\n";
const OTHER: &str = "[grants]\nservices = [\"users\", \"payments\"]\n";

/// A gateway that serves `echo` with the manifest `manifest`, under these keys of `[plugins]`.
async fn serving(manifest: &str, plugins: &str) -> Gateway {
    let setup = Setup {
        holds: true,
        config: format!("[plugins]\n{plugins}\n"),
        ..Setup::default()
    };
    Gateway::start(setup.plugin("echo").file("echo.toml", manifest)).await
}

/// What is held, once something is.
async fn held(gateway: &Gateway) -> Value {
    refused(gateway, "echo", "held until it is approved").await["held"].clone()
}

/// The digests in the log of approvals.
fn approvals(gateway: &Gateway) -> Vec<String> {
    let path = gateway.folder().join(".postern/trust/echo/approvals.jsonl");
    let text = fs::read_to_string(path).unwrap_or_default();
    let digests = text.lines().map(|line| {
        let record: Value = serde_json::from_str(line).expect("a record");
        record["digest"].as_str().unwrap_or_default().to_owned()
    });
    digests.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_asks_for_more_is_held_until_it_is_approved() {
    let _machine = share().await;
    // `approval` is not set: this is the default.
    let mut gateway = serving(LESS, "").await;
    gateway.deploy("echo.toml", MORE.as_bytes());
    let held = held(&gateway).await;
    let growth = [
        "grants.services: \"users\"",
        "limits.memory: \"128MiB\" instead of \"64MiB\"",
    ];
    assert_eq!(held["growth"], json!(growth));
    let plugin = gateway.admin_json("/plugins/echo").await;
    assert_eq!(
        (&plugin["generation"], &plugin["state"]),
        (&json!(1), &json!("active"))
    );
    assert!(answers(&gateway).await, "the version before serves");
    assert_eq!(metric(&gateway, "postern_plugin_held", "echo").await, "1");
    let list = gateway.postern(&["plugins", "list"]);
    assert!(
        list.out.contains("held until it is approved"),
        "{}",
        list.out
    );
    let info = gateway.postern(&["plugins", "info", "echo"]);
    for line in growth {
        assert!(info.out.contains(line), "{line}: {}", info.out);
    }
    patiently("it is in the log", async || {
        gateway.log().contains("plugin held until it is approved")
    })
    .await;
    let (_, ready) = gateway.admin("/readyz").await.expect("it answers");
    assert!(
        ready.contains("not what lies in the folder: held"),
        "{ready}"
    );

    let approved = gateway.postern(&["plugins", "approve", "echo"]);
    assert_eq!(approved.code, Some(0), "{approved:?}");
    assert!(
        approved.out.contains("generation 2 takes the calls"),
        "{}",
        approved.out
    );
    let plugin = gateway.admin_json("/plugins/echo").await;
    assert_eq!(plugin["generation"], 2);
    assert!(
        plugin["held"].is_null() && plugin["refusal"].is_null(),
        "{plugin}"
    );
    assert_eq!(metric(&gateway, "postern_plugin_held", "echo").await, "0");
    assert_eq!(json!(approvals(&gateway)), json!([held["digest"]]));

    gateway.restart().await;
    let plugin = gateway.admin_json("/plugins/echo").await;
    assert_eq!(plugin["approvals"][0]["digest"], held["digest"], "{plugin}");
    assert_eq!(plugin["source"], "folder", "it is approved: {plugin}");
    let again = gateway.postern(&["plugins", "approve", "echo"]);
    assert_eq!(again.code, Some(1));
    assert!(
        again.err.contains("nothing of plugin echo is held"),
        "{}",
        again.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_of_what_was_looked_at_and_of_nothing_else() {
    let _machine = share().await;
    let gateway = serving(LESS, "approval = \"growth\"").await;
    gateway.deploy("echo.toml", MORE.as_bytes());
    let first = held(&gateway).await["digest"].clone();
    gateway.deploy("echo.toml", OTHER.as_bytes());
    let second = shows(&gateway, "echo", "the other is held", |plugin| {
        plugin["held"]["digest"].is_string() && plugin["held"]["digest"] != first
    })
    .await["held"]["digest"]
        .clone();
    let approve = |digest: &Value| {
        let digest = digest
            .as_str()
            .expect("a digest")
            .get(..12)
            .expect("64 digits");
        gateway.postern(&["plugins", "approve", "echo", "--digest", digest])
    };
    let refused = approve(&first);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("look at it again"), "{}", refused.err);
    assert_eq!(gateway.admin_json("/plugins/echo").await["generation"], 1);
    let approved = approve(&second);
    assert_eq!(approved.code, Some(0), "{approved:?}");
    // The first one was not approved by that, and asks for more memory than the second.
    gateway.deploy("echo.toml", MORE.as_bytes());
    assert_eq!(held(&gateway).await["digest"], first);
    // What asks for less needs nobody.
    gateway.deploy("echo.toml", LESS.as_bytes());
    shows(&gateway, "echo", "less is taken", |plugin| {
        plugin["generation"] == 3
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_grew_while_nobody_looked_is_held_as_well() {
    let _machine = share().await;
    let mut gateway = serving(LESS, "").await;
    // Written while the gateway is down.
    gateway.terminate().await;
    gateway.deploy("echo.toml", MORE.as_bytes());
    gateway.start_again().await;
    let plugin = refused(&gateway, "echo", "held until it is approved").await;
    assert_eq!(plugin["source"], "last-good", "{plugin}");
    assert!(answers(&gateway).await);
    // Taken away and put back: the last good copies go, what it asked for is remembered.
    gateway.remove("echo.wasm");
    gateway.remove("echo.toml");
    patiently("it is gone", async || {
        matches!(gateway.admin("/plugins/echo").await, Ok((404, _)))
    })
    .await;
    gateway.deploy("echo.toml", MORE.as_bytes());
    gateway.deploy("echo.wasm", &component("echo"));
    let plugin = refused(&gateway, "echo", "held until it is approved").await;
    assert_eq!(plugin["generation"], 0, "nothing of it serves: {plugin}");
    // The state of a check is the gateway's own.
    let checked = gateway.postern(&["check"]);
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(
        checked.out.contains("held until it is approved"),
        "{}",
        checked.out
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_name_of_a_file_is_no_way_around_an_approval_where_nothing_serves() {
    let _machine = share().await;
    let mut gateway = serving(LESS, "").await;
    gateway.remove("echo.wasm");
    gateway.remove("echo.toml");
    patiently("it is gone", async || {
        matches!(gateway.admin("/plugins/echo").await, Ok((404, _)))
    })
    .await;
    gateway.deploy("echo@2.toml", MORE.as_bytes());
    gateway.deploy("echo@2.wasm", &component("echo"));
    refused(&gateway, "echo@2", "held until it is approved").await;
    // Also where it lies there at the start, and its name comes before all others.
    gateway.terminate().await;
    gateway.deploy("echo@0.toml", MORE.as_bytes());
    gateway.deploy("echo@0.wasm", &component("echo"));
    gateway.start_again().await;
    let plugin = refused(&gateway, "echo@0", "held until it is approved").await;
    assert_eq!(plugin["generation"], 0, "nothing of it serves: {plugin}");
    // What asks for no more than what has served needs nobody.
    gateway.deploy("echo@3.toml", LESS.as_bytes());
    gateway.deploy("echo@3.wasm", &component("echo"));
    shows(&gateway, "echo@3", "it is taken", |plugin| {
        plugin["generation"] == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_imports_more_is_held() {
    let _machine = share().await;
    let setup = Setup {
        holds: true,
        ..Setup::default()
    };
    let gateway = Gateway::start(setup.plugin("echo")).await;
    gateway.deploy("echo.wasm", &component("probe"));
    let growth = held(&gateway).await["growth"].to_string();
    assert!(
        growth.contains("imports: postern:gateway/client"),
        "{growth}"
    );
    assert!(!growth.contains("postern:gateway/log"), "{growth}");
}

#[tokio::test(flavor = "multi_thread")]
async fn approval_of_always_holds_the_first_and_off_none() {
    let _machine = share().await;
    let setup = Setup {
        holds: true,
        config: "[plugins]\napproval = \"always\"\n".to_owned(),
        ..Setup::default()
    };
    let mut gateway = Gateway::start(setup).await;
    gateway.deploy("echo.wasm", &component("echo"));
    let plugin = refused(&gateway, "echo", "held until it is approved").await;
    assert_eq!(plugin["state"], "refused", "{plugin}");
    let approved = gateway.postern(&["plugins", "approve", "echo"]);
    assert_eq!(approved.code, Some(0), "{approved:?}");
    serves(&gateway).await;
    // Each version, also one that asks for no more.
    gateway.deploy("echo.toml", LESS.as_bytes());
    let growth = held(&gateway).await["growth"].clone();
    assert_eq!(growth, json!([]));
    // A changed configuration lifts it.
    let path = gateway.folder().join("postern.toml");
    let text = fs::read_to_string(&path).expect("readable");
    let text = text.replace("approval = \"always\"", "approval = \"off\"");
    fs::write(&path, text).expect("written");
    shows(&gateway, "echo", "it is taken", |plugin| {
        plugin["generation"] == 2
    })
    .await;
    gateway.deploy("echo.toml", MORE.as_bytes());
    shows(&gateway, "echo", "more is taken, too", |plugin| {
        plugin["generation"] == 3
    })
    .await;
    gateway.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_develops_is_not_asked() {
    let _machine = share().await;
    let mut gateway = serving(LESS, "").await;
    gateway.terminate().await;
    // The same folder and addresses.
    let _dev = ToolProcess::start(command_in(gateway.folder()).arg("dev"));
    patiently("it is ready", async || {
        matches!(gateway.admin("/readyz").await, Ok((200, _)))
    })
    .await;
    gateway.deploy("echo.toml", MORE.as_bytes());
    shows(&gateway, "echo", "more is taken", |plugin| {
        plugin["generation"] == 2
    })
    .await;
    let shown = postern(gateway.folder(), &["plugins", "info", "echo"]);
    assert!(!shown.out.contains("held"), "{}", shown.out);
}
