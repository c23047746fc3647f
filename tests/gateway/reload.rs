//! Plugins replaced under load: no call fails, and what cannot serve never gets the chance to.
//!
//! 30 swaps unless `POSTERN_SOAK=1` asks for 200; then memory is compared, too.

use std::time::Duration;

use bytes::Bytes;
use postern_tests::{Door, Gateway, Load, Setup, component, connect, patiently, rss_bytes};
use serde_json::json;

use crate::{figure, own, share};

/// Most that resident memory may grow from the 20th swap to the last, in percent.
const GROWTH_PERCENT_MAX: f64 = 5.0;
const SWAPS_TO_SETTLE: usize = 20;

/// A file that must not replace what serves, and a part of the reason that is given.
struct Bad {
    what: &'static str,
    file: Bytes,
    reason: &'static str,
}

fn bad_files() -> Vec<Bad> {
    let users = component("users");
    let bad = |what, file, reason| Bad { what, file, reason };
    vec![
        bad("truncated", users.slice(..users.len() / 2), "out of bounds"),
        bad(
            "garbage",
            Bytes::from_static(b"this is no component at all"),
            "magic",
        ),
        bad(
            "unknown import",
            component("unknown-import"),
            "acme:things/teapot@1.0.0",
        ),
        bad("health traps", component("health-trap"), "unreachable"),
        bad("health loops", component("health-loop"), "time limit 1 s"),
        bad(
            "health says no",
            component("not-serving"),
            "the database is away",
        ),
        bad(
            "wrong world",
            component("wrong-world"),
            "acme:greeting/greeter@1.0.0",
        ),
    ]
}

/// The same component under another digest: a custom section at the end changes nothing else.
fn variant(component: &Bytes, n: usize) -> Bytes {
    let content = format!("\u{4}swap{n:08}");
    let length = u8::try_from(content.len()).expect("short");
    [component, &[0, length][..], content.as_bytes()]
        .concat()
        .into()
}

/// What the gateway says of the plugin `users`.
async fn users(gateway: &Gateway) -> serde_json::Value {
    gateway.admin_json("/plugins/users").await
}

async fn swap_good(gateway: &Gateway, file: &Bytes) {
    let before = users(gateway).await["generation"].clone();
    gateway.deploy("users.wasm", file);
    patiently("the good file takes the calls", async || {
        users(gateway).await["generation"] != before
    })
    .await;
}

async fn swap_bad(gateway: &Gateway, bad: &Bad) {
    let before = users(gateway).await;
    gateway.deploy("users.wasm", &bad.file);
    patiently(bad.what, async || {
        users(gateway).await["reloads_refused"] != before["reloads_refused"]
    })
    .await;
    let after = users(gateway).await;
    assert_eq!(
        after["generation"], before["generation"],
        "{}: {after}",
        bad.what
    );
    assert_eq!(after["state"], "active", "{}: {after}", bad.what);
    let reason = after["refusal"]["reason"].as_str().unwrap_or_default();
    assert!(
        reason.contains(bad.reason),
        "{}: `{}` in `{reason}`",
        bad.what,
        bad.reason
    );
    let list = gateway.postern(&["plugins", "list"]);
    assert!(list.out.contains(bad.reason), "{}: {list:?}", bad.what);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_while_plugins_are_swapped() {
    let _machine = own().await;
    let is_soak = std::env::var_os("POSTERN_SOAK").is_some();
    let n_swaps = if is_soak { 200 } else { 30 };
    let good = component("users");
    let gateway = Gateway::start(Setup::default().plugin("users")).await;
    let body = Bytes::from(json!({"page_size": 1}).to_string());
    let mut loads = Vec::new();
    for door in Door::ALL {
        let handler = connect(&gateway, door).await;
        let load = Load::start(
            &handler,
            "users/ListUsers",
            &body,
            2,
            Duration::from_millis(1),
        );
        loads.push((door, load));
    }

    let bad_files = bad_files();
    let mut rss_settled = 0;
    for n in 1..=n_swaps {
        swap_good(&gateway, &variant(&good, n)).await;
        // Each bad file once, spread over the first swaps.
        if let Some(bad) = n.checked_sub(2).and_then(|index| bad_files.get(index)) {
            swap_bad(&gateway, bad).await;
        }
        if n == SWAPS_TO_SETTLE {
            rss_settled = rss_bytes(gateway.id());
        }
    }
    let rss_last = rss_bytes(gateway.id());
    for (door, load) in loads {
        let outcome = load.stop().await;
        figure(&format!("{n_swaps} swaps, {door}: {}", outcome.answered));
        assert!(
            outcome.failures.is_empty(),
            "{door}: {:?}",
            outcome.failures
        );
        assert!(
            outcome.answered.len() > n_swaps,
            "{door}: {}",
            outcome.answered
        );
    }
    let growth = (rss_last as f64 / rss_settled as f64 - 1.0) * 100.0;
    figure(&format!(
        "resident after {SWAPS_TO_SETTLE} swaps {} KiB, after {n_swaps} {} KiB: {growth:+.1} %",
        rss_settled / 1024,
        rss_last / 1024
    ));
    if is_soak {
        assert!(growth <= GROWTH_PERCENT_MAX, "grew by {growth:.1} %");
    }
}

#[tokio::test]
async fn a_restart_with_a_broken_file_starts_what_worked_last() {
    let _machine = share().await;
    let mut gateway = Gateway::start(Setup::default().plugin("users")).await;
    let digest = users(&gateway).await["digest"].clone();
    gateway.deploy("users.wasm", b"broken");
    gateway.restart().await;
    let after = users(&gateway).await;
    assert_eq!(
        (&after["state"], &after["digest"]),
        (&json!("active"), &digest),
        "{after}"
    );
    assert_eq!(after["source"], "last-good", "{after}");
    assert!(after["refusal"]["reason"].is_string(), "{after}");
}

#[tokio::test]
async fn rollback_brings_back_the_generation_before() {
    let _machine = share().await;
    let gateway = Gateway::start(Setup::default().plugin("users")).await;
    let first = users(&gateway).await["digest"].clone();
    swap_good(&gateway, &variant(&component("users"), 1)).await;
    assert_ne!(users(&gateway).await["digest"], first);
    let rollback = gateway.postern(&["plugins", "rollback", "users"]);
    assert_eq!(rollback.code, Some(0), "{rollback:?}");
    assert_eq!(users(&gateway).await["digest"], first);
}
