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

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_over_an_empty_manifest_starts_the_last_good_pair_and_says_so() {
    let stage = Stage::start().await;
    stage.drop_in("greeter.toml", b"service = \"salute\"");
    stage.drop_answering("greeter.wasm", "hello");
    stage.until_answered("salute", "hello").await;
    stage.drop_in("greeter.toml", b"");
    let folder = stage.end().await;
    let stage = Stage::start_in(folder, "").await.expect("starts");
    stage.until_answered("salute", "hello").await;
    let view = || stage.gateway.control().plugin("greeter").expect("there");
    assert_eq!(view().source, Some("last-good"));
    let told = || {
        let degraded = stage.gateway.readiness().degraded().into_iter();
        degraded
            .filter(|reason| reason.message.contains("empty"))
            .map(|reason| reason.name)
            .collect::<Vec<_>>()
    };
    stage
        .until("told", || told() == ["generation", "source"])
        .await;
    stage.drop_in("greeter.toml", b"service = \"hail\"");
    stage.until_answered("hail", "hello").await;
    stage
        .until("nothing degraded", || {
            stage.gateway.readiness().degraded().is_empty()
        })
        .await;
    assert_eq!(view().source, Some("folder"));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_being_swapped_at_a_start_costs_no_copies() {
    let stage = Stage::start().await;
    stage.drop_answering("greeter.wasm", "hello");
    stage.until_answered("greeter", "hello").await;
    let folder = stage.end().await;
    // Another folder is being filled when the gateway starts, and what comes later is broken.
    let plugins = folder.path().join("plugins");
    std::fs::remove_dir_all(&plugins).expect("removed");
    std::fs::create_dir(&plugins).expect("created");
    std::fs::write(plugins.join("other.wasm"), guest::answering("other")).expect("written");
    let stage = Stage::start_in(folder, "").await.expect("starts");
    stage.until_answered("other", "other").await;
    stage.drop_in("greeter.wasm", b"broken");
    stage.until_answered("greeter", "hello").await;
    let view = stage.gateway.control().plugin("greeter").expect("there");
    assert_eq!(view.source, Some("last-good"));
    // What is found removed goes with its copies, also where nothing of it serves.
    let folder = stage.end().await;
    std::fs::remove_file(plugins.join("greeter.wasm")).expect("removed");
    let kept = folder.path().join("state/plugins/greeter");
    let stage = Stage::start_in(folder, "").await.expect("starts");
    assert!(kept.is_dir());
    stage.gateway.control().withdraw("greeter").await;
    assert!(!kept.exists());
    stage.end().await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_whose_writer_began_before_the_start_is_waited_for() {
    use std::io::Write as _;

    let folder = super::stage::folders();
    let plugins = folder.path().join("plugins");
    std::fs::write(plugins.join("greeter.wasm"), guest::answering("hello")).expect("written");
    let mut manifest = std::fs::File::create(plugins.join("greeter.toml")).expect("created");
    manifest.write_all(b"# more follows\n").expect("written");
    let stage = Stage::start_in(folder, "").await.expect("starts");
    let error = stage.ask("tcp", "greeter").await.expect_err("half a pair");
    assert_eq!(error.kind, postern_core::Kind::NotFound);
    manifest
        .write_all(b"service = \"salute\"\n")
        .expect("written");
    drop(manifest);
    stage.until_answered("salute", "hello").await;
    stage.ask("tcp", "greeter").await.expect_err("never served");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_that_cannot_start_leaves_history_and_service_as_they_were() {
    let stage = Stage::start().await;
    let granted = stage.folder.path().join("granted");
    std::fs::create_dir(&granted).expect("created");
    for (service, grant) in [("one", false), ("two", true), ("three", false)] {
        let mut manifest = format!("service = \"{service}\"\n");
        if grant {
            manifest += &format!("[grants]\nfiles = [\"{}:/data\"]", granted.display());
        }
        stage.drop_in("greeter.toml", manifest.as_bytes());
        if service == "one" {
            stage.drop_answering("greeter.wasm", "hello");
        }
        stage.until_answered(service, "hello").await;
    }
    let view = || stage.gateway.control().plugin("greeter").expect("there");
    let state = || {
        let kept = stage.folder.path().join("state/plugins/greeter/state.json");
        std::fs::read_to_string(kept).expect("noted")
    };
    let (before, noted) = (view(), state());
    std::fs::remove_dir(&granted).expect("removed");
    for _ in 0..2 {
        let error = rollback(&stage).await.expect_err("nothing is granted");
        assert!(error.contains("does not exist"), "{error}");
        assert_eq!(
            (view().generation, view().source, view().skipped),
            (before.generation, before.source, None)
        );
        assert_eq!(state(), noted);
        stage.until_answered("three", "hello").await;
    }
    std::fs::create_dir(&granted).expect("created");
    rollback(&stage).await.expect("it is still the one before");
    stage.until_answered("two", "hello").await;
    rollback(&stage).await.expect("and that the one before it");
    stage.until_answered("one", "hello").await;
    let error = rollback(&stage).await.expect_err("none is left");
    assert_eq!(error, "plugin greeter has no generation before this one");
    // What comes next begins the history anew.
    stage.drop_in("greeter.toml", b"service = \"four\"");
    stage.until_answered("four", "hello").await;
    rollback(&stage).await.expect("kept");
    stage.until_answered("one", "hello").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_to_a_service_that_another_holds_changes_nothing() {
    let stage = Stage::start().await;
    stage.drop_in("greeter.toml", b"service = \"one\"");
    stage.drop_answering("greeter.wasm", "old");
    stage.until_answered("one", "old").await;
    stage.drop_in("greeter.toml", b"service = \"two\"");
    stage.until_answered("two", "old").await;
    stage.drop_answering("greeter.wasm", "new");
    stage.until_answered("two", "new").await;
    stage.drop_in("other.toml", b"service = \"one\"");
    stage.drop_answering("other.wasm", "other");
    stage.until_answered("one", "other").await;
    rollback(&stage).await.expect("of the same service");
    stage.until_answered("two", "old").await;
    let generation = || {
        let view = stage.gateway.control().plugin("greeter");
        view.expect("there").generation
    };
    let before = generation();
    // Nothing may depend on compiled code, which anybody may remove.
    let cache = stage.folder.path().join("state/cache");
    for file in std::fs::read_dir(cache).expect("there") {
        std::fs::remove_file(file.expect("a file").path()).expect("removed");
    }
    let error = rollback(&stage).await.expect_err("another holds it");
    assert!(error.contains("held by plugin other"), "{error}");
    assert_eq!(generation(), before);
    stage.until_answered("two", "old").await;
    stage.until_answered("one", "other").await;
    std::fs::remove_file(stage.plugin_path("other.wasm")).expect("removed");
    stage
        .until("other is gone", || {
            stage.gateway.control().plugin("other").is_none()
        })
        .await;
    rollback(&stage).await.expect("it is free");
    stage.until_answered("one", "old").await;
    stage.end().await;
}
