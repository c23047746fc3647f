//! A gateway whose calls would fail says that it is not ready, and why, until that is over.

use tempfile::TempDir;

use super::fixture::{Answer, GatewayFixture, folders};

fn reasons(answer: &Answer) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let json = answer.json();
    let reasons = json["reasons"].as_array().expect("a list").iter();
    reasons
        .map(|reason| (text(&reason["name"]), text(&reason["subject"])))
        .collect()
}

/// Whether `/readyz` says that the gateway is ready.
async fn is_ready(fixture: &GatewayFixture) -> bool {
    fixture.admin("GET", "/readyz").await.status == 200
}

async fn check_until_dropped_in(lines: &str, extra: &str, name: &str, subject: &str) {
    let fixture = start(folders(), lines, extra).await;
    fixture
        .until("started", || {
            let reasons = fixture.gateway.unready_reasons();
            reasons.iter().all(|reason| reason.name != "starting")
        })
        .await;
    let answer = fixture.admin("GET", "/readyz").await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert_eq!(reasons(&answer), [(name.to_owned(), subject.to_owned())]);
    fixture.drop_answering(&format!("{subject}.wasm"), "hello");
    fixture
        .until("ready", || fixture.gateway.unready_reasons().is_empty())
        .await;
    assert!(is_ready(&fixture).await);
    std::fs::remove_file(fixture.plugin_path(&format!("{subject}.wasm"))).expect("removed");
    fixture
        .until("not ready", || {
            !fixture.gateway.unready_reasons().is_empty()
        })
        .await;
    fixture.end().await;
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
    let fixture = GatewayFixture::start_in(folders(), extra)
        .await
        .expect("starts");
    assert!(is_ready(&fixture).await);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_required_plugin_that_is_refused_is_told_with_its_reason() {
    let folder = folders();
    std::fs::write(folder.path().join("plugins/greeter.wasm"), "broken").expect("written");
    let fixture = start(folder, REQUIRED, "").await;
    fixture
        .until("a reason", || {
            let reasons = fixture.gateway.unready_reasons();
            reasons.iter().any(|reason| reason.name == "plugin")
        })
        .await;
    let answer = fixture.admin("GET", "/readyz").await;
    assert!(
        answer.body.contains("plugin greeter was refused"),
        "{}",
        answer.body
    );
    let metrics = fixture.admin("GET", "/metrics").await.body;
    let line = "postern_readiness_reasons{reason=\"plugin\"} 1";
    assert!(metrics.contains(line), "{metrics}");
    fixture.end().await;
}

/// A gateway with `lines` in the table `plugins` and further tables.
async fn start(folder: TempDir, lines: &str, extra: &str) -> GatewayFixture {
    let text = GatewayFixture::text(&folder, extra);
    let text = text.replace("[plugins]\n", &format!("[plugins]\n{lines}"));
    GatewayFixture::start_unready(folder, &text)
        .await
        .expect("starts")
}

const REQUIRED: &str = "required = [\"greeter\"]\n";
