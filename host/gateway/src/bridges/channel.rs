//! The broker of a bridge, for channels: a client of its own, which has no rules and gets what it publishes
//! itself.

use std::sync::Arc;

use postern_core::{
    Blame, BoxFuture, Call, Error, Reply,
    event::{
        Event, TopicPattern,
        broker::{BrokerStanding, EventBroker, EventSource},
    },
};
use postern_net::mqtt_client::BrokerClient;

use super::Bridges;

/// Whatever broker `[bridges.NAME]` names at present. Its sources end when that table changes.
#[derive(Debug)]
pub(super) struct BridgeBroker {
    bridges: Arc<Bridges>,
    name: String,
}

impl BridgeBroker {
    #[must_use]
    pub(super) const fn new(bridges: Arc<Bridges>, name: String) -> Self {
        Self { bridges, name }
    }

    fn client(&self) -> Result<BrokerClient, Error> {
        self.bridges.channel(&self.name).ok_or_else(|| {
            let message = format!("there is no bridge {}", self.name);
            Error::unavailable(Blame::Gateway, message)
        })
    }

    fn with<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&BrokerClient) -> BoxFuture<Result<T, Error>>,
    ) -> BoxFuture<Result<T, Error>> {
        match self.client() {
            Ok(client) => ask(&client),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}

impl EventBroker for BridgeBroker {
    fn protocol(&self) -> &'static str {
        "mqtt"
    }

    fn publish(&self, event: Event) -> BoxFuture<Result<(), Error>> {
        self.with(|client| EventBroker::publish(client, event))
    }

    fn subscribe(
        &self,
        patterns: Vec<TopicPattern>,
    ) -> BoxFuture<Result<Box<dyn EventSource>, Error>> {
        self.with(|client| EventBroker::subscribe(client, patterns))
    }

    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        self.with(|client| EventBroker::call(client, call))
    }

    fn standing(&self) -> BrokerStanding {
        match self.client() {
            Ok(client) => client.standing(),
            Err(error) => BrokerStanding {
                fault: Some(error.message.as_ref().into()),
                ..BrokerStanding::default()
            },
        }
    }
}
