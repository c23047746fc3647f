//! Listeners of velithon: they accept, share the bounds of their connections, and drain.

use std::{io, sync::Arc};

use arc_swap::ArcSwap;
use postern_core::{Handler, Origin, Peer, Transport};

use super::{config::VelithonConfig, front::Endpoints, served, silence::Peers};
use crate::{
    ByteBudget, Counters, Shutdown,
    acceptor::{
        AcceptLimits, ConnectionFacts, Serve,
        streams::{AcceptConfig, ConfiguredTrust, run_streams},
    },
    link::{StreamLink, WatchedLink},
    sockets::{LocalAddress, SocketListener},
    tls::ServerTls,
};

/// A bound listener.
pub struct VelithonServer {
    listener: SocketListener,
    address: LocalAddress,
    shared: Shared,
    tls: Option<Arc<ServerTls>>,
}

/// Changes the configuration of a server while it serves.
#[derive(Debug, Clone)]
pub struct VelithonReconfigure(Arc<ArcSwap<VelithonConfig>>);

/// What every connection of a server shares.
pub(super) struct Shared {
    pub(super) config: Arc<ArcSwap<VelithonConfig>>,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) endpoints: Arc<dyn Endpoints>,
    pub(super) counters: Arc<Counters>,
    pub(super) bytes: Arc<ByteBudget>,
    pub(super) peers: Peers,
}

impl VelithonServer {
    /// Serves what comes to `listener`.
    ///
    /// # Errors
    /// What the operating system says of its address.
    pub fn new(
        listener: SocketListener,
        config: VelithonConfig,
        (handler, endpoints): (Arc<dyn Handler>, Arc<dyn Endpoints>),
        counters: Arc<Counters>,
        bytes: Arc<ByteBudget>,
    ) -> io::Result<Self> {
        Ok(Self {
            address: listener.local_addr()?,
            listener,
            shared: Shared {
                config: Arc::new(ArcSwap::from_pointee(config)),
                handler,
                endpoints,
                counters,
                bytes,
                peers: Peers::default(),
            },
            tls: None,
        })
    }

    /// Ends TLS on each connection.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<ServerTls>>) -> Self {
        Self { tls, ..self }
    }

    #[must_use]
    pub const fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Where the listener is.
    #[must_use]
    pub const fn local_addr(&self) -> &LocalAddress {
        &self.address
    }

    /// What changes the configuration of this server, also while it serves.
    #[must_use]
    pub fn reconfigure(&self) -> VelithonReconfigure {
        VelithonReconfigure(Arc::clone(&self.shared.config))
    }

    /// Serves until `shutdown` drains; then takes nothing new and finishes what is in flight, for
    /// `drain_timeout` or until `shutdown` ends.
    pub async fn serve(self, shutdown: Shutdown) {
        let shared = Arc::new(self.shared);
        let trust = ConfiguredTrust(Arc::clone(&shared.config));
        run_streams(self.listener, (self.tls, trust), shared, shutdown).await;
    }
}

impl VelithonReconfigure {
    pub fn apply(&self, config: VelithonConfig) {
        self.0.store(Arc::new(config));
    }
}

impl AcceptConfig for VelithonConfig {
    fn accept_limits(&self) -> AcceptLimits {
        AcceptLimits {
            connections_max: self.connections_max,
            handshakes_max: self.handshakes_max,
            handshake_timeout: self.handshake_timeout,
            drain_timeout: self.drain_timeout,
        }
    }

    fn expects_header(&self, origin: &Origin) -> bool {
        let proxies = self.proxies.as_ref();
        proxies.is_some_and(|proxies| proxies.contain(origin))
    }
}

impl<A: StreamLink, S: WatchedLink> Serve<A, S> for Shared {
    fn limits(&self) -> AcceptLimits {
        self.config.load().accept_limits()
    }

    fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// There is no message for it: an error answers a request, and none was read.
    async fn turn_away(&self, accepted: A, _: usize) {
        drop(accepted);
    }

    async fn serve(self: Arc<Self>, stream: S, facts: ConnectionFacts, shutdown: Shutdown) {
        let transport = match facts.tls {
            None => Transport::Velithon,
            Some(_) => Transport::Velithons,
        };
        let peer = Peer {
            tls: facts.tls,
            ..Peer::new(transport, facts.origin)
        };
        served::serve(&self, stream, peer, &shutdown).await;
    }
}
