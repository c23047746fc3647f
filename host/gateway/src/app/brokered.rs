//! What is carried by brokers of others: channels, and modules of VYRA.

use std::sync::Arc;

use postern_core::{
    BoxFuture, Error, Handler,
    event::{Event, EventSink, Hub, broker::EventBroker, durable::EventLog},
};
use postern_net::tls::ClientTls;
use tracing::debug;

use crate::{
    channels::{BrokerSource, ChannelEvents, Channels},
    config::Config,
    control::BuiltIn,
    events::EventService,
    vyra::{VyraGateway, VyraRedis, VyraStores},
};

/// Channels and VYRA at one gateway.
pub(crate) struct Brokered {
    pub(crate) channels: Channels,
    pub(crate) vyra: VyraGateway,
}

/// Stores and bridges, by name.
struct Brokers;

/// What the gateway publishes and keeps.
struct OwnEvents(EventService);

impl Brokered {
    pub(super) fn new(
        events: &EventService,
        handler: Arc<dyn Handler>,
        tls: &Arc<ClientTls>,
    ) -> Self {
        let events = Arc::new(OwnEvents(events.clone()));
        let brokers = Arc::new(Brokers);
        Self {
            channels: Channels::new(Arc::clone(&events) as _, Arc::clone(&brokers) as _, Arc::clone(tls)),
            vyra: VyraGateway::new(events, handler, brokers),
        }
    }

    /// Does what `config` says, and gives the services that are answered over brokers. Must be called on a
    /// runtime.
    pub(super) fn apply(&self, config: &Config) -> Vec<BuiltIn> {
        let mut services = self.channels.apply(config);
        services.extend(self.vyra.apply(config));
        services
    }
}

impl BrokerSource for Brokers {
    fn store(&self, _: &str) -> Option<Arc<dyn EventBroker>> {
        None
    }

    fn bridge(&self, _: &str) -> Option<Arc<dyn EventBroker>> {
        None
    }
}

impl VyraStores for Brokers {
    fn redis(&self, _: &str) -> Option<Arc<dyn VyraRedis>> {
        None
    }
}

impl ChannelEvents for OwnEvents {
    fn publish(&self, event: Event) -> BoxFuture<Result<u32, Error>> {
        Box::pin(std::future::ready(self.0.hub().publish(event)))
    }

    fn publish_own(&self, event: Event) {
        if let Err(error) = self.0.hub().publish_own(event) {
            debug!(%error, "the change of a channel is not told as an event");
        }
    }

    fn hub(&self) -> &Hub {
        self.0.hub()
    }

    fn logs(&self) -> Vec<Arc<dyn EventLog>> {
        Vec::new()
    }
}
