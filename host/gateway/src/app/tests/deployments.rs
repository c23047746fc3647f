//! Component and manifest are one deployment: rolled back to, kept and started again together.

use super::{fixture::GatewayFixture, guest};

async fn rollback(fixture: &GatewayFixture) -> Result<(), String> {
    let rolled = fixture.gateway.control().rollback("greeter", "ada").await;
    rolled.map_err(|refused| refused.to_string())
}

/// One component with three manifests, one after the other; each names another service.
async fn three_manifests(fixture: &GatewayFixture) {
    for name in ["one", "two", "three"] {
        fixture.drop_in("greeter.toml", format!("service = \"{name}\"").as_bytes());
        if name == "one" {
            fixture.drop_answering("greeter.wasm", "hello");
        }
        fixture.until_answered(name, "hello").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rollbacks_go_back_one_manifest_each() {
    let fixture = GatewayFixture::start().await;
    three_manifests(&fixture).await;
    rollback(&fixture).await.expect("the second is kept");
    fixture.until_answered("two", "hello").await;
    fixture
        .ask("tcp", "three")
        .await
        .expect_err("rolled back from");
    rollback(&fixture).await.expect("the first is kept");
    fixture.until_answered("one", "hello").await;
    let error = rollback(&fixture).await.expect_err("none is left");
    assert_eq!(error, "plugin greeter has no generation before this one");
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_brings_the_old_component_with_its_old_manifest() {
    let fixture = GatewayFixture::start().await;
    fixture.drop_in("greeter.toml", b"service = \"one\"");
    fixture.drop_answering("greeter.wasm", "old");
    fixture.until_answered("one", "old").await;
    fixture.drop_answering("greeter.wasm", "new");
    fixture.until_answered("one", "new").await;
    fixture.drop_in("greeter.toml", b"service = \"two\"");
    fixture.until_answered("two", "new").await;
    rollback(&fixture).await.expect("kept");
    fixture.until_answered("one", "new").await;
    rollback(&fixture).await.expect("kept");
    fixture.until_answered("one", "old").await;
    // Touched, nothing new lies there; a restart finds the same.
    fixture.drop_in("greeter.wasm", &guest::answering("new"));
    let folder = fixture.end().await;
    let fixture = GatewayFixture::start_in(folder, "").await.expect("starts");
    fixture.until_answered("one", "old").await;
    let view = fixture.gateway.control().plugin("greeter").expect("there");
    assert_eq!(view.source, Some("rollback"));
    let skipped = view.skipped.expect("what lies in the folder");
    assert!(skipped.manifest.is_some() && Some(skipped.component) != view.digest);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_over_a_broken_manifest_starts_the_last_good_pair_and_says_so() {
    let fixture = GatewayFixture::start().await;
    fixture.drop_in("greeter.toml", b"service = \"salute\"");
    fixture.drop_answering("greeter.wasm", "hello");
    fixture.until_answered("salute", "hello").await;
    fixture.drop_in("greeter.toml", b"servce = \"salute\"");
    let view =
        |fixture: &GatewayFixture| fixture.gateway.control().plugin("greeter").expect("there");
    fixture
        .until("a refusal", || view(&fixture).refusal.is_some())
        .await;
    let folder = fixture.end().await;
    let fixture = GatewayFixture::start_in(folder, "").await.expect("starts");
    fixture.until_answered("salute", "hello").await;
    assert_eq!(view(&fixture).source, Some("last-good"));
    assert!(view(&fixture).refusal.is_some());
    let ready = fixture.admin("GET", "/readyz").await;
    let degraded = &ready.json()["degraded"][0];
    assert_eq!(
        (ready.status, &degraded["name"]),
        (200, &"generation".into())
    );
    assert_eq!(degraded["subject"], "greeter");
    // Mended, it is taken, and nothing is left to look at.
    fixture.drop_in("greeter.toml", b"service = \"hail\"");
    fixture.until_answered("hail", "hello").await;
    fixture
        .until("nothing degraded", || {
            fixture.gateway.readiness().degraded().is_empty()
        })
        .await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_over_an_empty_manifest_starts_the_last_good_pair_and_says_so() {
    let fixture = GatewayFixture::start().await;
    fixture.drop_in("greeter.toml", b"service = \"salute\"");
    fixture.drop_answering("greeter.wasm", "hello");
    fixture.until_answered("salute", "hello").await;
    fixture.drop_in("greeter.toml", b"");
    let folder = fixture.end().await;
    let fixture = GatewayFixture::start_in(folder, "").await.expect("starts");
    fixture.until_answered("salute", "hello").await;
    let view = || fixture.gateway.control().plugin("greeter").expect("there");
    assert_eq!(view().source, Some("last-good"));
    let told = || {
        let degraded = fixture.gateway.readiness().degraded().into_iter();
        degraded
            .filter(|reason| reason.message.contains("empty"))
            .map(|reason| reason.name)
            .collect::<Vec<_>>()
    };
    fixture
        .until("told", || told() == ["generation", "source"])
        .await;
    fixture.drop_in("greeter.toml", b"service = \"hail\"");
    fixture.until_answered("hail", "hello").await;
    fixture
        .until("nothing degraded", || {
            fixture.gateway.readiness().degraded().is_empty()
        })
        .await;
    assert_eq!(view().source, Some("folder"));
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_being_swapped_at_a_start_costs_no_copies() {
    let fixture = GatewayFixture::start().await;
    fixture.drop_answering("greeter.wasm", "hello");
    fixture.until_answered("greeter", "hello").await;
    let folder = fixture.end().await;
    // Another folder is being filled when the gateway starts, and what comes later is broken.
    let plugins = folder.path().join("plugins");
    std::fs::remove_dir_all(&plugins).expect("removed");
    std::fs::create_dir(&plugins).expect("created");
    std::fs::write(plugins.join("other.wasm"), guest::answering("other")).expect("written");
    let fixture = GatewayFixture::start_in(folder, "").await.expect("starts");
    fixture.until_answered("other", "other").await;
    fixture.drop_in("greeter.wasm", b"broken");
    fixture.until_answered("greeter", "hello").await;
    let view = fixture.gateway.control().plugin("greeter").expect("there");
    assert_eq!(view.source, Some("last-good"));
    // What is found removed goes with its copies, also where nothing of it serves.
    let folder = fixture.end().await;
    std::fs::remove_file(plugins.join("greeter.wasm")).expect("removed");
    let kept = folder.path().join("state/plugins/greeter");
    let fixture = GatewayFixture::start_in(folder, "").await.expect("starts");
    assert!(kept.is_dir());
    fixture.gateway.control().withdraw("greeter").await;
    assert!(!kept.exists());
    fixture.end().await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_whose_writer_began_before_the_start_is_waited_for() {
    use std::io::Write as _;

    let folder = super::fixture::folders();
    let plugins = folder.path().join("plugins");
    std::fs::write(plugins.join("greeter.wasm"), guest::answering("hello")).expect("written");
    let mut manifest = std::fs::File::create(plugins.join("greeter.toml")).expect("created");
    manifest.write_all(b"# more follows\n").expect("written");
    let fixture = GatewayFixture::start_in(folder, "").await.expect("starts");
    let error = fixture
        .ask("tcp", "greeter")
        .await
        .expect_err("half a pair");
    assert_eq!(error.kind, postern_core::Kind::NotFound);
    manifest
        .write_all(b"service = \"salute\"\n")
        .expect("written");
    drop(manifest);
    fixture.until_answered("salute", "hello").await;
    fixture
        .ask("tcp", "greeter")
        .await
        .expect_err("never served");
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_that_cannot_start_leaves_history_and_service_as_they_were() {
    let fixture = GatewayFixture::start().await;
    let granted = fixture.folder.path().join("granted");
    std::fs::create_dir(&granted).expect("created");
    for (service, grant) in [("one", false), ("two", true), ("three", false)] {
        let mut manifest = format!("service = \"{service}\"\n");
        if grant {
            manifest += &format!("[grants]\nfiles = [\"{}:/data\"]", granted.display());
        }
        fixture.drop_in("greeter.toml", manifest.as_bytes());
        if service == "one" {
            fixture.drop_answering("greeter.wasm", "hello");
        }
        fixture.until_answered(service, "hello").await;
    }
    let view = || fixture.gateway.control().plugin("greeter").expect("there");
    let state = || {
        let kept = fixture
            .folder
            .path()
            .join("state/plugins/greeter/state.json");
        std::fs::read_to_string(kept).expect("noted")
    };
    // A deployment is noted once it answers.
    let n_before = || state().matches("component").count() - 1;
    fixture
        .until("the third is noted", || n_before() == 2)
        .await;
    let (before, noted) = (view(), state());
    std::fs::remove_dir(&granted).expect("removed");
    for _ in 0..2 {
        let error = rollback(&fixture).await.expect_err("nothing is granted");
        assert!(error.contains("does not exist"), "{error}");
        assert_eq!(
            (view().generation, view().source, view().skipped),
            (before.generation, before.source, None)
        );
        assert_eq!(state(), noted);
        fixture.until_answered("three", "hello").await;
    }
    std::fs::create_dir(&granted).expect("created");
    rollback(&fixture)
        .await
        .expect("it is still the one before");
    fixture.until_answered("two", "hello").await;
    rollback(&fixture)
        .await
        .expect("and that the one before it");
    fixture.until_answered("one", "hello").await;
    let error = rollback(&fixture).await.expect_err("none is left");
    assert_eq!(error, "plugin greeter has no generation before this one");
    // What comes next begins the history anew.
    fixture.drop_in("greeter.toml", b"service = \"four\"");
    fixture.until_answered("four", "hello").await;
    rollback(&fixture).await.expect("kept");
    fixture.until_answered("one", "hello").await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_to_a_service_that_another_holds_changes_nothing() {
    let fixture = GatewayFixture::start().await;
    fixture.drop_in("greeter.toml", b"service = \"one\"");
    fixture.drop_answering("greeter.wasm", "old");
    fixture.until_answered("one", "old").await;
    fixture.drop_in("greeter.toml", b"service = \"two\"");
    fixture.until_answered("two", "old").await;
    fixture.drop_answering("greeter.wasm", "new");
    fixture.until_answered("two", "new").await;
    fixture.drop_in("other.toml", b"service = \"one\"");
    fixture.drop_answering("other.wasm", "other");
    fixture.until_answered("one", "other").await;
    rollback(&fixture).await.expect("of the same service");
    fixture.until_answered("two", "old").await;
    let generation = || {
        let view = fixture.gateway.control().plugin("greeter");
        view.expect("there").generation
    };
    let before = generation();
    // Nothing may depend on compiled code, which anybody may remove.
    let cache = fixture.folder.path().join("state/cache");
    for file in std::fs::read_dir(cache).expect("there") {
        std::fs::remove_file(file.expect("a file").path()).expect("removed");
    }
    let error = rollback(&fixture).await.expect_err("another holds it");
    assert!(error.contains("held by plugin other"), "{error}");
    assert_eq!(generation(), before);
    fixture.until_answered("two", "old").await;
    fixture.until_answered("one", "other").await;
    std::fs::remove_file(fixture.plugin_path("other.wasm")).expect("removed");
    fixture
        .until("other is gone", || {
            fixture.gateway.control().plugin("other").is_none()
        })
        .await;
    rollback(&fixture).await.expect("it is free");
    fixture.until_answered("one", "old").await;
    fixture.end().await;
}
