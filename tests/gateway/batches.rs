//! Calls that arrive together enter a component together; nobody who calls can tell.

use std::sync::Arc;

use futures_util::future::join_all;
use postern_core::{Call, Error, Handler, Reply};
use postern_tests::{CallerTransport, Gateway, Setup, connect};
use serde_json::Value;

use crate::share;

/// Calls of one burst.
const BURST: usize = 24;

/// What becomes of calls that are written one behind the other.
async fn burst(
    handler: &Arc<dyn Handler>,
    calls: impl IntoIterator<Item = Call>,
) -> Vec<Result<Reply, Error>> {
    join_all(calls.into_iter().map(|call| handler.call(call))).await
}

async fn text(reply: Reply) -> String {
    let body = reply.body.into_one(1 << 20).await.expect("one message");
    String::from_utf8_lossy(&body).into_owned()
}

/// Entries that answered several calls, the calls that they answered, entries that were undone.
async fn batches(gateway: &Gateway, plugin: &str) -> [u64; 3] {
    let plugin: Value = gateway.admin_json(&format!("/plugins/{plugin}")).await;
    let count = |name: &str| plugin["batches"][name].as_u64().unwrap_or_default();
    ["answered", "calls", "undone"].map(count)
}

#[tokio::test]
async fn a_burst_is_answered_in_few_entries_and_each_call_with_its_own() {
    let _machine = share().await;
    for transport in [CallerTransport::Tcp, CallerTransport::Udp] {
        let gateway = Gateway::start(Setup::default().plugin("echo")).await;
        let handler = connect(&gateway, transport).await;
        for n in 0..10 {
            let body = |index: usize| format!("{n}/{index}");
            let calls = (0..BURST).map(|index| Call::unary("echo", "Echo", body(index)));
            for (index, outcome) in burst(&handler, calls).await.into_iter().enumerate() {
                assert_eq!(text(outcome.expect("an echo")).await, body(index));
            }
        }
        let [answered, calls, undone] = batches(&gateway, "echo").await;
        assert!(
            answered > 0 && calls >= 2 * answered,
            "{transport}: {answered}, {calls}"
        );
        assert_eq!(undone, 0, "{transport}");
        let plugin = gateway.admin_json("/plugins/echo").await;
        assert_eq!(
            plugin["calls"]["ok"],
            10 * BURST,
            "{transport}: each counts"
        );
    }
}

#[tokio::test]
async fn each_call_of_a_burst_sees_itself_and_sets_its_own_headers() {
    let _machine = share().await;
    let gateway = Gateway::start(Setup::default().plugin("probe")).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let calls = (0..BURST).map(|index| {
        let mut call = Call::unary("probe", "Header", "\"x-number\"");
        let value = index.to_string();
        call.headers.push("x-number", value).expect("short");
        call
    });
    for (index, outcome) in burst(&handler, calls).await.into_iter().enumerate() {
        assert_eq!(
            text(outcome.expect("a header")).await,
            format!("\"{index}\"")
        );
    }
    let calls = (0..BURST).map(|index| {
        let body = format!("[[\"x-reply\",\"{index}\"]]");
        Call::unary("probe", "SetHeaders", body)
    });
    for (index, outcome) in burst(&handler, calls).await.into_iter().enumerate() {
        let reply = outcome.expect("a reply");
        let header = reply.headers.get_str("x-reply");
        assert_eq!(header.as_deref(), Some(&*index.to_string()));
    }
    let [answered, _, undone] = batches(&gateway, "probe").await;
    assert!(answered > 0 && undone == 0, "{answered}, {undone}");
}

#[tokio::test]
async fn a_trap_in_a_burst_is_told_to_one_call() {
    let _machine = share().await;
    let gateway = Gateway::start(Setup::default().plugin("misbehave")).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    // Only those of one method go together: of two bodies, one cannot be read and one takes more
    // memory than there is.
    let body = |index: usize| match index {
        7 => "{\"bytes\":900000000}".to_owned(),
        9 => "nonsense".to_owned(),
        _ => format!("{{\"bytes\":{index}}}"),
    };
    let calls = (0..BURST).map(|index| Call::unary("misbehave", "Hold", body(index)));
    for (index, outcome) in burst(&handler, calls).await.into_iter().enumerate() {
        match (index, outcome) {
            (7, outcome) => {
                let error = outcome.expect_err("too much");
                let text = "plugin misbehave trapped: out of memory limit 64 MiB";
                assert_eq!(error.message, text);
            }
            (9, outcome) => {
                let error = outcome.expect_err("nonsense");
                assert_eq!(error.kind.name(), "invalid-argument", "{error}");
            }
            (index, outcome) => {
                let held = text(outcome.expect("held")).await;
                assert_eq!(held, format!("{{\"bytes\":{index}}}"));
            }
        }
    }
    let plugin = gateway.admin_json("/plugins/misbehave").await;
    assert_eq!(plugin["traps"]["memory-limit"], 1, "{plugin}");
    assert_eq!(plugin["calls"]["trapped"], 1, "{plugin}");
    assert_eq!(plugin["calls"]["failed"], 1, "{plugin}");
    assert_eq!(plugin["calls"]["ok"], BURST - 2, "{plugin}");
    assert!(batches(&gateway, "misbehave").await[2] > 0, "{plugin}");
}
