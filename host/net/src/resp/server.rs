//! Listeners for RESP: they accept, share the bounds of their connections, and drain.

use std::{io, sync::Arc};

use arc_swap::ArcSwap;
use postern_core::{Origin, Peer, Transport};
use tokio::io::AsyncWriteExt;

use super::{RespConfig, RespService, connection};
use crate::{
    ByteBudget, Counters, Shutdown,
    acceptor::{
        AcceptLimits, ConnectionFacts, Serve,
        streams::{AcceptConfig, ConfiguredTrust, run_streams},
    },
    link::StreamLink,
    sockets::{LocalAddress, SocketListener},
    tls::ServerTls,
};

/// A bound listener for RESP.
pub struct RespServer {
    listener: SocketListener,
    address: LocalAddress,
    shared: Shared,
    tls: Option<Arc<ServerTls>>,
}

/// Changes the configuration of a server while it serves. A connection that is open has the new bounds
/// from its next request on; `held_bytes_max` holds for connections that come after.
#[derive(Clone)]
pub struct RespReconfigure(Arc<ArcSwap<RespConfig>>);

/// What every connection of a server shares.
pub(super) struct Shared {
    pub(super) config: Arc<ArcSwap<RespConfig>>,
    pub(super) counters: Arc<Counters>,
    service: Arc<dyn RespService>,
    bytes: Arc<ByteBudget>,
    transport: Transport,
}

impl RespServer {
    /// Serves what comes to `listener`.
    ///
    /// # Errors
    /// What the operating system says of its address.
    pub fn new(
        listener: SocketListener,
        config: RespConfig,
        service: Arc<dyn RespService>,
        counters: Arc<Counters>,
        bytes: Arc<ByteBudget>,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let transport = match &address {
            LocalAddress::Ip(_) => Transport::Tcp,
            LocalAddress::Unix(_) => Transport::Unix,
        };
        Ok(Self {
            listener,
            address,
            shared: Shared {
                config: Arc::new(ArcSwap::from_pointee(config)),
                counters,
                service,
                bytes,
                transport,
            },
            tls: None,
        })
    }

    /// Ends TLS on each connection.
    #[must_use]
    pub fn with_tls(mut self, tls: Option<Arc<ServerTls>>) -> Self {
        if tls.is_some() {
            self.shared.transport = Transport::Tls;
        }
        Self { tls, ..self }
    }

    /// What carries it.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        self.shared.transport
    }

    /// Where the listener is.
    #[must_use]
    pub const fn local_addr(&self) -> &LocalAddress {
        &self.address
    }

    /// What changes the configuration of this server, also while it serves.
    #[must_use]
    pub fn reconfigure(&self) -> RespReconfigure {
        RespReconfigure(Arc::clone(&self.shared.config))
    }

    /// Serves until `shutdown` drains; then takes nothing new and finishes what is in flight, for
    /// `drain_timeout` or until `shutdown` ends.
    pub async fn serve(self, shutdown: Shutdown) {
        let (listener, shared) = (self.listener, Arc::new(self.shared));
        let trust = ConfiguredTrust(Arc::clone(&shared.config));
        run_streams(listener, (self.tls, trust), shared, shutdown).await;
    }
}

impl RespReconfigure {
    pub fn apply(&self, config: RespConfig) {
        self.0.store(Arc::new(config));
    }
}

#[cfg(test)]
impl Shared {
    pub(super) fn of_tests(
        config: RespConfig,
        counters: Arc<Counters>,
        service: Arc<dyn RespService>,
    ) -> Self {
        Self {
            config: Arc::new(ArcSwap::from_pointee(config)),
            counters,
            service,
            bytes: Arc::new(ByteBudget::unlimited()),
            transport: Transport::Memory,
        }
    }
}

impl AcceptConfig for RespConfig {
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

impl<L: StreamLink, S: StreamLink> Serve<L, S> for Shared {
    fn limits(&self) -> AcceptLimits {
        self.config.load().accept_limits()
    }

    fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    async fn turn_away(&self, mut accepted: L, _: usize) {
        // A peer that is gone misses nothing.
        let _ = accepted.write_all(TURNED_AWAY).await;
        let _ = accepted.shutdown().await;
    }

    async fn serve(self: Arc<Self>, stream: S, facts: ConnectionFacts, shutdown: Shutdown) {
        let peer = Arc::new(Peer {
            tls: facts.tls,
            ..Peer::new(self.transport, facts.origin)
        });
        let client = self.service.open(Arc::clone(&peer));
        let bytes = self.bytes.connection(self.config.load().held_bytes_max);
        connection::serve(&self, stream, client, &peer, bytes, shutdown).await;
    }
}

/// As Redis says it.
const TURNED_AWAY: &[u8] = b"-ERR max number of clients reached\r\n";
