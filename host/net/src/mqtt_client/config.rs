//! How a client speaks with its broker, and how long it waits.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use postern_core::{
    BoxFuture, Text, Transport,
    event::QueueBounds,
    mqtt::{MqttVersion, Qos},
};

use crate::tls::ClientTls;

/// Where a broker is, and how this client speaks with it.
#[derive(Debug, Clone)]
pub struct BrokerClientConfig {
    pub transport: Transport,
    /// `host:port`, `host:port/path` for WebSocket, or the path of a Unix socket.
    pub authority: Text,
    /// For transports with TLS. What it holds is replaced while in use.
    pub tls: Arc<ClientTls>,
    /// What the broker's certificate is to bear, where not the host of `authority`.
    pub server_name: Option<Text>,
    pub version: MqttVersion,
    /// Asks a broker of MQTT 3.1.1 to take this client for a bridge, as mosquitto does: it does not
    /// send back what it was sent. One that refuses is asked without it from then on.
    pub is_bridge: bool,
    /// Unique at the broker.
    pub client_id: Text,
    pub user_name: Option<Text>,
    pub password: Option<BrokerPassword>,
    /// Asked before each connection, in the stead of `password`.
    pub password_source: Option<Arc<dyn BrokerPasswordSource>>,
    /// Longest silence of this client, in whole seconds; zero turns it off. The broker may ask for
    /// another. Default 60 s.
    pub keep_alive: Duration,
    /// Whether the broker forgets this client when the connection ends. Default true.
    pub is_clean: bool,
    /// How long it remembers this client after that, in whole seconds. MQTT 5, where not `is_clean`.
    pub session_expiry: Duration,
    pub will: Option<BrokerWill>,
    /// Messages with an acknowledgement that the broker may have under way to this client. Default 64.
    pub receive_maximum: u16,
    /// Messages that this client may have under way to the broker; the broker may allow fewer.
    /// Default 64.
    pub in_flight_max: u16,
    /// Topics that may be written as numbers, in each direction. MQTT 5. Default 16.
    pub topic_aliases_max: u16,
    /// Longest packet that is taken, in octets. Default 2 MiB.
    pub packet_bytes_max: u32,
    /// Until the broker has taken the connection, name and handshakes included. Default 10 s.
    pub connect_timeout: Duration,
    /// For a message's acknowledgement, and for that of a subscription; the connection counts as lost
    /// then. Default 30 s.
    pub ack_timeout: Duration,
    /// Shortest and longest pause before a connection is made anew. Default 500 ms to 30 s.
    pub back_off_min: Duration,
    pub back_off_max: Duration,
    /// Requests that may wait for their responses. Default 1,024.
    pub requests_max: usize,
    /// What may wait for one reader of a subscription.
    pub source_queue: QueueBounds,
}

/// Where a password comes from that may change.
pub trait BrokerPasswordSource: Send + Sync + fmt::Debug + 'static {
    /// The password at present; the text of the fault where there is none.
    fn password(&self) -> BoxFuture<Result<BrokerPassword, String>>;
}

/// Octets that are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerPassword(pub Bytes);

/// What the broker publishes when this client is gone without a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerWill {
    pub topic: Text,
    pub payload: Bytes,
    pub qos: Qos,
    pub is_retained: bool,
    /// How long the broker waits with it. MQTT 5.
    pub delay: Duration,
}

impl Default for BrokerClientConfig {
    fn default() -> Self {
        Self {
            transport: Transport::Tcp,
            authority: Text::from_static("127.0.0.1:1883"),
            tls: Arc::default(),
            server_name: None,
            version: MqttVersion::V5,
            is_bridge: false,
            client_id: Text::default(),
            user_name: None,
            password: None,
            password_source: None,
            keep_alive: Duration::from_secs(60),
            is_clean: true,
            session_expiry: Duration::ZERO,
            will: None,
            receive_maximum: 64,
            in_flight_max: 64,
            topic_aliases_max: 16,
            packet_bytes_max: 2 * 1024 * 1024,
            connect_timeout: Duration::from_secs(10),
            ack_timeout: Duration::from_secs(30),
            back_off_min: Duration::from_millis(500),
            back_off_max: Duration::from_secs(30),
            requests_max: 1024,
            source_queue: QueueBounds::default(),
        }
    }
}

impl fmt::Debug for BrokerPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BrokerPassword")
    }
}

/// As whole seconds, at most as many as fit.
pub(super) fn seconds_u16(duration: Duration) -> u16 {
    u16::try_from(duration.as_secs()).unwrap_or(u16::MAX)
}

/// As whole seconds, at most as many as fit.
pub(super) fn seconds_u32(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}
