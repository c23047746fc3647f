//! What is pure of a Redis client: where servers are, which of them has a key, channels that a pattern
//! of topics leads to, and events as the entries of a stream.

pub mod channel;
pub mod deliveries;
pub mod entry;
pub mod location;
pub mod slot;

pub use self::{
    channel::{ChannelPattern, escape_glob},
    deliveries::{DeadDelivery, Deliveries, DeliverySettings},
    entry::{
        StreamEntryError, event_of, fields_of, order_key, position_of, publisher_key, stored_at_ms,
        stream_id,
    },
    location::{RedisLocation, RedisLocationError, RedisNode, RedisTopology},
    slot::{SLOTS, SlotMap, SlotRange, slot_of},
};
