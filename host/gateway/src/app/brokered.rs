//! What is carried by brokers of others: bridges, channels, and modules of VYRA.

use std::sync::{Arc, Weak};

use postern_core::{
    BoxFuture, Error,
    event::{Event, Hub, TopicPattern, broker::EventBroker, durable::EventLog},
};
use postern_net::tls::ClientTls;
use tokio::sync::watch;
use tracing::debug;

use crate::{
    bridges::Bridges,
    channels::{BrokerSource, ChannelEvents, Channels},
    config::Config,
    control::BuiltIn,
    events::EventService,
    pipeline::Pipeline,
    stores::Stores,
    vyra::{StoreRedis, VyraGateway, VyraRedis, VyraStores},
};

/// Bridges, channels and VYRA at one gateway.
pub(crate) struct Brokered {
    pub(crate) bridges: Arc<Bridges>,
    pub(crate) channels: Arc<Channels>,
    pub(crate) vyra: VyraGateway,
}

/// Stores and bridges, by name.
struct Brokers {
    stores: Arc<Stores>,
    bridges: Arc<Bridges>,
}

/// What the gateway publishes and keeps.
struct OwnEvents(EventService);

impl Brokered {
    pub(super) fn new(
        events: &EventService,
        pipeline: &Arc<Pipeline>,
        stores: &Arc<Stores>,
        tls: &Arc<ClientTls>,
    ) -> Self {
        let bridges = Arc::new(Bridges::new(Arc::new(events.clone())));
        let own = Arc::new(OwnEvents(events.clone()));
        let brokers = Arc::new(Brokers {
            stores: Arc::clone(stores),
            bridges: Arc::clone(&bridges),
        });
        let channels = Channels::new(
            Arc::clone(&own) as Arc<dyn ChannelEvents>,
            Arc::clone(&brokers) as Arc<dyn BrokerSource>,
            Arc::clone(tls),
        );
        let channels = Arc::new(channels);
        let relay: Weak<Channels> = Arc::downgrade(&channels);
        events.publisher().set_relay(relay);
        Self {
            bridges,
            channels,
            vyra: VyraGateway::new(own, Arc::clone(pipeline) as _, brokers),
        }
    }

    /// Does what `config` says of channels and VYRA, and gives the services that are answered over brokers.
    /// Bridges are there before. Must be called on a runtime.
    pub(super) fn apply(&self, config: &Config) -> Vec<BuiltIn> {
        let mut services = self.channels.apply(config);
        services.extend(self.vyra.apply(config));
        services
    }

    /// Ends channels and VYRA, and says goodbye to the brokers of bridges.
    pub(super) async fn close(&self) {
        self.channels.close();
        self.vyra.close();
        self.bridges.close().await;
    }
}

impl BrokerSource for Brokers {
    fn store(&self, name: &str) -> Option<Arc<dyn EventBroker>> {
        let store = self.stores.find(name)?;
        Some(Arc::new(store.channels().clone()))
    }

    fn bridge(&self, name: &str) -> Option<Arc<dyn EventBroker>> {
        Some(self.bridges.broker(name))
    }
}

impl VyraStores for Brokers {
    fn redis(&self, store: &str) -> Option<Arc<dyn VyraRedis>> {
        let store = self.stores.find(store)?;
        Some(Arc::new(StoreRedis::new(store)))
    }
}

impl ChannelEvents for OwnEvents {
    fn publish(&self, event: Event) -> BoxFuture<Result<u32, Error>> {
        let publisher = self.0.publisher().clone();
        Box::pin(async move { publisher.publish_stored(event).await })
    }

    fn publish_own(&self, event: Event) {
        if let Err(error) = self.0.hub().publish_own(event) {
            debug!(%error, "the change of a channel is not told as an event");
        }
    }

    fn hub(&self) -> &Hub {
        self.0.hub()
    }

    fn logs(&self, patterns: &[TopicPattern]) -> Vec<(String, Arc<dyn EventLog>)> {
        let topics = self.0.topics().matching(patterns).into_iter();
        topics
            .map(|topic| (topic.pattern.to_string(), topic.log))
            .collect()
    }

    fn changes(&self) -> watch::Receiver<()> {
        self.0.topics().changes()
    }
}
