//! Servers: what listens, what it allows, how it stops. Stream servers have a task per connection,
//! datagram servers one for all peers; the future of `serve` owns and awaits them.

mod answer;
mod connection;
mod frames;
mod held;
mod in_order;
mod pushes;
mod settings;
mod socket;
mod streaming;
mod streams;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use postern_core::{
    Handler, Text, Transport,
    wire::{RetryConfig, SessionConfig},
};
use tokio::net::TcpListener;

use self::settings::{Settings, Shared};
pub use self::{frames::Frames, settings::ServerControl};
use crate::{
    byte_budget::ByteBudget,
    counters::Counters,
    link::DatagramLink,
    memory::{MemoryListener, MemorySocket},
    shutdown::Shutdown,
    tcp,
    udp::UdpLink,
};

/// What a server allows. The same for every transport.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    pub session: SessionConfig,
    /// Open connections; on a datagram socket, peers. Default 10,000.
    pub connections_max: usize,
    /// Calls of one connection that are being answered; beyond it the connection is not read, a
    /// datagram peer is told `resource-exhausted`. Default 1024.
    pub calls_in_flight_max: usize,
    /// Takes DATA without header `service`: the published "easy" layer. Default none.
    pub default_service: Option<Text>,
    /// Repetitions of what a datagram peer does not acknowledge.
    pub retry: RetryConfig,
    /// How long draining may take before what is left is cut. Default 10 s.
    pub drain_timeout: Duration,
    /// A stream peer that takes no octet for this long, while there are some for it, is closed as a
    /// slow reader. Datagrams are never taken back: there it means nothing. Default 30 s.
    pub write_timeout: Duration,
    /// What all connections of all servers that share it may hold. Default without bound.
    pub bytes: Arc<ByteBudget>,
    /// Octets that one stream connection may hold: of a frame that has not arrived whole, and of
    /// replies that its peer has not taken. Default 32 MiB.
    pub held_bytes_max: usize,
    /// Sees the messages of peers before they are read, and those for them before they are written.
    /// Default none.
    pub frames: Frames,
}

/// Serves VSTP over TCP.
#[derive(Debug)]
pub struct TcpServer(Server<TcpListener>);

/// Serves VSTP over UDP.
#[derive(Debug)]
pub struct UdpServer(Server<UdpLink>);

/// Serves VSTP over streams in memory.
#[derive(Debug)]
pub struct MemoryServer(Server<MemoryListener>);

/// Serves VSTP over datagrams in memory.
#[derive(Debug)]
pub struct MemoryDatagramServer(Server<MemorySocket>);

/// `L` is where connections or datagrams come in.
#[derive(Debug)]
struct Server<L> {
    link: L,
    address: SocketAddr,
    transport: Transport,
    control: ServerControl,
    settings: Settings,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            session: SessionConfig::default(),
            connections_max: 10_000,
            calls_in_flight_max: 1024,
            default_service: None,
            retry: RetryConfig::default(),
            drain_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            bytes: Arc::new(ByteBudget::unlimited()),
            held_bytes_max: 32 * 1024 * 1024,
            frames: Frames::default(),
        }
    }
}

impl TcpServer {
    /// Listens on `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// What the operating system says.
    #[expect(
        clippy::unused_async,
        reason = "servers are bound alike, and some may have to wait"
    )]
    pub async fn bind(
        address: SocketAddr,
        config: Arc<ServerConfig>,
        handler: Arc<dyn Handler>,
        counters: Arc<Counters>,
    ) -> io::Result<Self> {
        let link = tcp::listen(address)?;
        let address = link.local_addr()?;
        let shared = Shared::new(config, handler, counters);
        Ok(Self(Server::new(link, address, Transport::Tcp, shared)))
    }

    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.0.address
    }

    /// What changes its settings while it serves.
    #[must_use]
    pub fn control(&self) -> ServerControl {
        self.0.control.clone()
    }

    /// Serves until `shutdown`: no connection is taken once it drains, and all are closed when this
    /// returns, at the latest `drain_timeout` later.
    pub async fn serve(self, shutdown: Shutdown) {
        streams::serve(self.0, shutdown).await;
    }
}

impl UdpServer {
    /// Takes datagrams at `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// What the operating system says.
    #[expect(
        clippy::unused_async,
        reason = "servers are bound alike, and some may have to wait"
    )]
    pub async fn bind(
        address: SocketAddr,
        config: Arc<ServerConfig>,
        handler: Arc<dyn Handler>,
        counters: Arc<Counters>,
    ) -> io::Result<Self> {
        let link = UdpLink::bind(address)?;
        let address = link.local_addr()?;
        let shared = Shared::new(config, handler, counters);
        Ok(Self(Server::new(link, address, Transport::Udp, shared)))
    }

    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.0.address
    }

    /// What changes its settings while it serves.
    #[must_use]
    pub fn control(&self) -> ServerControl {
        self.0.control.clone()
    }

    /// Serves until `shutdown`: no peer is taken once it drains; replies under way are delivered,
    /// at the latest `drain_timeout` later.
    pub async fn serve(self, shutdown: Shutdown) {
        socket::serve(self.0, shutdown).await;
    }
}

impl MemoryServer {
    /// Serves what connects to `listener`.
    #[must_use]
    pub fn new(
        listener: MemoryListener,
        config: Arc<ServerConfig>,
        handler: Arc<dyn Handler>,
        counters: Arc<Counters>,
    ) -> Self {
        let address = listener.local_addr();
        let shared = Shared::new(config, handler, counters);
        Self(Server::new(listener, address, Transport::Memory, shared))
    }

    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.0.address
    }

    /// What changes its settings while it serves.
    #[must_use]
    pub fn control(&self) -> ServerControl {
        self.0.control.clone()
    }

    /// As `TcpServer::serve`.
    pub async fn serve(self, shutdown: Shutdown) {
        streams::serve(self.0, shutdown).await;
    }
}

impl MemoryDatagramServer {
    /// Serves what arrives at `link`.
    #[must_use]
    pub fn new(
        link: MemorySocket,
        config: Arc<ServerConfig>,
        handler: Arc<dyn Handler>,
        counters: Arc<Counters>,
    ) -> Self {
        let address = link.address();
        let shared = Shared::new(config, handler, counters);
        Self(Server::new(link, address, Transport::Memory, shared))
    }

    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.0.address
    }

    /// What changes its settings while it serves.
    #[must_use]
    pub fn control(&self) -> ServerControl {
        self.0.control.clone()
    }

    /// As `UdpServer::serve`.
    pub async fn serve(self, shutdown: Shutdown) {
        socket::serve(self.0, shutdown).await;
    }
}

impl<L> Server<L> {
    fn new(link: L, address: SocketAddr, transport: Transport, shared: Shared) -> Self {
        let (control, settings) = ServerControl::new(shared);
        Self {
            link,
            address,
            transport,
            control,
            settings,
        }
    }
}
