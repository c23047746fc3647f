//! What VYRA's peers use of Redis: four commands and subscriptions.

use std::{fmt, time::Duration};

use bytes::Bytes;
use postern_core::{BoxFuture, Error, event::broker::EventSource};

/// A Redis that peers speak over. Channels and keys are as they are, without prefixes.
pub(crate) trait VyraRedis: Send + Sync + fmt::Debug {
    /// `PUBLISH`.
    fn publish(&self, channel: String, payload: Bytes) -> BoxFuture<Result<(), Error>>;

    /// `SUBSCRIBE`. It is in force when this resolves. Each event's topic is its channel.
    fn subscribe(&self, channels: Vec<String>) -> BoxFuture<Result<Box<dyn EventSource>, Error>>;

    /// `SET … EX`.
    fn set(&self, key: String, value: Bytes, expiry: Duration) -> BoxFuture<Result<(), Error>>;

    /// `TYPE`, then `GET` where it is a string.
    fn get(&self, key: String) -> BoxFuture<Result<Option<Bytes>, Error>>;

    /// Whether it is that very Redis.
    fn is(&self, other: &dyn VyraRedis) -> bool;
}
