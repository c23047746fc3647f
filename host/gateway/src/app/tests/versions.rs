//! Versions of one plugin and what operators do to them, as the operators' listener tells it.

use serde_json::{Value, json};

use super::fixture::GatewayFixture;

/// A gateway in which `greeter@2` has taken the calls of `greeter@1`.
async fn two_versions() -> GatewayFixture {
    let fixture = GatewayFixture::start().await;
    fixture.drop_answering("greeter@1.wasm", "one");
    fixture.until_answered("greeter", "one").await;
    fixture.drop_answering("greeter@2.wasm", "two");
    fixture.until_answered("greeter", "two").await;
    fixture
}

/// `VERSION EVENT by BY WHO`, for each entry of a list.
fn told(entries: &Value) -> Vec<String> {
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or("-").to_owned();
    let told = entries.as_array().expect("a list").iter();
    let told = told.map(|entry| {
        let parts = ["version", "event", "by", "who"].map(|key| text(entry, key));
        parts.join(" ")
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_operators_did_is_told_with_who_it_was_also_after_a_restart() {
    let fixture = two_versions().await;
    for (name, command) in [
        ("greeter@1", "pin"),
        ("greeter", "unpin"),
        ("greeter@1", "promote"),
        ("greeter", "rollback"),
    ] {
        let path = format!("/plugins/{name}/{command}");
        let answer = fixture.admin("POST", &path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    }
    let shown = fixture.admin("GET", "/plugins/greeter@1").await.json();
    let reason = "rolled back by operator unknown at 127.0.0.1";
    assert_eq!(shown["place_reason"], reason, "{shown}");
    let folder = fixture.end().await;
    let fixture = GatewayFixture::start_in(folder, "").await.expect("starts");
    let log = fixture.admin("GET", "/plugins/greeter/log").await.json();
    let by = "operator unknown at 127.0.0.1";
    let done = [
        format!("greeter@1 promoted {by}"),
        format!("greeter@1 pinned {by}"),
        format!("greeter unpinned {by}"),
        "greeter@2 promoted rule -".to_owned(),
        format!("greeter@1 promoted {by}"),
        format!("greeter@2 promoted {by}"),
        format!("greeter@1 rolled-back {by}"),
    ];
    assert!(told(&log["log"]).ends_with(&done), "{log}");
    let by_operators: Vec<_> = done.iter().filter(|line| line.contains(by)).collect();
    let shown = fixture.admin("GET", "/plugins/greeter").await.json();
    assert_eq!(json!(told(&shown["changes"])), json!(by_operators));
    fixture.end().await;
}
