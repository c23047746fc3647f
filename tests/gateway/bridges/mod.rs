//! Bridges between the real binary and brokers that are not ours: mosquitto, with its own clients at the
//! other side.
//!
//! | file | claims |
//! | --- | --- |
//! | `exchange.rs` | topics, QoS, retained, wills, users, properties, prefixes |
//! | `loss.rs` | brokers that are away, killed, full queues, sessions that are kept |
//! | `loops.rs` | two bridges, two gateways, in a ring |
//! | `tls.rs` | certificates of both sides, renewed |
//! | `bounds.rs` | keys that bound and time |
//! | `relay.rs` | a fixture |

mod bounds;
mod exchange;
mod loops;
mod loss;
mod relay;
mod tls;

use std::{collections::BTreeSet, sync::Arc};

use postern_core::Handler;
use postern_net::Client;
use postern_tests::{
    CallerTransport, Gateway, Setup, ask_events, call, connect, patiently, session,
};
use serde_json::Value;

/// A subscriber of the gateway's own events.
struct Listening {
    _client: Client,
    events: tokio::sync::mpsc::UnboundedReceiver<Heard>,
    _task: tokio::task::AbortHandle,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Heard {
    topic: String,
    payload: String,
    headers: Vec<(String, String)>,
}

impl Heard {
    fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

impl Listening {
    async fn to(gateway: &Gateway, patterns: &[&str]) -> Self {
        let client = session(gateway).await;
        let mut events = client.events();
        let message = serde_json::json!({ "topics": patterns });
        let subscribed = ask_events(&client, "subscribe", &message).await;
        subscribed.expect("a subscription");
        let (told, heard) = tokio::sync::mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            while let Some(delivery) = events.next().await {
                let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
                let headers = delivery.event.headers.iter();
                let _ = told.send(Heard {
                    topic: delivery.event.topic.to_string(),
                    payload: text(&delivery.event.payload),
                    headers: headers
                        .map(|(key, value)| (text(key), text(&value)))
                        .collect(),
                });
            }
        });
        Self {
            _client: client,
            events: heard,
            _task: task.abort_handle(),
        }
    }

    async fn next(&mut self) -> Heard {
        let next = tokio::time::timeout(std::time::Duration::from_secs(60), self.events.recv());
        let next = next.await.expect("an event within a minute");
        next.expect("the subscription is open")
    }

    /// Whatever has come.
    fn all(&mut self) -> Vec<Heard> {
        std::iter::from_fn(|| self.events.try_recv().ok()).collect()
    }
}

/// A gateway with one bridge `b` of these keys and tables.
async fn bridged(url: &str, keys: &str) -> Gateway {
    let config = format!("[bridges.b]\nurl = \"{url}\"\n{keys}\n");
    let gateway = Gateway::start(Setup {
        config,
        ..Setup::default()
    })
    .await;
    connected(&gateway, "b").await;
    gateway
}

async fn connected(gateway: &Gateway, bridge: &str) {
    patiently("the bridge is connected", async || {
        state(gateway, bridge).await["is_connected"] == true
    })
    .await;
}

/// What the admin listener says of a bridge.
async fn state(gateway: &Gateway, bridge: &str) -> Value {
    let all = gateway.admin_json("/bridges").await;
    let mut all = all["bridges"].as_array().expect("a list").iter();
    let found = all.find(|one| one["name"] == bridge);
    found.cloned().unwrap_or_default()
}

/// Publishes text to a topic of the gateway.
async fn publish(handler: &Arc<dyn Handler>, topic: &str, payload: &str) {
    let event =
        serde_json::json!({ "topic": topic, "content-type": "text/plain", "payload": payload });
    let published = call(&**handler, "events/publish", event.to_string()).await;
    published.expect("the event is taken");
}

/// Payloads that a durable topic keeps, read until all that are `wanted` were there, and how many that
/// were in all.
async fn kept(
    gateway: &Gateway,
    topic: &str,
    wanted: &BTreeSet<String>,
) -> (BTreeSet<String>, usize) {
    let client = session(gateway).await;
    let mut events = client.events();
    let name = topic.replace('.', "-");
    let message = serde_json::json!({ "topics": [topic], "durable": name, "start": "first" });
    let subscribed = ask_events(&client, "subscribe", &message).await;
    subscribed.expect("a subscription");
    let (mut came, mut n_came) = (BTreeSet::new(), 0);
    let reading = async {
        while !came.is_superset(wanted) {
            let delivery = events.next().await.expect("the session goes on");
            let payload = String::from_utf8_lossy(&delivery.event.payload).into_owned();
            let id = delivery.event.headers.get_str("delivery").expect("durable");
            let message = serde_json::json!({ "deliveries": [id] });
            let acknowledged = ask_events(&client, "acknowledge", &message).await;
            acknowledged.expect("acknowledged");
            n_came += 1;
            came.insert(payload);
        }
    };
    let read = tokio::time::timeout(std::time::Duration::from_secs(120), reading).await;
    let n_missing = wanted.difference(&came).count();
    assert!(read.is_ok(), "{n_missing} of {} are not kept", wanted.len());
    (came, n_came)
}

async fn publisher(gateway: &Gateway) -> Arc<dyn Handler> {
    connect(gateway, CallerTransport::Tcp).await
}

/// Texts of all numbers below `n`.
fn numbers(n: usize) -> BTreeSet<String> {
    (0..n).map(|number| number.to_string()).collect()
}
