//! A gateway whose calls would fail says that it is not ready, and why, until that is over.

use tempfile::TempDir;

use super::stage::{Answer, Stage, folders};

fn reasons(answer: &Answer) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let json = answer.json();
    let reasons = json["reasons"].as_array().expect("a list").iter();
    reasons
        .map(|reason| (text(&reason["name"]), text(&reason["subject"])))
        .collect()
}

/// Whether `/readyz` says that the gateway is ready.
async fn is_ready(stage: &Stage) -> bool {
    stage.admin("GET", "/readyz").await.status == 200
}

async fn check_until_dropped_in(lines: &str, extra: &str, name: &str, subject: &str) {
    let stage = start(folders(), lines, extra).await;
    stage
        .until("started", || {
            let reasons = stage.gateway.unready_reasons();
            reasons.iter().all(|reason| reason.name != "starting")
        })
        .await;
    let answer = stage.admin("GET", "/readyz").await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert_eq!(reasons(&answer), [(name.to_owned(), subject.to_owned())]);
    stage.drop_answering(&format!("{subject}.wasm"), "hello");
    stage
        .until("ready", || stage.gateway.unready_reasons().is_empty())
        .await;
    assert!(is_ready(&stage).await);
    std::fs::remove_file(stage.plugin_path(&format!("{subject}.wasm"))).expect("removed");
    stage
        .until("not ready", || !stage.gateway.unready_reasons().is_empty())
        .await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extension_that_is_named_and_not_there_makes_it_unready() {
    check_until_dropped_in("", "[extensions.tag]\n", "extension", "tag").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_required_plugin_that_is_not_there_makes_it_unready() {
    check_until_dropped_in(REQUIRED, "", "plugin", "greeter").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extension_that_may_be_missing_does_not() {
    let extra = "[extensions.tag]\nfail = \"open\"\n[extensions.off]\nenabled = false\n";
    let stage = Stage::start_in(folders(), extra).await.expect("starts");
    assert!(is_ready(&stage).await);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_required_plugin_that_is_refused_is_told_with_its_reason() {
    let folder = folders();
    std::fs::write(folder.path().join("plugins/greeter.wasm"), "broken").expect("written");
    let stage = start(folder, REQUIRED, "").await;
    stage
        .until("a reason", || {
            let reasons = stage.gateway.unready_reasons();
            reasons.iter().any(|reason| reason.name == "plugin")
        })
        .await;
    let answer = stage.admin("GET", "/readyz").await;
    assert!(
        answer.body.contains("plugin greeter was refused"),
        "{}",
        answer.body
    );
    let metrics = stage.admin("GET", "/metrics").await.body;
    let line = "postern_readiness_reasons{reason=\"plugin\"} 1";
    assert!(metrics.contains(line), "{metrics}");
    stage.end().await;
}

/// A gateway with `lines` in the table `plugins` and further tables.
async fn start(folder: TempDir, lines: &str, extra: &str) -> Stage {
    let text = Stage::text(&folder, extra);
    let text = text.replace("[plugins]\n", &format!("[plugins]\n{lines}"));
    Stage::start_unready(folder, &text).await.expect("starts")
}

const REQUIRED: &str = "required = [\"greeter\"]\n";
