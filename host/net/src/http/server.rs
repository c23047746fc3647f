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
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use super::{
    Catalog, HttpConfig,
    answer::{Answer, Asker, Calls},
    connection,
};
use crate::{
    ByteBudget, Counters, Shutdown,
    accept::{Advice, Backoff},
};

/// A bound HTTP listener.
pub struct HttpServer {
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared<Calls>>,
}

/// Changes the configuration of a server while it serves. A connection that is open has the new
/// bounds from its next request on; `streams_max` and `held_bytes_max` hold for connections that
/// come after.
#[derive(Clone)]
pub struct HttpReconfigure(Arc<ArcSwap<HttpConfig>>);

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
    pub async fn bind(
        address: SocketAddr,
        config: HttpConfig,
        handler: Arc<dyn Handler>,
        catalog: Arc<dyn Catalog>,
        counters: Arc<Counters>,
        bytes: Arc<ByteBudget>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let config = Arc::new(ArcSwap::from_pointee(config));
        let answer = Calls {
            config: Arc::clone(&config),
            handler,
            catalog,
            counters: Arc::clone(&counters),
        };
        let shared = Arc::new(Shared {
            config,
            counters,
            answer,
            bytes,
        });
        Ok(Self {
            listener,
            address,
            shared,
        })
    }

    /// Where the listener is.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What changes the configuration of this server, also while it serves.
    #[must_use]
    pub fn reconfigure(&self) -> HttpReconfigure {
        HttpReconfigure(Arc::clone(&self.shared.config))
    }

    /// Serves until `shutdown` drains; then takes nothing new and finishes what is in flight, for
    /// `drain_timeout` or until `shutdown` ends.
    pub async fn serve(self, shutdown: Shutdown) {
        accept(self.listener, self.shared, shutdown).await;
    }
}

impl HttpReconfigure {
    pub fn apply(&self, config: HttpConfig) {
        self.0.store(Arc::new(config));
    }
}

/// Serves a router of another kind at `listener`, within the same bounds of connections, heads and
/// time; what its replies hold is counted nowhere. Ends as `HttpServer::serve` does.
pub async fn serve_router<S, B>(
    listener: TcpListener,
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
    accept(listener, shared, shutdown).await;
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

    async fn answer(&self, request: Request<Incoming>, _asker: &Asker) -> Response<B> {
        match self.0.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Takes connections until `shutdown` drains, then waits for those that are open.
async fn accept<A: Answer>(listener: TcpListener, shared: Arc<Shared<A>>, shutdown: Shutdown) {
    let mut connections = JoinSet::new();
    let mut backoff = Backoff::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    warn!(%error, "an http connection panicked");
                }
                continue;
            }
            () = shutdown.draining() => break,
        };
        match accepted {
            Ok((socket, peer)) => {
                backoff.succeeded();
                let connections_max = shared.config.load().connections_max;
                if connections.len() < connections_max {
                    let (shared, shutdown) = (Arc::clone(&shared), shutdown.clone());
                    connections.spawn(serve_connection(shared, socket, peer, shutdown));
                } else {
                    shared.counters.connections_refused.add(1);
                    turn_away(&socket, connections_max);
                }
            }
            Err(error) => match backoff.failed(&error) {
                Advice::Again => {}
                Advice::Pause(pause) => {
                    warn!(%error, pause_ms = pause.as_millis(), "cannot accept over http");
                    sleep(pause).await;
                }
            },
        }
    }
    drop(listener);
    let drain_timeout = shared.config.load().drain_timeout;
    let finishing = async { while connections.join_next().await.is_some() {} };
    tokio::select! {
        () = shutdown.ended() => {}
        _ = timeout(drain_timeout, finishing) => {}
    }
    connections.shutdown().await;
}

/// Answers a connection over the limit at once and without reading from it.
fn turn_away(socket: &TcpStream, limit: usize) {
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
    // A fresh socket takes this much without blocking; a peer that is gone misses nothing.
    let _ = socket.try_write(&[head.as_bytes(), &body].concat());
}

async fn serve_connection<A: Answer>(
    shared: Arc<Shared<A>>,
    socket: TcpStream,
    address: SocketAddr,
    shutdown: Shutdown,
) {
    let _open = Open::new(Arc::clone(&shared.counters));
    // Replies are written whole; waiting for more would only delay them.
    if let Err(error) = socket.set_nodelay(true) {
        debug!(%error, %address, "cannot set nodelay");
    }
    let peer = Arc::new(Peer::new(Transport::Http, Origin::Ip(address)));
    let bytes = shared.bytes.connection(shared.config.load().held_bytes_max);
    let asker = Asker { peer, bytes };
    connection::serve(&shared, socket, asker, &shutdown).await;
}

/// A connection that counts as open until it is dropped, however it ends.
struct Open(Arc<Counters>);

impl Open {
    fn new(counters: Arc<Counters>) -> Self {
        counters.connections_opened.add(1);
        Self(counters)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections_closed.add(1);
    }
}
