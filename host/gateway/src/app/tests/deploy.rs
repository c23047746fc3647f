//! A file becomes a service, another version of it, nothing again.

use std::{sync::Arc, time::Duration};

use postern_core::Kind;
use postern_system::clock;

use super::{fixture::GatewayFixture, guest};
use crate::{
    app::parts::Parts, config::Config, control::PluginAvailability, directory::LocalService,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_file_answers_over_every_transport() {
    let fixture = GatewayFixture::start().await;
    assert_eq!(
        fixture
            .ask("tcp", "greeter")
            .await
            .expect_err("nobody")
            .kind,
        Kind::NotFound
    );
    fixture.drop_answering("greeter.wasm", "hello");
    fixture.until_answered("greeter", "hello").await;
    for transport in ["tcp", "udp", "http"] {
        assert_eq!(
            fixture.ask(transport, "greeter").await.expect("answered"),
            "hello",
            "{transport}"
        );
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_file_is_a_new_generation_and_a_broken_one_is_none() {
    let fixture = GatewayFixture::start().await;
    fixture.drop_answering("greeter.wasm", "one");
    fixture.until_answered("greeter", "one").await;
    fixture.drop_answering("greeter.wasm", "two");
    fixture.until_answered("greeter", "two").await;
    fixture.drop_in("greeter.wasm", b"\0asm garbage");
    let view = || fixture.gateway.control().plugin("greeter").expect("there");
    fixture
        .until("a refusal", || view().refusal.is_some())
        .await;
    assert_eq!(
        fixture.ask("tcp", "greeter").await.expect("still answered"),
        "two"
    );
    assert_eq!(
        (view().state, view().generation),
        (PluginAvailability::Active, 2)
    );
    fixture.drop_answering("greeter.wasm", "three");
    fixture.until_answered("greeter", "three").await;
    // The swap comes first, what is told of it a moment later.
    fixture
        .until("no refusal any more", || view().refusal.is_none())
        .await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_file_is_no_new_generation_and_a_changed_manifest_is() {
    let fixture = GatewayFixture::start().await;
    fixture.drop_answering("greeter.wasm", "hello");
    fixture.until_answered("greeter", "hello").await;
    fixture.drop_answering("greeter.wasm", "hello");
    fixture.drop_answering("other.wasm", "other");
    fixture.until_answered("other", "other").await;
    assert_eq!(
        fixture
            .gateway
            .control()
            .plugin("greeter")
            .expect("there")
            .generation,
        1
    );
    fixture.drop_in("greeter.toml", b"service = \"salute\"\nversion = \"1.2.3\"");
    fixture.until_answered("salute", "hello").await;
    let services = fixture.gateway.services();
    let salute = services.iter().find(|service| service.name == "salute");
    let version = salute.and_then(|service| service.version.as_deref());
    assert_eq!(version, Some("1.2.3"));
    assert_eq!(
        fixture
            .ask("tcp", "greeter")
            .await
            .expect_err("renamed")
            .kind,
        Kind::NotFound
    );
    fixture.drop_in("greeter.toml", b"servce = \"salute\"");
    let view = || fixture.gateway.control().plugin("greeter").expect("there");
    fixture
        .until("a refusal", || view().refusal.is_some())
        .await;
    let reason = view().refusal.expect("refused").reason;
    assert!(
        reason.contains("greeter.toml:1:1") && reason.contains("servce"),
        "{reason}"
    );
    assert_eq!(
        fixture.ask("tcp", "salute").await.expect("still answered"),
        "hello"
    );
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_file_is_no_service_any_more() {
    let fixture = GatewayFixture::start().await;
    fixture.drop_answering("greeter.wasm", "hello");
    fixture.until_answered("greeter", "hello").await;
    std::fs::remove_file(fixture.plugin_path("greeter.wasm")).expect("removed");
    fixture
        .until("removal", || {
            fixture.gateway.control().plugin("greeter").is_none()
        })
        .await;
    assert_eq!(
        fixture.ask("tcp", "greeter").await.expect_err("gone").kind,
        Kind::NotFound
    );
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_later_of_two_that_claim_one_service_waits_until_the_first_has_gone() {
    let fixture = GatewayFixture::start().await;
    fixture.drop_answering("greeter.wasm", "first");
    fixture.until_answered("greeter", "first").await;
    fixture.drop_in("rival.toml", b"service = \"greeter\"");
    fixture.drop_answering("rival.wasm", "second");
    let refusal = || {
        fixture
            .gateway
            .control()
            .plugin("rival")
            .and_then(|rival| rival.refusal)
    };
    fixture.until("a refusal", || refusal().is_some()).await;
    let reason = refusal().expect("refused").reason;
    assert!(reason.contains("held by plugin greeter"), "{reason}");
    assert_eq!(
        fixture.ask("tcp", "greeter").await.expect("answered"),
        "first"
    );
    std::fs::remove_file(fixture.plugin_path("greeter.wasm")).expect("removed");
    fixture.until_answered("greeter", "second").await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_over_a_broken_file_starts_what_last_worked() {
    let fixture = GatewayFixture::start().await;
    fixture.drop_answering("greeter.wasm", "good");
    fixture.until_answered("greeter", "good").await;
    fixture.drop_in("greeter.wasm", b"broken");
    let folder = fixture.end().await;
    let fixture = GatewayFixture::start_in(folder, "").await.expect("starts");
    assert_eq!(
        fixture.ask("tcp", "greeter").await.expect("answered"),
        "good"
    );
    let view = fixture.gateway.control().plugin("greeter").expect("there");
    assert_eq!(view.source, Some("last-good"));
    assert!(view.refusal.is_some());
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_never_worked_says_why_to_its_callers() {
    let fixture = GatewayFixture::start().await;
    fixture.drop_in("greeter.wasm", b"broken");
    let view = || fixture.gateway.control().plugin("greeter");
    fixture
        .until("a refusal", || {
            view().is_some_and(|view| view.refusal.is_some())
        })
        .await;
    let error = fixture
        .ask("tcp", "greeter")
        .await
        .expect_err("nobody alive");
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(
        error.message.contains("plugin greeter was refused"),
        "{}",
        error.message
    );
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_survives_a_restart() {
    let fixture = GatewayFixture::start().await;
    fixture.drop_answering("greeter.wasm", "old");
    fixture.until_answered("greeter", "old").await;
    fixture.drop_answering("greeter.wasm", "new");
    fixture.until_answered("greeter", "new").await;
    fixture
        .gateway
        .control()
        .rollback("greeter", "ada")
        .await
        .expect("rolls back");
    assert_eq!(
        fixture.ask("tcp", "greeter").await.expect("answered"),
        "old"
    );
    let folder = fixture.end().await;
    let fixture = GatewayFixture::start_in(folder, "").await.expect("starts");
    assert_eq!(
        fixture.ask("tcp", "greeter").await.expect("answered"),
        "old"
    );
    let view = fixture.gateway.control().plugin("greeter").expect("there");
    assert_eq!(
        (view.source, view.skipped.is_some()),
        (Some("rollback"), true)
    );
    fixture.drop_answering("greeter.wasm", "newer");
    fixture.until_answered("greeter", "newer").await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_component_answers_soon_after_it_was_dropped() {
    let fixture = GatewayFixture::start().await;
    fixture.drop_answering("greeter.wasm", "hello");
    fixture.until_answered("greeter", "hello").await;
    std::fs::remove_file(fixture.plugin_path("greeter.wasm")).expect("removed");
    fixture
        .until("removal", || {
            fixture.gateway.control().plugin("greeter").is_none()
        })
        .await;
    let octets = guest::answering("hello");
    fixture.drop_in("greeter.wasm", &octets);
    let took = fixture.until_answered("greeter", "hello").await;
    // The target is 50 ms in a release build on a quiet machine; this one shares its cores.
    assert!(took.as_millis() < 1000, "{took:?}");
    fixture.end().await;
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
    let begun = clock::now();
    while !control.routes().contains_key("early") {
        assert!(clock::since(begun) < Duration::from_secs(20), "it has none");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    following.abort();
}
