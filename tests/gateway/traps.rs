//! What becomes of a plugin that traps again and again (`on-trap`): refused, passed by, rolled back, in quarantine;
//! told as an event, counted, and shown.

use std::time::Duration;

use postern_core::{Error, Handler, Kind};
use postern_net::{Client, ClientConfig, Target};
use postern_tests::{CallerTransport, Gateway, Setup, call, component, connect, patiently};
use serde_json::{Value, json};

use crate::{annotations::over_http, share};

/// Two traps close it, for a long time.
const TRAPS: &str =
    "[traps]\nthreshold = 2\nwindow = \"10m\"\nback-off = \"1m\"\nback-off-max = \"10m\"\n";

fn setup(on_trap: &str) -> Setup {
    let manifest = format!("on-trap = \"{on_trap}\"\n{TRAPS}");
    Setup::default().file("misbehave.toml", manifest)
}

/// Makes the plugin trap twice.
async fn trap_twice(handler: &dyn Handler) {
    for _ in 0..2 {
        let error = call(handler, "misbehave/Trap", "null").await;
        assert_eq!(error.expect_err("it traps").kind, Kind::Internal);
    }
}

async fn echo(handler: &dyn Handler) -> Result<(), Error> {
    call(handler, "misbehave/Echo", "1").await.map(drop)
}

async fn shown(gateway: &Gateway) -> Value {
    gateway.admin_json("/plugins/misbehave").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_plugin_refuses_with_the_time_to_come_again_and_is_told_counted_and_shown() {
    let _machine = share().await;
    let gateway = Gateway::start(setup("closed").plugin("misbehave")).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let subscriber = Client::connect(Target::tcp(gateway.vstp), ClientConfig::default()).await;
    let subscriber = subscriber.expect("a session");
    let mut events = subscriber.events();
    let topics = json!({"topics": ["postern.plugins.*.*"]}).to_string();
    call(&subscriber, "events/subscribe", topics)
        .await
        .expect("subscribed");
    trap_twice(&*handler).await;
    let error = echo(&*handler).await.expect_err("it is closed");
    assert_eq!(error.kind, Kind::Unavailable, "{error}");
    let expected = "2 traps within 600 s, the last: unreachable";
    assert!(error.message.ends_with(expected), "{error}");
    let told = over_http(&gateway, "/v1/services/misbehave/Echo", "1").await;
    let told = String::from_utf8_lossy(&told);
    assert!(told.starts_with("HTTP/1.1 503 "), "{told}");
    let after = told
        .split_once("retry-after: ")
        .and_then(|(_, rest)| rest.split_once('\r'));
    let seconds = after.and_then(|(seconds, _)| seconds.parse::<u64>().ok());
    assert!(
        seconds.is_some_and(|seconds| (1..=60).contains(&seconds)),
        "{told}"
    );
    let event = tokio::time::timeout(Duration::from_secs(30), events.next()).await;
    let event = event.expect("in time").expect("an event").event;
    assert_eq!(event.topic.as_str(), "postern.plugins.misbehave.closed");
    let payload: Value = serde_json::from_slice(&event.payload).expect("json");
    assert_eq!(payload["plugin"], "misbehave");
    assert_eq!(payload["on-trap"], "closed");
    assert_eq!(payload["reason"], expected);
    let plugin = shown(&gateway).await;
    assert_eq!(
        (&plugin["state"], &plugin["on_trap"]["policy"]),
        (&json!("closed"), &json!("closed"))
    );
    let (_, numbers) = gateway.admin("/metrics").await.expect("numbers");
    let sample = "postern_plugin_trap_changes_total{plugin=\"misbehave\",state=\"closed\"} 1\n";
    assert!(numbers.contains(sample), "{numbers}");
    let lines = gateway.log();
    let lines = lines
        .lines()
        .filter(|line| line.contains("takes no calls for its traps"));
    assert_eq!(lines.count(), 1);
    // Nobody else says such things.
    let forged = json!({"topic": "postern.plugins.misbehave.serving", "payload": 1}).to_string();
    let forged = call(&*handler, "events/publish", forged).await;
    assert_eq!(forged.expect_err("refused").kind, Kind::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_plugin_takes_calls_again_after_its_back_off() {
    let _machine = share().await;
    // What no manifest says is said for all plugins.
    let config =
        "[plugins]\non-trap = \"closed\"\n[plugins.traps]\nthreshold = 1\nback-off = \"100ms\"\n";
    let setup = Setup {
        config: config.to_owned(),
        ..Setup::default()
    };
    let gateway = Gateway::start(setup.plugin("misbehave")).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    call(&*handler, "misbehave/Trap", "null")
        .await
        .expect_err("it traps");
    patiently("it is tried again", async || echo(&*handler).await.is_ok()).await;
    let plugin = shown(&gateway).await;
    assert_eq!(plugin["state"], "active", "{plugin}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantined_plugin_leaves_service_until_an_operator_or_a_new_file_lets_it_back() {
    let _machine = share().await;
    let gateway = Gateway::start(setup("quarantine").plugin("misbehave")).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    for lets_back in ["operator", "file"] {
        trap_twice(&*handler).await;
        patiently("it has left service", async || {
            let plugin = shown(&gateway).await;
            plugin["health"]["status"] == "not-serving" && plugin["state"] == "quarantined"
        })
        .await;
        let error = echo(&*handler).await.expect_err("it is in quarantine");
        assert_eq!(error.kind, Kind::Unavailable, "{error}");
        let info = gateway.postern(&["plugins", "info", "misbehave"]);
        assert!(info.out.contains("quarantined"), "{info:?}");
        if lets_back == "operator" {
            let released = gateway.postern(&["plugins", "release", "misbehave"]);
            assert_eq!(released.code, Some(0), "{released:?}");
            let again = gateway.postern(&["plugins", "release", "misbehave"]);
            assert_ne!(again.code, Some(0), "{again:?}");
            assert!(
                again.err.contains("not kept from taking calls"),
                "{again:?}"
            );
        } else {
            gateway.deploy("misbehave.wasm", &marked(&component("misbehave"), b'a'));
        }
        patiently("it serves", async || echo(&*handler).await.is_ok()).await;
        patiently("it is shown", async || {
            shown(&gateway).await["state"] == "active"
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_before_is_put_back_into_service() {
    let _machine = share().await;
    let gateway = Gateway::start(setup("last-good").plugin("misbehave")).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let good = shown(&gateway).await["digest"].clone();
    gateway.deploy("misbehave.wasm", &marked(&component("misbehave"), b'b'));
    patiently("the second serves", async || {
        shown(&gateway).await["generation"] == 2
    })
    .await;
    trap_twice(&*handler).await;
    patiently("the first is back", async || {
        let plugin = shown(&gateway).await;
        plugin["source"] == "rollback" && plugin["digest"] == good
    })
    .await;
    patiently("it answers", async || echo(&*handler).await.is_ok()).await;
    // There is nothing before the first: it backs off.
    trap_twice(&*handler).await;
    patiently("it says so", async || {
        gateway.log().contains("no version before takes the calls")
    })
    .await;
    assert_eq!(shown(&gateway).await["state"], "closed");
}

/// A component with a mark that makes its digest another one.
fn marked(component: &[u8], mark: u8) -> Vec<u8> {
    [component, &[0, 2, 1, mark]].concat()
}

/// An interceptor that traps where a method begins with `t`.
fn interceptor() -> Vec<u8> {
    let text = include_str!("../../host/wasm/tests/plugin/guest/interceptor.wat");
    let types = include_str!("../../host/wasm/tests/plugin/guest/types.wat");
    wat::parse_str(text.replace("(; TYPES ;)", types)).expect("the guest's text is right")
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_pass_by_an_open_interceptor_that_traps_again_and_again() {
    let _machine = share().await;
    let manifest = format!("on-trap = \"open\"\n{TRAPS}[extension]\nenabled = true\n");
    let setup = Setup::default()
        .file("strict.toml", manifest)
        .file("strict.wasm", interceptor());
    let gateway = Gateway::start(setup.plugin("echo")).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    // One that a manifest names stands in the way once it is loaded, and other plugins may serve before.
    patiently("it stands in the way", async || {
        let chain = gateway.admin_json("/extensions").await;
        chain["extensions"]
            .as_array()
            .is_some_and(|all| !all.is_empty())
    })
    .await;
    // It fails closed: what it cannot see is refused, until it has trapped too often.
    for _ in 0..2 {
        let error = call(&*handler, "echo/trap", "1")
            .await
            .expect_err("refused");
        assert_eq!(error.kind, Kind::Unavailable, "{error}");
    }
    patiently("calls pass by it", async || {
        call(&*handler, "echo/Echo", "1").await.is_ok()
    })
    .await;
    let chain = gateway.admin_json("/extensions").await;
    assert!(
        chain["extensions"][0]["failed_open"].as_u64() > Some(0),
        "{chain}"
    );
    assert_eq!(
        gateway.admin_json("/plugins/strict").await["state"],
        "closed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn open_is_refused_for_a_plugin_that_answers_calls_itself() {
    let _machine = share().await;
    let gateway = Gateway::start(setup("open").plugin("misbehave").plugin("echo")).await;
    let plugin = shown(&gateway).await;
    assert_eq!(plugin["state"], "refused", "{plugin}");
    let checked = gateway.postern(&["check"]);
    let said = format!("{}{}", checked.out, checked.err);
    assert_ne!(checked.code, Some(0), "{said}");
    assert!(said.contains("answers them itself"), "{said}");
}
