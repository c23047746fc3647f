//! Bounds of the HTTP listener. Each field has a config key of the same name.

use std::time::Duration;

use super::{CompressionConfig, Cors, ForwardedConfig, Hosts, documents::DocumentsConfig};
use crate::websocket::WebSocketConfig;

/// How much and how long a client of the HTTP listener may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// Longest request body, and longest line of an NDJSON request, in octets. Default 8 MiB, as
    /// for a VSTP message. One more octet is answered by 413.
    pub message_bytes_max: usize,
    /// Octets of messages that one connection may hold: requests that have not arrived whole, and
    /// replies that the client has not taken. Default 32 MiB, four messages of the largest size.
    pub held_bytes_max: usize,
    /// Connections open at once. Default 10,000; one more is answered by 503 and closed.
    pub connections_max: usize,
    /// Calls in flight on one HTTP/2 connection. Default 256.
    pub streams_max: u32,
    /// How long a request head may take to arrive; the first one from the connection's begin.
    /// Default 10 s.
    pub header_timeout: Duration,
    /// How long one message of a request may take to arrive. Default 30 s, answered by 408.
    pub body_timeout: Duration,
    /// How long a connection is kept without a request. Default 75 s, as nginx keeps it.
    pub idle_timeout: Duration,
    /// How long a client may take nothing of what is for it; over HTTP/2, of each reply.
    /// Default 30 s.
    pub write_timeout: Duration,
    /// How long draining may take before what is left is cut off. Default 10 s.
    pub drain_timeout: Duration,
    /// How long a connection may take to become one that can be served, and how many may be about it
    /// at a time; beyond either it is closed. Plain connections take no time. Default 10 s and 1024.
    pub handshake_timeout: Duration,
    pub handshakes_max: usize,
    /// Under which names the listener is called. Default every name.
    pub hosts: Hosts,
    /// Which pages of other origins may call. Default none: no `access-control-*` field is sent.
    pub cors: Option<Cors>,
    /// Which replies are compressed, and how far requests may expand. Default none, and 100 times.
    pub compression: CompressionConfig,
    /// Whose word counts of where requests came from, and what upstreams are told. Default nobody's.
    pub forwarded: ForwardedConfig,
    /// Whether connections of those proxies begin with a header of the PROXY protocol. Default false.
    pub proxy_protocol: bool,
    /// What is served over WebSocket on the listener's port.
    pub websocket: WebSocketConfig,
    /// Which documents about the listener it serves itself. Default both.
    pub documents: DocumentsConfig,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            message_bytes_max: 8 * 1024 * 1024,
            held_bytes_max: 32 * 1024 * 1024,
            connections_max: 10_000,
            streams_max: 256,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            handshakes_max: 1024,
            hosts: Hosts::Every,
            cors: None,
            compression: CompressionConfig::default(),
            forwarded: ForwardedConfig::default(),
            proxy_protocol: false,
            websocket: WebSocketConfig::default(),
            documents: DocumentsConfig::default(),
        }
    }
}
