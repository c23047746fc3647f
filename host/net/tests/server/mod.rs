//! Every link that a server can have, for the suites that run over each of them.

pub(crate) mod quic;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use postern_core::Handler;
use postern_net::{
    Counters, MemoryDatagramServer, MemoryServer, ServerConfig, Shutdown, Target, TcpServer,
    UdpServer, memory::Network,
};
use tokio::task::JoinHandle;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Tcp,
    Udp,
    Quic,
    MemoryStream,
    MemoryDatagram,
}

/// A free port.
pub(crate) const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

impl Link {
    /// Starts a server of `handler` at `at`, or in `network` where the link is in memory.
    pub(crate) async fn start(
        self,
        at: SocketAddr,
        handler: Arc<dyn Handler>,
        config: ServerConfig,
        counters: &Arc<Counters>,
        network: &Network,
        shutdown: &Shutdown,
    ) -> (Target, JoinHandle<()>) {
        let (config, counters) = (Arc::new(config), Arc::clone(counters));
        let stop = shutdown.clone();
        match self {
            Self::Tcp => {
                let server = TcpServer::bind(at, config, handler, counters).await;
                let server = server.expect("a free port");
                let target = Target::tcp(server.local_addr());
                (target, tokio::spawn(server.serve(stop)))
            }
            Self::Udp => {
                let server = UdpServer::bind(at, config, handler, counters).await;
                let server = server.expect("a free port");
                let target = Target::udp(server.local_addr());
                (target, tokio::spawn(server.serve(stop)))
            }
            Self::Quic => {
                let server = quic::server(at, config, handler, counters);
                let target = quic::target(server.local_addr());
                (target, tokio::spawn(server.serve(stop)))
            }
            Self::MemoryStream => {
                let listener = network.listen();
                let target = network.target(listener.local_addr());
                let server =
                    MemoryServer::new(listener, config, handler, counters).expect("it has one");
                (target, tokio::spawn(server.serve(stop)))
            }
            Self::MemoryDatagram => {
                let socket = network.socket();
                let target = network.datagram_target(socket.address());
                let server = MemoryDatagramServer::new(socket, config, handler, counters)
                    .expect("it has one");
                (target, tokio::spawn(server.serve(stop)))
            }
        }
    }
}
