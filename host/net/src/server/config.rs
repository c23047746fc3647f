//! What a server allows.

use std::{sync::Arc, time::Duration};

use postern_core::{
    Text,
    wire::{RetryConfig, SessionConfig},
};

use super::frames::Frames;
use crate::{byte_budget::ByteBudget, trusted::TrustedProxies};

/// What a server allows. The same for every transport.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    pub session: SessionConfig,
    /// Open connections; on a datagram socket, peers. Default 10,000.
    pub connections_max: usize,
    /// Calls of one connection that are being answered; beyond it the connection is not read, a
    /// datagram peer is told `resource-exhausted`. Default 1024.
    pub calls_in_flight_max: usize,
    /// Takes DATA without header `service`: the published "easy" layer. Default none.
    pub default_service: Option<Text>,
    /// Repetitions of what a datagram peer does not acknowledge.
    pub retry: RetryConfig,
    /// How long draining may take before what is left is cut. Default 10 s.
    pub drain_timeout: Duration,
    /// A stream peer that takes no octet for this long, while there are some for it, is closed as a
    /// slow reader. Datagrams are never taken back: there it means nothing. Default 30 s.
    pub write_timeout: Duration,
    /// What all connections of all servers that share it may hold. Default without bound.
    pub bytes: Arc<ByteBudget>,
    /// Octets that one connection or datagram peer may hold: of frames that have not arrived whole,
    /// requests that are not answered, and replies that it has not taken. Default 32 MiB.
    pub held_bytes_max: usize,
    /// How long a connection may take to become one that can be served, and how many may be about it
    /// at a time; beyond either it is closed. Plain connections take no time. Default 10 s and 1024.
    pub handshake_timeout: Duration,
    pub handshakes_max: usize,
    /// Whose connections begin with a header of the PROXY protocol, on stream links. Default nobody's.
    pub proxies: Option<TrustedProxies>,
    /// Sees the messages of peers before they are read, and those for them before they are written.
    /// Default none.
    pub frames: Frames,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            session: SessionConfig::default(),
            connections_max: 10_000,
            calls_in_flight_max: 1024,
            default_service: None,
            retry: RetryConfig::default(),
            drain_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            bytes: Arc::new(ByteBudget::unlimited()),
            held_bytes_max: 32 * 1024 * 1024,
            handshake_timeout: Duration::from_secs(10),
            handshakes_max: 1024,
            proxies: None,
            frames: Frames::default(),
        }
    }
}
