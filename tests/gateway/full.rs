//! A disk that becomes full under a running gateway: who is told, what is lost, and that it comes
//! back by itself. The disk is a small one in memory, in namespaces of the test's own.

use std::{collections::BTreeSet, fs, io::Write as _, path::Path, process::Command};

use postern_core::{Error, Handler, Kind};
use postern_tests::{Door, Gateway, Network, Setup, call, connect, patiently};
use serde_json::{Value, json};

use crate::share;

#[tokio::test]
async fn registrations_are_refused_while_the_disk_is_full_and_none_that_was_taken_is_lost() {
    let test =
        "full::registrations_are_refused_while_the_disk_is_full_and_none_that_was_taken_is_lost";
    let Some(_network) = Network::enter(test, &[]) else {
        return;
    };
    let _machine = share().await;
    let disk = tempfile::tempdir().expect("a folder");
    mount(disk.path());
    let setup = Setup {
        config: format!(
            "data-dir = \"{}\"\n[directory]\nregistration = \"open\"\n\
             probe-interval = \"1h\"\nfailure-threshold = 1000\n",
            disk.path().display()
        ),
        ..Setup::default()
    };
    let mut gateway = Gateway::start(setup).await;
    let handler = connect(&gateway, Door::Tcp).await;
    let mut taken = BTreeSet::new();
    register(&*handler, "first").await.expect("there is room");
    taken.insert("first".to_owned());

    fill(&disk.path().join("fill"));
    let mut refused = None;
    for number in 0..200 {
        let name = format!("p{number}");
        match register(&*handler, &name).await {
            Ok(()) => drop(taken.insert(name)),
            Err(error) => {
                refused = Some((name, error));
                break;
            }
        }
    }
    let (name, error) = refused.expect("a full disk is noticed");
    assert_eq!(error.kind, Kind::ResourceExhausted, "{error}");
    assert_eq!(found(&*handler).await, taken, "{name} was refused");
    let (status, body) = gateway.admin("/readyz").await.expect("it answers");
    assert_eq!(status, 503, "{body}");
    let body: Value = serde_json::from_str(&body).expect("json");
    assert_eq!(body["reasons"][0]["name"], "store");
    let (_, metrics) = gateway.admin("/metrics").await.expect("it answers");
    assert!(metrics.contains("postern_store_failed 1"), "{metrics}");
    nothing_changes(&*handler).await;
    assert_eq!(found(&*handler).await, taken, "an end that was refused");

    fs::remove_file(disk.path().join("fill")).expect("it is there");
    patiently("the gateway is ready again", async || {
        matches!(gateway.admin("/readyz").await, Ok((200, _)))
    })
    .await;
    register(&*handler, &name).await.expect("there is room");
    taken.insert(name);
    register_at(&*handler, "p0", "tcp://127.0.0.1:2")
        .await
        .expect("there is room");
    unregister(&*handler, "first").await.expect("there is room");
    taken.insert("p0".to_owned());
    taken.remove("first");
    gateway.restart().await;
    let handler = connect(&gateway, Door::Tcp).await;
    assert_eq!(found(&*handler).await, taken, "after a restart");
    assert_eq!(address_of(&*handler, "p0").await, "tcp://127.0.0.1:2");
}

/// What is there stays as it is, neither changed nor gone; whoever asks for that is told.
async fn nothing_changes(handler: &dyn Handler) {
    for refused in [
        register_at(handler, "first", "tcp://127.0.0.1:2").await,
        unregister(handler, "first").await,
    ] {
        let error = refused.expect_err("not written");
        assert_eq!(error.kind, Kind::ResourceExhausted, "{error}");
    }
    assert_eq!(address_of(handler, "first").await, "tcp://127.0.0.1:1");
}

/// A disk of 16 MiB at `folder`, which goes with the test.
fn mount(folder: &Path) {
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=16m", "none"])
        .arg(folder)
        .status();
    assert!(mounted.expect("`mount` runs").success(), "not mounted");
}

/// Writes until nothing goes in any more.
fn fill(file: &Path) {
    let mut file = fs::File::create(file).expect("it can be made");
    for length in [64 * 1024, 4096, 1] {
        let block = vec![0; length];
        while file.write_all(&block).is_ok() {}
    }
}

async fn register(handler: &dyn Handler, name: &str) -> Result<(), Error> {
    register_at(handler, name, "tcp://127.0.0.1:1").await
}

/// An entry of some 4 KiB.
async fn register_at(handler: &dyn Handler, name: &str, address: &str) -> Result<(), Error> {
    let filling = "x".repeat(1000);
    let entry = json!({
        "instance": name, "service": "quotes", "addresses": [address],
        "ttl-ms": 600_000, "incarnation": 1, "metadata": { "a": filling, "b": filling, "c": filling, "d": filling },
    });
    let answer = call(handler, "directory/register", entry.to_string()).await;
    answer.map(drop)
}

async fn unregister(handler: &dyn Handler, name: &str) -> Result<(), Error> {
    let held = json!({ "instance": name, "incarnation": 1 });
    let answer = call(handler, "directory/unregister", held.to_string()).await;
    answer.map(drop)
}

/// The instances that the directory knows.
async fn found(handler: &dyn Handler) -> BTreeSet<String> {
    let names = instances(handler).await.into_iter();
    let names = names.map(|instance| instance["instance"].as_str().map(str::to_owned));
    names.map(|name| name.expect("a name")).collect()
}

/// Where the directory has an instance.
async fn address_of(handler: &dyn Handler, name: &str) -> String {
    let mut instances = instances(handler).await.into_iter();
    let found = instances.find(|instance| instance["instance"] == name);
    let address = found.expect("it is there")["addresses"][0].clone();
    address.as_str().expect("an address").to_owned()
}

async fn instances(handler: &dyn Handler) -> Vec<Value> {
    let found = call(handler, "directory/discover", r#"{"service":"quotes"}"#).await;
    let found: Value = serde_json::from_slice(&found.expect("found")).expect("json");
    found["instances"].as_array().expect("a list").clone()
}
