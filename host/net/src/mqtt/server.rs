//! MQTT listeners.

use std::{io, sync::Arc};

use arc_swap::ArcSwap;
use bytes::BytesMut;
use postern_core::{Origin, Peer, Transport};

use super::{Broker, MqttBackend, MqttConfig, connection::serve_stream, service::MqttService};
use crate::{
    Counters, Shutdown,
    acceptor::{
        AcceptLimits, ConnectionFacts, Serve,
        streams::{AcceptConfig, ConfiguredTrust, run_streams},
    },
    link::StreamLink,
    sockets::{LocalAddress, SocketListener},
    tls::ServerTls,
};

/// A bound listener of MQTT.
#[derive(Debug)]
pub struct MqttServer {
    listener: SocketListener,
    address: LocalAddress,
    service: Arc<MqttService>,
    tls: Option<Arc<ServerTls>>,
}

/// MQTT without a socket of its own: for the HTTP port, and for whoever has streams.
#[derive(Debug, Clone)]
pub struct MqttFront {
    pub(crate) service: Arc<MqttService>,
}

/// Changes the configuration of a server while it serves.
#[derive(Debug, Clone)]
pub struct MqttControl {
    config: Arc<ArcSwap<MqttConfig>>,
}

impl MqttFront {
    #[must_use]
    pub fn new(
        config: MqttConfig,
        broker: Broker,
        backend: Arc<dyn MqttBackend>,
        counters: Arc<Counters>,
    ) -> Self {
        let service = MqttService {
            config: Arc::new(ArcSwap::from_pointee(config)),
            broker,
            backend,
            counters,
        };
        Self {
            service: Arc::new(service),
        }
    }

    #[must_use]
    pub fn control(&self) -> MqttControl {
        MqttControl {
            config: Arc::clone(&self.service.config),
        }
    }

    /// Serves the client at the other end of `stream` until either side ends it.
    pub async fn serve<S: StreamLink>(&self, stream: S, peer: Peer, shutdown: Shutdown) {
        let service = Arc::clone(&self.service);
        serve_stream(service, stream, BytesMut::new(), peer, shutdown).await;
    }
}

impl MqttServer {
    /// Serves what comes to `listener`.
    ///
    /// # Errors
    /// What the operating system says of its address.
    pub fn new(
        listener: SocketListener,
        config: MqttConfig,
        broker: Broker,
        backend: Arc<dyn MqttBackend>,
        counters: Arc<Counters>,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let front = MqttFront::new(config, broker, backend, counters);
        Ok(Self {
            listener,
            address,
            service: front.service,
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

    #[must_use]
    pub fn control(&self) -> MqttControl {
        MqttControl {
            config: Arc::clone(&self.service.config),
        }
    }

    /// Serves until `shutdown` drains; clients are then told to come again, and all are closed when this
    /// returns.
    pub async fn serve(self, shutdown: Shutdown) {
        let Self {
            listener,
            service,
            tls,
            ..
        } = self;
        let trust = ConfiguredTrust(Arc::clone(&service.config));
        run_streams(listener, (tls, trust), service, shutdown).await;
    }
}

impl MqttControl {
    /// Acts on clients that connect after; what a client was told stays.
    pub fn reconfigure(&self, config: MqttConfig) {
        self.config.store(Arc::new(config));
    }
}

impl AcceptConfig for MqttConfig {
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

impl<L: StreamLink, S: StreamLink> Serve<L, S> for MqttService {
    fn limits(&self) -> AcceptLimits {
        self.config.load().accept_limits()
    }

    fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Which version the client speaks it has not said, so that it could be told nothing.
    async fn turn_away(&self, _: L, _: usize) {}

    async fn serve(self: Arc<Self>, stream: S, facts: ConnectionFacts, shutdown: Shutdown) {
        let transport = match (&facts.tls, &facts.origin) {
            (Some(_), _) => Transport::Tls,
            (None, Origin::Unix(_)) => Transport::Unix,
            (None, Origin::Ip(_)) => Transport::Tcp,
            (None, Origin::Local) => Transport::Memory,
        };
        let peer = Peer {
            tls: facts.tls,
            ..Peer::new(transport, facts.origin)
        };
        serve_stream(self, stream, BytesMut::new(), peer, shutdown).await;
    }
}
