//! A store as whoever looks at it sees it.

use postern_core::redis::{RedisLocation, RedisNode};

use super::{counts::RedisCounts, standing::RedisStanding};

/// A store, for whoever looks at it.
#[derive(Debug, Clone)]
pub struct RedisSnapshot {
    pub location: RedisLocation,
    pub standing: RedisStanding,
    pub counts: RedisCounts,
    /// Connections that are open.
    pub n_connections: usize,
    pub connections_max: usize,
    /// Commands that wait for their replies.
    pub n_in_flight: usize,
    /// Nodes that there are connections to.
    pub nodes: Vec<RedisNode>,
}
