//! Versions of one plugin side by side: which gets which calls, which stays, and what is remembered. The guest
//! `probe` answers with the name, and fails as often, as the `config` of each version's manifest says.

mod shadow;

use std::{collections::BTreeMap, time::Duration};

use futures_util::{StreamExt, stream};
use postern_core::{Call, Handler};
use postern_net::{Client, ClientConfig, Target};
use postern_tests::{
    CallerTransport, Finished, Gateway, Setup, call, component, connect, patiently,
};
use serde_json::{Value, json};

use crate::{reload::variant, share};

/// Answers by their texts; failures as `failed NAME`.
type Answers = BTreeMap<String, u64>;

/// A setup with a version for each name and manifest.
fn setup(versions: &[(&str, &str)]) -> Setup {
    let probe = component("probe");
    versions
        .iter()
        .fold(Setup::default(), |setup, (label, manifest)| {
            let setup = setup.file(&format!("{label}.wasm"), &probe);
            setup.file(&format!("{label}.toml"), manifest)
        })
}

fn drop_version(gateway: &Gateway, label: &str, manifest: &str) {
    gateway.deploy(&format!("{label}.toml"), manifest.as_bytes());
    gateway.deploy(&format!("{label}.wasm"), &component("probe"));
}

/// `n_calls` calls, sixteen at a time.
async fn ask(handler: &dyn Handler, n_calls: usize, headers: &[(&str, &str)]) -> Answers {
    let one = async |_| {
        let mut call = Call::unary("probe", "Version", "null");
        for (name, value) in headers {
            call.headers.push(*name, *value).expect("short");
        }
        match handler.call(call).await {
            Ok(reply) => {
                let body = reply.body.into_one(1 << 20).await.expect("one message");
                serde_json::from_slice(&body).expect("a text")
            }
            Err(error) => format!("failed {}", error.message),
        }
    };
    let answers = stream::iter(0..n_calls).map(one).buffer_unordered(16);
    let add = async |mut all: Answers, answer: String| {
        *all.entry(answer).or_default() += 1;
        all
    };
    answers.fold(Answers::new(), add).await
}

fn count(answers: &Answers, text: &str) -> u64 {
    answers.get(text).copied().unwrap_or(0)
}

async fn version(gateway: &Gateway, label: &str) -> Value {
    match gateway.admin(&format!("/plugins/{label}")).await {
        Ok((200, body)) => serde_json::from_str(&body).expect("json"),
        other => json!({ "place": format!("{other:?}") }),
    }
}

async fn becomes(gateway: &Gateway, label: &str, place: &str) {
    patiently(&format!("{label} is {place}"), async || {
        version(gateway, label).await["place"] == place
    })
    .await;
}

/// Calls until `label` is something else than tried; what was answered to all of them.
async fn ask_until_decided(gateway: &Gateway, handler: &dyn Handler, label: &str) -> Answers {
    const CALLS_MAX: u64 = 40_000;
    let mut all = Answers::new();
    while version(gateway, label).await["place"] == "canary" {
        for (answer, n) in ask(handler, 200, &[]).await {
            *all.entry(answer).or_default() += n;
        }
        let n_calls: u64 = all.values().sum();
        assert!(
            n_calls < CALLS_MAX,
            "undecided: {}",
            version(gateway, label).await
        );
    }
    all
}

fn operator(gateway: &Gateway, command: &str, name: &str) -> Finished {
    gateway.postern(&["plugins", command, name])
}

async fn events_of(gateway: &Gateway, label: &str) -> Vec<String> {
    let log = gateway.admin_json(&format!("/plugins/{label}/log")).await;
    let entries = log["log"].as_array().expect("entries").iter();
    let told = entries.map(|entry| {
        let (event, by) = (entry["event"].as_str(), entry["by"].as_str());
        format!(
            "{} by {}",
            event.unwrap_or_default(),
            by.unwrap_or_default()
        )
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_gets_the_calls_that_its_weight_and_its_header_say() {
    let _machine = share().await;
    let tried = "config = { name = \"new\" }\n[canary]\nmode = \"split\"\nweight = \"0%\"\nheader = \"x-canary: yes\"\n";
    let gateway = Gateway::start(setup(&[("probe@1.0.0", "config = { name = \"old\" }\n")])).await;
    drop_version(&gateway, "probe@1.1.0", tried);
    becomes(&gateway, "probe@1.1.0", "canary").await;
    let (plain, marked) = (&[][..], &[("x-canary", "yes")][..]);
    // A version is shown a moment before calls come to it.
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    patiently("calls come to it", async || {
        count(&ask(&*handler, 1, marked).await, "new") == 1
    })
    .await;
    for transport in CallerTransport::ALL {
        let handler = connect(&gateway, transport).await;
        assert_eq!(
            ask(&*handler, 20, plain).await,
            [("old".to_owned(), 20)].into()
        );
        assert_eq!(
            ask(&*handler, 20, marked).await,
            [("new".to_owned(), 20)].into()
        );
    }
    // Another manifest of the same version: half of the calls.
    drop_version(&gateway, "probe@1.1.0", &tried.replace("0%", "50%"));
    patiently("it has its new share", async || {
        version(&gateway, "probe@1.1.0").await["trial"]["weight"] == "50%"
    })
    .await;
    patiently("its share comes to it", async || {
        count(&ask(&*handler, 5, plain).await, "new") > 0
    })
    .await;
    let answers = ask(&*handler, 400, &[]).await;
    // 200 are expected; 60 more or less are six standard deviations.
    assert!((140..=260).contains(&count(&answers, "new")), "{answers:?}");
    // Whoever sticks meets one of both.
    let sticky = tried.replace("0%", "51%") + "sticky = \"header:x-caller\"\n";
    drop_version(&gateway, "probe@1.1.0", &sticky);
    patiently("it sticks", async || {
        version(&gateway, "probe@1.1.0").await["trial"]["weight"] == "51%"
    })
    .await;
    // By chance one caller in half a million meets one version 20 times.
    patiently("callers stick", async || {
        ask(&*handler, 20, &[("x-caller", "a")]).await.len() == 1
    })
    .await;
    for caller in ["a", "b", "c"] {
        let answers = ask(&*handler, 20, &[("x-caller", caller)]).await;
        assert_eq!(answers.len(), 1, "{caller}: {answers:?}");
    }
    let list = gateway.postern(&["plugins", "list"]);
    assert!(list.out.contains("canary 51%"), "{}", list.out);
    let metrics = gateway.admin("/metrics").await.expect("asked").1;
    let line = "postern_plugin_calls_total{plugin=\"probe\",version=\"1.1.0\",outcome=\"ok\"}";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_3_percent_worse_is_rolled_back_by_itself_and_callers_see_its_own_failures_only()
 {
    let _machine = share().await;
    let mut gateway = Gateway::start(setup(&[("probe", "config = { name = \"old\" }\n")])).await;
    let subscriber = Client::connect(Target::tcp(gateway.vstp), ClientConfig::default()).await;
    let subscriber = subscriber.expect("a session");
    let mut events = subscriber.events();
    let topics = json!({ "topics": ["postern.plugins.probe.*"] }).to_string();
    call(&subscriber, "events/subscribe", topics)
        .await
        .expect("subscribed");
    let worse = "config = { name = \"new\", failing = 3 }\n[canary]\nweight = \"50%\"\n\
                 promote-after = \"0s\"\nmin-calls = 100000\nerror-rate = \"0.5%\"\n\
                 p99 = \"10000%\"\np99-slack = \"10s\"\n";
    drop_version(&gateway, "probe@2", worse);
    becomes(&gateway, "probe@2", "canary").await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let answers = ask_until_decided(&gateway, &*handler, "probe@2").await;
    let new = version(&gateway, "probe@2").await;
    assert_eq!(new["place"], "rolled-back", "{new}");
    let why = new["place_reason"].as_str().unwrap_or_default();
    assert!(why.contains("more calls fail than before"), "{why}");
    // Nothing failed but what the new version itself failed.
    let n_failed = count(&answers, "failed new");
    assert_eq!(new["calls"]["failed"], n_failed, "{new}");
    let n_calls: u64 = answers.values().sum();
    assert_eq!(
        count(&answers, "old") + count(&answers, "new") + n_failed,
        n_calls,
        "{answers:?}"
    );
    // From then on the old one answers all, also after a restart.
    for round in 0..2 {
        let handler = connect(&gateway, CallerTransport::Tcp).await;
        assert_eq!(
            ask(&*handler, 50, &[]).await,
            [("old".to_owned(), 50)].into(),
            "{round}"
        );
        assert_eq!(version(&gateway, "probe@2").await["place"], "rolled-back");
        let expected = ["canary by folder", "rolled-back by rule"];
        assert_eq!(events_of(&gateway, "probe@2").await, expected, "{round}");
        if round == 0 {
            let told = tokio::time::timeout(Duration::from_secs(60), events.next()).await;
            let told = told.expect("in time").expect("the subscription goes on");
            let told: Value = serde_json::from_slice(&told.event.payload).expect("json");
            assert_eq!(
                (&told["event"], &told["version"]),
                (&json!("rolled-back"), &json!("probe@2"))
            );
            let metrics = gateway.admin("/metrics").await.expect("asked").1;
            let line =
                "postern_plugin_versions_rolled_back_total{plugin=\"probe\",reason=\"errors\"} 1";
            assert!(metrics.contains(line), "{metrics}");
            gateway.restart().await;
        }
    }
    // Other files of the same version are tried again.
    drop_version(
        &gateway,
        "probe@2",
        &worse.replace("failing = 3", "failing = 0"),
    );
    becomes(&gateway, "probe@2", "canary").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_better_is_promoted_by_itself_and_stays_so() {
    let _machine = share().await;
    let old = "config = { name = \"old\", failing = 5 }\n";
    let mut gateway = Gateway::start(setup(&[("probe@1", old)])).await;
    let better = "config = { name = \"new\" }\n[canary]\nweight = \"50%\"\npromote-after = \"1s\"\n\
                  min-calls = 300\ntrap-rate = \"0%\"\np99 = \"10000%\"\np99-slack = \"10s\"\n";
    drop_version(&gateway, "probe@2", better);
    becomes(&gateway, "probe@2", "canary").await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let answers = ask_until_decided(&gateway, &*handler, "probe@2").await;
    assert_eq!(count(&answers, "failed new"), 0, "{answers:?}");
    assert!(count(&answers, "new") >= 300, "{answers:?}");
    for round in 0..2 {
        assert_eq!(version(&gateway, "probe@2").await["place"], "stable");
        assert_eq!(version(&gateway, "probe@1").await["place"], "held");
        let handler = connect(&gateway, CallerTransport::Tcp).await;
        assert_eq!(
            ask(&*handler, 50, &[]).await,
            [("new".to_owned(), 50)].into(),
            "{round}"
        );
        let expected = ["canary by folder", "promoted by rule"];
        assert_eq!(events_of(&gateway, "probe@2").await, expected, "{round}");
        let log = gateway.postern(&["plugins", "log", "probe"]);
        assert!(
            log.out.contains("promoted by rule: not worse"),
            "{}",
            log.out
        );
        gateway.restart().await;
    }
    // An operator goes back, and the new one is not tried again as it is.
    let told = operator(&gateway, "rollback", "probe");
    assert_eq!(told.code, Some(0), "{told:?}");
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let answers = ask(&*handler, 100, &[]).await;
    assert_eq!(
        count(&answers, "new") + count(&answers, "failed new"),
        0,
        "{answers:?}"
    );
    assert_eq!(version(&gateway, "probe@2").await["place"], "rolled-back");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_p99_is_longer_is_rolled_back() {
    let _machine = share().await;
    let gateway = Gateway::start(setup(&[("probe@1", "config = { name = \"old\" }\n")])).await;
    let slow = "config = { name = \"new\", sleep-ms = 1500 }\nlimits = { time = \"20s\" }\n[canary]\nweight = \"30%\"\n\
                p99 = \"25%\"\np99-slack = \"1ms\"\n";
    drop_version(&gateway, "probe@2", slow);
    becomes(&gateway, "probe@2", "canary").await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    ask_until_decided(&gateway, &*handler, "probe@2").await;
    let new = version(&gateway, "probe@2").await;
    let why = new["place_reason"].as_str().unwrap_or_default();
    assert!(why.contains("a longer p99 than before"), "{new}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_pinned_nothing_takes_the_calls_but_the_pinned_version() {
    let _machine = share().await;
    let named = |name: &str| format!("config = {{ name = \"{name}\" }}\n");
    let mut gateway = Gateway::start(setup(&[("probe@1", &named("one"))])).await;
    // Without a table `canary` a newer version takes the calls at once.
    drop_version(&gateway, "probe@2", &named("two"));
    becomes(&gateway, "probe@2", "stable").await;
    let told = operator(&gateway, "pin", "probe@1");
    assert_eq!(
        (told.code, told.out.trim()),
        (Some(0), "probe@1 is pinned"),
        "{told:?}"
    );
    let info = operator(&gateway, "info", "probe@1");
    let by = "probe@1  pinned by operator unknown at 127.0.0.1";
    assert!(info.out.contains(by), "{info:?}");
    drop_version(&gateway, "probe@3", &named("three"));
    becomes(&gateway, "probe@3", "held").await;
    for round in 0..2 {
        let handler = connect(&gateway, CallerTransport::Tcp).await;
        assert_eq!(
            ask(&*handler, 20, &[]).await,
            [("one".to_owned(), 20)].into(),
            "{round}"
        );
        assert_eq!(version(&gateway, "probe@1").await["pinned"], true);
        gateway.restart().await;
    }
    let told = operator(&gateway, "unpin", "probe");
    assert_eq!(told.code, Some(0), "{told:?}");
    becomes(&gateway, "probe@3", "stable").await;
    let again = operator(&gateway, "unpin", "probe");
    assert!(
        again.err.contains("plugin probe is not pinned"),
        "{again:?}"
    );
    let told = operator(&gateway, "promote", "probe@2");
    assert_eq!(
        (told.code, told.out.trim()),
        (Some(0), "probe@2 takes the calls"),
        "{told:?}"
    );
    let wrong = operator(&gateway, "promote", "probe");
    assert!(wrong.err.contains("no version under trial"), "{wrong:?}");
    let wrong = operator(&gateway, "promote", "probe@9");
    assert!(wrong.err.contains("has no version probe@9"), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_come_change_and_go_beside_each_other_without_a_failed_call() {
    let _machine = share().await;
    let named = |name: &str| format!("config = {{ name = \"{name}\" }}\n");
    let tried = |name: &str| named(name) + "[canary]\nweight = \"50%\"\n";
    let gateway = Gateway::start(setup(&[("probe@1", &named("one"))])).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let mut all = Answers::new();
    let ask_on = async |all: &mut Answers| {
        for (answer, n) in ask(&*handler, 100, &[]).await {
            *all.entry(answer).or_default() += n;
        }
    };
    gateway.deploy("probe/probe@2.toml", tried("two").as_bytes());
    gateway.deploy("probe/probe@2.wasm", &component("probe"));
    while version(&gateway, "probe@2").await["place"] != "canary" {
        ask_on(&mut all).await;
    }
    // One is replaced and the other does not notice.
    gateway.deploy("probe/probe@2.wasm", &variant(&component("probe"), 1));
    while version(&gateway, "probe@2").await["generation"] != 2 {
        ask_on(&mut all).await;
    }
    assert_eq!(version(&gateway, "probe@1").await["generation"], 1);
    // The stable one goes: who is tried takes the calls.
    gateway.remove("probe@1.wasm");
    while version(&gateway, "probe@2").await["place"] != "stable" {
        ask_on(&mut all).await;
    }
    ask_on(&mut all).await;
    drop_version(&gateway, "probe@3", &tried("three"));
    while version(&gateway, "probe@3").await["place"] != "canary" {
        ask_on(&mut all).await;
    }
    gateway.remove("probe@3.wasm");
    while version(&gateway, "probe@3").await["place"] == "canary" {
        ask_on(&mut all).await;
    }
    ask_on(&mut all).await;
    let names: Vec<_> = all.keys().map(String::as_str).collect();
    let failed: Vec<_> = names
        .iter()
        .filter(|name| name.starts_with("failed"))
        .collect();
    assert!(failed.is_empty(), "{all:?}");
    assert_eq!(
        ask(&*handler, 20, &[]).await,
        [("two".to_owned(), 20)].into()
    );
}
