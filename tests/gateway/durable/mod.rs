//! Events that are not lost: what the binary promises of durable topics (`host/docs/promises.md`).

mod consumers;
mod full;
mod killed;
mod operators;
mod plugins;
mod retention;
mod web;

use bytes::Bytes;
use postern_core::{Error, event::Delivery};
use postern_net::{Client, client::Events};
use postern_tests::{Gateway, Setup, ask_events, publish_event};
use serde_json::{Value, json};

/// A gateway that keeps the events of `orders.>`, with further keys of that table, a line each.
fn setup(keys: &str) -> Setup {
    Setup {
        config: format!("[topics.\"orders.>\"]\ndelivery = \"at-least-once\"\n{keys}\n"),
        ..Setup::default()
    }
}

/// Publishes a payload of JSON; the event is stored when this returns.
async fn publish(client: &Client, topic: &str, payload: &Value) -> Result<(), Error> {
    publish_keyed(client, topic, "", payload).await
}

/// As `publish`, with the header `event-key`.
async fn publish_keyed(
    client: &Client,
    topic: &str,
    key: &str,
    payload: &Value,
) -> Result<(), Error> {
    let mut headers = vec![("content-type", "application/json")];
    if !key.is_empty() {
        headers.push(("event-key", key));
    }
    publish_event(client, topic, &headers, payload.to_string()).await
}

/// Subscribes under a durable name, from the oldest event on where nobody has used it.
async fn subscribe(client: &Client, name: &str, topic: &str) -> Events {
    let events = client.events();
    let message = json!({"topics": [topic], "durable": name, "start": "first"});
    let subscribed = ask_events(client, "subscribe", &message).await;
    subscribed.expect("subscribed");
    events
}

/// Payload and number of deliveries.
fn told(delivery: &Delivery) -> (Value, u64) {
    let payload: Bytes = delivery.event.payload.clone();
    let deliveries = header(delivery, "deliveries").parse().expect("a number");
    (serde_json::from_slice(&payload).expect("JSON"), deliveries)
}

fn header(delivery: &Delivery, name: &str) -> String {
    let value = delivery.event.headers.get_str(name);
    value.expect("the header is there").into_owned()
}

/// Acknowledges a delivery, and says how many that were.
async fn acknowledge(client: &Client, delivery: &Delivery) -> Result<u64, Error> {
    let message = json!({"deliveries": [header(delivery, "delivery")]});
    let answer = ask_events(client, "acknowledge", &message).await?;
    Ok(answer["acknowledged"].as_u64().expect("a number"))
}

async fn refuse(client: &Client, delivery: &Delivery, redelivery: &str) {
    let id = header(delivery, "delivery");
    let message = json!({"delivery": id, "reason": "as asked", "redelivery": redelivery});
    let refused = ask_events(client, "refuse", &message).await;
    refused.expect("the delivery is known");
}

/// A log as operators see it.
async fn log(gateway: &Gateway, topic: &str) -> Value {
    let topics = gateway.admin_json("/topics").await;
    let logs = topics["topics"].as_array().expect("a list");
    let found = logs.iter().find(|log| log["topic"] == topic);
    found.expect("the log is there").clone()
}
