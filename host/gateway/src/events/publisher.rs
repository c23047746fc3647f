//! Where every front publishes: the hub of those who listen, and the logs of durable topics.
//!
//! ```text
//! publish ─▶ a log wants the topic? ── no ──▶ hub, at once
//!                    │ yes
//!                    └─▶ on disk in each of them ─▶ hub ─▶ the publisher is answered
//! ```

use std::sync::Arc;

use futures_util::future::try_join_all;
use postern_core::{
    Blame, Error, Kind,
    event::{Event, EventSink, Hub, Published, durable::Position},
};

use super::topics::DurableTopics;

/// Publishes events. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct EventPublisher {
    hub: Hub,
    topics: Arc<DurableTopics>,
}

impl EventPublisher {
    #[must_use]
    pub(super) const fn new(hub: Hub, topics: Arc<DurableTopics>) -> Self {
        Self { hub, topics }
    }

    /// Publishes an event and gives how many subscribers are told of it; one of a durable topic is stored
    /// when this returns.
    ///
    /// # Errors
    /// Why the event was not taken, or not kept.
    pub(crate) async fn publish_stored(&self, event: Event) -> Result<u32, Error> {
        self.publish(event)?.stored().await
    }

    /// Publishes an event of a durable topic, and gives its position in the log that keeps the topic.
    ///
    /// # Errors
    /// As `publish_stored`; `failed-precondition` where no log keeps the topic.
    pub(crate) async fn publish_at(&self, event: Event) -> Result<Position, Error> {
        let logs = self.topics.logs_for(&event.topic);
        if !self.topics.is_durable(&event.topic) {
            let message = format!("{} is no durable topic", event.topic);
            return Err(Error::new(Kind::FailedPrecondition, Blame::Client, message));
        }
        self.hub.check(&event)?;
        let event = event.into_compact();
        let positions = try_join_all(logs.iter().map(|log| log.append(event.clone()))).await?;
        // It is kept, whatever those say who only listen.
        drop(self.hub.publish(event));
        // The log of the topic comes first.
        Ok(positions.first().copied().unwrap_or_default())
    }
}

    /// As `publish`, for the hub's tap, which tells its own subscribers by itself. Logs that keep what their
    /// consumers ask for get the event only where it `is_kept`.
    ///
    /// # Errors
    /// As `publish`.
    pub(crate) fn publish_of_tap(&self, event: Event, is_kept: bool) -> Result<Published, Error> {
        let logs = match is_kept {
            true => self.topics.logs_for(&event.topic),
            false => self.topics.configured_logs_for(&event.topic),
        };
        self.publish_to(logs, event, Hub::publish_untapped)
    }

    fn publish_to(
        &self,
        logs: Vec<Arc<dyn EventLog>>,
        event: Event,
        tell: fn(&Hub, Event) -> Result<u32, Error>,
    ) -> Result<Published, Error> {
        if logs.is_empty() {
            return tell(&self.hub, event).map(Published::Told);
        }
        self.hub.check(&event)?;
        let event = event.into_compact();
        let hub = self.hub.clone();
        Ok(Published::Storing(Box::pin(async move {
            try_join_all(logs.iter().map(|log| log.append(event.clone()))).await?;
            // It is kept, whatever those say who only listen.
            Ok(tell(&hub, event).unwrap_or(0))
        })))
    }
}

impl EventSink for EventPublisher {
    fn publish(&self, event: Event) -> Result<Published, Error> {
        let logs = self.topics.logs_for(&event.topic);
        self.publish_to(logs, event, Hub::publish)
    }
}
