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
//! | `XADD`, `XREAD`, … | `streams.rs` on `stream.rs`, `entry.rs` | a log of events |
//! | `XREADGROUP`, `XACK`, … | `groups.rs`, `group_commands.rs`, `group_info.rs`, `pending.rs` | a consumer of a log |
//!
//! **Invariant:** what a client may do is asked for each request, by the credentials that it has shown;
//! that they were good once is not remembered.

mod access;
mod calls;
mod channel_counts;
mod channels;
mod client;
mod cursors;
mod entry;
mod expiry;
mod failure;
mod front;
mod group_commands;
mod group_info;
mod groups;
mod keys;
mod listener;
mod pending;
mod session;
mod stream;
mod streams;
mod strings;
mod table;
#[cfg(test)]
mod tests;
mod told;

use std::sync::Arc;

use postern_core::Peer;
use postern_net::resp::{RespClient, RespService};

use self::client::RedisClient;
pub(crate) use self::{
    front::RedisFront,
    listener::{ListenerRules, RedisListener},
};

/// Serves the clients of a listener.
pub(crate) struct RedisService(pub Arc<RedisListener>);

impl RespService for RedisService {
    fn open(&self, peer: Arc<Peer>) -> Box<dyn RespClient> {
        Box::new(RedisClient::new(Arc::clone(&self.0), peer))
    }
}
