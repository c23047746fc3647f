//! A disk that becomes full under durable publishing: who is told, and that it comes back by itself.

use std::{fs, io::Write as _, path::Path, process::Command};

use postern_core::Kind;
use postern_tests::{Gateway, Network, Setup, next_event, patiently, session};
use serde_json::{Value, json};

use super::{acknowledge, publish, setup, subscribe, told};
use crate::share;

#[tokio::test]
async fn events_are_refused_while_the_disk_is_full_and_none_that_was_stored_is_lost() {
    let test =
        "durable::full::events_are_refused_while_the_disk_is_full_and_none_that_was_stored_is_lost";
    let Some(_network) = Network::enter(test, &[]) else {
        return;
    };
    let _machine = share().await;
    let disk = tempfile::tempdir().expect("a folder");
    mount(disk.path());
    let keys = setup("").config;
    let setup = Setup {
        config: format!("data-dir = \"{}\"\n{keys}", disk.path().display()),
        ..Setup::default()
    };
    let mut gateway = Gateway::start(setup).await;
    let client = session(&gateway).await;
    publish(&client, "orders.created", &json!(0))
        .await
        .expect("there is room");
    fill(&disk.path().join("fill"));
    let (mut n_stored, large) = (0, "x".repeat(20_000));
    let error = loop {
        let payload = json!({"n": n_stored + 1, "large": large});
        match publish(&client, "orders.created", &payload).await {
            Ok(()) => n_stored += 1,
            Err(error) => break error,
        }
        assert!(n_stored < 2000, "a full disk is noticed");
    };
    assert_eq!(error.kind, Kind::ResourceExhausted, "{error}");
    let (status, body) = gateway.admin("/readyz").await.expect("it answers");
    assert_eq!(status, 503, "{body}");
    let body: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(
        (&body["reasons"][0]["name"], &body["reasons"][0]["subject"]),
        (&json!("store"), &json!("events"))
    );
    let (_, metrics) = gateway.admin("/metrics").await.expect("it answers");
    assert!(
        metrics.contains("postern_event_store_failed 1"),
        "{metrics}"
    );
    // What does not need the disk goes on.
    publish(&client, "other.topic", &json!(1))
        .await
        .expect("it is not stored");

    fs::remove_file(disk.path().join("fill")).expect("it is there");
    patiently("the gateway is ready again", async || {
        matches!(gateway.admin("/readyz").await, Ok((200, _)))
    })
    .await;
    publish(&client, "orders.last", &json!("last"))
        .await
        .expect("there is room");
    gateway.restart().await;
    let client = session(&gateway).await;
    let mut billing = subscribe(&client, "billing", "orders.>").await;
    for n in 0..=n_stored {
        let event = next_event(&mut billing).await;
        let (payload, _) = told(&event);
        let found = payload.get("n").cloned().unwrap_or(payload);
        assert_eq!(found, json!(n));
        acknowledge(&client, &event).await.expect("on disk");
    }
    assert_eq!(told(&next_event(&mut billing).await).0, json!("last"));
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
