//! A party that has subscribers of its own, beside those of the hub.

use std::fmt;

use super::Event;

/// Told of every event as it is published: a broker whose clients subscribe by another protocol.
pub trait EventTap: Send + Sync + fmt::Debug {
    /// Gives the event to its own subscribers and says how many there were. It must not wait.
    fn tell(&self, event: &Event) -> u32;
}
