//! What was refused is taken when what it was refused for has changed, and by nothing less.

use std::fs;

use super::stage::{Stage, folders};
use crate::control::PluginView;

fn view(stage: &Stage, name: &str) -> Option<PluginView> {
    stage.gateway.control().plugin(name)
}

async fn until_refused(stage: &Stage, name: &str) -> String {
    let refusal = || view(stage, name).and_then(|view| view.refusal);
    stage.until("a refusal", || refusal().is_some()).await;
    refusal().expect("refused").reason
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_starts_when_the_folder_that_it_is_granted_appears() {
    let stage = Stage::start().await;
    let granted = stage.folder.path().join("granted");
    let manifest = format!("[grants]\nfiles = [\"{}:/data\"]", granted.display());
    stage.drop_in("greeter.toml", manifest.as_bytes());
    stage.drop_answering("greeter.wasm", "hello");
    let reason = until_refused(&stage, "greeter").await;
    assert!(reason.contains("does not exist"), "{reason}");
    fs::create_dir(granted).expect("created");
    stage.until_answered("greeter", "hello").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_starts_when_the_limit_that_it_needs_is_allowed() {
    let limited = |memory: &str| format!("[plugins.limits]\nmemory = \"{memory}\"\n");
    // The guest has a memory of one page.
    let stage = Stage::start_in(folders(), &limited("64KiB"))
        .await
        .expect("starts");
    stage.drop_answering("greeter.wasm", "hello");
    stage.until_answered("greeter", "hello").await;
    stage.drop_in("large.wasm", &super::guest::with_pages("large", 4));
    let reason = until_refused(&stage, "large").await;
    assert!(reason.contains("memory"), "{reason}");
    stage.configure(&Stage::text(&stage.folder, &limited("1MiB")));
    stage.until_answered("large", "large").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_starts_when_the_owner_of_its_service_takes_another_name() {
    let stage = Stage::start().await;
    stage.drop_answering("greeter.wasm", "first");
    stage.until_answered("greeter", "first").await;
    stage.drop_in("rival.toml", b"service = \"greeter\"");
    stage.drop_answering("rival.wasm", "second");
    let reason = until_refused(&stage, "rival").await;
    assert!(reason.contains("held by plugin greeter"), "{reason}");
    stage.drop_in("greeter.toml", b"service = \"salute\"");
    stage.until_answered("greeter", "second").await;
    stage.until_answered("salute", "first").await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_file_again_is_another_try_only_where_something_else_was_wanting() {
    let stage = Stage::start().await;
    let n_refused = |name: &str| view(&stage, name).map_or(0, |view| view.reloads_refused);
    let granted = stage.folder.path().join("granted");
    let manifest = format!("[grants]\nfiles = [\"{}:/data\"]", granted.display());
    stage.drop_in("greeter.toml", manifest.as_bytes());
    stage.drop_answering("greeter.wasm", "hello");
    until_refused(&stage, "greeter").await;
    stage.drop_in("broken.wasm", b"broken");
    until_refused(&stage, "broken").await;
    let before = n_refused("greeter");
    stage.drop_answering("greeter.wasm", "hello");
    stage
        .until("another try", || n_refused("greeter") > before)
        .await;
    // What is broken itself is compiled once.
    stage.drop_in("broken.wasm", b"broken");
    stage.drop_answering("after.wasm", "after");
    stage.until_answered("after", "after").await;
    assert_eq!(n_refused("broken"), 1);
    stage.end().await;
}
