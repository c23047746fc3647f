//! Every link that a server can have, for the suites that run over each of them.

#[path = "../certificates/mod.rs"]
pub(crate) mod certificates;
pub(crate) mod quic;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use postern_core::{BoxFuture, Error, Handler};
use postern_net::{
    Client, ClientConfig, Counters, Destination, MemoryDatagramServer, MemoryServer, ServerConfig,
    Shutdown, Target, TcpServer, UdpServer, UnixAccess, UnixServer, UnixSocketListener,
    dial::SessionDialer,
    memory::Network,
    tls::{ClientTls, ClientTlsSettings, ServerTls, ServerTlsSettings, TlsDialer, alpn},
    unix::UnixDialer,
};
use tokio::task::JoinHandle;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Tcp,
    Tls,
    Unix,
    Udp,
    Quic,
    MemoryStream,
    MemoryDatagram,
}

/// A free port.
pub(crate) const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Both ends of TLS, as servers and clients of the suites have them.
pub(crate) static TLS: LazyLock<(Arc<ServerTls>, Arc<ClientTls>)> = LazyLock::new(|| {
    let authority = certificates::Authority::new("suites");
    let settings = ServerTlsSettings::new(authority.pair(&["localhost"]));
    let server = ServerTls::new(settings, &[alpn::VSTP]).expect("a pair");
    let client = ClientTls::new(ClientTlsSettings {
        authorities: Some(vec![authority.pem()]),
        ..ClientTlsSettings::default()
    });
    (Arc::new(server), Arc::new(client.expect("an authority")))
});

/// Opens sessions over TLS with the clients' end of `TLS`, whatever a configuration says.
#[derive(Debug)]
struct SuiteDialer;

impl SessionDialer for SuiteDialer {
    fn name(&self) -> &'static str {
        TlsDialer.name()
    }

    fn is_stream(&self) -> bool {
        TlsDialer.is_stream()
    }

    fn dial(
        &self,
        destination: &Destination,
        config: ClientConfig,
    ) -> BoxFuture<Result<Client, Error>> {
        let tls = Arc::clone(&TLS.1);
        TlsDialer.dial(destination, ClientConfig { tls, ..config })
    }
}

/// An abstract name of a Unix socket.
fn unused_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("@postern-suite-{}-{n}", std::process::id())
}

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
            Self::Tls => {
                let server = TcpServer::bind(at, config, handler, counters).await;
                let server = server.expect("a free port");
                let server = server.with_tls(Some(Arc::clone(&TLS.0)));
                let destination = Destination::Host {
                    host: "localhost".into(),
                    address: server.local_addr(),
                };
                let target = Target::new(Arc::new(SuiteDialer), destination);
                (target, tokio::spawn(server.serve(stop)))
            }
            Self::Unix => {
                let address = unused_name().parse().expect("a name");
                let listener = UnixSocketListener::bind(&address, UnixAccess::default());
                let listener = listener.expect("a name that nobody has");
                let server = UnixServer::new(listener, config, handler, counters);
                let server = server.expect("it has a name");
                let destination = Destination::Path(address.to_string().into());
                let target = Target::new(Arc::new(UnixDialer), destination);
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
