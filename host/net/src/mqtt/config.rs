//! Bounds of the broker, of its listeners and of a client. Each field has a config key of the same name.

use std::{sync::Arc, time::Duration};

use postern_core::mqtt::ClientLimits;

use crate::{byte_budget::ByteBudget, trusted::TrustedProxies};

/// A listener.
#[derive(Debug, Clone)]
pub struct MqttConfig {
    /// Open connections. Default 10,000.
    pub connections_max: usize,
    /// Default 10 s and 1024.
    pub handshake_timeout: Duration,
    pub handshakes_max: usize,
    /// How long a connection may take to say CONNECT. Default 10 s.
    pub connect_timeout: Duration,
    /// How long draining may take before what is left is cut. Default 10 s.
    pub drain_timeout: Duration,
    /// A client that takes no octet for this long, while there are some for it, is closed. Default 30 s.
    pub write_timeout: Duration,
    /// What all connections that share it may hold. Default without bound.
    pub bytes: Arc<ByteBudget>,
    /// Octets of packets that have not arrived whole, of one connection. Default 32 MiB.
    pub held_bytes_max: usize,
    /// Whose connections begin with a header of the PROXY protocol. Default nobody's.
    pub proxies: Option<TrustedProxies>,
    /// Longest client identifier, in octets. Default 256; at least 23 (section 3.1.3.1).
    pub client_id_bytes_max: usize,
    /// Bounds of a client for which the gateway says nothing else.
    pub client: ClientLimits,
}

/// All listeners together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerConfig {
    /// Sessions, with a connection and without. Default 100,000.
    pub sessions_max: usize,
    /// How often `$SYS` is published. Default 10 s; `None` never.
    pub sys_interval: Option<Duration>,
}

impl Default for MqttConfig {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            handshake_timeout: Duration::from_secs(10),
            handshakes_max: 1024,
            connect_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            bytes: Arc::new(ByteBudget::unlimited()),
            held_bytes_max: 32 * 1024 * 1024,
            proxies: None,
            client_id_bytes_max: 256,
            client: ClientLimits::default(),
        }
    }
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            sessions_max: 100_000,
            sys_interval: Some(Duration::from_secs(10)),
        }
    }
}
