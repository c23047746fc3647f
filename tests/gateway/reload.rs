//! Plugins replaced under load: no call fails, and what cannot serve never gets the chance to.
//!
//! 30 swaps unless `POSTERN_SOAK` asks for 200 (`1`) or for so many; memory is compared in either case.
//! `languages` does the same with guests in other languages, whose long form is longer.

mod languages;

use std::{fs, time::Duration};

use bytes::Bytes;
use postern_tests::{
    CallerTransport, Gateway, Load, Setup, component, connect, patiently, rss_bytes,
};
use serde_json::json;

use crate::{figure, own, share};

/// Most that resident memory may grow from the 20th swap to the last, in percent.
const GROWTH_PERCENT_MAX: f64 = 5.0;
const SWAPS_TO_SETTLE: usize = 20;
/// Rounds that are gone through once more, and the swaps of each, while it has grown by more.
const ROUNDS_MORE_MAX: usize = 3;
const SWAPS_MORE: usize = 10;
/// For what ended with the last generation to be given back.
const REST: Duration = Duration::from_secs(2);

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
        bad("health loops", component("health-loop"), " 1 s"),
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
pub(crate) fn variant(component: &Bytes, n: usize) -> Bytes {
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

/// Swaps to go through: more than those to settle.
fn n_swaps() -> usize {
    let asked = std::env::var("POSTERN_SOAK").ok();
    let asked = asked.map(|text| text.parse().unwrap_or(1));
    match asked {
        None => SWAPS_TO_SETTLE + 10,
        Some(n) if n > SWAPS_TO_SETTLE => n,
        Some(_) => 200,
    }
}

/// Resident memory once the generations before have ended and what they had is given back; the load
/// goes on meanwhile. The median of five readings: a reading may meet a health check.
async fn rss_at_rest(gateway: &Gateway, plugin: &str) -> u64 {
    let path = format!("/plugins/{plugin}");
    patiently("generations before have ended", async || {
        gateway.admin_json(&path).await["draining"] == 0
    })
    .await;
    tokio::time::sleep(REST).await;
    let mut readings = [0; 5];
    for reading in &mut readings {
        *reading = rss_bytes(gateway.id());
        tokio::time::sleep(REST / 20).await;
    }
    readings.sort_unstable();
    readings[2]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_while_plugins_are_swapped() {
    let _machine = own().await;
    let n_swaps = n_swaps();
    let good = component("users");
    let gateway = Gateway::start(Setup::default().plugin("users")).await;
    let body = Bytes::from(json!({"page_size": 1}).to_string());
    let mut loads = Vec::new();
    for transport in CallerTransport::ALL {
        let handler = connect(&gateway, transport).await;
        let load = Load::start(
            &handler,
            "users/ListUsers",
            &body,
            2,
            Duration::from_millis(1),
        );
        loads.push((transport, load));
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
            rss_settled = rss_at_rest(&gateway, "users").await;
        }
    }
    let mut rss_last = rss_at_rest(&gateway, "users").await;
    let mut n_swaps = n_swaps;
    // What a compilation has left in a fragment goes with one of the next; what leaks grows with them.
    for _ in 0..ROUNDS_MORE_MAX {
        if growth_percent(rss_settled, rss_last) <= GROWTH_PERCENT_MAX {
            break;
        }
        for n in n_swaps + 1..=n_swaps + SWAPS_MORE {
            swap_good(&gateway, &variant(&good, n)).await;
        }
        n_swaps += SWAPS_MORE;
        rss_last = rss_at_rest(&gateway, "users").await;
    }
    for (transport, load) in loads {
        let outcome = load.stop().await;
        figure(&format!(
            "{n_swaps} swaps, {transport}: {}",
            outcome.answered
        ));
        assert!(
            outcome.failures.is_empty(),
            "{transport}: {:?}",
            outcome.failures
        );
        assert!(
            outcome.answered.len() > n_swaps,
            "{transport}: {}",
            outcome.answered
        );
    }
    let growth = growth_percent(rss_settled, rss_last);
    figure(&format!(
        "resident after {SWAPS_TO_SETTLE} swaps {} KiB, after {n_swaps} {} KiB: {growth:+.1} %",
        rss_settled / 1024,
        rss_last / 1024
    ));
    assert!(growth <= GROWTH_PERCENT_MAX, "grew by {growth:.1} %");
}

fn growth_percent(before: u64, after: u64) -> f64 {
    (after as f64 / before as f64 - 1.0) * 100.0
}

/// A huge page is resident as a whole for as long as any of it is in use, so that resident memory
/// follows the fragments that compilations leave and not what is alive. Whether the kernel gives huge
/// pages unasked is the machine's affair; that none were asked for shows in the flags of the mappings.
#[tokio::test]
async fn the_allocator_does_not_ask_for_huge_pages() {
    let _machine = share().await;
    let gateway = Gateway::start(Setup::default().plugin("echo")).await;
    let maps = fs::read_to_string(format!("/proc/{}/smaps", gateway.id())).expect("linux tells it");
    let flags: Vec<_> = maps
        .lines()
        .filter_map(|line| line.strip_prefix("VmFlags:"))
        .collect();
    assert!(!flags.is_empty(), "no flags in {maps}");
    let n_huge = flags
        .iter()
        .filter(|flags| flags.split_whitespace().any(|flag| flag == "hg"))
        .count();
    assert_eq!(n_huge, 0, "mappings of {}", flags.len());
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
