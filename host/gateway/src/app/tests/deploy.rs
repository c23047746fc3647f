//! A file becomes a service, another version of it, nothing again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use postern_core::Kind;

use super::{guest, stage::Stage};
use crate::{app::parts::Parts, config::Config, control::PluginState, directory::LocalService};

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_file_answers_over_every_transport() {
    let stage = Stage::start().await;
    assert_eq!(
        stage.ask("tcp", "greeter").await.expect_err("nobody").kind,
        Kind::NotFound
    );
    stage.drop_answering("greeter.wasm", "hello");
    stage.until_answered("greeter", "hello").await;
    for transport in ["tcp", "udp", "http"] {
        assert_eq!(
            stage.ask(transport, "greeter").await.expect("answered"),
            "hello",
            "{transport}"
        );
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_file_is_a_new_generation_and_a_broken_one_is_none() {
    let stage = Stage::start().await;
    stage.drop_answering("greeter.wasm", "one");
    stage.until_answered("greeter", "one").await;
    stage.drop_answering("greeter.wasm", "two");
    stage.until_answered("greeter", "two").await;
    stage.drop_in("greeter.wasm", b"\0asm garbage");
    let view = || stage.gateway.control().plugin("greeter").expect("there");
    stage.until("a refusal", || view().refusal.is_some()).await;
    assert_eq!(
        stage.ask("tcp", "greeter").await.expect("still answered"),
        "two"
    );
    assert_eq!((view().state, view().generation), (PluginState::Active, 2));
    stage.drop_answering("greeter.wasm", "three");
    stage.until_answered("greeter", "three").await;
    // The swap comes first, what is told of it a moment later.
    stage
        .until("no refusal any more", || view().refusal.is_none())
        .await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_file_is_no_new_generation_and_a_changed_manifest_is() {
    let stage = Stage::start().await;
    stage.drop_answering("greeter.wasm", "hello");
    stage.until_answered("greeter", "hello").await;
    stage.drop_answering("greeter.wasm", "hello");
    stage.drop_answering("other.wasm", "other");
    stage.until_answered("other", "other").await;
    assert_eq!(
        stage
            .gateway
            .control()
            .plugin("greeter")
            .expect("there")
            .generation,
        1
    );
    stage.drop_in("greeter.toml", b"service = \"salute\"\nversion = \"1.2.3\"");
    stage.until_answered("salute", "hello").await;
    let services = stage.gateway.services();
    let salute = services.iter().find(|service| service.name == "salute");
    let version = salute.and_then(|service| service.version.as_deref());
    assert_eq!(version, Some("1.2.3"));
    assert_eq!(
        stage.ask("tcp", "greeter").await.expect_err("renamed").kind,
        Kind::NotFound
    );
    stage.drop_in("greeter.toml", b"servce = \"salute\"");
    let view = || stage.gateway.control().plugin("greeter").expect("there");
    stage.until("a refusal", || view().refusal.is_some()).await;
    let reason = view().refusal.expect("refused").reason;
    assert!(
        reason.contains("greeter.toml:1:1") && reason.contains("servce"),
        "{reason}"
    );
    assert_eq!(
        stage.ask("tcp", "salute").await.expect("still answered"),
        "hello"
    );
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_file_is_no_service_any_more() {
    let stage = Stage::start().await;
    stage.drop_answering("greeter.wasm", "hello");
    stage.until_answered("greeter", "hello").await;
    std::fs::remove_file(stage.plugin_path("greeter.wasm")).expect("removed");
    stage
        .until("removal", || {
            stage.gateway.control().plugin("greeter").is_none()
        })
        .await;
    assert_eq!(
        stage.ask("tcp", "greeter").await.expect_err("gone").kind,
        Kind::NotFound
    );
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_later_of_two_that_claim_one_service_waits_until_the_first_has_gone() {
    let stage = Stage::start().await;
    stage.drop_answering("greeter.wasm", "first");
    stage.until_answered("greeter", "first").await;
    stage.drop_in("rival.toml", b"service = \"greeter\"");
    stage.drop_answering("rival.wasm", "second");
    let refusal = || {
        stage
            .gateway
            .control()
            .plugin("rival")
            .and_then(|rival| rival.refusal)
    };
    stage.until("a refusal", || refusal().is_some()).await;
    let reason = refusal().expect("refused").reason;
    assert!(reason.contains("held by plugin greeter"), "{reason}");
    assert_eq!(
        stage.ask("tcp", "greeter").await.expect("answered"),
        "first"
    );
    std::fs::remove_file(stage.plugin_path("greeter.wasm")).expect("removed");
    stage.until_answered("greeter", "second").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_over_a_broken_file_starts_what_last_worked() {
    let stage = Stage::start().await;
    stage.drop_answering("greeter.wasm", "good");
    stage.until_answered("greeter", "good").await;
    stage.drop_in("greeter.wasm", b"broken");
    let folder = stage.end().await;
    let stage = Stage::start_in(folder, "").await.expect("starts");
    assert_eq!(stage.ask("tcp", "greeter").await.expect("answered"), "good");
    let view = stage.gateway.control().plugin("greeter").expect("there");
    assert_eq!(view.source, Some("last-good"));
    assert!(view.refusal.is_some());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_never_worked_says_why_to_its_callers() {
    let stage = Stage::start().await;
    stage.drop_in("greeter.wasm", b"broken");
    let view = || stage.gateway.control().plugin("greeter");
    stage
        .until("a refusal", || {
            view().is_some_and(|view| view.refusal.is_some())
        })
        .await;
    let error = stage.ask("tcp", "greeter").await.expect_err("nobody alive");
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(
        error.message.contains("plugin greeter was refused"),
        "{}",
        error.message
    );
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_survives_a_restart() {
    let stage = Stage::start().await;
    stage.drop_answering("greeter.wasm", "old");
    stage.until_answered("greeter", "old").await;
    stage.drop_answering("greeter.wasm", "new");
    stage.until_answered("greeter", "new").await;
    stage
        .gateway
        .control()
        .rollback("greeter")
        .await
        .expect("rolls back");
    assert_eq!(stage.ask("tcp", "greeter").await.expect("answered"), "old");
    let folder = stage.end().await;
    let stage = Stage::start_in(folder, "").await.expect("starts");
    assert_eq!(stage.ask("tcp", "greeter").await.expect("answered"), "old");
    let view = stage.gateway.control().plugin("greeter").expect("there");
    assert_eq!(
        (view.source, view.skipped.is_some()),
        (Some("rollback"), true)
    );
    stage.drop_answering("greeter.wasm", "newer");
    stage.until_answered("greeter", "newer").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_component_answers_soon_after_it_was_dropped() {
    let stage = Stage::start().await;
    stage.drop_answering("greeter.wasm", "hello");
    stage.until_answered("greeter", "hello").await;
    std::fs::remove_file(stage.plugin_path("greeter.wasm")).expect("removed");
    stage
        .until("removal", || {
            stage.gateway.control().plugin("greeter").is_none()
        })
        .await;
    let octets = guest::answering("hello");
    stage.drop_in("greeter.wasm", &octets);
    let took = stage.until_answered("greeter", "hello").await;
    // The target is 50 ms in a release build on a quiet machine; this one shares its cores.
    assert!(took.as_millis() < 1000, "{took:?}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_directory_learned_before_it_was_followed_has_a_route() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = Config {
        data_dir: folder.path().to_owned(),
        ..Config::default()
    };
    let Parts { control, .. } = Parts::build(&config).await.expect("built");
    control.start(Vec::new()).await;
    let learned = vec![LocalService::new("early")];
    control.directory().set_local("elsewhere", learned);
    let following = Arc::clone(&control);
    let following = tokio::spawn(async move { following.follow_directory().await });
    let begun = Instant::now();
    while !control.routes().contains_key("early") {
        assert!(begun.elapsed() < Duration::from_secs(20), "it has none");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    following.abort();
}
