//! Channels: one name for several brokers in the order of preference, of which one carries at a time.
//!
//! | file | what it decides |
//! | --- | --- |
//! | `selector` | which broker carries: failover within a bound, return after a time of health |
//! | `queue` | what is sent next, what is sent again, and what is given up |
//! | `recent_ids` | whether an event that comes in has come in before |
//! | `expected_echoes` | whether an event that comes in is one that was sent from here |
//!
//! A broker may say nothing of what it has for us, and two brokers may both have an event. So whoever
//! subscribes does so on all brokers at once: nothing is lost at a switch, and an event that comes twice
//! is recognized by its header `event-id`.

mod aged_queue;
mod expected_echoes;
mod queue;
mod recent_ids;
mod selector;

pub use self::{
    expected_echoes::ExpectedEchoes,
    queue::{ChannelDelivery, ChannelQueue, ChannelQueueBounds, SendFailure},
    recent_ids::RecentIds,
    selector::{ChannelSelector, ChannelSwitch, FailoverConfig, MemberStanding},
};

/// Header that names an event, the same wherever it comes from. At most [`EVENT_ID_BYTES_MAX`] octets.
pub const EVENT_ID: &str = "event-id";
/// Header of an event that came in over a channel: its name. Such an event is not sent out there.
pub const EVENT_CHANNEL: &str = "event-channel";
/// Longest id that is remembered; a longer one recognizes nothing.
pub const EVENT_ID_BYTES_MAX: usize = 128;
