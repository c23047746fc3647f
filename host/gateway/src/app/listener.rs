//! One transport of a listener: its socket is bound here, served until it is told to stop, and takes
//! other settings while it serves.

use std::{fmt, io, sync::Arc};

use postern_core::{
    Handler, Text, Transport,
    limits::Limits,
    wire::{RetryConfig, SessionConfig},
};
use postern_net::{
    Counters, Frames, LocalAddress, PassedSockets, QuicConfig, QuicControl, QuicListener,
    QuicServer, QuicTls, RespReconfigure, RespServer, ServerConfig, ServerControl, Shutdown,
    SocketListener, TcpServer, TrustedProxies, UdpServer, UnixServer,
    http::{HttpReconfigure, HttpServer},
    mqtt::{MqttControl, MqttServer},
    tls::ServerTls,
    udp::UdpLink,
    velithon::{VelithonReconfigure, VelithonServer},
};

use super::{
    http_listener::{self, http_config},
    listener_settings::{ListenerDependencies, ListenerSettings},
    mqtt_listener::{self, mqtt_config},
    redis_listener::{self, listener_rules, resp_config},
    sockets, velithon_listener,
};
use crate::{
    certificates,
    config::{self, ListenAddress, Protocol},
    redis_front::RedisListener,
};

/// A socket that is bound and not served yet.
pub(crate) enum ListenerServer {
    Tcp(TcpServer),
    Unix(UnixServer),
    Udp(UdpServer),
    Quic(QuicServer),
    Http(HttpServer, MqttControl),
    Mqtt(MqttServer, Transport),
    Redis(RespServer, Arc<RedisListener>),
    Velithon(VelithonServer),
}

/// Changes the settings of a server while it serves.
pub(crate) enum ListenerControl {
    Vstp(ServerControl),
    Quic(ServerControl, QuicControl),
    Http(HttpReconfigure, MqttControl),
    Mqtt(MqttControl),
    Redis(RespReconfigure, Arc<RedisListener>),
    Velithon(VelithonReconfigure),
}

/// Where a listener was bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BoundAddress {
    pub transport: Transport,
    pub address: LocalAddress,
}

/// Why a listener cannot be opened.
#[derive(Debug)]
pub(crate) struct BindError {
    /// Name of the listener.
    pub listener: String,
    pub transport: Transport,
    pub address: ListenAddress,
    /// Another socket was closed for it, with its connections, so that nobody tries it again unasked.
    pub was_closed: bool,
    pub source: io::Error,
}

impl ListenerServer {
    /// Binds one transport of the listener `name`.
    pub(crate) fn bind(
        name: &str,
        transport: Transport,
        address: &ListenAddress,
        settings: &ListenerSettings,
        dependencies: &ListenerDependencies,
    ) -> Result<Self, BindError> {
        let bound = Self::try_bind(name, transport, address, settings, dependencies);
        bound.map_err(|source| BindError {
            was_closed: false,
            listener: name.to_owned(),
            transport,
            address: address.clone(),
            source,
        })
    }

    fn try_bind(
        name: &str,
        transport: Transport,
        address: &ListenAddress,
        settings: &ListenerSettings,
        dependencies: &ListenerDependencies,
    ) -> io::Result<Self> {
        let tls = dependencies.certificates.of(&certificates::table_of(name));
        let (file, passed) = (&settings.listener.unix, &dependencies.passed);
        let may_be_at = |local: &LocalAddress, tls: Option<&Arc<ServerTls>>| {
            let table = format!("listeners.{name}");
            let insecure = settings.listener.insecure;
            sockets::check_place(local, tls.is_some(), insecure, &table)
        };
        match transport {
            Transport::Tcp
            | Transport::Tls
            | Transport::Unix
            | Transport::Http
            | Transport::Https
            | Transport::Velithon
            | Transport::Velithons => {
                let listener = sockets::stream(address, file, passed)?;
                may_be_at(&listener.local_addr()?, tls.as_ref())?;
                Self::of_streams(name, transport, (listener, tls), settings, dependencies)
            }
            Transport::Udp => {
                let socket = sockets::datagrams(address, passed)?;
                may_be_at(&LocalAddress::Ip(socket.local_addr()?), None)?;
                let (config, handler, counters) = vstp(name, transport, settings, dependencies);
                let link = UdpLink::on(socket)?;
                Ok(Self::Udp(UdpServer::new(link, config, handler, counters)?))
            }
            Transport::Quic => {
                let tls = tls.ok_or_else(|| io::Error::other("quic needs a certificate"))?;
                let tls: QuicTls = Arc::new(move || tls.config());
                let socket = sockets::datagrams(address, passed)?;
                let (config, handler, counters) = vstp(name, transport, settings, dependencies);
                let quic = quic_config(settings, dependencies);
                let listener = QuicListener::on(socket, tls, &quic, Arc::clone(&counters))?;
                Ok(Self::Quic(QuicServer::new(
                    listener, config, handler, counters,
                )?))
            }
            // No configuration names these.
            Transport::WebSocket
            | Transport::Grpc
            | Transport::Grpcs
            | Transport::SecureWebSocket
            | Transport::Memory
            | Transport::Plugin => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("this gateway does not listen on {transport}"),
            )),
        }
    }

    /// A server of whatever the listener speaks over streams.
    fn of_streams(
        name: &str,
        transport: Transport,
        (listener, tls): (SocketListener, Option<Arc<ServerTls>>),
        settings: &ListenerSettings,
        dependencies: &ListenerDependencies,
    ) -> io::Result<Self> {
        Ok(match settings.listener.protocol {
            Protocol::Http | Protocol::Grpc => {
                let server =
                    http_listener::server(name, transport, listener, settings, dependencies)?;
                let sessions = websocket_sessions(name, settings, dependencies);
                server.reconfigure().apply_sessions(Arc::new(sessions));
                let mqtt = mqtt_listener::front(name, transport, settings, dependencies);
                let server = server.with_mqtt(&mqtt).with_tls(tls);
                Self::Http(server, mqtt.control())
            }
            Protocol::Mqtt => {
                let server =
                    mqtt_listener::server(name, transport, listener, settings, dependencies)?;
                Self::Mqtt(server.with_tls(tls), transport)
            }
            Protocol::Redis => {
                let (server, front) =
                    redis_listener::server(name, transport, listener, settings, dependencies)?;
                Self::Redis(server.with_tls(tls), front)
            }
            Protocol::Velithon => {
                let server =
                    velithon_listener::server(name, transport, listener, settings, dependencies)?;
                Self::Velithon(server.with_tls(tls))
            }
            Protocol::Vstp => {
                let (config, handler, counters) = vstp(name, transport, settings, dependencies);
                match listener {
                    SocketListener::Tcp(listener) => {
                        let server = TcpServer::new(listener, config, handler, counters)?;
                        Self::Tcp(server.with_tls(tls))
                    }
                    SocketListener::Unix(listener) => {
                        Self::Unix(UnixServer::new(listener, config, handler, counters)?)
                    }
                }
            }
        })
    }

    pub(crate) fn bound_address(&self) -> BoundAddress {
        let (transport, address) = match self {
            Self::Tcp(server) => {
                let transport = match server.has_tls() {
                    true => Transport::Tls,
                    false => Transport::Tcp,
                };
                (transport, LocalAddress::Ip(server.local_addr()))
            }
            Self::Unix(server) => (Transport::Unix, LocalAddress::Unix(server.local_addr())),
            Self::Udp(server) => (Transport::Udp, LocalAddress::Ip(server.local_addr())),
            Self::Quic(server) => (Transport::Quic, LocalAddress::Ip(server.local_addr())),
            Self::Http(server, _) => {
                let transport = match server.has_tls() {
                    true => Transport::Https,
                    false => Transport::Http,
                };
                (transport, server.local_addr().clone())
            }
            Self::Mqtt(server, transport) => (*transport, server.local_addr().clone()),
            Self::Redis(server, _) => (server.transport(), server.local_addr().clone()),
            Self::Velithon(server) => {
                let transport = match server.has_tls() {
                    true => Transport::Velithons,
                    false => Transport::Velithon,
                };
                (transport, server.local_addr().clone())
            }
        };
        BoundAddress { transport, address }
    }

    pub(crate) fn control(&self) -> ListenerControl {
        match self {
            Self::Tcp(server) => ListenerControl::Vstp(server.control()),
            Self::Unix(server) => ListenerControl::Vstp(server.control()),
            Self::Udp(server) => ListenerControl::Vstp(server.control()),
            Self::Quic(server) => ListenerControl::Quic(server.control(), server.quic_control()),
            Self::Http(server, mqtt) => ListenerControl::Http(server.reconfigure(), mqtt.clone()),
            Self::Mqtt(server, _) => ListenerControl::Mqtt(server.control()),
            Self::Redis(server, front) => {
                ListenerControl::Redis(server.reconfigure(), Arc::clone(front))
            }
            Self::Velithon(server) => ListenerControl::Velithon(server.reconfigure()),
        }
    }

    /// Serves until `shutdown`; once it drains, calls in flight have `drain-timeout` left.
    pub(crate) async fn serve(self, shutdown: Shutdown) {
        match self {
            Self::Tcp(server) => server.serve(shutdown).await,
            Self::Unix(server) => server.serve(shutdown).await,
            Self::Udp(server) => server.serve(shutdown).await,
            Self::Quic(server) => server.serve(shutdown).await,
            Self::Http(server, _) => server.serve(shutdown).await,
            Self::Mqtt(server, _) => server.serve(shutdown).await,
            Self::Redis(server, _) => server.serve(shutdown).await,
            Self::Velithon(server) => server.serve(shutdown).await,
        }
    }
}

impl ListenerControl {
    /// Puts `settings` in force. The address is not among what can be changed.
    pub(crate) fn apply(
        &self,
        name: &str,
        bound: &BoundAddress,
        settings: &ListenerSettings,
        dependencies: &ListenerDependencies,
    ) {
        match self {
            Self::Vstp(control) => {
                control.reconfigure(Arc::new(vstp_config(name, settings, dependencies)));
            }
            Self::Quic(control, quic) => {
                control.reconfigure(Arc::new(vstp_config(name, settings, dependencies)));
                quic.apply(quic_config(settings, dependencies));
            }
            Self::Http(control, mqtt) => {
                mqtt.reconfigure(mqtt_config(settings, dependencies));
                control.apply(http_config(&bound.address, settings));
                let sessions = websocket_sessions(name, settings, dependencies);
                control.apply_sessions(Arc::new(sessions));
            }
            Self::Mqtt(control) => control.reconfigure(mqtt_config(settings, dependencies)),
            Self::Redis(control, front) => {
                control.apply(resp_config(settings));
                front.apply(listener_rules(settings));
            }
            Self::Velithon(control) => control.apply(velithon_listener::config(settings)),
        }
    }
}

/// The transports that a listener opens, in order.
pub(crate) fn transports(listener: &config::Listener, passed: &PassedSockets) -> Vec<Transport> {
    let carried = |transport| match (transport, &listener.address) {
        (Transport::Tcp, ListenAddress::Passed(name)) if passed.is_unix(name) => Transport::Unix,
        (Transport::Tcp, _) if listener.tls.is_on() => Transport::Tls,
        (transport, _) => transport,
    };
    match (listener.protocol, &listener.address) {
        (Protocol::Http | Protocol::Grpc, _) if listener.tls.is_on() => vec![Transport::Https],
        (Protocol::Http | Protocol::Grpc, _) => vec![Transport::Http],
        (Protocol::Vstp | Protocol::Mqtt | Protocol::Redis, ListenAddress::Unix(_)) => {
            vec![Transport::Unix]
        }
        (Protocol::Mqtt | Protocol::Redis, ListenAddress::Ip(_) | ListenAddress::Passed(_)) => {
            vec![carried(Transport::Tcp)]
        }
        (Protocol::Velithon, _) if listener.tls.is_on() => vec![Transport::Velithons],
        (Protocol::Velithon, _) => vec![Transport::Velithon],
        (Protocol::Vstp, ListenAddress::Ip(_) | ListenAddress::Passed(_)) => {
            let transports = listener.transports.iter();
            transports.map(|one| carried(one.0)).collect()
        }
    }
}

/// What a server of VSTP is made with.
fn vstp(
    name: &str,
    transport: Transport,
    settings: &ListenerSettings,
    dependencies: &ListenerDependencies,
) -> (Arc<ServerConfig>, Arc<dyn Handler>, Arc<Counters>) {
    let config = vstp_config(name, settings, dependencies);
    let handler = dependencies.pipeline.listener_handler(name);
    let counters = dependencies.transports.counters(name, transport);
    (Arc::new(config), Arc::new(handler), counters)
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
        proxies: listener
            .proxy_protocol
            .then(|| TrustedProxies(listener.forwarded.trusted.clone())),
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

/// Sessions over WebSocket on an HTTP listener, which has one bound for the calls of a connection.
fn websocket_sessions(
    name: &str,
    settings: &ListenerSettings,
    dependencies: &ListenerDependencies,
) -> ServerConfig {
    ServerConfig {
        calls_in_flight_max: usize::try_from(settings.listener.streams_max).unwrap_or(usize::MAX),
        ..vstp_config(name, settings, dependencies)
    }
}

fn quic_config(settings: &ListenerSettings, dependencies: &ListenerDependencies) -> QuicConfig {
    let quic = &settings.listener.quic;
    QuicConfig {
        keep_alive: (!quic.keep_alive.is_zero()).then_some(quic.keep_alive),
        idle_timeout: quic.idle_timeout,
        restart_key: Some(dependencies.restart_key.clone()),
        ..QuicConfig::listener()
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
        if let ListenAddress::Passed(name) = &self.address {
            return format!("pass a socket with FileDescriptorName={name}, or set {key}");
        }
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
