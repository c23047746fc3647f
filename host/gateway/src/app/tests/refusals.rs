//! What was refused is taken when what it was refused for has changed, and by nothing less.

use std::fs;

use super::fixture::{GatewayFixture, folders};
use crate::control::PluginView;

fn view(fixture: &GatewayFixture, name: &str) -> Option<PluginView> {
    fixture.gateway.control().plugin(name)
}

async fn until_refused(fixture: &GatewayFixture, name: &str) -> String {
    let refusal = || view(fixture, name).and_then(|view| view.refusal);
    fixture.until("a refusal", || refusal().is_some()).await;
    refusal().expect("refused").reason
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_starts_when_the_folder_that_it_is_granted_appears() {
    let fixture = GatewayFixture::start().await;
    let granted = fixture.folder.path().join("granted");
    let manifest = format!("[grants]\nfiles = [\"{}:/data\"]", granted.display());
    fixture.drop_in("greeter.toml", manifest.as_bytes());
    fixture.drop_answering("greeter.wasm", "hello");
    let reason = until_refused(&fixture, "greeter").await;
    assert!(reason.contains("does not exist"), "{reason}");
    fs::create_dir(granted).expect("created");
    fixture.until_answered("greeter", "hello").await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_starts_when_the_limit_that_it_needs_is_allowed() {
    let limited = |memory: &str| format!("[plugins.limits]\nmemory = \"{memory}\"\n");
    // The guest has a memory of one page.
    let fixture = GatewayFixture::start_in(folders(), &limited("64KiB"))
        .await
        .expect("starts");
    fixture.drop_answering("greeter.wasm", "hello");
    fixture.until_answered("greeter", "hello").await;
    fixture.drop_in("large.wasm", &super::guest::with_pages("large", 4));
    let reason = until_refused(&fixture, "large").await;
    assert!(reason.contains("memory"), "{reason}");
    fixture.configure(&GatewayFixture::text(&fixture.folder, &limited("1MiB")));
    fixture.until_answered("large", "large").await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_starts_when_the_owner_of_its_service_takes_another_name() {
    let fixture = GatewayFixture::start().await;
    fixture.drop_answering("greeter.wasm", "first");
    fixture.until_answered("greeter", "first").await;
    fixture.drop_in("rival.toml", b"service = \"greeter\"");
    fixture.drop_answering("rival.wasm", "second");
    let reason = until_refused(&fixture, "rival").await;
    assert!(reason.contains("held by plugin greeter"), "{reason}");
    fixture.drop_in("greeter.toml", b"service = \"salute\"");
    fixture.until_answered("greeter", "second").await;
    fixture.until_answered("salute", "first").await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_file_again_is_another_try_only_where_something_else_was_wanting() {
    let fixture = GatewayFixture::start().await;
    let n_refused = |name: &str| view(&fixture, name).map_or(0, |view| view.reloads_refused);
    let granted = fixture.folder.path().join("granted");
    let manifest = format!("[grants]\nfiles = [\"{}:/data\"]", granted.display());
    fixture.drop_in("greeter.toml", manifest.as_bytes());
    fixture.drop_answering("greeter.wasm", "hello");
    until_refused(&fixture, "greeter").await;
    fixture.drop_in("broken.wasm", b"broken");
    until_refused(&fixture, "broken").await;
    let before = n_refused("greeter");
    fixture.drop_answering("greeter.wasm", "hello");
    fixture
        .until("another try", || n_refused("greeter") > before)
        .await;
    // What is broken itself is compiled once.
    fixture.drop_in("broken.wasm", b"broken");
    fixture.drop_answering("after.wasm", "after");
    fixture.until_answered("after", "after").await;
    assert_eq!(n_refused("broken"), 1);
    fixture.end().await;
}
