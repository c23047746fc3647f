//! Versions of one plugin and what operators do to them, as the operators' listener tells it.

use serde_json::{Value, json};

use super::{
    fixture::{Answer, GatewayFixture, folders},
    guest,
};
use crate::plugins::gone::GONE_MAX;

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

/// Puts a version there that asks for more than one without a manifest, for the services of these names.
fn drop_greedy(fixture: &GatewayFixture, label: &str, services: &str) {
    let manifest = format!("[grants]\nservices = [{services}]\n");
    fixture.drop_in(&format!("{label}.toml"), manifest.as_bytes());
    fixture.drop_answering(&format!("{label}.wasm"), label);
}

/// The digests of what is held beside the version that takes the calls, once there are so many.
async fn held_beside(fixture: &GatewayFixture, n_held: usize) -> Vec<String> {
    let held = || {
        fixture
            .gateway
            .control()
            .plugin("greeter")
            .expect("there")
            .held_versions
    };
    fixture
        .until("they are held", || held().len() == n_held)
        .await;
    held().into_iter().map(|held| held.digest).collect()
}

#[track_caller]
fn check(answer: &Answer, status: u16, error: &str) {
    assert_eq!(
        (answer.status, &answer.json()["error"]),
        (status, &error.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugins_name_means_the_version_that_a_command_is_about() {
    let fixture = GatewayFixture::start_holding(folders()).await;
    fixture.drop_answering("greeter@1.wasm", "one");
    fixture.until_answered("greeter", "one").await;
    drop_greedy(&fixture, "greeter@2", "\"a\"");
    held_beside(&fixture, 1).await;
    let shown = fixture.admin("GET", "/plugins/greeter").await.json();
    assert_eq!(shown["name"], "greeter@1", "it takes the calls: {shown}");
    assert_eq!(shown["held_versions"][0]["version"], "greeter@2", "{shown}");
    let approved = fixture.admin("POST", "/plugins/greeter/approve").await;
    assert_eq!(approved.status, 200, "{}", approved.body);
    assert_eq!(approved.json()["plugin"]["name"], "greeter@2");
    fixture.until_answered("greeter", "greeter@2").await;

    // Of several that are held, which one is to be said.
    drop_greedy(&fixture, "greeter@3", "\"a\", \"b\"");
    drop_greedy(&fixture, "greeter", "\"c\"");
    let digests = held_beside(&fixture, 2).await;
    let ask = async |path: &str| fixture.admin("POST", path).await;
    let answer = ask("/plugins/greeter/approve").await;
    check(
        &answer,
        409,
        "greeter@, greeter@3 are held; name one of them",
    );
    let answer = ask("/plugins/greeter@1/approve").await;
    let told = "nothing of plugin greeter@1 is held; greeter@, greeter@3 are";
    check(&answer, 409, told);
    for (path, name) in [
        (format!("greeter/approve?digest={}", digests[0]), "greeter"),
        ("greeter@3/approve".to_owned(), "greeter@3"),
    ] {
        let answer = ask(&format!("/plugins/{path}")).await;
        assert_eq!(
            (answer.status, &answer.json()["plugin"]["name"]),
            (200, &name.into())
        );
    }
    // The one without a name can be told from the plugin.
    let shown = fixture.admin("GET", "/plugins/greeter").await.json();
    assert_eq!(shown["name"], "greeter@3", "{shown}");
    let shown = fixture.admin("GET", "/plugins/greeter@").await.json();
    assert_eq!(shown["name"], "greeter", "{shown}");
    // Commands that are about the version that takes the calls find it.
    let recorded = ask("/plugins/greeter/record?time_ms=1").await;
    assert_eq!(recorded.status, 200, "{}", recorded.body);
    let answer = ask("/plugins/greeter/release").await;
    check(
        &answer,
        409,
        "plugin greeter is not kept from taking calls by its traps",
    );
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_of_nothing_is_answered_with_what_it_may_mean() {
    let fixture = two_versions().await;
    for command in [
        "promote", "pin", "unpin", "rollback", "approve", "release", "record", "replay",
    ] {
        let ask = async |name: &str| {
            fixture
                .admin("POST", &format!("/plugins/{name}/{command}"))
                .await
        };
        let answer = ask("greeter@3").await;
        check(&answer, 404, "plugin greeter has no version greeter@3");
        assert_eq!(
            answer.json()["hint"],
            "it has greeter@1, greeter@2",
            "{command}"
        );
        let answer = ask("greeter@").await;
        check(&answer, 404, "plugin greeter has no version without a name");
        let answer = ask("greter").await;
        check(&answer, 404, "no plugin greter");
        assert_eq!(answer.json()["hint"], "did you mean greeter?", "{command}");
    }
    let answer = fixture.admin("POST", "/plugins/greeter/promote").await;
    let told = "plugin greeter has no version under trial; name one of greeter@1, greeter@2";
    check(&answer, 409, told);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_new_versions_the_oldest_is_taken_and_the_others_are_compared_with_it() {
    // Names sort otherwise than versions do.
    for (oldest, newest) in [("greeter@2", "greeter@10"), ("greeter", "greeter@0.1")] {
        let folder = folders();
        let put = |name: &str, octets: &[u8]| {
            let path = folder.path().join("plugins").join(name);
            std::fs::write(path, octets).expect("written");
        };
        put(&format!("{oldest}.wasm"), &guest::answering("oldest"));
        put(&format!("{newest}.wasm"), &guest::answering("newest"));
        put(&format!("{newest}.toml"), b"[grants]\nservices = [\"a\"]\n");
        let fixture = GatewayFixture::start_holding(folder).await;
        fixture.until_answered("greeter", "oldest").await;
        let shown = fixture.admin("GET", "/plugins/greeter").await.json();
        assert_eq!(shown["name"], oldest, "{shown}");
        assert_eq!(shown["held_versions"][0]["version"], newest, "{shown}");
        fixture.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_gone_is_forgotten_beside_another_and_the_last_of_a_plugin_is_not() {
    let fixture = GatewayFixture::start_holding(folders()).await;
    let trust = fixture.folder.path().join("state/trust");
    let is_known = |label: &str| trust.join(label).join("state.json").exists();
    let remove = |label: &str| {
        let file = fixture.plugin_path(&format!("{label}.wasm"));
        std::fs::remove_file(file).expect("there");
    };
    for label in ["greeter@1", "greeter@2"] {
        fixture.drop_answering(&format!("{label}.wasm"), label);
        fixture.until("it is noted", || is_known(label)).await;
    }
    remove("greeter@1");
    fixture
        .until("it is forgotten", || !is_known("greeter@1"))
        .await;
    assert!(is_known("greeter@2"));
    remove("greeter@2");
    let names = || fixture.gateway.control().names();
    fixture
        .until("all of it is gone", || names().is_empty())
        .await;
    assert!(
        is_known("greeter@2"),
        "nothing else says what it may ask for"
    );
    let held = || {
        fixture
            .gateway
            .control()
            .version("greeter@3")
            .and_then(|view| view.held)
    };
    drop_greedy(&fixture, "greeter@3", "\"a\"");
    fixture.until("it is held", || held().is_some()).await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_names_than_are_remembered_push_none_out() {
    let folder = folders();
    let trust = folder.path().join("state/trust");
    for n in 0..GONE_MAX {
        std::fs::create_dir_all(trust.join(format!("plugin-{n}"))).expect("made");
    }
    let fixture = GatewayFixture::start_holding(folder).await;
    fixture.drop_answering("greeter.wasm", "hello");
    let refusal = || fixture.gateway.control().version("greeter")?.refusal;
    fixture.until("it is refused", || refusal().is_some()).await;
    let reason = refusal().expect("refused").reason;
    assert!(
        reason.contains("1024 plugins are remembered whose files are gone"),
        "{reason}"
    );
    // What an operator does not want to have remembered.
    std::fs::remove_dir(trust.join("plugin-7")).expect("empty");
    fixture.until_answered("greeter", "hello").await;
    fixture.end().await;
}
