//! HTTP listeners: they accept, share the bounds of their connections, and drain.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Response};
use hyper::{
    body::{Body, Incoming},
    service::Service,
};
use hyper_util::service::TowerToHyperService;
use postern_core::{Error, Handler, Origin, Peer, Transport, error::Blame};
use tokio::io::AsyncWriteExt;

use super::{
    Catalog, HttpConfig, StatusDetails, ValueDetails,
    activity::InFlight,
    answer::Calls,
    asker::{Answer, Asker},
    connection,
    gather::Gather,
    routes::{HttpRoutes, ListenerRoutes},
    upgrade::Upgrades,
    websockets::WebSockets,
};
use crate::{
    ByteBudget, Counters, ServerConfig, ServerControl, Shutdown,
    acceptor::{
        AcceptLimits, ConnectionFacts, Serve,
        streams::{AcceptConfig, ConfiguredTrust, run_streams},
    },
    link::{StreamLink, WatchedLink},
    mqtt::MqttFront,
    sockets::{LocalAddress, SocketListener},
    tcp,
    tls::{ChallengeAnswers, ServerTls},
};

/// A bound HTTP listener.
pub struct HttpServer {
    listener: SocketListener,
    address: LocalAddress,
    shared: Shared<Calls>,
    tls: Option<Arc<ServerTls>>,
    sessions: ServerControl,
}

/// Changes the configuration of a server while it serves. A connection that is open has the new
/// bounds from its next request on; `streams_max` and `held_bytes_max` hold for connections that
/// come after.
#[derive(Clone)]
pub struct HttpReconfigure {
    config: Arc<ArcSwap<HttpConfig>>,
    sessions: ServerControl,
}

/// What every connection of a server shares.
pub(super) struct Shared<A> {
    pub(super) config: Arc<ArcSwap<HttpConfig>>,
    pub(super) counters: Arc<Counters>,
    pub(super) answer: A,
    bytes: Arc<ByteBudget>,
}

impl HttpServer {
    /// Binds `address`; port 0 takes a free one, which `local_addr` tells.
    ///
    /// # Errors
    /// Whatever the system says of the address.
    #[expect(
        clippy::unused_async,
        reason = "servers are bound alike, and some may have to wait"
    )]
    pub async fn bind(
        address: SocketAddr,
        config: HttpConfig,
        handler: Arc<dyn Handler>,
        catalog: Arc<dyn Catalog>,
        counters: Arc<Counters>,
        bytes: Arc<ByteBudget>,
    ) -> io::Result<Self> {
        let listener = SocketListener::Tcp(tcp::listen(address)?);
        Self::new(listener, config, handler, catalog, counters, bytes)
    }

    /// Serves what comes to `listener`.
    ///
    /// # Errors
    /// What the operating system says of its address.
    pub fn new(
        listener: SocketListener,
        config: HttpConfig,
        handler: Arc<dyn Handler>,
        catalog: Arc<dyn Catalog>,
        counters: Arc<Counters>,
        bytes: Arc<ByteBudget>,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let config = Arc::new(ArcSwap::from_pointee(config));
        let sessions = ServerConfig {
            bytes: Arc::clone(&bytes),
            ..ServerConfig::default()
        };
        let (control, settings) = ServerControl::of_sessions(
            Arc::new(sessions),
            Arc::clone(&handler),
            Arc::clone(&counters),
        );
        let answer = Calls {
            config: Arc::clone(&config),
            handler: Arc::clone(&handler),
            catalog,
            routes: ListenerRoutes::default(),
            details: Arc::new(ValueDetails),
            challenges: None,
            counters: Arc::clone(&counters),
            websockets: WebSockets {
                config: Arc::clone(&config),
                handler,
                counters: Arc::clone(&counters),
                sessions: settings,
                mqtt: None,
            },
        };
        let shared = Shared {
            config,
            counters,
            answer,
            bytes,
        };
        Ok(Self {
            listener,
            address,
            shared,
            tls: None,
            sessions: control,
        })
    }

    /// Ends TLS on each connection.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<ServerTls>>) -> Self {
        Self { tls, ..self }
    }

    /// Sends requests where `routes` say, as those of the listener called `name`.
    #[must_use]
    pub fn with_routes(mut self, routes: HttpRoutes, name: &str) -> Self {
        self.shared.answer.routes = ListenerRoutes::new(routes, name);
        self
    }

    /// Tells clients of gRPC what `details` makes of the details of failures.
    #[must_use]
    pub fn with_status_details(mut self, details: Arc<dyn StatusDetails>) -> Self {
        self.shared.answer.details = details;
        self
    }

    /// Answers authorities that look whether a name leads here. They ask over plain HTTP only.
    #[must_use]
    pub fn with_challenges(mut self, answers: Arc<dyn ChallengeAnswers>) -> Self {
        self.shared.answer.challenges = Some(answers);
        self
    }

    /// Serves clients of MQTT over WebSocket, at `/mqtt`.
    #[must_use]
    pub fn with_mqtt(mut self, front: &MqttFront) -> Self {
        self.shared.answer.websockets.mqtt = Some(Arc::clone(&front.service));
        self
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
    pub fn reconfigure(&self) -> HttpReconfigure {
        HttpReconfigure {
            config: Arc::clone(&self.shared.config),
            sessions: self.sessions.clone(),
        }
    }

    /// Serves until `shutdown` drains; then takes nothing new and finishes what is in flight, for
    /// `drain_timeout` or until `shutdown` ends.
    pub async fn serve(self, shutdown: Shutdown) {
        accept(self.listener, self.tls, Arc::new(self.shared), shutdown).await;
    }
}

impl HttpReconfigure {
    pub fn apply(&self, config: HttpConfig) {
        self.config.store(Arc::new(config));
    }

    /// Puts `config` in force for sessions over WebSocket, as `ServerControl::reconfigure` does; what
    /// connections are allowed stays the listener's.
    pub fn apply_sessions(&self, config: Arc<ServerConfig>) {
        self.sessions.reconfigure(config);
    }
}

/// Serves a router of another kind at `listener`, within the same bounds of connections, heads and
/// time; what its replies hold is counted nowhere. Ends as `HttpServer::serve` does.
pub async fn serve_router<S, B>(
    listener: SocketListener,
    tls: Option<Arc<ServerTls>>,
    router: S,
    config: HttpConfig,
    counters: Arc<Counters>,
    shutdown: Shutdown,
) where
    S: Clone + Send + Sync + 'static,
    TowerToHyperService<S>:
        Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static,
{
    let shared = Arc::new(Shared {
        config: Arc::new(ArcSwap::from_pointee(config)),
        counters,
        answer: Routed(TowerToHyperService::new(router)),
        bytes: Arc::new(ByteBudget::unlimited()),
    });
    accept(listener, tls, shared, shutdown).await;
}

/// Answers by a router that is given.
struct Routed<S>(TowerToHyperService<S>);

impl<S, B> Answer for Routed<S>
where
    S: Clone + Send + Sync + 'static,
    TowerToHyperService<S>:
        Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static,
{
    type Body = B;

    async fn answer(
        &self,
        mut request: Request<Incoming>,
        asker: &Asker,
        _: &InFlight,
    ) -> Response<B> {
        request.extensions_mut().insert(Arc::clone(&asker.link));
        match self.0.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Takes connections until `shutdown` drains, then waits for those that are open.
async fn accept<A: Answer>(
    listener: SocketListener,
    tls: Option<Arc<ServerTls>>,
    shared: Arc<Shared<A>>,
    shutdown: Shutdown,
) {
    let trust = ConfiguredTrust(Arc::clone(&shared.config));
    run_streams(listener, (tls, trust), shared, shutdown).await;
}

impl AcceptConfig for HttpConfig {
    fn accept_limits(&self) -> AcceptLimits {
        AcceptLimits {
            connections_max: self.connections_max,
            handshakes_max: self.handshakes_max,
            handshake_timeout: self.handshake_timeout,
            drain_timeout: self.drain_timeout,
        }
    }

    fn expects_header(&self, origin: &Origin) -> bool {
        self.proxy_protocol && self.forwarded.trusted.contain(origin)
    }
}

impl<A: Answer, L: StreamLink, S: WatchedLink> Serve<L, S> for Shared<A> {
    fn limits(&self) -> AcceptLimits {
        self.config.load().accept_limits()
    }

    fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Answers at once and without reading.
    async fn turn_away(&self, mut accepted: L, limit: usize) {
        let error = Error::unavailable(
            Blame::Gateway,
            format!("the limit of {limit} connections is reached"),
        );
        let body = error.to_json();
        let head = format!(
            "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
             x-postern-error: unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        // A peer that is gone misses nothing.
        let _ = accepted.write_all(&[head.as_bytes(), &body].concat()).await;
    }

    async fn serve(self: Arc<Self>, stream: S, facts: ConnectionFacts, shutdown: Shutdown) {
        let transport = match facts.tls {
            None => Transport::Http,
            Some(_) => Transport::Https,
        };
        let peer = Arc::new(Peer {
            tls: facts.tls,
            ..Peer::new(transport, facts.origin)
        });
        let bytes = self.bytes.connection(self.config.load().held_bytes_max);
        let (sender, upgrades) = Upgrades::new();
        let asker = Asker {
            link: Arc::clone(&peer),
            peer,
            over_grpc: Arc::default(),
            bytes,
            gather: Gather::default(),
            upgrades: sender,
        };
        connection::serve(&self, stream, Arc::new(asker), upgrades, &shutdown).await;
    }
}
