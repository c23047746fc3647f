//! Section `events`: what publishers and subscribers may take.

use postern_core::event::{HubConfig, QueueBounds, TopicPattern};

use super::{leaf::Leaf, section::section, units::Size, value::Value};

section! {
    /// Events, and what waits for those who subscribed to them.
    pub(crate) struct Events {
        /// Largest event; a publisher of a larger one is refused.
        pub event_bytes_max: Size = Size::mib(1), within "1KiB" to "1GiB";
        /// Events that wait for one subscriber; beyond it the oldest is dropped and counted.
        pub queue_messages_max: usize = 1024, within "1" to "1000000";
        /// Octets that wait for one subscriber.
        pub queue_bytes_max: Size = Size::mib(8), within "64KiB" to "3GiB";
        /// Subscriptions of all sessions and plugins.
        pub subscriptions_max: usize = 10_000, within "1" to "1000000";
        /// Subscriptions of one session.
        pub subscriptions_per_session_max: usize = 64, within "1" to "10000";
        /// Topics of one subscription.
        pub topics_max: usize = 64, within "1" to "10000";
    }
}

/// Topics that somebody wants: `user.created`, `user.*` (one level), `user.>` (all below).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Topics(pub TopicPattern);

impl Leaf for Topics {
    fn expected() -> String {
        "a topic such as \"user.created\", \"user.*\" or \"user.>\"".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let text = String::read(value)?;
        let pattern = TopicPattern::new(&text).map_err(|error| format!("{text:?}: {error}"))?;
        Ok(Self(pattern))
    }

    fn written(&self) -> Option<String> {
        self.0.as_str().to_owned().written()
    }

    fn schema() -> serde_json::Value {
        String::schema()
    }
}

impl Events {
    /// The bounds of the hub. `depth_max` is that of calls.
    #[must_use]
    pub(crate) fn to_hub(&self, depth_max: u8) -> HubConfig {
        HubConfig {
            subscriptions_max: self.subscriptions_max,
            subscriptions_per_owner_max: self.subscriptions_per_session_max,
            topics_max: self.topics_max,
            event_bytes_max: self.event_bytes_max.octets(),
            queue: QueueBounds {
                events_max: self.queue_messages_max,
                bytes_max: self.queue_bytes_max.octets(),
            },
            depth_max,
        }
    }
}
