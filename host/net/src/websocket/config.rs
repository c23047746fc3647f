//! Bounds of WebSocket connections. Each field has a config key of the same name.

use std::time::Duration;

/// What the HTTP listener serves over WebSocket, and how much of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocketConfig {
    /// Whether `/vstp` is served. Default yes.
    pub serves_sessions: bool,
    /// Whether `/ws/{service}/{method}` is served. Default yes.
    pub serves_calls: bool,
    /// Whether `/mqtt` is served, where there is a broker. Default yes.
    pub serves_mqtt: bool,
    /// Silence after which a Ping is sent. Default 20 s; `None` sends none.
    pub ping_interval: Option<Duration>,
    /// How long its answer may take. Default 20 s.
    pub ping_timeout: Duration,
    /// Largest message, unpacked, in octets. Default 10 MiB; one more octet closes with 1009.
    pub message_bytes_max: usize,
    /// Messages that wait for a peer which does not take them: events beyond it are dropped and told,
    /// calls wait. Also items of a stream that wait for their handler; beyond it the connection is not
    /// read. Default 32.
    pub queue_max: usize,
    /// Whether permessage-deflate is agreed to. Default yes.
    pub compression: bool,
}

impl Default for WebSocketConfig {
    fn default() -> Self {
        Self {
            serves_sessions: true,
            serves_calls: true,
            serves_mqtt: true,
            ping_interval: Some(Duration::from_secs(20)),
            ping_timeout: Duration::from_secs(20),
            message_bytes_max: 10 * 1024 * 1024,
            queue_max: 32,
            compression: true,
        }
    }
}
