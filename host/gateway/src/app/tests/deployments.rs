//! Component and manifest are one deployment: rolled back to, kept and started again together.

use super::{guest, stage::Stage};

async fn rollback(stage: &Stage) -> Result<(), String> {
    let rolled = stage.gateway.control().rollback("greeter").await;
    rolled.map_err(|refused| refused.to_string())
}

/// One component with three manifests, one after the other; each names another service.
async fn three_manifests(stage: &Stage) {
    for name in ["one", "two", "three"] {
        stage.drop_in("greeter.toml", format!("service = \"{name}\"").as_bytes());
        if name == "one" {
            stage.drop_answering("greeter.wasm", "hello");
        }
        stage.until_answered(name, "hello").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rollbacks_go_back_one_manifest_each() {
    let stage = Stage::start().await;
    three_manifests(&stage).await;
    rollback(&stage).await.expect("the second is kept");
    stage.until_answered("two", "hello").await;
    stage
        .ask("tcp", "three")
        .await
        .expect_err("rolled back from");
    rollback(&stage).await.expect("the first is kept");
    stage.until_answered("one", "hello").await;
    let error = rollback(&stage).await.expect_err("none is left");
    assert_eq!(error, "plugin greeter has no generation before this one");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_brings_the_old_component_with_its_old_manifest() {
    let stage = Stage::start().await;
    stage.drop_in("greeter.toml", b"service = \"one\"");
    stage.drop_answering("greeter.wasm", "old");
    stage.until_answered("one", "old").await;
    stage.drop_answering("greeter.wasm", "new");
    stage.until_answered("one", "new").await;
    stage.drop_in("greeter.toml", b"service = \"two\"");
    stage.until_answered("two", "new").await;
    rollback(&stage).await.expect("kept");
    stage.until_answered("one", "new").await;
    rollback(&stage).await.expect("kept");
    stage.until_answered("one", "old").await;
    // Touched, nothing new lies there; a restart finds the same.
    stage.drop_in("greeter.wasm", &guest::answering("new"));
    let folder = stage.end().await;
    let stage = Stage::start_in(folder, "").await.expect("starts");
    stage.until_answered("one", "old").await;
    let view = stage.gateway.control().plugin("greeter").expect("there");
    assert_eq!(view.source, Some("rollback"));
    let skipped = view.skipped.expect("what lies in the folder");
    assert!(skipped.manifest.is_some() && Some(skipped.component) != view.digest);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_over_a_broken_manifest_starts_the_last_good_pair_and_says_so() {
    let stage = Stage::start().await;
    stage.drop_in("greeter.toml", b"service = \"salute\"");
    stage.drop_answering("greeter.wasm", "hello");
    stage.until_answered("salute", "hello").await;
    stage.drop_in("greeter.toml", b"servce = \"salute\"");
    let view = |stage: &Stage| stage.gateway.control().plugin("greeter").expect("there");
    stage
        .until("a refusal", || view(&stage).refusal.is_some())
        .await;
    let folder = stage.end().await;
    let stage = Stage::start_in(folder, "").await.expect("starts");
    stage.until_answered("salute", "hello").await;
    assert_eq!(view(&stage).source, Some("last-good"));
    assert!(view(&stage).refusal.is_some());
    let ready = stage.admin("GET", "/readyz").await;
    let degraded = &ready.json()["degraded"][0];
    assert_eq!(
        (ready.status, &degraded["name"]),
        (200, &"generation".into())
    );
    assert_eq!(degraded["subject"], "greeter");
    // Mended, it is taken, and nothing is left to look at.
    stage.drop_in("greeter.toml", b"service = \"hail\"");
    stage.until_answered("hail", "hello").await;
    stage
        .until("nothing degraded", || {
            stage.gateway.readiness().degraded().is_empty()
        })
        .await;
    stage.end().await;
}
