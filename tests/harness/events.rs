//! The built-in service for events, as a session has it.

use std::time::Duration;

use bytes::Bytes;
use postern_core::{Call, Error, Handler, event::Delivery};
use postern_net::{Client, ClientConfig, Target, client::Events};
use serde_json::Value;

use crate::Gateway;

/// A session over TCP.
///
/// # Panics
/// When the gateway does not take it.
pub async fn session(gateway: &Gateway) -> Client {
    let client = Client::connect(Target::tcp(gateway.vstp), ClientConfig::default()).await;
    client.expect("the gateway takes sessions")
}

/// Publishes `payload` under `topic`, with further `headers`; the event of a durable topic is stored when
/// this returns.
///
/// # Errors
/// What the gateway answers.
///
/// # Panics
/// When a header is too long.
pub async fn publish_event(
    client: &Client,
    topic: &str,
    headers: &[(&str, &str)],
    payload: String,
) -> Result<(), Error> {
    let mut call = Call::unary("events", "publish", payload);
    for (name, value) in [("event-type", topic)].iter().chain(headers) {
        call.headers.push(name, value).expect("short");
    }
    client.call(call).await.map(drop)
}

/// A call of the service, and its answer.
///
/// # Errors
/// What the gateway answers.
///
/// # Panics
/// When the answer is no JSON.
pub async fn ask_events(
    client: &Client,
    method: &'static str,
    message: &Value,
) -> Result<Value, Error> {
    let call = Call::unary("events", method, message.to_string());
    let body: Bytes = client.call(call).await?.body.into_one(1 << 20).await?;
    Ok(serde_json::from_slice(&body).expect("JSON"))
}

/// The next event, which must come.
///
/// # Panics
/// When none comes within a minute, or the session ends.
pub async fn next_event(events: &mut Events) -> Delivery {
    let next = tokio::time::timeout(Duration::from_secs(60), events.next()).await;
    let next = next.expect("an event within a minute");
    next.expect("the session goes on")
}
