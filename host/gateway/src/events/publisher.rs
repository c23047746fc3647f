//! Where every front publishes: the hub of those who listen, and the logs of durable topics.
//!
//! ```text
//! publish ─▶ a log wants the topic? ── no ──▶ hub, at once
//!                    │ yes
//!                    └─▶ on disk in each of them ─▶ hub ─▶ the publisher is answered
//! ```
//! An event of no durable topic that a channel has acknowledged is with a broker first.

use std::{
    fmt,
    sync::{Arc, OnceLock, Weak},
};

use futures_util::future::try_join_all;
use postern_core::{
    Blame, BoxFuture, Error, Kind,
    event::{
        Event, EventSink, Hub, Published,
        durable::{EventLog, Position},
    },
    mqtt::is_of_broker,
};

use super::topics::DurableTopics;

/// Publishes events. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct EventPublisher {
    hub: Hub,
    topics: Arc<DurableTopics>,
    /// Not held: it publishes itself.
    relay: Arc<OnceLock<Weak<dyn EventRelay>>>,
}

/// Who hands events to brokers before their publishers are answered.
pub(crate) trait EventRelay: fmt::Debug + Send + Sync {
    /// Resolves when the event is acknowledged; none where nobody is to wait for that.
    fn relay(&self, event: &Event) -> Option<BoxFuture<Result<(), Error>>>;
}

impl EventPublisher {
    #[must_use]
    pub(super) fn new(hub: Hub, topics: Arc<DurableTopics>) -> Self {
        Self {
            hub,
            topics,
            relay: Arc::default(),
        }
    }

    /// Asks `relay` of every event from here on, as long as it is there. Said once; what is said later
    /// changes nothing.
    pub(crate) fn set_relay(&self, relay: Weak<dyn EventRelay>) {
        let _ = self.relay.set(relay);
    }

    /// The acknowledgement that is waited for. An event of a durable topic is with its log, which is one of
    /// `logs` and whose consumer a channel is.
    fn relay(
        &self,
        event: &Event,
        logs: &[Arc<dyn EventLog>],
    ) -> Option<BoxFuture<Result<(), Error>>> {
        let relay = self.relay.get()?.upgrade()?;
        let is_durable = !logs.is_empty() && self.topics.is_durable(&event.topic);
        (!is_durable).then(|| relay.relay(event)).flatten()
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
    pub(crate) async fn publish_at(&self, mut event: Event) -> Result<Position, Error> {
        event.headers = event.headers.without(is_of_broker);
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
        let relayed = self.relay(&event, &logs);
        if logs.is_empty() && relayed.is_none() {
            return tell(&self.hub, event).map(Published::Told);
        }
        self.hub.check(&event)?;
        let event = event.into_compact();
        let hub = self.hub.clone();
        Ok(Published::Storing(Box::pin(async move {
            if let Some(relayed) = relayed {
                relayed.await?;
            }
            try_join_all(logs.iter().map(|log| log.append(event.clone()))).await?;
            // It is kept, whatever those say who only listen.
            Ok(tell(&hub, event).unwrap_or(0))
        })))
    }
}

impl EventSink for EventPublisher {
    fn publish(&self, mut event: Event) -> Result<Published, Error> {
        if !event.headers.is_empty() {
            // Whose message it is nobody says but the broker.
            event.headers = event.headers.without(is_of_broker);
        }
        let logs = self.topics.logs_for(&event.topic);
        self.publish_to(logs, event, Hub::publish)
    }
}
