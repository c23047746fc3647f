//! One open door: its sockets are bound here and served until it is told to stop.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use postern_core::{
    Handler, Text,
    limits::Limits,
    wire::{RetryConfig, SessionConfig},
};
use postern_net::{
    ByteBudget, Frames, ServerConfig, Shutdown, TcpServer, UdpServer,
    http::{Catalog, Hosts, HttpConfig, HttpServer},
};

use super::transports::Transports;
use crate::{
    config::{self, Carrier, Protocol},
    pipeline::Pipeline,
};

/// What every door hands its calls to.
#[derive(Clone)]
pub(crate) struct Inside {
    pub pipeline: Arc<Pipeline>,
    pub catalog: Arc<dyn Catalog>,
    pub transports: Arc<Transports>,
    /// What all connections may hold together.
    pub bytes: Arc<ByteBudget>,
}

/// A listener of the configuration, as far as its sockets depend on it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DoorSettings {
    pub listener: config::Listener,
    /// Largest message of a call, in octets.
    pub body_bytes_max: usize,
}

/// Sockets that are bound and not served yet.
pub(crate) struct Door {
    servers: Vec<Server>,
    drain_timeout: Duration,
}

enum Server {
    Tcp(TcpServer),
    Udp(UdpServer),
    Http(HttpServer),
}

/// Where a door listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub transport: &'static str,
    pub address: SocketAddr,
}

/// Why a door cannot be opened.
#[derive(Debug)]
pub struct BindError {
    /// Name of the listener.
    pub listener: String,
    pub transport: &'static str,
    pub address: SocketAddr,
    pub source: io::Error,
}

impl Door {
    /// Binds every transport of a listener, all of them at one port.
    pub(crate) async fn bind(
        name: &str,
        settings: &DoorSettings,
        inside: &Inside,
    ) -> Result<Self, BindError> {
        let listener = &settings.listener;
        let mut address = listener.address;
        let mut servers = Vec::new();
        for transport in transports(listener) {
            let server = Server::bind(name, transport, address, settings, inside).await;
            let server = server.map_err(|source| BindError {
                listener: name.to_owned(),
                transport,
                address,
                source,
            })?;
            // Port 0 takes a free one; the next transport takes the same.
            address.set_port(server.place().address.port());
            servers.push(server);
        }
        Ok(Self {
            servers,
            drain_timeout: listener.drain_timeout,
        })
    }

    pub(crate) fn places(&self) -> Vec<Place> {
        self.servers.iter().map(Server::place).collect()
    }

    /// Serves until `shutdown`; once it drains, calls in flight have `drain-timeout` left.
    pub(crate) async fn serve(self, shutdown: Shutdown) {
        let limit = async {
            shutdown.draining().await;
            tokio::time::sleep(self.drain_timeout).await;
            shutdown.end();
            std::future::pending::<()>().await;
        };
        let servers = self
            .servers
            .into_iter()
            .map(|server| server.serve(shutdown.clone()));
        tokio::select! {
            _ = futures_util::future::join_all(servers) => {}
            () = limit => {}
        }
    }
}

impl Server {
    async fn bind(
        name: &str,
        transport: &'static str,
        address: SocketAddr,
        settings: &DoorSettings,
        inside: &Inside,
    ) -> io::Result<Self> {
        let counters = inside.transports.counters(name, transport);
        let handler: Arc<dyn Handler> = Arc::new(inside.pipeline.entrance(name));
        match transport {
            HTTP => {
                let catalog = Arc::clone(&inside.catalog);
                let config = http_config(settings);
                let bytes = Arc::clone(&inside.bytes);
                let server =
                    HttpServer::bind(address, config, handler, catalog, counters, bytes).await?;
                Ok(Self::Http(server))
            }
            UDP => {
                let config = Arc::new(vstp_config(name, settings, inside));
                Ok(Self::Udp(
                    UdpServer::bind(address, config, handler, counters).await?,
                ))
            }
            _ => {
                let config = Arc::new(vstp_config(name, settings, inside));
                Ok(Self::Tcp(
                    TcpServer::bind(address, config, handler, counters).await?,
                ))
            }
        }
    }

    fn place(&self) -> Place {
        match self {
            Self::Tcp(server) => Place {
                transport: TCP,
                address: server.local_addr(),
            },
            Self::Udp(server) => Place {
                transport: UDP,
                address: server.local_addr(),
            },
            Self::Http(server) => Place {
                transport: HTTP,
                address: server.local_addr(),
            },
        }
    }

    async fn serve(self, shutdown: Shutdown) {
        match self {
            Self::Tcp(server) => server.serve(shutdown).await,
            Self::Udp(server) => server.serve(shutdown).await,
            Self::Http(server) => server.serve(shutdown).await,
        }
    }
}

/// The transports that a listener opens, in order.
fn transports(listener: &config::Listener) -> Vec<&'static str> {
    match listener.protocol {
        Protocol::Http => vec![HTTP],
        Protocol::Vstp => listener
            .transports
            .iter()
            .map(|carrier| match carrier {
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
        default_service: listener.default_service.as_deref().map(Text::from),
        retry: RetryConfig {
            max_retries: listener.udp.retries,
            retry_delay: listener.udp.retry_delay,
            max_retry_delay: listener.udp.max_retry_delay,
            ack_timeout: listener.udp.ack_timeout,
        },
        drain_timeout: listener.drain_timeout,
        frames: Frames::new(Arc::new(inside.pipeline.frames(name))),
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
    pub fn remedy(&self) -> String {
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
pub(crate) const UDP: &str = "udp";
pub(crate) const HTTP: &str = "http";
/// The name under which the operators' door is shown.
pub(crate) const ADMIN: &str = "admin";
