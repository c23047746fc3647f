//! Servers: what listens, how many may come, how it stops. One task per connection; the task of
//! `serve` owns and awaits them all.

mod answer;
mod connection;
mod socket;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::BytesMut;
use postern_core::{
    Handler, Headers, Text, Transport,
    wire::{Features, Frame, FrameType, RetryConfig, SessionConfig},
};
use tokio::{
    io::AsyncWriteExt,
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinError, JoinSet},
};

use crate::{
    accept::{Advice, Backoff},
    counters::Counters,
    link::{DatagramLink, Listener, StreamLink},
    memory::{MemoryListener, MemorySocket},
    shutdown::Shutdown,
    tcp,
    udp::UdpLink,
};

/// How long a connection over the limit may take to read why it is turned away.
const REFUSAL: Duration = Duration::from_secs(1);
/// Connections that are being turned away; more are closed without a word.
const REFUSALS_MAX: usize = 64;

/// What a server allows. The same for every transport.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    pub session: SessionConfig,
    /// Open connections; on a datagram socket, peers. Default 10,000.
    pub connections_max: usize,
    /// Calls of one connection that are being answered; beyond it the connection is not read, a
    /// datagram peer is told `resource-exhausted`. Default 1024.
    pub calls_in_flight_max: usize,
    /// Takes DATA without header `service`: the published "easy" layer. Default none.
    pub default_service: Option<Text>,
    /// Repetitions of what a datagram peer does not acknowledge.
    pub retry: RetryConfig,
    /// How long draining may take before what is left is cut. Default 10 s.
    pub drain_timeout: Duration,
    /// A peer that takes no octet for this long is closed as a slow reader. Default 30 s.
    pub write_timeout: Duration,
}

/// Serves VSTP over TCP.
#[derive(Debug)]
pub struct TcpServer(StreamServer<TcpListener>);

/// Serves VSTP over streams in memory.
#[derive(Debug)]
pub struct MemoryServer(StreamServer<MemoryListener>);

/// Serves VSTP over UDP.
#[derive(Debug)]
pub struct UdpServer(DatagramServer<UdpLink>);

/// Serves VSTP over datagrams in memory.
#[derive(Debug)]
pub struct MemoryDatagramServer(DatagramServer<MemorySocket>);

struct DatagramServer<L> {
    link: L,
    address: SocketAddr,
    transport: Transport,
    shared: Shared,
}

struct StreamServer<L> {
    listener: L,
    address: SocketAddr,
    transport: Transport,
    shared: Shared,
}

/// What all connections of a server share.
#[derive(Clone)]
struct Shared {
    config: Arc<ServerConfig>,
    session: Arc<SessionConfig>,
    handler: Arc<dyn Handler>,
    counters: Arc<Counters>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            session: SessionConfig {
                features: Features::NONE,
                ..SessionConfig::default()
            },
            connections_max: 10_000,
            calls_in_flight_max: 1024,
            default_service: None,
            retry: RetryConfig::default(),
            drain_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
        }
    }
}

impl TcpServer {
    /// Listens on `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// What the operating system says.
    #[expect(
        clippy::unused_async,
        reason = "all servers bind alike, and some must wait"
    )]
    pub async fn bind(
        address: SocketAddr,
        config: Arc<ServerConfig>,
        handler: Arc<dyn Handler>,
        counters: Arc<Counters>,
    ) -> io::Result<Self> {
        let listener = tcp::listen(address)?;
        let address = listener.local_addr()?;
        let shared = Shared::new(config, handler, counters);
        Ok(Self(StreamServer {
            listener,
            address,
            transport: Transport::Tcp,
            shared,
        }))
    }

    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.0.address
    }

    /// Serves until `shutdown`: no connection is taken once it drains, and all are closed when this
    /// returns, at the latest `drain_timeout` later.
    pub async fn serve(self, shutdown: Shutdown) {
        self.0.serve(shutdown).await;
    }
}

impl MemoryServer {
    /// Serves what connects to `listener`.
    #[must_use]
    pub fn new(
        listener: MemoryListener,
        config: Arc<ServerConfig>,
        handler: Arc<dyn Handler>,
        counters: Arc<Counters>,
    ) -> Self {
        let address = listener.local_addr();
        let shared = Shared::new(config, handler, counters);
        Self(StreamServer {
            listener,
            address,
            transport: Transport::Memory,
            shared,
        })
    }

    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.0.address
    }

    /// As `TcpServer::serve`.
    pub async fn serve(self, shutdown: Shutdown) {
        self.0.serve(shutdown).await;
    }
}

impl UdpServer {
    /// Takes datagrams at `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// What the operating system says.
    #[expect(
        clippy::unused_async,
        reason = "all servers bind alike, and some must wait"
    )]
    pub async fn bind(
        address: SocketAddr,
        config: Arc<ServerConfig>,
        handler: Arc<dyn Handler>,
        counters: Arc<Counters>,
    ) -> io::Result<Self> {
        let link = UdpLink::bind(address)?;
        let address = link.local_addr()?;
        let shared = Shared::new(config, handler, counters);
        Ok(Self(DatagramServer {
            link,
            address,
            transport: Transport::Udp,
            shared,
        }))
    }

    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.0.address
    }

    /// Serves until `shutdown`: no peer is taken once it drains; replies under way are delivered,
    /// at the latest `drain_timeout` later.
    pub async fn serve(self, shutdown: Shutdown) {
        let DatagramServer {
            link,
            transport,
            shared,
            ..
        } = self.0;
        socket::serve(link, transport, shared, shutdown).await;
    }
}

impl MemoryDatagramServer {
    /// Serves what arrives at `link`.
    #[must_use]
    pub fn new(
        link: MemorySocket,
        config: Arc<ServerConfig>,
        handler: Arc<dyn Handler>,
        counters: Arc<Counters>,
    ) -> Self {
        let address = link.address();
        let shared = Shared::new(config, handler, counters);
        Self(DatagramServer {
            link,
            address,
            transport: Transport::Memory,
            shared,
        })
    }

    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.0.address
    }

    /// As `UdpServer::serve`.
    pub async fn serve(self, shutdown: Shutdown) {
        let DatagramServer {
            link,
            transport,
            shared,
            ..
        } = self.0;
        socket::serve(link, transport, shared, shutdown).await;
    }
}

impl<L: Listener> StreamServer<L> {
    async fn serve(self, shutdown: Shutdown) {
        let Self {
            mut listener,
            address,
            transport,
            shared,
        } = self;
        let permits = Arc::new(Semaphore::new(shared.config.connections_max));
        let mut backoff = Backoff::default();
        let mut tasks = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.draining() => break,
                Some(ended) = tasks.join_next() => {
                    log_panic(ended);
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((link, peer)) => {
                    backoff.succeeded();
                    admit(
                        &mut tasks, &permits, &shared, transport, link, peer, &shutdown,
                    );
                }
                Err(error) => match backoff.failed(&error) {
                    Advice::Again => tracing::debug!(%address, %error, "connection lost early"),
                    Advice::Pause(pause) => {
                        tracing::warn!(%address, %error, ?pause, "cannot accept connections");
                        tokio::select! {
                            () = shutdown.draining() => {}
                            () = tokio::time::sleep(pause) => {}
                        }
                    }
                },
            }
        }
        drop(listener);
        wind_up(tasks, &shutdown, shared.config.drain_timeout).await;
    }
}

impl Shared {
    fn new(config: Arc<ServerConfig>, handler: Arc<dyn Handler>, counters: Arc<Counters>) -> Self {
        let session = Arc::new(config.session.clone());
        Self {
            config,
            session,
            handler,
            counters,
        }
    }
}

impl<L> std::fmt::Debug for DatagramServer<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            address, transport, ..
        } = self;
        f.debug_struct("DatagramServer")
            .field("address", address)
            .field("transport", transport)
            .finish_non_exhaustive()
    }
}

impl<L> std::fmt::Debug for StreamServer<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            address, transport, ..
        } = self;
        f.debug_struct("StreamServer")
            .field("address", address)
            .field("transport", transport)
            .finish_non_exhaustive()
    }
}

fn admit<S: StreamLink>(
    tasks: &mut JoinSet<()>,
    permits: &Arc<Semaphore>,
    shared: &Shared,
    transport: Transport,
    link: S,
    peer: SocketAddr,
    shutdown: &Shutdown,
) {
    let Ok(permit) = Arc::clone(permits).try_acquire_owned() else {
        shared.counters.connections_refused.add(1);
        let limit = shared.config.connections_max;
        tracing::warn!(%peer, limit, "connection refused: too many are open");
        if tasks.len() < limit.saturating_add(REFUSALS_MAX) {
            tasks.spawn(refuse(link, limit));
        }
        return;
    };
    let opened = Opened::new(permit, Arc::clone(&shared.counters));
    let connection = connection::serve(link, peer, transport, shared.clone(), shutdown.child());
    tasks.spawn(async move {
        connection.await;
        drop(opened);
    });
}

/// Counts an open connection, however its task ends.
struct Opened {
    counters: Arc<Counters>,
    _permit: OwnedSemaphorePermit,
}

impl Opened {
    fn new(permit: OwnedSemaphorePermit, counters: Arc<Counters>) -> Self {
        counters.connections_opened.add(1);
        Self {
            counters,
            _permit: permit,
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.counters.connections_closed.add(1);
    }
}

/// Says why and closes.
async fn refuse<S: StreamLink>(mut link: S, limit: usize) {
    let mut headers = Headers::new();
    let reason = format!("{limit} connections are open, which is the limit");
    let mut octets = BytesMut::new();
    let complete = headers.push("code", "too-many-connections").is_ok()
        && headers.push("reason", reason).is_ok()
        && Frame {
            headers,
            ..Frame::new(FrameType::Err)
        }
        .encode(&mut octets)
        .is_ok();
    debug_assert!(complete, "two short headers fit in a frame");
    let farewell = async {
        link.write_all(&octets).await?;
        link.shutdown().await
    };
    // Whether the peer reads it is its own affair.
    let _ = tokio::time::timeout(REFUSAL, farewell).await;
}

/// Awaits what drains; cuts what is left when the time is over or the end has come.
async fn wind_up(mut tasks: JoinSet<()>, shutdown: &Shutdown, drain_timeout: Duration) {
    let drained = async {
        while let Some(ended) = tasks.join_next().await {
            log_panic(ended);
        }
    };
    tokio::select! {
        biased;
        () = shutdown.ended() => {}
        () = drained => {}
        () = tokio::time::sleep(drain_timeout) => {}
    }
    if !tasks.is_empty() {
        let connections = tasks.len();
        tracing::warn!(
            connections,
            "connections cut because draining took too long"
        );
    }
    tasks.shutdown().await;
}

fn log_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked");
    }
}
