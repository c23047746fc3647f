//! What the author and the callers of a plugin are told: why it was stopped, what it printed, that it is still
//! loading, that a role is always late.

use std::fmt::Write as _;

use postern_core::Kind;
use postern_tests::{
    CallerTransport, Gateway, Setup, ToolProcess, call, command_in, component, connect, patiently,
};
use serde_json::Value;

use crate::{annotations::over_http, http::raw::ask, share};

/// A log for people.
fn in_text() -> Setup {
    Setup {
        config: "[log]\nformat = \"text\"\n".to_owned(),
        ..Setup::default()
    }
}

/// A gateway with the guest `misbehave`.
async fn gateway() -> Gateway {
    Gateway::start(in_text().plugin("misbehave")).await
}

/// The one line of the log that contains `part`.
async fn line_with(gateway: &Gateway, part: &str) -> String {
    patiently(part, async || gateway.log().contains(part)).await;
    let log = gateway.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains(part)).collect();
    assert_eq!(lines.len(), 1, "{part}: {lines:?}");
    lines.concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_is_one_record_with_the_names_of_its_call_and_what_the_guest_said() {
    let _machine = share().await;
    let gateway = gateway().await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let panicked = call(&*handler, "misbehave/Panic", "null").await;
    let error = panicked.expect_err("it panics");
    // What it said is for its author.
    assert_eq!(error.message, "plugin misbehave trapped: unreachable");
    let line = line_with(&gateway, "stopped: unreachable").await;
    for part in [
        "WARN plugin: ",
        "plugin=\"misbehave\"",
        "role=\"handler\"",
        "service=\"misbehave\"",
        "method=\"Panic\"",
        // The first call of its session.
        "correlation=\"1\"",
        "reason=\"unreachable\"",
        "this guest was asked to panic",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    // The next call of the same plugin is told of with its own words only.
    call(&*handler, "misbehave/Trap", "null")
        .await
        .expect_err("it traps");
    let line = line_with(&gateway, "method=\"Trap\"").await;
    assert!(!line.contains("asked to panic"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_guest_prints_is_logged_and_no_line_of_it_looks_like_another() {
    let _machine = share().await;
    let gateway = gateway().await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let text = "\"printed\\r2026-01-31T12:00:00.000000Z ERROR postern: forged\\n\\u001b[31mred\"";
    call(&*handler, "misbehave/Print", text)
        .await
        .expect("it prints");
    let line = line_with(&gateway, "forged").await;
    assert!(line.contains("INFO plugin: \"printed\\r2026"), "{line}");
    assert!(line.contains("stream=\"stdout\""), "{line}");
    let line = line_with(&gateway, "[31mred").await;
    assert!(!line.contains('\u{1b}'), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_refused_for_a_trap_says_why_in_its_own_words() {
    let _machine = share().await;
    let gateway = Gateway::start(Setup::default()).await;
    gateway.deploy("health-trap.wasm", &component("health-trap"));
    let reason = async || {
        // It is not known before it is seen.
        let (_, plugin) = gateway.admin("/plugins/health-trap").await.ok()?;
        let plugin: Value = serde_json::from_str(&plugin).ok()?;
        plugin["refusal"]["reason"].as_str().map(str::to_owned)
    };
    patiently("it is refused", async || reason().await.is_some()).await;
    let reason = reason().await.expect("a reason");
    assert!(reason.contains("health: "), "{reason}");
    assert!(
        reason.contains("the table `users` is not there"),
        "{reason}"
    );
    let info = gateway.postern(&["plugins", "info", "health-trap"]);
    assert!(
        info.out.contains("the table `users` is not there"),
        "{info:?}"
    );
}

/// A component that takes long to compile: it has so many functions.
fn large() -> Vec<u8> {
    let mut functions = String::new();
    for n in 0..1000 {
        let mut body = String::from("(local.get 0)");
        for step in 0..40 {
            write!(
                body,
                "(i32.const {})(i32.xor)(local.get 0)(i32.mul)",
                n + step
            )
            .expect("text");
        }
        write!(
            functions,
            "(func (export \"f{n}\") (param i32) (result i32) {body})"
        )
        .expect("text");
    }
    let small = include_str!("../../host/wasm/tests/plugin/guest/small.wat");
    let marked = "(global $heap";
    let text = small.replacen(marked, &format!("{functions}\n    {marked}"), 1);
    wat::parse_str(text).expect("a component")
}

/// Asks the plugin `large`, which is loading or has just come, by the forms of Connect.
async fn loading_over_connect(gateway: &Gateway) {
    let get = |query: &str| {
        format!(
            "GET /large/Any?encoding=json&message=1{query} HTTP/1.1\r\nhost: x.localhost\r\n\r\n"
        )
    };
    let post = "POST /large/Any HTTP/1.1\r\nhost: x.localhost\r\ncontent-type: application/json\r\n\
                content-length: 1\r\n\r\n1";
    for request in [get("&connect=v1"), get(""), post.to_owned()] {
        let told = ask(gateway.http, &request).await;
        let is_loading = told.starts_with("HTTP/1.1 503 ")
            && told.contains("\r\nretry-after: 1\r\n")
            && told.contains("\"code\":\"unavailable\"");
        // It says of no method that it changes nothing, and describes none.
        let refusals = ["HTTP/1.1 405 ", "HTTP/1.1 404 "];
        let is_there = refusals.iter().any(|refusal| told.starts_with(refusal));
        let asked_again = call(
            &*connect(gateway, CallerTransport::Tcp).await,
            "large/Any",
            "1",
        )
        .await;
        assert!(
            is_loading || is_there && asked_again.is_ok(),
            "{request}: {told}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_compiled_for_the_first_time_is_loading_and_not_unknown() {
    let _machine = share().await;
    let gateway = Gateway::start(Setup::default()).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let unknown = call(&*handler, "large/Any", "1")
        .await
        .expect_err("nothing");
    assert_eq!(unknown.kind, Kind::NotFound);
    let manifest = "[routes.any]\npath = \"/large\"\nmethod = \"Any\"\n";
    gateway.deploy("large.toml", manifest.as_bytes());
    gateway.deploy("large.wasm", &large());
    // Over VSTP, until it is there: first unknown, then loading, then it answers.
    let mut n_loading = 0;
    patiently("it answers", async || {
        match call(&*handler, "large/Any", "1").await {
            Ok(_) => true,
            Err(error) if error.kind == Kind::NotFound => {
                assert_eq!(n_loading, 0, "it was known already: {error}");
                false
            }
            Err(error) => {
                assert_eq!(error.kind, Kind::Unavailable, "{error}");
                assert!(error.message.contains("plugin large is loading"), "{error}");
                assert!(error.retry_after().is_some(), "{error:?}");
                for path in ["/v1/services/large/Any", "/large"] {
                    let told = over_http(&gateway, path, "1").await;
                    let told = String::from_utf8_lossy(&told).into_owned();
                    let is_loading = told.starts_with("HTTP/1.1 503 ")
                        && told.contains("\r\nretry-after: 1\r\n")
                        && told.contains("plugin large is loading");
                    // It may have become ready between the two.
                    assert!(is_loading || told.starts_with("HTTP/1.1 200 "), "{told}");
                }
                loading_over_connect(&gateway).await;
                n_loading += 1;
                false
            }
        }
    })
    .await;
    assert!(n_loading > 0, "it was never seen loading");
}

const SHOP: &str = r#"syntax = "proto3";
package shop;
import "google/api/annotations.proto";
message Asked { string id = 1; }
service Large {
  rpc Any(Asked) returns (Asked) {
    option idempotency_level = NO_SIDE_EFFECTS;
    option (google.api.http) = { get: "/large/{id}" };
  }
}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_schema_names_is_loading_and_not_unknown_while_its_component_is_compiled() {
    let _machine = share().await;
    let gateway = Gateway::start(Setup::default()).await;
    gateway.deploy("large.proto", SHOP.as_bytes());
    gateway.deploy("large.wasm", &large());
    let targets = [
        "/large/7",
        "/shop.Large/Any?encoding=json&message=%7B%7D&connect=v1",
    ];
    let mut n_loading = [0; 2];
    patiently("it is there", async || {
        for (target, n_loading) in targets.iter().zip(&mut n_loading) {
            let request = format!("GET {target} HTTP/1.1\r\nhost: x.localhost\r\n\r\n");
            let told = ask(gateway.http, &request).await;
            if told.starts_with("HTTP/1.1 503 ") {
                assert!(told.contains("\r\nretry-after: 1\r\n"), "{told}");
                *n_loading += 1;
            }
        }
        let (_, plugin) = gateway.admin("/plugins/large").await.expect("it answers");
        let plugin: Value = serde_json::from_str(&plugin).unwrap_or_default();
        plugin["generation"].as_u64() > Some(0)
    })
    .await;
    assert!(n_loading.iter().all(|n| *n > 0), "{n_loading:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_is_always_late_is_told_of_once_with_the_key_to_raise() {
    let _machine = share().await;
    let manifest = "extension = { enabled = true }\n[budgets]\ninterceptor = \"1us\"\n";
    let setup = in_text().file("tag.toml", manifest);
    let gateway = Gateway::start(setup.plugin("echo").plugin("tag")).await;
    let handler = connect(&gateway, CallerTransport::Http).await;
    for _ in 0..20 {
        call(&*handler, "echo/Echo", "{}")
            .await
            .expect_err("the interceptor is broken off");
    }
    let line = line_with(&gateway, "raise budgets.interceptor").await;
    for part in ["WARN", "plugin=\"tag\"", "request-interceptor", "1µs"] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_develops_a_plugin_is_told_its_own_words_in_the_error() {
    let _machine = share().await;
    let mut gateway = Gateway::start(Setup::default().plugin("misbehave")).await;
    gateway.terminate().await;
    // The same folder and addresses.
    let _dev = ToolProcess::start(command_in(gateway.folder()).arg("dev"));
    patiently("it is ready", async || {
        matches!(gateway.admin("/readyz").await, Ok((200, _)))
    })
    .await;
    let told = over_http(&gateway, "/v1/services/misbehave/Panic", "null").await;
    let told = String::from_utf8_lossy(&told).into_owned();
    let words = "plugin misbehave trapped: unreachable: this guest was asked to panic (at ";
    assert!(told.contains(words), "{told}");
}
