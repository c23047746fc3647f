//! One transport of a listener: its socket is bound here, served until it is told to stop, and takes
//! other settings while it serves.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use postern_core::{
    Handler, Text, Transport,
    limits::Limits,
    wire::{RetryConfig, SessionConfig},
};
use postern_net::{
    ByteBudget, Frames, QuicConfig, QuicControl, QuicServer, QuicTls, ServerConfig, ServerControl,
    Shutdown, TcpServer, UdpServer,
    http::{Hosts, HttpConfig, HttpReconfigure, HttpServer},
};

use super::transports::Transports;
use crate::{
    certificates::{self, Certificates},
    config::{self, Protocol},
    directory::service::ListenerCatalog,
    pipeline::Pipeline,
};

/// What every listener hands its calls to.
#[derive(Clone)]
pub(crate) struct ListenerDependencies {
    pub pipeline: Arc<Pipeline>,
    pub transports: Arc<Transports>,
    /// What all connections may hold together.
    pub bytes: Arc<ByteBudget>,
    pub certificates: Arc<Certificates>,
}

/// A listener of the configuration, as far as its servers depend on it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ListenerSettings {
    pub listener: config::Listener,
    /// Largest message of a call, in octets.
    pub body_bytes_max: usize,
}

/// A socket that is bound and not served yet.
pub(crate) enum ListenerServer {
    Tcp(TcpServer),
    Udp(UdpServer),
    Quic(QuicServer),
    Http(HttpServer),
}

/// Changes the settings of a server while it serves.
pub(crate) enum ListenerControl {
    Vstp(ServerControl),
    Quic(ServerControl, QuicControl),
    Http(HttpReconfigure),
}

/// Where a listener was bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BoundAddress {
    pub transport: Transport,
    pub address: SocketAddr,
}

/// Why a listener cannot be opened.
#[derive(Debug)]
pub(crate) struct BindError {
    /// Name of the listener.
    pub listener: String,
    pub transport: Transport,
    pub address: SocketAddr,
    /// Another socket was closed for it, with its connections, so that nobody tries it again unasked.
    pub was_closed: bool,
    pub source: io::Error,
}

impl ListenerServer {
    /// Binds one transport of the listener `name`.
    pub(crate) async fn bind(
        name: &str,
        transport: Transport,
        address: SocketAddr,
        settings: &ListenerSettings,
        dependencies: &ListenerDependencies,
    ) -> Result<Self, BindError> {
        let bound = Self::try_bind(name, transport, address, settings, dependencies).await;
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
        transport: Transport,
        address: SocketAddr,
        settings: &ListenerSettings,
        dependencies: &ListenerDependencies,
    ) -> io::Result<Self> {
        let counters = dependencies.transports.counters(name, transport);
        let handler: Arc<dyn Handler> = Arc::new(dependencies.pipeline.listener_handler(name));
        let tls = dependencies.certificates.of(&certificates::table_of(name));
        match transport {
            Transport::Http | Transport::Https => {
                let catalog = Arc::new(ListenerCatalog(Arc::clone(&handler)));
                let config = http_config(settings);
                let bytes = Arc::clone(&dependencies.bytes);
                let server =
                    HttpServer::bind(address, config, handler, catalog, counters, bytes).await?;
                Ok(Self::Http(server.with_tls(tls)))
            }
            Transport::Udp => {
                let config = Arc::new(vstp_config(name, settings, dependencies));
                Ok(Self::Udp(
                    UdpServer::bind(address, config, handler, counters).await?,
                ))
            }
            Transport::Tcp | Transport::Tls => {
                let config = Arc::new(vstp_config(name, settings, dependencies));
                let server = TcpServer::bind(address, config, handler, counters).await?;
                Ok(Self::Tcp(server.with_tls(tls)))
            }
            Transport::Quic => {
                let tls = tls.ok_or_else(|| io::Error::other("quic needs a certificate"))?;
                let tls: QuicTls = Arc::new(move || tls.config());
                let quic = quic_config(settings);
                let config = Arc::new(vstp_config(name, settings, dependencies));
                let server = QuicServer::bind(address, tls, &quic, config, handler, counters)?;
                Ok(Self::Quic(server))
            }
            // No configuration names these.
            Transport::WebSocket | Transport::Unix | Transport::Memory | Transport::Plugin => {
                Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    format!("this gateway does not listen on {transport}"),
                ))
            }
        }
    }

    pub(crate) fn bound_address(&self) -> BoundAddress {
        match self {
            Self::Tcp(server) => BoundAddress {
                transport: match server.has_tls() {
                    true => Transport::Tls,
                    false => Transport::Tcp,
                },
                address: server.local_addr(),
            },
            Self::Udp(server) => BoundAddress {
                transport: Transport::Udp,
                address: server.local_addr(),
            },
            Self::Quic(server) => BoundAddress {
                transport: Transport::Quic,
                address: server.local_addr(),
            },
            Self::Http(server) => BoundAddress {
                transport: match server.has_tls() {
                    true => Transport::Https,
                    false => Transport::Http,
                },
                address: server.local_addr(),
            },
        }
    }

    pub(crate) fn control(&self) -> ListenerControl {
        match self {
            Self::Tcp(server) => ListenerControl::Vstp(server.control()),
            Self::Udp(server) => ListenerControl::Vstp(server.control()),
            Self::Quic(server) => ListenerControl::Quic(server.control(), server.quic_control()),
            Self::Http(server) => ListenerControl::Http(server.reconfigure()),
        }
    }

    /// Serves until `shutdown`; once it drains, calls in flight have `drain-timeout` left.
    pub(crate) async fn serve(self, shutdown: Shutdown) {
        match self {
            Self::Tcp(server) => server.serve(shutdown).await,
            Self::Udp(server) => server.serve(shutdown).await,
            Self::Quic(server) => server.serve(shutdown).await,
            Self::Http(server) => server.serve(shutdown).await,
        }
    }
}

impl ListenerControl {
    /// Puts `settings` in force. The address is not among what can be changed.
    pub(crate) fn apply(
        &self,
        name: &str,
        settings: &ListenerSettings,
        dependencies: &ListenerDependencies,
    ) {
        match self {
            Self::Vstp(control) => {
                control.reconfigure(Arc::new(vstp_config(name, settings, dependencies)));
            }
            Self::Quic(control, quic) => {
                control.reconfigure(Arc::new(vstp_config(name, settings, dependencies)));
                quic.apply(quic_config(settings));
            }
            Self::Http(control) => control.apply(http_config(settings)),
        }
    }
}

/// The transports that a listener opens, in order.
pub(crate) fn transports(listener: &config::Listener) -> Vec<Transport> {
    match listener.protocol {
        Protocol::Http if listener.tls.is_on() => vec![Transport::Https],
        Protocol::Http => vec![Transport::Http],
        Protocol::Vstp => {
            let transports = listener.transports.iter();
            let carried = transports.map(|one| {
                let has_tls = one.0 == Transport::Tcp && listener.tls.is_on();
                if has_tls { Transport::Tls } else { one.0 }
            });
            carried.collect()
        }
    }
}

fn vstp_config(
    name: &str,
    settings: &ListenerSettings,
    dependencies: &ListenerDependencies,
) -> ServerConfig {
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
        bytes: Arc::clone(&dependencies.bytes),
        held_bytes_max: listener.held_bytes_per_connection_max.octets(),
        frames: Frames::new(
            Arc::new(dependencies.pipeline.frames(name)),
            dependencies.pipeline.sees_frames(),
        ),
    }
}

fn quic_config(settings: &ListenerSettings) -> QuicConfig {
    let quic = &settings.listener.quic;
    QuicConfig {
        keep_alive: (!quic.keep_alive.is_zero()).then_some(quic.keep_alive),
        idle_timeout: quic.idle_timeout,
        ..QuicConfig::listener()
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

fn http_config(settings: &ListenerSettings) -> HttpConfig {
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

/// The name under which the operators' listener is shown.
pub(crate) const ADMIN: &str = "admin";
