//! What bridges stand on: the events of this gateway.

use std::{fmt, sync::Arc};

use postern_core::{
    BoxFuture, Error, Text,
    event::{Event, EventSink, QueueBounds, Subscription, TopicPattern, durable::EventLog},
};

use crate::events::EventService;

/// The events of this gateway, as a bridge uses them.
pub(crate) trait BridgedEvents: Send + Sync + fmt::Debug {
    /// Begins to publish an event, in the order of the calls. It is stored where its topic is durable
    /// when this resolves.
    fn publish(&self, event: Event) -> BoxFuture<Result<u32, Error>>;

    /// Tells of something that happened to the gateway itself.
    fn tell(&self, event: Event);

    /// # Errors
    /// Where no more may subscribe.
    fn subscribe(
        &self,
        owner: &Text,
        patterns: Vec<TopicPattern>,
        queue: QueueBounds,
    ) -> Result<Subscription, Error>;

    /// Logs that keep durable topics.
    fn logs(&self) -> Vec<Arc<dyn EventLog>>;
}

impl BridgedEvents for EventService {
    fn publish(&self, event: Event) -> BoxFuture<Result<u32, Error>> {
        let told = self.hub().publish(event);
        Box::pin(std::future::ready(told))
    }

    fn tell(&self, event: Event) {
        if let Err(error) = self.hub().publish_own(event) {
            tracing::debug!(%error, "the change of a bridge is not told as an event");
        }
    }

    fn subscribe(
        &self,
        owner: &Text,
        patterns: Vec<TopicPattern>,
        queue: QueueBounds,
    ) -> Result<Subscription, Error> {
        self.hub().subscribe(owner, patterns, Some(queue))
    }

    fn logs(&self) -> Vec<Arc<dyn EventLog>> {
        Vec::new()
    }
}
