//! Bounds of the HTTP listener. Each field has a config key of the same name.

use std::time::Duration;

use super::{Coding, CompressionConfig, Cors, ForwardedConfig, Hosts, documents::DocumentsConfig};
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
    /// Messages of gRPC, gRPC-Web and Connect.
    pub grpc: GrpcConfig,
    /// Whether nothing but those three is served. Default false.
    pub is_grpc_only: bool,
    /// What keeps and what ends connections of HTTP/2.
    pub http2: Http2Config,
    /// How long a connection is taken requests of, one in ten more or less of it; then its client is told
    /// to open another one (GOAWAY), and requests in flight have `connection_age_grace`. Default for ever, and 30 s.
    pub connection_age_max: Option<Duration>,
    pub connection_age_grace: Duration,
}

/// How long messages of gRPC, gRPC-Web and Connect may be, and how they are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcConfig {
    /// Longest message of a request, unpacked, in octets. Default 4 MiB, as other implementations of gRPC
    /// have it. What packed messages may become is also bounded by `CompressionConfig::ratio_max`.
    pub message_bytes_max: usize,
    /// Longest message of a reply, in octets. Default 1 GiB: clients have a limit of their own.
    pub reply_bytes_max: usize,
    /// Codings that messages of replies are sent in where the client takes them, the preferred first.
    /// Default none: only clients that pack their messages are answered so.
    pub encodings: Vec<Coding>,
    /// Shortest message that is packed, in octets. Default 1024.
    pub packed_bytes_min: usize,
}

/// Bounds of HTTP/2 connections. A change holds for those that come after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http2Config {
    /// Silence after which a client is sent a PING. Default 60 s; `None` sends none.
    pub ping_interval: Option<Duration>,
    /// How long its answer may take; then the client is gone. Default 20 s, as in gRFC A8.
    pub ping_timeout: Duration,
    /// PING and SETTINGS that a client may send within 10 s, while it neither asks for anything nor is
    /// sent any of a reply. One more ends the connection with ENHANCE_YOUR_CALM. Default 100.
    pub pings_max: u32,
    /// Streams that a client may reset within 10 s, beyond those that were replied to meanwhile. As
    /// above. Default 1000.
    pub resets_max: u32,
}

impl Default for GrpcConfig {
    fn default() -> Self {
        Self {
            message_bytes_max: 4 * 1024 * 1024,
            reply_bytes_max: 1024 * 1024 * 1024,
            encodings: Vec::new(),
            packed_bytes_min: 1024,
        }
    }
}

impl Default for Http2Config {
    fn default() -> Self {
        Self {
            ping_interval: Some(Duration::from_secs(60)),
            ping_timeout: Duration::from_secs(20),
            pings_max: 100,
            resets_max: 1000,
        }
    }
}

/// Keys of the configuration, below a listener's table, that errors name.
pub(super) const MESSAGE_BYTES_KEY: &str = "grpc.message-bytes-max of the listener";
pub(super) const REPLY_BYTES_KEY: &str = "grpc.reply-bytes-max of the listener";

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
            grpc: GrpcConfig::default(),
            is_grpc_only: false,
            http2: Http2Config::default(),
            connection_age_max: None,
            connection_age_grace: Duration::from_secs(30),
        }
    }
}
