//! VSTP on stream links: what the acceptor serves.

use std::{io, net::SocketAddr, sync::Arc};

use bytes::BytesMut;
use postern_core::{
    Headers, Origin, Peer, Transport,
    wire::{Frame, FrameType},
};
use tokio::{io::AsyncWriteExt, net::TcpListener};

use super::{
    config::ServerConfig,
    connection,
    served::{ServedLink, Server},
    settings::Settings,
};
use crate::{
    acceptor::{
        AcceptLimits, ConnectionFacts, Serve, proxy_protocol::ProxyTrust, streams::run_streams,
    },
    counters::Counters,
    link::{Listener, StreamLink},
    memory::MemoryListener,
    shutdown::Shutdown,
    unix::{UnixAddress, UnixSocketListener},
};

impl ServedLink for TcpListener {
    const TRANSPORT: Transport = Transport::Tcp;

    type Address = SocketAddr;

    fn served_at(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    async fn serve(server: Server<Self>, shutdown: Shutdown) {
        serve(server, shutdown).await;
    }
}

impl ServedLink for UnixSocketListener {
    const TRANSPORT: Transport = Transport::Unix;

    type Address = UnixAddress;

    fn served_at(&self) -> io::Result<UnixAddress> {
        Ok(self.address().clone())
    }

    async fn serve(server: Server<Self>, shutdown: Shutdown) {
        serve(server, shutdown).await;
    }
}

impl ServedLink for MemoryListener {
    const TRANSPORT: Transport = Transport::Memory;

    type Address = SocketAddr;

    fn served_at(&self) -> io::Result<SocketAddr> {
        Ok(self.local_addr())
    }

    async fn serve(server: Server<Self>, shutdown: Shutdown) {
        serve(server, shutdown).await;
    }
}

/// Serves until `shutdown`; every connection is closed when this returns.
pub(super) async fn serve<L>(server: Server<L>, shutdown: Shutdown)
where
    L: Listener<Link: StreamLink> + ServedLink,
{
    let Server {
        link,
        settings,
        tls,
        ..
    } = server;
    let counters = Arc::clone(&settings.current().counters);
    let trust = SessionTrust(settings.clone());
    let sessions = Arc::new(Sessions {
        transport: tls.as_ref().map_or(L::TRANSPORT, |_| Transport::Tls),
        settings,
        counters,
    });
    run_streams(link, (tls, trust), sessions, shutdown).await;
}

/// Whose connections begin with a header of the PROXY protocol.
struct SessionTrust(Settings);

impl ProxyTrust for SessionTrust {
    fn expects_header(&self, origin: &Origin) -> bool {
        let proxies = &self.0.current().config.proxies;
        proxies
            .as_ref()
            .is_some_and(|proxies| proxies.contain(origin))
    }
}

impl From<&ServerConfig> for AcceptLimits {
    fn from(config: &ServerConfig) -> Self {
        Self {
            connections_max: config.connections_max,
            handshakes_max: config.handshakes_max,
            handshake_timeout: config.handshake_timeout,
            drain_timeout: config.drain_timeout,
        }
    }
}

/// The sessions of one server.
struct Sessions {
    transport: Transport,
    settings: Settings,
    counters: Arc<Counters>,
}

impl<A: StreamLink, S: StreamLink> Serve<A, S> for Sessions {
    fn limits(&self) -> AcceptLimits {
        AcceptLimits::from(&*self.settings.current().config)
    }

    fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    async fn turn_away(&self, mut accepted: A, limit: usize) {
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
        if accepted.write_all(&octets).await.is_ok() {
            // A peer that is gone misses nothing.
            let _ = accepted.shutdown().await;
        }
    }

    async fn serve(self: Arc<Self>, stream: S, facts: ConnectionFacts, shutdown: Shutdown) {
        let peer = Peer {
            tls: facts.tls,
            ..Peer::new(self.transport, facts.origin)
        };
        serve_session(stream, peer, self.settings.clone(), shutdown).await;
    }
}

/// Serves the session of one stream until it is closed.
pub(crate) async fn serve_session<S: StreamLink>(
    stream: S,
    peer: Peer,
    mut settings: Settings,
    shutdown: Shutdown,
) {
    // As if asked for the first time: later changes are changes to this.
    let shared = settings.begin();
    connection::serve(stream, None, peer, shared, settings, shutdown).await;
}
