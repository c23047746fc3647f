//! Servers: what listens, what it allows, how it stops. Stream servers have a task per connection,
//! datagram servers one for all peers; the future of `serve` owns and awaits them.

mod answer;
mod config;
mod connection;
mod frames;
mod held;
mod in_order;
mod messages;
mod pushes;
mod quic;
mod served;
mod settings;
mod socket;
mod streaming;
mod streams;

use std::{io, net::SocketAddr, sync::Arc};

use postern_core::Handler;
use tokio::net::TcpListener;

pub use self::{
    config::ServerConfig,
    frames::Frames,
    served::{ServedLink, Server},
    settings::ServerControl,
};
pub(crate) use self::{pushes::Pushes, settings::Settings, streams::serve_session};
use crate::{
    counters::Counters,
    memory::{MemoryListener, MemorySocket},
    quic::QuicListener,
    tcp,
    udp::UdpLink,
    unix::UnixSocketListener,
};

/// Over TCP.
pub type TcpServer = Server<TcpListener>;
/// Over Unix sockets.
pub type UnixServer = Server<UnixSocketListener>;
/// Over UDP.
pub type UdpServer = Server<UdpLink>;
/// Over QUIC.
pub type QuicServer = Server<QuicListener>;
/// Over streams in memory.
pub type MemoryServer = Server<MemoryListener>;
/// Over datagrams in memory.
pub type MemoryDatagramServer = Server<MemorySocket>;

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
