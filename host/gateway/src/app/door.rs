//! One transport of a door: its socket is bound here, served until it is told to stop, and takes
//! other settings while it serves.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use postern_core::{
    Handler, Text,
    limits::Limits,
    wire::{RetryConfig, SessionConfig},
};
use postern_net::{
    ByteBudget, Frames, ServerConfig, ServerControl, Shutdown, TcpServer, UdpServer,
    http::{Hosts, HttpConfig, HttpReconfigure, HttpServer},
};

use super::transports::Transports;
use crate::{
    certificates::{self, Certificates},
    config::{self, Carrier, Protocol},
    directory::service::ListenerCatalog,
    pipeline::Pipeline,
};

/// What every door hands its calls to.
#[derive(Clone)]
pub(crate) struct Inside {
    pub pipeline: Arc<Pipeline>,
    pub transports: Arc<Transports>,
    /// What all connections may hold together.
    pub bytes: Arc<ByteBudget>,
    pub certificates: Arc<Certificates>,
}

/// A listener of the configuration, as far as its servers depend on it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DoorSettings {
    pub listener: config::Listener,
    /// Largest message of a call, in octets.
    pub body_bytes_max: usize,
}

/// A socket that is bound and not served yet.
pub(crate) enum Server {
    Tcp(TcpServer),
    Udp(UdpServer),
    Http(HttpServer),
}

/// Changes the settings of a server while it serves.
pub(crate) enum Control {
    Vstp(ServerControl),
    Http(HttpReconfigure),
}

/// Where a door listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub transport: &'static str,
    pub address: SocketAddr,
}

/// Why a door cannot be opened.
#[derive(Debug)]
pub(crate) struct BindError {
    /// Name of the listener.
    pub listener: String,
    pub transport: &'static str,
    pub address: SocketAddr,
    /// Another socket was closed for it, with its connections, so that nobody tries it again unasked.
    pub was_closed: bool,
    pub source: io::Error,
}

impl Server {
    /// Binds one transport of the listener `name`.
    pub(crate) async fn bind(
        name: &str,
        transport: &'static str,
        address: SocketAddr,
        settings: &DoorSettings,
        inside: &Inside,
    ) -> Result<Self, BindError> {
        let bound = Self::try_bind(name, transport, address, settings, inside).await;
        bound.map_err(|source| BindError {
            was_closed: false,
            listener: name.to_owned(),
            transport,
            address,
            source,
        })
    }

    async fn try_bind(
        name: &str,
        transport: &'static str,
        address: SocketAddr,
        settings: &DoorSettings,
        inside: &Inside,
    ) -> io::Result<Self> {
        let counters = inside.transports.counters(name, transport);
        let handler: Arc<dyn Handler> = Arc::new(inside.pipeline.listener_handler(name));
        let tls = inside.certificates.of(&certificates::table_of(name));
        match transport {
            HTTP | HTTPS => {
                let catalog = Arc::new(ListenerCatalog(Arc::clone(&handler)));
                let config = http_config(settings);
                let bytes = Arc::clone(&inside.bytes);
                let server =
                    HttpServer::bind(address, config, handler, catalog, counters, bytes).await?;
                Ok(Self::Http(server.with_tls(tls)))
            }
            UDP => {
                let config = Arc::new(vstp_config(name, settings, inside));
                Ok(Self::Udp(
                    UdpServer::bind(address, config, handler, counters).await?,
                ))
            }
            _ => {
                let config = Arc::new(vstp_config(name, settings, inside));
                let server = TcpServer::bind(address, config, handler, counters).await?;
                Ok(Self::Tcp(server.with_tls(tls)))
            }
        }
    }

    pub(crate) fn place(&self) -> Place {
        match self {
            Self::Tcp(server) => Place {
                transport: if server.has_tls() { TLS } else { TCP },
                address: server.local_addr(),
            },
            Self::Udp(server) => Place {
                transport: UDP,
                address: server.local_addr(),
            },
            Self::Http(server) => Place {
                transport: if server.has_tls() { HTTPS } else { HTTP },
                address: server.local_addr(),
            },
        }
    }

    pub(crate) fn control(&self) -> Control {
        match self {
            Self::Tcp(server) => Control::Vstp(server.control()),
            Self::Udp(server) => Control::Vstp(server.control()),
            Self::Http(server) => Control::Http(server.reconfigure()),
        }
    }

    /// Serves until `shutdown`; once it drains, calls in flight have `drain-timeout` left.
    pub(crate) async fn serve(self, shutdown: Shutdown) {
        match self {
            Self::Tcp(server) => server.serve(shutdown).await,
            Self::Udp(server) => server.serve(shutdown).await,
            Self::Http(server) => server.serve(shutdown).await,
        }
    }
}

impl Control {
    /// Puts `settings` in force. The address is not among what can be changed.
    pub(crate) fn apply(&self, name: &str, settings: &DoorSettings, inside: &Inside) {
        match self {
            Self::Vstp(control) => {
                control.reconfigure(Arc::new(vstp_config(name, settings, inside)));
            }
            Self::Http(control) => control.apply(http_config(settings)),
        }
    }
}

/// The transports that a listener opens, in order.
pub(crate) fn transports(listener: &config::Listener) -> Vec<&'static str> {
    match listener.protocol {
        Protocol::Http if listener.tls.is_on() => vec![HTTPS],
        Protocol::Http => vec![HTTP],
        Protocol::Vstp => listener
            .transports
            .iter()
            .map(|carrier| match carrier {
                Carrier::Tcp if listener.tls.is_on() => TLS,
                Carrier::Tcp => TCP,
                Carrier::Udp => UDP,
            })
            .collect(),
    }
}

fn vstp_config(name: &str, settings: &DoorSettings, inside: &Inside) -> ServerConfig {
    let listener = &settings.listener;
    let limits = &listener.limits;
    ServerConfig {
        session: SessionConfig {
            keep_alive: (!listener.keep_alive.is_zero()).then_some(listener.keep_alive),
            idle_timeout: Some(listener.idle_timeout),
            drain_timeout: listener.drain_timeout,
            limits: Limits {
                frame_bytes_max: limits.frame_bytes_max.octets(),
                message_bytes_max: limits.message_bytes_max.octets(),
                reassembly_sessions_max: limits.reassembly_sessions_max,
                reassembly_sessions_per_peer_max: limits.reassembly_sessions_per_peer_max,
                reassembly_bytes_max: limits.reassembly_bytes_max.octets(),
                reassembly_bytes_per_peer_max: limits.reassembly_bytes_per_peer_max.octets(),
                fragment_age_max: limits.fragment_age_max,
                queue_messages_max: limits.queue_messages_max,
                queue_bytes_max: limits.queue_bytes_max.octets(),
            },
            ..ServerConfig::default().session
        },
        connections_max: listener.connections_max,
        handshake_timeout: listener.handshake_timeout,
        handshakes_max: listener.handshakes_max,
        calls_in_flight_max: listener.calls_in_flight_max,
        write_timeout: listener.write_timeout,
        default_service: listener.default_service.as_deref().map(Text::from),
        retry: RetryConfig {
            max_retries: listener.udp.retries,
            retry_delay: listener.udp.retry_delay,
            max_retry_delay: listener.udp.max_retry_delay,
            ack_timeout: listener.udp.ack_timeout,
        },
        drain_timeout: listener.drain_timeout,
        bytes: Arc::clone(&inside.bytes),
        held_bytes_max: listener.held_bytes_per_connection_max.octets(),
        frames: Frames::new(
            Arc::new(inside.pipeline.frames(name)),
            inside.pipeline.sees_frames(),
        ),
        ..ServerConfig::default()
    }
}

/// Under which names a listener at `address` is called.
pub(crate) fn hosts(address: IpAddr, names: &[String]) -> Hosts {
    if address.is_loopback() {
        Hosts::Local(names.iter().map(|name| name.to_ascii_lowercase()).collect())
    } else {
        Hosts::Every
    }
}

fn http_config(settings: &DoorSettings) -> HttpConfig {
    let listener = &settings.listener;
    HttpConfig {
        message_bytes_max: settings.body_bytes_max,
        held_bytes_max: listener.held_bytes_per_connection_max.octets(),
        connections_max: listener.connections_max,
        handshake_timeout: listener.handshake_timeout,
        handshakes_max: listener.handshakes_max,
        streams_max: listener.streams_max,
        header_timeout: listener.header_timeout,
        body_timeout: listener.body_timeout,
        idle_timeout: listener.idle_timeout,
        write_timeout: listener.write_timeout,
        drain_timeout: listener.drain_timeout,
        hosts: hosts(listener.address.ip(), &listener.hosts),
        // What cannot be shared was refused with the configuration.
        cors: listener.cors.sharing().ok().flatten(),
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            listener,
            transport,
            address,
            source,
            was_closed: _,
        } = self;
        write!(
            f,
            "listener {listener} cannot take {address} ({transport}): {source}; "
        )?;
        f.write_str(&self.remedy())
    }
}

impl BindError {
    /// What to do about it.
    #[must_use]
    pub(crate) fn remedy(&self) -> String {
        let listener = &self.listener;
        let key = match listener.as_str() {
            ADMIN => "admin.address".to_owned(),
            name => format!("listeners.{name}.address"),
        };
        let variable = format!("POSTERN_{}", key.replace(['.', '-'], "_").to_uppercase());
        format!("stop what listens there, or set {key} in postern.toml or {variable}")
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

pub(crate) const TCP: &str = "tcp";
const TLS: &str = "tls";
pub(crate) const UDP: &str = "udp";
pub(crate) const HTTP: &str = "http";
const HTTPS: &str = "https";
/// The name under which the operators' door is shown.
pub(crate) const ADMIN: &str = "admin";
