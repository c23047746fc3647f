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

use bytes::Bytes;
use postern_core::{BoxFuture, Call, Error, Handler, Text};
use postern_net::{
    Client, ClientConfig, Counters, Destination, MemoryDatagramServer, MemoryServer, ServerConfig,
    Shutdown, Target, TcpServer, UdpServer, UnixAccess, UnixServer, UnixSocketListener,
    dial::SessionDialer,
    http::{Catalog, HttpConfig, HttpServer},
    memory::Network,
    tls::{ClientTls, ClientTlsSettings, ServerTls, ServerTlsSettings, TlsDialer, alpn},
    unix::UnixDialer,
    websocket::{SecureWebSocketDialer, WebSocketDialer},
};
use tokio::task::JoinHandle;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Tcp,
    Tls,
    Unix,
    Udp,
    Quic,
    WebSocket,
    SecureWebSocket,
    MemoryStream,
    MemoryDatagram,
}

/// A free port.
pub(crate) const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The ends of TLS, as servers and clients of the suites have them.
pub(crate) struct SuiteTls {
    /// Of VSTP, and of HTTP.
    pub(crate) vstp: Arc<ServerTls>,
    pub(crate) http: Arc<ServerTls>,
    pub(crate) client: Arc<ClientTls>,
}

pub(crate) static TLS: LazyLock<SuiteTls> = LazyLock::new(|| {
    let authority = certificates::Authority::new("suites");
    let server = |protocols: &[&str]| {
        let settings = ServerTlsSettings::new(authority.pair(&["localhost"]));
        Arc::new(ServerTls::new(settings, protocols).expect("a pair"))
    };
    let client = ClientTls::new(ClientTlsSettings {
        authorities: Some(vec![authority.pem()]),
        ..ClientTlsSettings::default()
    });
    SuiteTls {
        vstp: server(&[alpn::VSTP]),
        http: server(&alpn::HTTP),
        client: Arc::new(client.expect("an authority")),
    }
});

/// Opens sessions over TLS with the clients' end of `TLS`, whatever a configuration says.
#[derive(Debug)]
struct SuiteDialer<D>(D);

impl<D: SessionDialer> SessionDialer for SuiteDialer<D> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn is_stream(&self) -> bool {
        self.0.is_stream()
    }

    fn dial(
        &self,
        destination: &Destination,
        config: ClientConfig,
    ) -> BoxFuture<Result<Client, Error>> {
        let tls = Arc::clone(&TLS.client);
        self.0.dial(destination, ClientConfig { tls, ..config })
    }
}

/// An abstract name of a Unix socket.
fn unused_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("@postern-suite-{}-{n}", std::process::id())
}

/// An HTTP listener that knows of no service.
struct NoCatalog;

impl Catalog for NoCatalog {
    fn services(&self, _: Option<Text>, _: Call) -> BoxFuture<Result<Bytes, Error>> {
        Box::pin(async { Ok("[]".into()) })
    }
}

fn localhost(address: SocketAddr) -> Destination {
    Destination::Host {
        host: "localhost".into(),
        address,
    }
}

/// An HTTP listener whose sessions over WebSocket have the settings of `config`.
pub(crate) async fn http_server(
    at: SocketAddr,
    config: Arc<ServerConfig>,
    handler: Arc<dyn Handler>,
    counters: Arc<Counters>,
) -> HttpServer {
    let http = HttpConfig {
        held_bytes_max: config.held_bytes_max,
        connections_max: config.connections_max,
        write_timeout: config.write_timeout,
        drain_timeout: config.drain_timeout,
        handshake_timeout: config.handshake_timeout,
        handshakes_max: config.handshakes_max,
        ..HttpConfig::default()
    };
    let bytes = Arc::clone(&config.bytes);
    let server = HttpServer::bind(at, http, handler, Arc::new(NoCatalog), counters, bytes).await;
    let server = server.expect("a free port");
    server.reconfigure().apply_sessions(config);
    server
}

async fn tls_server(
    at: SocketAddr,
    config: Arc<ServerConfig>,
    handler: Arc<dyn Handler>,
    counters: Arc<Counters>,
) -> (TcpServer, Target) {
    let server = TcpServer::bind(at, config, handler, counters).await;
    let server = server.expect("a free port");
    let destination = localhost(server.local_addr());
    let target = Target::new(Arc::new(SuiteDialer(TlsDialer)), destination);
    (server.with_tls(Some(Arc::clone(&TLS.vstp))), target)
}

fn unix_server(
    config: Arc<ServerConfig>,
    handler: Arc<dyn Handler>,
    counters: Arc<Counters>,
) -> (UnixServer, Target) {
    let address = unused_name().parse().expect("a name");
    let listener = UnixSocketListener::bind(&address, UnixAccess::default());
    let listener = listener.expect("a name that nobody has");
    let server = UnixServer::new(listener, config, handler, counters);
    let destination = Destination::Path(address.to_string().into());
    let target = Target::new(Arc::new(UnixDialer), destination);
    (server.expect("it has a name"), target)
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
                let (server, target) = tls_server(at, config, handler, counters).await;
                (target, tokio::spawn(server.serve(stop)))
            }
            Self::WebSocket => {
                let server = http_server(at, config, handler, counters).await;
                let destination = localhost(server.local_addr().socket_addr().expect("a port"));
                let target = Target::new(Arc::new(WebSocketDialer), destination);
                (target, tokio::spawn(server.serve(stop)))
            }
            Self::SecureWebSocket => {
                let server = http_server(at, config, handler, counters).await;
                let server = server.with_tls(Some(Arc::clone(&TLS.http)));
                let destination = localhost(server.local_addr().socket_addr().expect("a port"));
                let dialer = Arc::new(SuiteDialer(SecureWebSocketDialer));
                let target = Target::new(dialer, destination);
                (target, tokio::spawn(server.serve(stop)))
            }
            Self::Unix => {
                let (server, target) = unix_server(config, handler, counters);
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
                let server = MemoryServer::new(listener, config, handler, counters);
                let server = server.expect("it has one");
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
