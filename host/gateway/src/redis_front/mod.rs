//! Clients of Redis as clients here: topics as channels, durable topics as streams, granted stores as
//! databases, and `CALL` for services. How octets are requests is `core::resp`, how they come and go
//! `net::resp`; what they mean to the gateway is said here.
//!
//! | commands | file | touches |
//! | --- | --- | --- |
//! | `AUTH`, `HELLO`, `CLIENT`, … | `session.rs`, `told.rs` | the connection |
//! | `PUBLISH`, `SUBSCRIBE`, … | `channels.rs` | the hub of events |
//! | `CALL` | `calls.rs` | the listener's handler |
//! | `GET`, `SET`, `EXPIRE`, … | `strings.rs`, `keys.rs` on `table.rs`, `expiry.rs` | a store |
//! | `XADD`, `XREAD`, … | `streams.rs`, `entry.rs` | a log of events |
//! | `XREADGROUP`, `XACK`, … | `groups.rs`, `group_commands.rs`, `group_info.rs`, `pending.rs` | a consumer of a log |
//!
//! **Invariant:** what a client may do is asked for each request, by the credentials that it has shown;
//! that they were good once is not remembered.

mod access;
mod calls;
mod channels;
mod client;
mod entry;
mod expiry;
mod failure;
mod group_commands;
mod group_info;
mod groups;
mod keys;
mod pending;
mod session;
mod streams;
mod strings;
mod table;
#[cfg(test)]
mod tests;
mod told;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use postern_core::{Handler, Peer, Text, key_value::KeyValueStore};
use postern_net::resp::{RespClient, RespService};

use self::{
    channels::ChannelCounts, client::RedisClient, groups::Groups, keys::Cursors, table::Tables,
};
use crate::{
    config::{Auth, RedisSettings},
    events::EventService,
    mqtt::credentials::KnownCredentials,
    pipeline::{ListenerHandler, Pipeline},
};

/// What all listeners for clients of Redis share.
pub(crate) struct RedisFront {
    events: EventService,
    tables: Tables,
    groups: Groups,
    cursors: Cursors,
    channels: ChannelCounts,
    clients: AtomicU64,
}

/// One listener, for its clients.
pub(crate) struct RedisListener {
    front: Arc<RedisFront>,
    pipeline: Arc<Pipeline>,
    handler: Arc<dyn Handler>,
    name: Text,
    settings: ArcSwap<ListenerRules>,
}

/// What holds for the clients of a listener. Replaced whole with the configuration.
#[derive(Debug, Clone)]
pub(crate) struct ListenerRules {
    pub redis: RedisSettings,
    /// Answers `CALL` that names no service.
    pub default_service: Option<Text>,
    pub known: KnownCredentials,
}

impl RedisFront {
    #[must_use]
    pub(crate) fn new(events: EventService, store: Arc<dyn KeyValueStore>) -> Self {
        Self {
            events,
            tables: Tables::new(store),
            groups: Groups::default(),
            cursors: Cursors::default(),
            channels: ChannelCounts::default(),
            clients: AtomicU64::new(0),
        }
    }

    /// The number of a new client.
    fn next_client(&self) -> u64 {
        self.clients.fetch_add(1, Relaxed) + 1
    }
}

impl RedisListener {
    #[must_use]
    pub(crate) fn new(
        front: Arc<RedisFront>,
        pipeline: &Arc<Pipeline>,
        name: &str,
        rules: ListenerRules,
    ) -> Self {
        let handler: ListenerHandler = pipeline.listener_handler(name);
        Self {
            front,
            pipeline: Arc::clone(pipeline),
            handler: Arc::new(handler),
            name: name.into(),
            settings: ArcSwap::from_pointee(rules),
        }
    }

    /// What holds from each client's next request on.
    pub(crate) fn apply(&self, rules: ListenerRules) {
        self.settings.store(Arc::new(rules));
    }
}

/// Serves the clients of a listener.
pub(crate) struct RedisService(pub Arc<RedisListener>);

impl RespService for RedisService {
    fn open(&self, peer: Arc<Peer>) -> Box<dyn RespClient> {
        Box::new(RedisClient::new(Arc::clone(&self.0), peer))
    }
}

impl ListenerRules {
    #[must_use]
    pub(crate) fn new(auth: &Auth, redis: &RedisSettings, default_service: Option<&str>) -> Self {
        Self {
            redis: redis.clone(),
            default_service: default_service.map(Text::from),
            known: KnownCredentials::of(auth),
        }
    }
}

impl fmt::Debug for RedisFront {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisFront").finish_non_exhaustive()
    }
}
