//! Tells subscribers that something has happened. The manifest grants topics by pattern:
//! `[grants] events = ["orders.*"]`.
//!
//! Nobody is waited for. Delivery is at most once: a subscriber whose queue is full misses it,
//! but for topics that the gateway makes durable: those are stored when the function returns. Both
//! functions give how many subscribers there were.

use serde::Serialize;

use crate::{body::Encode, failure::Failure, host};

/// Publishes a value as JSON.
///
/// # Errors
/// `permission-denied` without a grant, `invalid-argument` when the topic is not 1 to 255 octets,
/// `unavailable` where the gateway takes no events, `internal` when the value has no form in JSON.
pub fn publish<T: Serialize + ?Sized>(topic: &str, value: &T) -> Result<u32, Failure> {
    host::publish(topic, Some("application/json"), &value.encode()?)
}

/// Publishes octets as they are.
///
/// # Errors
/// As [`publish`].
pub fn publish_octets(
    topic: &str,
    content_type: Option<&str>,
    payload: &[u8],
) -> Result<u32, Failure> {
    host::publish(topic, content_type, payload)
}
