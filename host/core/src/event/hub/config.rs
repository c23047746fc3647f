//! What subscribers and publishers of a hub may take.

use crate::{
    error::{Blame, Error, Kind},
    event::{Event, QueueBounds, bytes_of, check_topic},
};

/// What subscribers and publishers may take. All keys of section `events` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubConfig {
    /// Subscriptions of all owners. Default 10,000.
    pub subscriptions_max: usize,
    /// Subscriptions of one owner, which is a session. Default 64.
    pub subscriptions_per_owner_max: usize,
    /// Patterns of one subscription. Default 64.
    pub topics_max: usize,
    /// Largest event, charged as `Delivery::bytes`. Default 1 MiB, as NATS has it.
    pub event_bytes_max: usize,
    /// What waits for one session. Default 1,024 events and 8 MiB.
    pub queue: QueueBounds,
    /// Plugins that may stand between an event and the first cause of it; bounds handlers that
    /// publish what they handle. Default 8.
    pub depth_max: u8,
}

impl HubConfig {
    pub(super) fn check(&self, event: &Event) -> Result<(), Error> {
        check_topic(&event.topic).map_err(|error| error.refuse("topic", &event.topic))?;
        let (bytes, limit) = (bytes_of(event), self.event_bytes_max);
        if bytes > limit {
            let message = format!("event of {bytes} octets exceeds the limit of {limit}");
            return Err(Error::invalid_argument(message).with_too_large());
        }
        let (depth, limit) = (event.publisher.depth, self.depth_max);
        if depth > limit {
            let message = format!("{depth} plugins stand behind this event, the limit is {limit}");
            return Err(Error::new(Kind::FailedPrecondition, Blame::Guest, message));
        }
        Ok(())
    }
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            subscriptions_max: 10_000,
            subscriptions_per_owner_max: 64,
            topics_max: 64,
            event_bytes_max: 1024 * 1024,
            queue: QueueBounds::default(),
            depth_max: 8,
        }
    }
}
