//! Events that are not lost: what the binary promises of durable topics (`host/docs/promises.md`).

mod consumers;
mod full;
mod killed;
mod operators;
mod plugins;
mod retention;
mod web;

use std::time::Duration;

use bytes::Bytes;
use postern_core::{Call, Error, Handler, event::Delivery};
use postern_net::{Client, ClientConfig, Target};
use postern_tests::{Gateway, Setup};
use serde_json::{Value, json};

/// A gateway that keeps the events of `orders.>`, with further keys of that table, a line each.
fn setup(keys: &str) -> Setup {
    Setup {
        config: format!("[topics.\"orders.>\"]\ndelivery = \"at-least-once\"\n{keys}\n"),
        ..Setup::default()
    }
}

/// A session.
async fn session(gateway: &Gateway) -> Client {
    let client = Client::connect(Target::tcp(gateway.vstp), ClientConfig::default());
    client.await.expect("the gateway takes sessions")
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
    let mut call = Call::unary("events", "publish", payload.to_string());
    for (name, value) in [
        ("event-type", topic),
        ("content-type", "application/json"),
        ("event-key", key),
    ] {
        if !value.is_empty() {
            call.headers.push(name, value).expect("short");
        }
    }
    client.call(call).await.map(drop)
}

/// A call of the service `events`, and its answer.
async fn events(client: &Client, method: &'static str, message: &Value) -> Result<Value, Error> {
    let call = Call::unary("events", method, message.to_string());
    let reply = client.call(call).await?;
    let body = reply.body.into_one(1 << 20).await?;
    Ok(serde_json::from_slice(&body).expect("JSON"))
}

/// Subscribes under a durable name, from the oldest event on where nobody has used it.
async fn subscribe(client: &Client, name: &str, topic: &str) -> postern_net::client::Events {
    let events_of = client.events();
    let message = json!({"topics": [topic], "durable": name, "start": "first"});
    let subscribed = events(client, "subscribe", &message).await;
    subscribed.expect("subscribed");
    events_of
}

/// The next event, which must come.
async fn next(events: &mut postern_net::client::Events) -> Delivery {
    let next = tokio::time::timeout(Duration::from_secs(60), events.next());
    let next = next.await.expect("an event within a minute");
    next.expect("the session goes on")
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
    let answer = events(client, "acknowledge", &message).await?;
    Ok(answer["acknowledged"].as_u64().expect("a number"))
}

async fn refuse(client: &Client, delivery: &Delivery, redelivery: &str) {
    let id = header(delivery, "delivery");
    let message = json!({"delivery": id, "reason": "as asked", "redelivery": redelivery});
    let refused = events(client, "refuse", &message).await;
    refused.expect("the delivery is known");
}

/// A log as operators see it.
async fn log(gateway: &Gateway, topic: &str) -> Value {
    let topics = gateway.admin_json("/topics").await;
    let logs = topics["topics"].as_array().expect("a list");
    let found = logs.iter().find(|log| log["topic"] == topic);
    found.expect("the log is there").clone()
}
