//! A server with a small service for events, and what reaches it per link.

use std::{sync::Arc, time::Duration};

use postern_core::{
    Body, BoxFuture, Call, Error, Handler, Headers, Reply, Text,
    event::{Delivery, Event, Hub, HubConfig, Publisher, TopicPattern},
};
use postern_net::{
    Client, ClientConfig, Counters, ServerConfig, Shutdown, Target,
    client::Events,
    memory::{Conditions, Network},
};
use tokio::task::JoinHandle;

use crate::server::ANY;
pub(crate) use crate::server::Link;

/// A running server; `stop` it at the end of the test.
pub(crate) struct Bench {
    pub(crate) target: Target,
    pub(crate) hub: Hub,
    pub(crate) counters: Arc<Counters>,
    pub(crate) shutdown: Shutdown,
    server: JoinHandle<()>,
}

/// `publish` takes what header `event-type` names, `subscribe` one pattern, `unsubscribe` an id.
struct Service(Hub);

impl Handler for Service {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        let hub = self.0.clone();
        Box::pin(async move { answer(&hub, call).await })
    }
}

async fn answer(hub: &Hub, call: Call) -> Result<Reply, Error> {
    let Call {
        method,
        headers,
        body,
        context,
        ..
    } = call;
    let payload = body.into_one(usize::MAX).await?;
    let text = Text::from_utf8(payload.clone()).unwrap_or_default();
    let owner = context.peer.session.clone();
    match &*method {
        "subscribe" => {
            let pattern = TopicPattern::new(&text).map_err(|error| error.refuse("topic", &text))?;
            let subscription = hub.subscribe(&owner, vec![pattern], None)?;
            let reply = Reply::one(subscription.id().clone().into_bytes());
            // Events must find their way also from a call that has become a task.
            tokio::task::yield_now().await;
            context.outbox.attach(subscription)?;
            Ok(reply)
        }
        "unsubscribe" if hub.unsubscribe(&owner, &text) => Ok(Reply::one("")),
        "unsubscribe" => Err(Error::not_found("no such subscription")),
        "publish" => {
            let topic = headers
                .get_str("event-type")
                .unwrap_or_default()
                .into_owned();
            let told = hub.publish(Event {
                topic: topic.into(),
                headers,
                payload,
                publisher: context.into(),
            })?;
            Ok(Reply::one(told.to_string()))
        }
        _ => Ok(Reply::one(payload)),
    }
}

impl Link {
    pub(crate) async fn serve(self) -> Bench {
        self.serve_with(ServerConfig::default(), HubConfig::default())
            .await
    }

    pub(crate) async fn serve_with(self, config: ServerConfig, hub: HubConfig) -> Bench {
        let hub = Hub::new(hub);
        let handler = Arc::new(Service(hub.clone()));
        let counters = Arc::new(Counters::default());
        let shutdown = Shutdown::new();
        let network = Network::new(1, Conditions::default());
        let (target, server) = self
            .start(ANY, handler, config, &counters, &network, &shutdown)
            .await;
        Bench {
            target,
            hub,
            counters,
            shutdown,
            server,
        }
    }
}

impl Bench {
    pub(crate) async fn client(&self) -> Client {
        self.client_with(ClientConfig::default()).await
    }

    pub(crate) async fn client_with(&self, config: ClientConfig) -> Client {
        let client = Client::connect(self.target.clone(), config).await;
        client.expect("the server is up")
    }

    /// Publishes from within the gateway, as a plugin does.
    pub(crate) fn publish(&self, topic: &str, payload: impl Into<bytes::Bytes>) -> u32 {
        let event = Event {
            topic: topic.into(),
            headers: Headers::new(),
            payload: payload.into(),
            publisher: Publisher::default(),
        };
        self.hub.publish(event).expect("a topic")
    }

    pub(crate) async fn until_subscriptions(&self, n: u64) {
        within(async {
            while self.hub.totals().subscriptions != n {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// Drains and waits for the server's end.
    pub(crate) async fn stop(self) {
        self.shutdown.drain();
        within(self.server).await.expect("no panic");
    }
}

/// Fails the test instead of hanging.
pub(crate) async fn within<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), future)
        .await
        .expect("done in time")
}

pub(crate) async fn call(client: &Client, method: &str, body: &str) -> Result<String, Error> {
    let call = Call::unary("events", method.to_owned(), body.to_owned());
    match client.call(call).await?.body {
        Body::One(bytes) => Ok(String::from_utf8(bytes.into()).expect("text")),
        body @ (Body::Empty | Body::Messages(_) | Body::Octets(_)) => {
            panic!("{body:?} instead of one message")
        }
    }
}

pub(crate) async fn subscribe(client: &Client, pattern: &str) -> String {
    call(client, "subscribe", pattern)
        .await
        .expect("subscribed")
}

pub(crate) async fn publish(client: &Client, topic: &str, body: &str) -> String {
    let mut call = Call::unary("events", "publish", body.to_owned());
    call.headers.push("event-type", topic).expect("short");
    match client.call(call).await.expect("published").body {
        Body::One(bytes) => String::from_utf8(bytes.into()).expect("text"),
        body @ (Body::Empty | Body::Messages(_) | Body::Octets(_)) => {
            panic!("{body:?} instead of one message")
        }
    }
}

pub(crate) async fn next(events: &mut Events) -> Delivery {
    within(events.next()).await.expect("the session lasts")
}

/// Topic and payload.
pub(crate) fn told(delivery: &Delivery) -> (String, String) {
    let payload = String::from_utf8_lossy(&delivery.event.payload).into_owned();
    (delivery.event.topic.to_string(), payload)
}
