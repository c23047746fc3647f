//! Unary calls: answers, failures, the current call.

use postern_core::{Blame, Call, Handler, Kind};
use postern_wasm::{Outcome, PluginSpec};

use crate::guest::{Fixture, all, answer, call, small};

#[tokio::test]
async fn a_component_from_octets_answers() {
    let fixture = Fixture::new();
    let plugin = fixture
        .plugin("echo", &small(), PluginSpec::default())
        .await;
    assert_eq!(answer(&plugin, "any", b"hello").await, "hello");
    assert_eq!(answer(&plugin, "any", b"").await, "");
    assert_eq!(plugin.stats().snapshot().calls_with(Outcome::Ok), 2);
}

#[tokio::test]
async fn a_failure_reaches_the_caller_with_kind_text_and_details() {
    let fixture = Fixture::new();
    let plugin = fixture.plugin("all", &all(), PluginSpec::default()).await;
    let error = call(&plugin, "f", b"").await.unwrap_err();
    assert_eq!((error.kind, error.blame), (Kind::NotFound, Blame::Guest));
    assert_eq!(
        error.to_json(),
        r#"{"error":"no such thing","code":404,"details":{"id":7}}"#
    );
    assert_eq!(plugin.stats().snapshot().calls_with(Outcome::Failed), 1);
}

#[tokio::test]
async fn a_guest_reads_request_headers_and_sets_reply_headers() {
    let fixture = Fixture::new();
    let plugin = fixture.plugin("all", &all(), PluginSpec::default()).await;
    let mut request = Call::unary("test", "h", "");
    request.headers.push("x-test", "asked").unwrap();
    let reply = plugin.call(request).await.unwrap();
    assert_eq!(reply.headers.get_str("x-test").as_deref(), Some("ran"));
    assert_eq!(reply.body.into_one(100).await.unwrap(), "asked");
    // The next call of the same instance sees nothing of the one before.
    let error = call(&plugin, "h", b"").await.unwrap_err();
    assert_eq!(error.kind, Kind::NotFound);
}

#[tokio::test]
async fn an_instance_is_used_again() {
    let fixture = Fixture::new();
    let plugin = fixture.plugin("all", &all(), PluginSpec::default()).await;
    // One of the two warm instances was asked for its health; both count calls of `handle` only.
    assert_eq!(answer(&plugin, "c", b"").await[..], [1]);
    assert_eq!(answer(&plugin, "c", b"").await[..], [2]);
}

#[tokio::test]
async fn an_empty_slot_is_unavailable() {
    let fixture = Fixture::new();
    let plugin = postern_wasm::Plugin::new(&fixture.runtime, "users");
    let error = call(&plugin, "e", b"").await.unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable);
    assert_eq!(error.message, "plugin users has no version in service");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_from_many_tasks_all_get_their_own_answer() {
    let fixture = Fixture::new();
    let plugin = fixture
        .plugin("echo", &small(), PluginSpec::default())
        .await;
    let plugin = std::sync::Arc::new(plugin);
    let tasks = (0..64_u8).map(|number| {
        let plugin = std::sync::Arc::clone(&plugin);
        tokio::spawn(async move {
            for round in 0..50_u8 {
                let body = [number, round];
                assert_eq!(answer(&plugin, "e", &body).await[..], body);
                tokio::task::yield_now().await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(plugin.stats().snapshot().calls_with(Outcome::Ok), 64 * 50);
}

#[tokio::test]
async fn the_future_of_a_call_is_small() {
    let fixture = Fixture::new();
    let plugin = fixture
        .plugin("echo", &small(), PluginSpec::default())
        .await;
    let future = plugin.call(Call::unary("test", "e", ""));
    // It is copied when it is boxed. 1,500 octets are wasmtime's own.
    assert!(size_of_val(&*future) <= 1792, "{}", size_of_val(&*future));
}
