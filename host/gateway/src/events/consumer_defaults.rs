//! What consumers of a durable topic have where they say nothing else.

use std::time::Duration;

use postern_core::{
    Text,
    event::{
        TopicPattern,
        durable::{ConsumerSettings, ConsumerStart},
    },
};

/// How events of a topic are given to its consumers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConsumerDefaults {
    pub ack_wait: Duration,
    pub back_off: Vec<Duration>,
    pub deliveries_max: u32,
    pub in_flight_max: usize,
    pub is_ordered: bool,
}

impl ConsumerDefaults {
    /// A consumer that says nothing else.
    #[must_use]
    pub(crate) fn settings(
        &self,
        name: Text,
        patterns: Vec<TopicPattern>,
        start: ConsumerStart,
    ) -> ConsumerSettings {
        ConsumerSettings {
            name,
            patterns,
            start,
            ack_wait: self.ack_wait,
            back_off: self.back_off.clone(),
            deliveries_max: self.deliveries_max,
            in_flight_max: self.in_flight_max,
            is_ordered: self.is_ordered,
        }
    }
}
