//! Keys of the configuration by what they do, on every listener that they name.

use std::time::Duration;

use postern_core::{Error, Kind};
use postern_tests::{CallerTransport, Gateway, Setup, call, component, connect};

use crate::share;

const KIB: usize = 1024;

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_the_level_and_the_form_that_are_configured() {
    let _machine = share().await;
    // Something to warn of.
    let start = async |log: &str| {
        let config = format!("[log]\n{log}\n[extensions.ghost]\nfail = \"open\"\n");
        let setup = Setup {
            config,
            ..Setup::default()
        };
        let mut gateway = Gateway::start(setup).await;
        // Whatever was logged is in the file when the process has ended.
        gateway.terminate().await;
        gateway.log()
    };
    let json = start("level = \"info\"\nformat = \"json\"").await;
    assert!(json.contains("\"message\":\"ready\""), "{json}");
    assert!(json.contains("no plugin ghost"), "{json}");
    let text = start("level = \"warn\"\nformat = \"text\"").await;
    assert!(text.contains("no plugin ghost"), "{text}");
    assert!(!text.contains("INFO") && !text.contains("{\""), "{text}");
}

/// A JSON text of `length` octets.
fn text(length: usize) -> String {
    format!("\"{}\"", "x".repeat(length - 2))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_message_of_any_call_or_reply_is_longer_than_body_bytes_max() {
    let _machine = share().await;
    let setup = Setup {
        config: "[calls]\nbody-bytes-max = \"1KiB\"\n".to_owned(),
        ..Setup::default()
    };
    let setup = setup
        .plugin("misbehave")
        .plugin("probe")
        .file("probe.toml", "[grants]\nservices = [\"*\"]\n");
    let gateway = Gateway::start(setup).await;
    let is_told = |error: &Error| {
        let over = format!("{} octets", KIB + 1);
        [&over, "limit of 1024", "calls.body-bytes-max"]
            .iter()
            .all(|part| error.message.contains(*part))
    };
    for transport in CallerTransport::ALL {
        let handler = connect(&gateway, transport).await;
        let ask = async |method: &str, body: String| call(&*handler, method, body).await;
        let fits = ask("misbehave/Echo", text(KIB)).await;
        assert_eq!(fits.expect("it fits").len(), KIB, "{transport}");
        let request = ask("misbehave/Echo", text(KIB + 1)).await;
        let error = request.expect_err("the request is too long");
        assert!(
            transport == CallerTransport::Http || is_told(&error),
            "{transport}: {error}"
        );
        let reply = ask("misbehave/BigOutput", "{\"bytes\":4000}".to_owned()).await;
        let error = reply.expect_err("the reply is too long");
        assert!(
            error.message.contains("calls.body-bytes-max"),
            "{transport}: {error}"
        );
        // A guest that calls through the import `client` is a caller like any other.
        let inner = r#"{"service":"misbehave","method":"BigOutput","body":{"bytes":4000}}"#;
        let error = ask("probe/Call", inner.to_owned()).await;
        let error = error.expect_err("what the guest was told");
        assert_eq!(error.kind, Kind::Internal, "{transport}: {error}");
        assert!(
            error.message.contains("calls.body-bytes-max"),
            "{transport}: {error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_not_watched_is_read_at_the_start_only() {
    let _machine = share().await;
    let setup = Setup {
        config: "[plugins]\nwatch = false\n".to_owned(),
        ..Setup::default()
    };
    let mut gateway = Gateway::start(setup.plugin("echo")).await;
    let status = async |gateway: &Gateway| gateway.admin("/plugins/users").await.expect("asked").0;
    gateway.deploy("users.wasm", &component("users"));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(status(&gateway).await, 404);
    gateway.restart().await;
    assert_eq!(status(&gateway).await, 200);
}
