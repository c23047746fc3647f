//! What listeners allow and how instances are spoken to. Each field has a config key of the same name.

use std::{fmt, sync::Arc, time::Duration};

use postern_core::{
    Text, Transport,
    registry::{Address, Location},
};

use crate::{TrustedProxies, UnixAddress, http::ForwardAddress, tls::ClientTls};

/// What a listener allows. All but `held_bytes_max` holds for connections that are open, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VelithonConfig {
    /// Default 10,000. A published client has ten.
    pub connections_max: usize,
    /// Time for a connection to become one that can be served. Default 10 s.
    pub handshake_timeout: Duration,
    /// Default 1024.
    pub handshakes_max: usize,
    /// Time for calls in flight when the listener closes. Default 10 s.
    pub drain_timeout: Duration,
    /// Silence of a peer, over all its connections, after which they are closed. Default 5 min.
    pub idle_timeout: Duration,
    /// A peer that takes nothing for this long, while there is something for it, is closed. Default 30 s.
    pub write_timeout: Duration,
    /// Time for a message to arrive, from its first octet on. Default 30 s.
    pub body_timeout: Duration,
    /// Longest message, header and all. Default 8 MiB.
    pub frame_bytes_max: usize,
    /// Longest payload of a call or of a reply. Default 8 MiB.
    pub body_bytes_max: usize,
    /// Octets that one connection may hold. Default 32 MiB.
    pub held_bytes_max: usize,
    /// Calls of one connection at one time; beyond it the connection is not read. Default 1024.
    pub calls_in_flight_max: usize,
    /// Takes requests of services that are not known. Default none.
    pub default_service: Option<Text>,
    /// Whose connections begin with a header of the PROXY protocol. Default nobody's.
    pub proxies: Option<TrustedProxies>,
}

/// How calls are handed on to one instance.
#[derive(Debug, Clone)]
pub struct VelithonUpstreamConfig {
    /// Time until a call has a connection. Default 5 s.
    pub connect_timeout: Duration,
    /// Connections at a time. Default 10, as the published client has.
    pub connections_max: usize,
    /// How long a connection is kept without a call. Default 5 min.
    pub keep_timeout: Duration,
    /// Calls that wait for a response at one time, over all connections. Default 2000: more wait at the
    /// published server without a bound.
    pub calls_in_flight_max: usize,
    /// Longest message either way, header and all. Default 8 MiB.
    pub frame_bytes_max: usize,
    /// Time for a message of the instance to arrive, from its first octet on. Default 30 s.
    pub frame_timeout: Duration,
    /// An instance that takes nothing for this long, while there is something for it, is given up.
    /// Default 30 s.
    pub write_timeout: Duration,
    /// For `velithons`.
    pub tls: Arc<ClientTls>,
}

/// Where an instance is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VelithonAddress(pub(super) ForwardAddress);

impl Default for VelithonConfig {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            handshake_timeout: Duration::from_secs(10),
            handshakes_max: 1024,
            drain_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(300),
            write_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            frame_bytes_max: 8 * 1024 * 1024,
            body_bytes_max: 8 * 1024 * 1024,
            held_bytes_max: 32 * 1024 * 1024,
            calls_in_flight_max: 1024,
            default_service: None,
            proxies: None,
        }
    }
}

impl Default for VelithonUpstreamConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            connections_max: 10,
            keep_timeout: Duration::from_secs(300),
            calls_in_flight_max: 2000,
            frame_bytes_max: 8 * 1024 * 1024,
            frame_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            tls: Arc::default(),
        }
    }
}

impl VelithonAddress {
    /// `host` is a name or an address, IPv6 without brackets.
    #[must_use]
    pub const fn host(is_secure: bool, host: Text, port: u16) -> Self {
        Self(ForwardAddress::Host {
            is_secure,
            host,
            port,
        })
    }

    /// A socket of this machine.
    #[must_use]
    pub const fn unix(address: UnixAddress) -> Self {
        Self(ForwardAddress::Unix(address))
    }

    /// Where velithon is spoken at `address`; `None` where it is not.
    #[must_use]
    pub fn of(address: &Address) -> Option<Self> {
        let is_secure = match address.transport {
            Transport::Velithon => false,
            Transport::Velithons => true,
            Transport::Tcp
            | Transport::Tls
            | Transport::Udp
            | Transport::Quic
            | Transport::WebSocket
            | Transport::SecureWebSocket
            | Transport::Http
            | Transport::Https
            | Transport::Grpc
            | Transport::Grpcs
            | Transport::Unix
            | Transport::Memory
            | Transport::Plugin => return None,
        };
        match &address.location {
            Location::Host { host, port } => Some(Self::host(is_secure, host.clone(), *port)),
            Location::Path(path) => path.parse().ok().map(Self::unix),
            Location::Url { .. } => None,
        }
    }
}

impl fmt::Display for VelithonAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ForwardAddress::Host { is_secure, .. } => {
                let scheme = if *is_secure { "velithons" } else { "velithon" };
                write!(f, "{scheme}://{}", self.0.authority())
            }
            ForwardAddress::Unix(address) => write!(f, "velithon://unix:{address}"),
        }
    }
}
