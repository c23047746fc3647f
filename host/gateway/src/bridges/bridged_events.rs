//! What bridges stand on: the events of this gateway.

use std::{collections::BTreeMap, fmt, sync::Arc};

use postern_core::{
    BoxFuture, Error, Text,
    event::{Event, EventSink, QueueBounds, Subscription, TopicPattern, durable::EventLog},
};
use tokio::sync::watch;

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

    /// Whether a log keeps events of `topic`.
    fn is_durable(&self, topic: &str) -> bool;

    /// Logs of which one of `patterns` may want an event, by their names.
    fn logs(&self, patterns: &[TopicPattern]) -> BTreeMap<Text, Arc<dyn EventLog>>;

    /// Tells when other topics are durable than before.
    fn changes(&self) -> watch::Receiver<()>;
}

impl BridgedEvents for EventService {
    fn publish(&self, event: Event) -> BoxFuture<Result<u32, Error>> {
        match self.publisher().publish(event) {
            Ok(published) => Box::pin(published.stored()),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
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

    fn is_durable(&self, topic: &str) -> bool {
        self.topics().is_durable(topic)
    }

    fn logs(&self, patterns: &[TopicPattern]) -> BTreeMap<Text, Arc<dyn EventLog>> {
        let durable = self.topics().matching(patterns).into_iter();
        let named = durable.map(|topic| (Text::from(topic.pattern.as_str()), topic.log));
        named.collect()
    }

    fn changes(&self) -> watch::Receiver<()> {
        self.topics().changes()
    }
}
