//! Durable topics whose events lie in a Redis: streams with consumer groups.

use std::{collections::BTreeSet, time::Duration};

use postern_core::Error;
use postern_net::{Client, client::Events};
use postern_tests::{
    Gateway, RedisServer, Setup, ask_events, next_event, patiently, publish_event, session,
};
use serde_json::{Value, json};

use super::shown;
use crate::{figure, share};

/// A gateway that keeps events of `orders.>` in the server.
async fn gateway(server: &RedisServer, keys: &str) -> Gateway {
    let config = format!(
        "[stores.main]\nurl = \"{}\"\nclaim-idle = \"1s\"\nreconnect-max = \"200ms\"\n\
         [topics.\"orders.>\"]\ndelivery = \"at-least-once\"\nstore = \"main\"\n{keys}\n",
        server.url()
    );
    Gateway::start(Setup {
        config,
        ..Setup::default()
    })
    .await
}

async fn publish(client: &Client, topic: &str, payload: &Value) -> Result<(), Error> {
    let headers = [("content-type", "application/json")];
    publish_event(client, topic, &headers, payload.to_string()).await
}

async fn subscribe(client: &Client, name: &str) -> Events {
    let events = client.events();
    let message = json!({"topics": ["orders.>"], "durable": name, "start": "first"});
    patiently("it subscribes", async || {
        ask_events(client, "subscribe", &message).await.is_ok()
    })
    .await;
    events
}

/// Payload, and what acknowledges it.
async fn next(events: &mut Events) -> (Value, String) {
    let delivery = next_event(events).await;
    let payload = serde_json::from_slice(&delivery.event.payload).expect("JSON");
    let token = delivery
        .event
        .headers
        .get_str("delivery")
        .map(std::borrow::Cow::into_owned);
    (payload, token.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn any_client_of_redis_reads_what_is_published_and_publishes_what_is_read() {
    let _machine = share().await;
    let server = RedisServer::start(&[]).await;
    let gateway = gateway(&server, "max-messages = 1000").await;
    let client = session(&gateway).await;
    publish(&client, "orders.new", &json!({"n": 1}))
        .await
        .expect("kept");
    let key = "postern:log:{orders.>}";
    let shown = server.run(&["xrange", key, "-", "+"]);
    for part in [
        "topic\norders.new",
        "payload\n{\"n\":1}",
        "header:content-type\napplication/json",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    server.run(&[
        "xadd",
        key,
        "*",
        "topic",
        "orders.paid",
        "payload",
        "{\"n\":2}",
    ]);
    let mut events = subscribe(&client, "billing").await;
    let (first, _) = next(&mut events).await;
    let (second, _) = next(&mut events).await;
    assert_eq!((first, second), (json!({"n": 1}), json!({"n": 2})));
    let topics = gateway.admin_json("/topics").await.to_string();
    assert!(topics.contains("\"store\":\"main\""), "{topics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_gateway_takes_over_what_a_killed_one_had() {
    let _machine = share().await;
    let server = RedisServer::start(&[]).await;
    let (mut one, other) = (gateway(&server, "").await, gateway(&server, "").await);
    let at_one = session(&one).await;
    for n in 0..10 {
        publish(&at_one, "orders.new", &json!(n))
            .await
            .expect("kept");
    }
    let mut events = subscribe(&at_one, "billing").await;
    let (first, _) = next(&mut events).await;
    assert_eq!(first, 0);
    one.signal("KILL");
    assert!(!one.ended().await.success());
    let at_other = session(&other).await;
    let mut events = subscribe(&at_other, "billing").await;
    let mut seen = BTreeSet::new();
    while seen.len() < 10 {
        let (payload, token) = next(&mut events).await;
        seen.insert(payload.as_u64().expect("a number"));
        let acknowledge = json!({ "deliveries": [token] });
        ask_events(&at_other, "acknowledge", &acknowledge)
            .await
            .expect("acknowledged");
    }
    assert!(shown(&other).await["claimed"].as_u64() > Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_server_is_killed_during_publishing() {
    let _machine = share().await;
    let mut server = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let gateway = gateway(&server, "in-flight-max = 1000\norder = \"none\"").await;
    let client = session(&gateway).await;
    let publisher = session(&gateway).await;
    let publishing = tokio::spawn(async move {
        let (mut acknowledged, mut n_failed) = (BTreeSet::new(), 0);
        for n in 0.. {
            if acknowledged.len() == 1000 {
                break;
            }
            match publish(&publisher, "orders.new", &json!(n)).await {
                Ok(()) => drop(acknowledged.insert(n)),
                Err(_) => n_failed += 1,
            }
        }
        (acknowledged, n_failed)
    });
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.kill();
        server.start_again().await;
    }
    let (acknowledged, n_failed): (BTreeSet<u64>, u32) = publishing.await.expect("it ends");
    let mut events = subscribe(&client, "billing").await;
    let mut seen = BTreeSet::new();
    while !seen.is_superset(&acknowledged) {
        let (payload, token) = next(&mut events).await;
        seen.insert(payload.as_u64().expect("a number"));
        let acknowledge = json!({ "deliveries": [token] });
        drop(ask_events(&client, "acknowledge", &acknowledge).await);
    }
    figure(&format!(
        "redis-server killed 5 times during durable publishing: {} acknowledged, 0 lost, {n_failed} refused",
        acknowledged.len()
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_keeps_what_its_topic_says() {
    let _machine = share().await;
    let server = RedisServer::start(&["--stream-node-max-entries", "10"]).await;
    let gateway = gateway(&server, "max-messages = 50\nmax-age = \"1h\"").await;
    let client = session(&gateway).await;
    for n in 0..200 {
        publish(&client, "orders.new", &json!(n))
            .await
            .expect("kept");
    }
    let length: u32 = server
        .run(&["xlen", "postern:log:{orders.>}"])
        .trim()
        .parse()
        .expect("a number");
    assert!((50..=60).contains(&length), "{length}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_nobody_handles_becomes_a_dead_letter() {
    let _machine = share().await;
    let server = RedisServer::start(&[]).await;
    let keys = "ack-wait = \"50ms\"\nback-off = [\"10ms\"]\ndeliveries-max = 2";
    let gateway = gateway(&server, keys).await;
    let client = session(&gateway).await;
    publish(&client, "orders.new", &json!("x"))
        .await
        .expect("kept");
    let mut events = subscribe(&client, "billing").await;
    for _ in 0..2 {
        assert_eq!(next(&mut events).await.0, "x");
    }
    patiently("it is dead", async || shown(&gateway).await["dead"] == 1).await;
    let dead = server.run(&["xrange", "postern:log:{orders.>}:dead", "-", "+"]);
    assert!(
        dead.contains("group\n") && dead.contains("deliveries\n2"),
        "{dead}"
    );
    let topics = gateway.admin_json("/topics").await.to_string();
    assert!(topics.contains("dead-letter"), "{topics}");
}
