//! A listener: its address, what is spoken there, and what its peers may take up.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use super::{
    address::{ListenAddress, UnixFile},
    admission::Cors,
    compression::Compression,
    documents::DocumentPath,
    forwarded::Forwarded,
    grpc::{Grpc, Http2},
    leaf::word_leaf,
    listener_transport::ListenerTransport,
    named::Named,
    redis::RedisSettings,
    section::section,
    tls::ListenerTls,
    units::Size,
    websocket::WebSocketSettings,
};

section! {
    /// One listener: an address and what is spoken there.
    pub(crate) struct Listener {
        /// Whether it is opened at all.
        pub enabled: bool = true;
        /// What is spoken: "vstp", "http" (HTTP/1.1 and HTTP/2, gRPC among it), "grpc" (gRPC, gRPC-Web
        /// and Connect alone), "mqtt" (MQTT 3.1.1 and 5, see [mqtt]), "redis" (RESP, versions 2 and 3),
        /// or "velithon" (the VSP of the Python package). Needed for names other than `vstp` and `http`.
        pub protocol: Protocol = Protocol::Vstp;
        /// Where to listen: "127.0.0.1:9090", "unix:/run/postern.sock", "unix:@postern", or
        /// "systemd:NAME" for a socket that systemd passes. Needed for names other than `vstp` and
        /// `http`. Port 0 takes a free one.
        pub address: ListenAddress = local(0);
        /// What carries VSTP, on one port: "tcp", "udp", "quic". The last needs TLS, and a port without
        /// "udp".
        pub transports: Vec<ListenerTransport> = ListenerTransport::usual();
        /// Service that answers VSTP frames, and CALL of Redis, which name none, and requests of velithon
        /// which name one that is not known.
        pub default_service: Option<String> = None;
        /// Whether what is not encrypted is taken from other machines. Without TLS, and over UDP
        /// always, whoever is on the way can read and change it.
        pub insecure: bool = false;
        /// TLS of connections; none where left out.
        pub tls: ListenerTls = ListenerTls::default();
        /// Time for a connection to become one that can be served: with TLS, for its handshake. MQTT: as
        /// much again for CONNECT.
        pub handshake_timeout: Duration = Duration::from_secs(10), within "100ms" to "10m";
        /// Connections in their handshake at one time; one more is closed.
        pub handshakes_max: usize = 1024, within "1" to "1000000";
        /// Connections (over UDP: peers) at one time; more are turned away.
        pub connections_max: usize = 10_000, within "1" to "1000000";
        /// Silence after which a connection is closed. HTTP: also, for which nothing may come of a reply
        /// that streams. Velithon: silence of a peer over all its connections.
        pub idle_timeout: Duration = Duration::from_secs(300), within "1s" to "24h";
        /// Silence after which a peer that said HELLO is asked for a sign of life; 0s never asks.
        pub keep_alive: Duration = Duration::from_secs(30), within "0s" to "1h";
        /// A peer that takes no octet for this long, while there are some for it, is closed as a slow
        /// reader. Means nothing over UDP, where a reply that nobody acknowledges is given up.
        pub write_timeout: Duration = Duration::from_secs(30), within "100ms" to "1h";
        /// Time for calls in flight when the listener closes, or the peer says BYE; then they are cut
        /// off.
        pub drain_timeout: Duration = Duration::from_secs(10), within "0s" to "10m";
        /// VSTP and velithon: calls of one connection at one time; beyond it the connection is not read,
        /// and over UDP the call is refused. Redis: requests of one connection that are not answered.
        pub calls_in_flight_max: usize = 1024, within "1" to "1000000";
        /// HTTP: time for each request head; for the first one from the begin of the connection.
        pub header_timeout: Duration = Duration::from_secs(10), within "10ms" to "1h";
        /// HTTP: time for one message of a request to arrive. Velithon: for a message, from its first
        /// octet on.
        pub body_timeout: Duration = Duration::from_secs(30), within "10ms" to "1h";
        /// HTTP/2 and WebSocket: calls of one connection at one time.
        pub streams_max: u32 = 256, within "1" to "65535";
        /// HTTP: names under which a listener on a loopback address is called, besides "localhost"
        /// and addresses: by a proxy that passes on the host it was asked for. Any other name is
        /// refused there, as a page may have it lead here.
        pub hosts: Vec<String> = vec![];
        /// Proxies in front, and what upstreams of HTTP are told of clients.
        pub forwarded: Forwarded = Forwarded::default();
        /// Whether connections of `forwarded.trusted` begin with a header of the PROXY protocol,
        /// version 1 or 2, which says for whom they are: over HTTP, MQTT and Redis, and over VSTP on TCP,
        /// TLS and Unix sockets. It is to come within `handshake-timeout`.
        pub proxy_protocol: bool = false;
        /// HTTP: pages of other origins that may call.
        pub cors: Cors = Cors::default();
        /// HTTP: replies that are compressed, and requests that came so.
        pub compression: Compression = Compression::default();
        /// HTTP: documents about what may be called, where no route has their paths: "/openapi.json", and
        /// "/docs", a page that shows it.
        pub documents: Vec<DocumentPath> = vec![DocumentPath::OpenApi, DocumentPath::Docs];
        /// HTTP: what is served over WebSocket.
        pub websocket: WebSocketSettings = WebSocketSettings::default();
        /// HTTP: messages of gRPC, gRPC-Web and Connect.
        pub grpc: Grpc = Grpc::default();
        /// Messages of velithon.
        pub velithon: Velithon = Velithon::default();
        /// HTTP/2: what keeps connections and what ends them.
        pub http2: Http2 = Http2::default();
        /// HTTP: how long a connection is taken requests of, a tenth more or less; then its client is told
        /// to open another one. 0s is for ever.
        pub connection_age_max: Duration = Duration::ZERO, within "0s" to "720h";
        /// HTTP: time for what is in flight on a connection that is too old; then it is cut off.
        pub connection_age_grace: Duration = Duration::from_secs(30), within "0s" to "24h";
        /// Octets that one connection may make the gateway hold: requests that have not arrived
        /// whole, and replies that it has not taken. More is refused.
        pub held_bytes_per_connection_max: Size = Size::mib(32), within "64KiB" to "3GiB";
        /// Redis: what clients may use and take up.
        pub redis: RedisSettings = RedisSettings::default();
        /// Acknowledged datagrams of VSTP.
        pub udp: Udp = Udp::default();
        /// The file of an address such as "unix:/run/postern.sock".
        pub unix: UnixFile = UnixFile::default();
        /// Connections of QUIC.
        pub quic: Quic = Quic::default();
        /// What one peer, and all together, may make the listener hold.
        pub limits: WireLimits = WireLimits::default();
    }
}

section! {
    /// How acknowledged datagrams are sent again.
    pub(crate) struct Udp {
        /// Times that a message is sent again before it counts as lost.
        pub retries: u32 = 3, within "0" to "20";
        /// Wait before the first retry; doubles with each.
        pub retry_delay: Duration = Duration::from_millis(100), within "1ms" to "1m";
        /// The longest wait between retries.
        pub max_retry_delay: Duration = Duration::from_secs(5), within "1ms" to "10m";
        /// How long each transmission waits for its acknowledgement.
        pub ack_timeout: Duration = Duration::from_secs(2), within "10ms" to "1m";
    }
}

section! {
    /// Times of QUIC connections. A change holds for those that come after it.
    pub(crate) struct Quic {
        /// Silence after which a packet is sent, so that the path and its middleboxes know of the
        /// connection; 0s never sends one.
        pub keep_alive: Duration = Duration::from_secs(60), within "0s" to "1h";
        /// The connection is over when nothing came for this long: its peer is gone. The shorter of
        /// what both ends want counts.
        pub idle_timeout: Duration = Duration::from_secs(90), within "1s" to "24h";
    }
}

section! {
    /// Bounds of the wire, per listener.
    pub(crate) struct WireLimits {
        /// Largest frame, all octets counted. The protocol's own limit is 8MiB.
        pub frame_bytes_max: Size = Size::mib(8), within "1KiB" to "1GiB";
        /// Largest reassembled message.
        pub message_bytes_max: Size = Size::mib(8), within "1KiB" to "1GiB";
        /// Half-reassembled messages of all peers.
        pub reassembly_sessions_max: usize = 1000, within "1" to "1000000";
        /// Half-reassembled messages of one peer.
        pub reassembly_sessions_per_peer_max: usize = 64, within "1" to "256";
        /// Octets in half-reassembled messages of all peers.
        pub reassembly_bytes_max: Size = Size::mib(64), within "64KiB" to "3GiB";
        /// Octets in half-reassembled messages of one peer.
        pub reassembly_bytes_per_peer_max: Size = Size::mib(16), within "64KiB" to "3GiB";
        /// How long a half-reassembled message is kept after its first fragment. Over TCP: how long
        /// nothing may come of the rest of a large frame.
        pub fragment_age_max: Duration = Duration::from_secs(30), within "100ms" to "10m";
        /// Messages queued for one peer. Over TCP no more of its calls are read or answered while half
        /// as many wait; over UDP one more closes its session.
        pub queue_messages_max: usize = 4096, within "1" to "1000000";
        /// Octets queued for one peer; as `queue-messages-max`.
        pub queue_bytes_max: Size = Size::mib(16), within "64KiB" to "3GiB";
    }
}

section! {
    /// Messages of velithon.
    pub(crate) struct Velithon {
        /// Largest message, header and all; the published form has no bound. A longer one is answered with
        /// an error, and what comes of it dropped. `calls.body-bytes-max` holds, too.
        pub frame_bytes_max: Size = Size::mib(8), within "1KiB" to "1GiB";
    }
}

/// What is spoken at a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Vstp,
    Http,
    /// Calls over HTTP alone.
    Grpc,
    Mqtt,
    Redis,
    /// The VSP of the Python package `velithon`.
    Velithon,
}

word_leaf!(Protocol {
    Vstp = "vstp",
    Http = "http",
    Grpc = "grpc",
    Mqtt = "mqtt",
    Redis = "redis",
    Velithon = "velithon",
});

impl Protocol {
    pub(super) const ALL: [Self; 6] = [
        Self::Vstp,
        Self::Http,
        Self::Grpc,
        Self::Mqtt,
        Self::Redis,
        Self::Velithon,
    ];

    /// Whether it is carried by HTTP.
    #[must_use]
    pub(crate) const fn is_http(self) -> bool {
        match self {
            Self::Vstp | Self::Mqtt | Self::Redis | Self::Velithon => false,
            Self::Http | Self::Grpc => true,
        }
    }
}

impl Named for Listener {
    fn named(name: &str) -> Self {
        match name {
            "vstp" => Self {
                address: local(9090),
                ..Self::default()
            },
            "http" => Self {
                protocol: Protocol::Http,
                address: local(8080),
                ..Self::default()
            },
            _ => Self::default(),
        }
    }
}

impl Listener {
    /// Whether the name alone says protocol and address.
    pub(crate) fn is_built_in(name: &str) -> bool {
        matches!(name, "vstp" | "http")
    }
}

pub(super) fn built_in_listeners() -> BTreeMap<String, Listener> {
    ["http", "vstp"]
        .map(|name| (name.to_owned(), Listener::named(name)))
        .into()
}

pub(super) fn local(port: u16) -> ListenAddress {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()
}
