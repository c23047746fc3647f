//! WebSocket on HTTP listeners.

use std::time::Duration;

use super::{leaf::word_leaf, section::section, units::Size};

section! {
    /// HTTP: what is served over WebSocket, on the same port.
    pub(crate) struct WebSocketSettings {
        /// What is served: "/vstp" (VSTP in binary messages), "/ws" (calls as JSON text at
        /// `/ws/SERVICE/METHOD`), "/mqtt" (MQTT, see [mqtt]), any of them or none.
        pub paths: Vec<WebSocketPath> =
            vec![WebSocketPath::Sessions, WebSocketPath::Calls, WebSocketPath::Mqtt];
        /// Silence after which a Ping is sent; 0s sends none, and `idle-timeout` holds instead.
        pub ping_interval: Duration = Duration::from_secs(20), within "0s" to "1h";
        /// Time for the answer to a Ping; then the connection is closed.
        pub ping_timeout: Duration = Duration::from_secs(20), within "10ms" to "1h";
        /// Largest message, unpacked; one more octet closes the connection with code 1009.
        pub message_bytes_max: Size = Size::mib(10), within "1KiB" to "1GiB";
        /// Messages of one connection that wait for its peer to take them, and events of each of its
        /// subscriptions: of more events the oldest are dropped and told, replies wait. Also messages
        /// of a streaming call that wait for its handler.
        pub queue_max: usize = 32, within "1" to "65536";
        /// Whether messages are packed where the client offers it (permessage-deflate).
        pub compression: bool = true;
    }
}

/// A path that is a WebSocket, or what several begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WebSocketPath {
    Sessions,
    Calls,
    Mqtt,
}

word_leaf!(WebSocketPath { Sessions = "/vstp", Calls = "/ws", Mqtt = "/mqtt" });
