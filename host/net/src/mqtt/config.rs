//! Bounds of the broker, of its listeners and of a client. Each field has a config key of the same name.

use std::{sync::Arc, time::Duration};

use postern_core::mqtt::Qos;

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

/// One client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientLimits {
    /// Largest packet that is taken, in octets. Default 1 MiB.
    pub packet_bytes_max: u32,
    /// Publications with QoS 1 and 2 of the client that are not acknowledged. Default 256.
    pub receive_max: u16,
    /// Publications with QoS 1 and 2 to the client that it has not acknowledged; what it asks for
    /// itself counts where it is less. Default 256.
    pub in_flight_max: u16,
    /// Topic aliases in each direction. Default 32.
    pub topic_alias_max: u16,
    /// The highest QoS of publications. Default 2.
    pub qos_max: Qos,
    /// Silence after which a client is cut, where it asks for longer or for none: it is told as "server
    /// keep alive". Default none: what the client asks for.
    pub keep_alive_max: Option<Duration>,
    /// How long a session may outlive its connection. Default 7 days; zero keeps none.
    pub session_expiry_max: Duration,
    /// Subscriptions of one session. Default 1,024.
    pub subscriptions_max: usize,
    /// Publications that wait for a client, and their octets; of what is more, the oldest is lost and
    /// counted. Default 10,000 and 8 MiB.
    pub queue_messages_max: usize,
    pub queue_bytes_max: usize,
    /// Whether messages may be retained. Default yes.
    pub retain: bool,
    /// Whether filters may have wildcards. Default yes.
    pub wildcards: bool,
    /// Whether subscriptions may be shared. Default yes.
    pub shared_subscriptions: bool,
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

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            packet_bytes_max: 1024 * 1024,
            receive_max: 256,
            in_flight_max: 256,
            topic_alias_max: 32,
            qos_max: Qos::ExactlyOnce,
            keep_alive_max: None,
            session_expiry_max: Duration::from_secs(7 * 24 * 60 * 60),
            subscriptions_max: 1024,
            queue_messages_max: 10_000,
            queue_bytes_max: 8 * 1024 * 1024,
            retain: true,
            wildcards: true,
            shared_subscriptions: true,
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
