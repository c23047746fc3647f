//! Where an instance that speaks gRPC is, and how it is spoken to. Each field has a config key of the same
//! name.

use std::{fmt, sync::Arc, time::Duration};

use postern_core::{
    Text, Transport,
    registry::{Address, Location},
};

use crate::{
    UnixAddress,
    http::{Coding, ForwardAddress},
    tls::ClientTls,
};

/// How calls are handed on to one instance.
#[derive(Debug, Clone)]
pub struct GrpcUpstreamConfig {
    /// Time until a call has a connection that takes it: to open one, TLS included, or to wait for one
    /// whose calls are fewer than the instance allows. Default 5 s.
    pub connect_timeout: Duration,
    /// Connections at a time, apart from those that end. Default 10.
    pub connections_max: usize,
    /// Calls on one connection from which another is opened. What the instance allows by
    /// SETTINGS_MAX_CONCURRENT_STREAMS is never exceeded. Default 100, which RFC 9113 section 6.5.2
    /// recommends as the least that servers take.
    pub streams_max: usize,
    /// How long a connection is kept without a call. Default 5 min.
    pub keep_timeout: Duration,
    /// How often a connection with calls is asked for a sign of life; zero never. Default 6 min: servers
    /// may close connections that are asked more often than every 5 min (gRPC proposals A8 and A9).
    pub keep_alive_interval: Duration,
    /// How long that sign may take. Default 20 s, as in proposal A8.
    pub keep_alive_timeout: Duration,
    /// Longest message of a reply, unpacked. Default 4 MiB, the default of gRPC.
    pub receive_bytes_max: usize,
    /// Longest message of a call. Default 100 MiB.
    pub send_bytes_max: usize,
    /// Coding of the messages of calls. Default none.
    pub compression: Option<Coding>,
    /// How many times its length a message of a reply may become when it is unpacked. Default 100.
    pub compression_ratio_max: u64,
    /// For `grpcs`.
    pub tls: Arc<ClientTls>,
}

/// Where an instance is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcAddress(pub(super) ForwardAddress);

impl Default for GrpcUpstreamConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            connections_max: 10,
            streams_max: 100,
            keep_timeout: Duration::from_secs(300),
            keep_alive_interval: Duration::from_secs(360),
            keep_alive_timeout: Duration::from_secs(20),
            receive_bytes_max: 4 * 1024 * 1024,
            send_bytes_max: 100 * 1024 * 1024,
            compression: None,
            compression_ratio_max: 100,
            tls: Arc::default(),
        }
    }
}

impl GrpcAddress {
    /// `host` is a name or an address, IPv6 without brackets.
    #[must_use]
    pub const fn host(is_secure: bool, host: Text, port: u16) -> Self {
        Self(ForwardAddress::Host {
            is_secure,
            host,
            port,
        })
    }

    /// Where gRPC is spoken at `address`; `None` where it is not.
    #[must_use]
    pub fn of(address: &Address) -> Option<Self> {
        let is_secure = match address.transport {
            Transport::Grpc => false,
            Transport::Grpcs => true,
            Transport::Tcp
            | Transport::Tls
            | Transport::Udp
            | Transport::Quic
            | Transport::WebSocket
            | Transport::SecureWebSocket
            | Transport::Http
            | Transport::Https
            | Transport::Velithon
            | Transport::Velithons
            | Transport::Unix
            | Transport::Memory
            | Transport::Plugin => return None,
        };
        match &address.location {
            Location::Host { host, port } => Some(Self::host(is_secure, host.clone(), *port)),
            Location::Path(path) => path.parse().ok().map(Self::unix),
            // gRPC has no paths but those of methods.
            Location::Url { .. } => None,
        }
    }

    /// A socket of this machine, where nothing is encrypted.
    #[must_use]
    pub const fn unix(address: UnixAddress) -> Self {
        Self(ForwardAddress::Unix(address))
    }
}

impl fmt::Display for GrpcAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ForwardAddress::Host { is_secure, .. } => {
                let scheme = if *is_secure { "grpcs" } else { "grpc" };
                write!(f, "{scheme}://{}", self.0.authority())
            }
            ForwardAddress::Unix(address) => write!(f, "grpc://unix:{address}"),
        }
    }
}
