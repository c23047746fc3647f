//! Role `event-handler`: takes events of the topics that the manifest names.
//!
//! ```
//! use postern_guest::{Event, EventHandler, Result, kv};
//!
//! #[derive(Default)]
//! struct Counter;
//!
//! impl EventHandler for Counter {
//!     fn on_event(&mut self, event: Event) -> Result<()> {
//!         kv::update(&event.topic, |n: Option<u64>| Ok(Some(n.unwrap_or(0) + 1)))?;
//!         Ok(())
//!     }
//! }
//!
//! postern_guest::export!(Counter: EventHandler);
//! ```

use crate::{
    body::{Decode, Octets},
    failure::Failure,
    plugin::Plugin,
};

/// Takes events.
pub trait EventHandler: Plugin {
    /// Something has happened. It is told at most once; where the gateway makes its topic durable, until
    /// this returns without an error.
    ///
    /// # Errors
    /// A failure is counted and logged, and nothing is tried again.
    fn on_event(&mut self, event: Event) -> Result<(), Failure>;
}

/// Something that has happened. Its other headers are asked of [`call`](crate::call).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub topic: String,
    pub content_type: Option<String>,
    pub payload: Octets,
}

impl Event {
    /// The payload, read as JSON.
    ///
    /// # Errors
    /// `invalid-argument` when it is not a `T`.
    pub fn read<T: Decode>(self) -> Result<T, Failure> {
        T::decode(self.payload.0)
    }
}
