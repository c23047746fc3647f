//! Servers: what listens, what it allows, how it stops. Stream servers have a task per connection,
//! datagram servers one for all peers; the future of `serve` owns and awaits them.

mod answer;
mod connection;
mod frames;
mod held;
mod in_order;
mod messages;
mod pushes;
mod quic;
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
    quic::QuicListener,
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
    /// Octets that one connection or datagram peer may hold: of frames that have not arrived whole,
    /// requests that are not answered, and replies that it has not taken. Default 32 MiB.
    pub held_bytes_max: usize,
    /// How long a connection may take to become one that can be served, and how many may be about it
    /// at a time; beyond either it is closed. Plain connections take no time. Default 10 s and 1024.
    pub handshake_timeout: Duration,
    pub handshakes_max: usize,
    /// Sees the messages of peers before they are read, and those for them before they are written.
    /// Default none.
    pub frames: Frames,
}

/// Serves VSTP on `L`, where connections or datagrams come in.
#[derive(Debug)]
pub struct Server<L> {
    link: L,
    address: SocketAddr,
    control: ServerControl,
    settings: Settings,
}

/// Over TCP.
pub type TcpServer = Server<TcpListener>;
/// Over UDP.
pub type UdpServer = Server<UdpLink>;
/// Over QUIC.
pub type QuicServer = Server<QuicListener>;
/// Over streams in memory.
pub type MemoryServer = Server<MemoryListener>;
/// Over datagrams in memory.
pub type MemoryDatagramServer = Server<MemorySocket>;

/// Where a server's peers come in: one implementation per transport.
pub trait ServedLink: Sized + Send {
    const TRANSPORT: Transport;

    /// # Errors
    /// What the operating system says.
    fn served_at(&self) -> io::Result<SocketAddr>;

    /// Serves until `shutdown`.
    fn serve(server: Server<Self>, shutdown: Shutdown) -> impl Future<Output = ()> + Send;
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
            handshake_timeout: Duration::from_secs(10),
            handshakes_max: 1024,
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
        Self::new(tcp::listen(address)?, config, handler, counters)
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
        Self::new(UdpLink::bind(address)?, config, handler, counters)
    }
}

impl<L: ServedLink> Server<L> {
    /// Serves what comes to `link`.
    ///
    /// # Errors
    /// What the operating system says of its address.
    pub fn new(
        link: L,
        config: Arc<ServerConfig>,
        handler: Arc<dyn Handler>,
        counters: Arc<Counters>,
    ) -> io::Result<Self> {
        let address = link.served_at()?;
        let (control, settings) = ServerControl::new(Shared::new(config, handler, counters));
        Ok(Self {
            link,
            address,
            control,
            settings,
        })
    }

    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What changes its settings while it serves.
    #[must_use]
    pub fn control(&self) -> ServerControl {
        self.control.clone()
    }

    /// Serves until `shutdown`. Once it drains no connection or peer is taken, and what is in flight is
    /// answered, at the latest `drain_timeout` later; all are closed when this returns.
    pub async fn serve(self, shutdown: Shutdown) {
        L::serve(self, shutdown).await;
    }
}

impl ServedLink for TcpListener {
    const TRANSPORT: Transport = Transport::Tcp;

    fn served_at(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    async fn serve(server: Server<Self>, shutdown: Shutdown) {
        streams::serve(server, shutdown).await;
    }
}

impl ServedLink for UdpLink {
    const TRANSPORT: Transport = Transport::Udp;

    fn served_at(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    async fn serve(server: Server<Self>, shutdown: Shutdown) {
        socket::serve(server, shutdown).await;
    }
}

impl ServedLink for MemoryListener {
    const TRANSPORT: Transport = Transport::Memory;

    fn served_at(&self) -> io::Result<SocketAddr> {
        Ok(self.local_addr())
    }

    async fn serve(server: Server<Self>, shutdown: Shutdown) {
        streams::serve(server, shutdown).await;
    }
}

impl ServedLink for MemorySocket {
    const TRANSPORT: Transport = Transport::Memory;

    fn served_at(&self) -> io::Result<SocketAddr> {
        Ok(self.address())
    }

    async fn serve(server: Server<Self>, shutdown: Shutdown) {
        socket::serve(server, shutdown).await;
    }
}
