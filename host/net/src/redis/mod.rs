//! Redis as a client: connections to one server, to the nodes of a cluster, or to the master that sentinels
//! name; over them a key/value store, channels of events, and streams as logs of events.
//!
//! ```text
//! RedisKeyValues ─┐            ┌─ NodePool ─ RedisConnection (many commands at a time)
//! RedisChannels ──┼─ Routing ──┤
//! RedisLog ───────┘            └─ a connection alone, for whoever waits on it: subscriptions, XREADGROUP
//! ```
//! Commands are encoded and replies decoded by the crate `redis`. Where a command goes, when it is sent
//! again, how connections are opened and how long anything takes is decided here.
//!
//! **Invariant:** a command that may have been carried out is not sent again unless repeating it changes
//! nothing.
//!
//! **Invariant:** nothing takes longer than `connect_timeout` and `response_timeout` together, but for
//! whoever waits for events.

mod channels;
mod cluster;
mod config;
mod connection;
mod consumer;
mod counts;
mod failure;
mod group;
mod key_values;
mod log;
mod log_stream;
mod node_pool;
mod routing;
mod sentinel;
mod snapshot;
mod standing;
mod stream_replies;

use std::{sync::Arc, time::Duration};

use tokio_util::task::AbortOnDropHandle;

use self::routing::Routing;
pub use self::{
    channels::RedisChannels,
    config::{RedisChannelsConfig, RedisConfig, RedisCredentials, RedisLogConfig},
    counts::RedisCounts,
    key_values::RedisKeyValues,
    log::RedisLog,
    log_stream::DeadLetters,
    snapshot::RedisSnapshot,
    standing::RedisStanding,
};
use crate::tls::ClientTls;

/// A Redis and the connections to it, which it keeps up by itself until it is dropped.
#[derive(Debug)]
pub struct RedisStore {
    routing: Arc<Routing>,
    channels: RedisChannels,
    _keeper: AbortOnDropHandle<()>,
}

impl RedisStore {
    /// Begins to connect. `tls` is what servers are verified by and shown, where the location wants it; it
    /// may be replaced meanwhile, and connections that are opened after that use what is new.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn open(config: RedisConfig, tls: Arc<ClientTls>) -> Arc<Self> {
        let routing = Arc::new(Routing::new(config, tls));
        let keeper = tokio::spawn(Arc::clone(&routing).keep());
        Arc::new(Self {
            channels: RedisChannels::new(Arc::clone(&routing)),
            routing,
            _keeper: AbortOnDropHandle::new(keeper),
        })
    }

    #[must_use]
    pub fn config(&self) -> &RedisConfig {
        self.routing.config()
    }

    /// The key/value store over it.
    #[must_use]
    pub fn key_values(&self) -> RedisKeyValues {
        RedisKeyValues::new(Arc::clone(&self.routing))
    }

    /// Its channels, as a broker of events.
    #[must_use]
    pub const fn channels(&self) -> &RedisChannels {
        &self.channels
    }

    /// A stream of it, as a log of events. `dead_letters` is told of those that are not given out again.
    #[must_use]
    pub fn log(&self, config: RedisLogConfig, dead_letters: Option<DeadLetters>) -> RedisLog {
        RedisLog::new(Arc::clone(&self.routing), config, dead_letters)
    }

    #[must_use]
    pub fn snapshot(&self) -> RedisSnapshot {
        self.routing.snapshot()
    }

    /// Waits until a server has answered, at most for `most`. Says whether one has.
    pub async fn connected_within(&self, most: Duration) -> bool {
        self.routing.connected_within(most).await
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.routing.closed.cancel();
    }
}

#[cfg(test)]
mod tests;
