//! Calls into guests: answers, failures, the current call, limits and traps.

mod guest;

use std::time::{Duration, Instant};

use guest::{House, all, answer, call, small};
use postern_core::{Blame, Call, Handler, Headers, Kind};
use postern_wasm::{Outcome, PluginLimits, PluginSpec, TrapReason};

#[tokio::test]
async fn a_component_from_octets_answers() {
    let house = House::new();
    let plugin = house.plugin("echo", &small(), PluginSpec::default()).await;
    assert_eq!(answer(&plugin, "any", b"hello").await, "hello");
    assert_eq!(answer(&plugin, "any", b"").await, "");
    assert_eq!(plugin.stats().snapshot().calls_with(Outcome::Ok), 2);
}

#[tokio::test]
async fn a_failure_reaches_the_caller_with_kind_text_and_details() {
    let house = House::new();
    let plugin = house.plugin("all", &all(), PluginSpec::default()).await;
    let error = call(&plugin, "f", b"").await.unwrap_err();
    assert_eq!((error.kind, error.blame), (Kind::NotFound, Blame::Guest));
    assert_eq!(error.to_json(), r#"{"error":"no such thing","code":404,"details":{"id":7}}"#);
    assert_eq!(plugin.stats().snapshot().calls_with(Outcome::Failed), 1);
}
