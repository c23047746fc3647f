//! A server of one protocol with the suite's handler, and its client.

use std::{sync::Arc, time::Duration};

use postern_core::{Blame, BoxFuture, Call, Error, Handler, Reply, bounded::BoundedHandler};
use postern_net::{
    Alarm, Client, ClientConfig, Counters, ServerConfig, Shutdown,
    http::{HttpClient, HttpClientConfig},
    memory::{Conditions, Network},
};

use crate::{
    links::Link,
    server::{self, ANY, TLS},
    service::Service,
};

#[derive(Debug, Clone, Copy)]
pub(super) enum Protocol {
    Session(Link),
    Http { http2: bool, is_secure: bool },
}

pub(super) struct Stand {
    pub(super) service: Arc<Service>,
    pub(super) shutdown: Shutdown,
    client: Arc<dyn Handler>,
    _network: Network,
}

impl Protocol {
    pub(super) const ALL: [Self; 13] = [
        Self::Session(Link::MemoryStream),
        Self::Session(Link::Tcp),
        Self::Session(Link::Tls),
        Self::Session(Link::Unix),
        Self::Session(Link::Quic),
        Self::Session(Link::WebSocket),
        Self::Session(Link::SecureWebSocket),
        Self::Session(Link::Udp),
        Self::Session(Link::MemoryDatagram),
        Self::http(false, false),
        Self::http(true, false),
        Self::http(false, true),
        Self::http(true, true),
    ];

    const fn http(http2: bool, is_secure: bool) -> Self {
        Self::Http { http2, is_secure }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Session(Link::MemoryStream) => "memory",
            Self::Session(Link::Tcp) => "TCP",
            Self::Session(Link::Tls) => "TLS",
            Self::Session(Link::Unix) => "Unix",
            Self::Session(Link::Quic) => "QUIC",
            Self::Session(Link::WebSocket) => "WebSocket",
            Self::Session(Link::SecureWebSocket) => "WSS",
            Self::Session(Link::Udp) => "UDP",
            Self::Session(Link::MemoryDatagram) => "datagrams in memory",
            Self::Http { http2, is_secure } => match (http2, is_secure) {
                (false, false) => "HTTP/1.1",
                (true, false) => "HTTP/2",
                (false, true) => "HTTP/1.1 over TLS",
                (true, true) => "HTTP/2 over TLS",
            },
        }
    }
}

impl Stand {
    pub(super) async fn start(protocol: Protocol) -> Self {
        let (service, shutdown) = (Arc::<Service>::default(), Shutdown::new());
        let network = Network::new(1, Conditions::default());
        let handler = BoundedHandler::<_, Alarm>::new(Arc::clone(&service), Blame::Guest);
        let handler: Arc<dyn Handler> = Arc::new(handler);
        let client = match protocol {
            Protocol::Session(link) => session(link, handler, &network, &shutdown).await,
            Protocol::Http { http2, is_secure } => http(http2, is_secure, handler, &shutdown).await,
        };
        Self {
            service,
            shutdown,
            client,
            _network: network,
        }
    }

    pub(super) fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        self.client.call(call)
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.shutdown.end();
    }
}

async fn session(
    link: Link,
    handler: Arc<dyn Handler>,
    network: &Network,
    shutdown: &Shutdown,
) -> Arc<dyn Handler> {
    let (config, counters) = (ServerConfig::default(), Arc::<Counters>::default());
    let started = link.start(ANY, handler, config, &counters, network, shutdown);
    // It ends with the stand.
    let (target, _) = started.await;
    let client = Client::connect(target, ClientConfig::default()).await;
    Arc::new(client.expect("the server is up"))
}

async fn http(
    http2: bool,
    is_secure: bool,
    handler: Arc<dyn Handler>,
    shutdown: &Shutdown,
) -> Arc<dyn Handler> {
    let (config, counters) = (Arc::<ServerConfig>::default(), Arc::<Counters>::default());
    let server = server::http_server(ANY, config, handler, counters).await;
    let server = server.with_tls(is_secure.then(|| Arc::clone(&TLS.http)));
    let address = server.local_addr().socket_addr().expect("a port");
    tokio::spawn(server.serve(shutdown.clone()));
    let scheme = if is_secure { "https" } else { "http" };
    let base = format!("{scheme}://localhost:{}", address.port());
    let config = HttpClientConfig {
        http2,
        tls: Arc::clone(&TLS.client),
        ..HttpClientConfig::default()
    };
    Arc::new(HttpClient::new(&base, config).expect("an address"))
}

/// Waits until something is so. Each case is bounded as a whole.
pub(super) async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
