//! Event handlers of plugins as durable consumers, and plugins that publish.

use postern_net::{Client, client::Events};
use postern_tests::{Gateway, Setup, ask_events, call, next_event, patiently, session};
use serde_json::{Value, json};

use super::{log, publish, publish_keyed, setup};
use crate::share;

const MANIFEST: &str = "topics = [\"orders.>\"]\n[grants]\nevents = [\"seen.>\", \"orders.>\"]\n";

fn with_consumer(keys: &str) -> Setup {
    setup(keys)
        .plugin("consumer")
        .file("consumer.toml", MANIFEST)
}

/// What the plugin tells of what it was given.
async fn seen(client: &Client) -> Events {
    let seen = client.events();
    let subscribed = ask_events(client, "subscribe", &json!({"topics": ["seen.>"]})).await;
    subscribed.expect("subscribed");
    seen
}

async fn next_seen(seen: &mut Events) -> (Value, Value) {
    let event = next_event(seen).await;
    let told: Value = serde_json::from_slice(&event.event.payload).expect("JSON");
    (told["name"].clone(), told["deliveries"].clone())
}

async fn acknowledged(gateway: &Gateway, position: u64) {
    patiently("the plugin has acknowledged", async || {
        let log = log(gateway, "orders.>").await;
        log["consumers"][0]["acknowledged"] == position
    })
    .await;
}

#[tokio::test]
async fn a_handler_acknowledges_by_returning_and_gets_again_what_failed_or_trapped() {
    let _machine = share().await;
    let gateway = Gateway::start(with_consumer("back-off = [\"10ms\"]")).await;
    let client = session(&gateway).await;
    let mut seen = seen(&client).await;
    for work in [
        json!({"name": "good"}),
        json!({"name": "fails", "fail": 2}),
        json!({"name": "traps", "trap": 1}),
        json!({"name": "last"}),
    ] {
        publish(&client, "orders.created", &work)
            .await
            .expect("stored");
    }
    for (name, n) in [
        ("good", 1),
        ("fails", 1),
        ("fails", 2),
        ("fails", 3),
        ("traps", 1),
        ("traps", 2),
        ("last", 1),
    ] {
        assert_eq!(next_seen(&mut seen).await, (json!(name), json!(n)));
    }
    acknowledged(&gateway, 4).await;
    let log = log(&gateway, "orders.>").await;
    assert_eq!(log["consumers"][0]["name"], "plugin consumer");
}

#[tokio::test]
async fn a_handler_that_fails_too_often_leaves_a_dead_letter_and_goes_on() {
    let _machine = share().await;
    let keys = "back-off = [\"10ms\"]\ndeliveries-max = 2";
    let gateway = Gateway::start(with_consumer(keys)).await;
    let client = session(&gateway).await;
    let mut seen = seen(&client).await;
    for work in [json!({"name": "bad", "fail": 9}), json!({"name": "good"})] {
        publish(&client, "orders.created", &work)
            .await
            .expect("stored");
    }
    for (name, n) in [("bad", 1), ("bad", 2), ("good", 1)] {
        assert_eq!(next_seen(&mut seen).await, (json!(name), json!(n)));
    }
    let kept = gateway.admin_json("/topics/dead-letter.%3E/events").await;
    let letter = &kept["events"][0]["headers"];
    assert_eq!(letter["event-dead-consumer"], "plugin consumer");
    assert_eq!(letter["event-dead-reason"], "bad fails the 2. time");
}

#[tokio::test]
async fn events_wait_for_a_plugin_over_reloads_and_restarts_of_the_gateway() {
    let _machine = share().await;
    let mut gateway = Gateway::start(with_consumer("")).await;
    let client = session(&gateway).await;
    publish(&client, "orders.created", &json!({"name": "first"}))
        .await
        .expect("stored");
    acknowledged(&gateway, 1).await;
    gateway.remove("consumer.wasm");
    gateway.remove("consumer.toml");
    patiently("the plugin is gone", async || {
        log(&gateway, "orders.>").await["consumers"][0]["members"] == 0
    })
    .await;
    publish(&client, "orders.created", &json!({"name": "second"}))
        .await
        .expect("stored");
    gateway.restart().await;
    let client = session(&gateway).await;
    publish(&client, "orders.created", &json!({"name": "third"}))
        .await
        .expect("stored");
    let mut seen = seen(&client).await;
    gateway.deploy("consumer.toml", MANIFEST.as_bytes());
    gateway.deploy("consumer.wasm", &postern_tests::component("consumer"));
    for name in ["second", "third"] {
        assert_eq!(next_seen(&mut seen).await, (json!(name), json!(1)));
    }
    acknowledged(&gateway, 3).await;
}

#[tokio::test]
async fn a_handler_gets_events_of_one_key_in_order_while_one_of_another_fails() {
    let _machine = share().await;
    let gateway = Gateway::start(with_consumer("back-off = [\"300ms\"]")).await;
    let client = session(&gateway).await;
    let mut seen = seen(&client).await;
    let work = json!({"name": "a1", "fail": 1});
    publish_keyed(&client, "orders.created", "a", &work)
        .await
        .expect("stored");
    for (key, name) in [("a", "a2"), ("b", "b1"), ("b", "b2")] {
        let work = json!({"name": name});
        publish_keyed(&client, "orders.created", key, &work)
            .await
            .expect("stored");
    }
    let mut names = Vec::new();
    for _ in 0..5 {
        let (name, deliveries) = next_seen(&mut seen).await;
        names.push(format!("{}:{deliveries}", name.as_str().expect("text")));
    }
    let at = |name: &str| names.iter().position(|one| one == name);
    assert!(
        at("a1:1") < at("a1:2") && at("a1:2") < at("a2:1"),
        "{names:?}"
    );
    assert!(at("b1:1") < at("b2:1"), "{names:?}");
}

#[tokio::test]
async fn what_a_plugin_publishes_is_stored_when_its_call_returns() {
    let _machine = share().await;
    let mut gateway =
        Gateway::start(with_consumer("max-messages = 2\nwhen-full = \"refuse\"")).await;
    let client = session(&gateway).await;
    let publication = |n: u64| {
        let payload = json!({"name": n.to_string()}).to_string();
        json!({"topic": "orders.made", "payload": payload}).to_string()
    };
    for n in 1..=2 {
        let told = call(&client, "consumer/Publish", publication(n)).await;
        // Its own handler listens.
        assert_eq!(told.expect("stored"), "1");
    }
    // The log refuses, and the guest is told.
    let refused = call(&client, "consumer/Publish", publication(3)).await;
    let error = refused.expect_err("full");
    assert!(error.message.contains("the log holds 2 events"), "{error}");
    gateway.signal("KILL");
    gateway.ended().await;
    gateway.start_again().await;
    assert_eq!(log(&gateway, "orders.>").await["last"], 2);
}
