//! One datagram socket and all its peers: requests become calls, outcomes become replies.

mod peers;
mod replies;
mod requests;

use std::{
    collections::HashMap,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use postern_core::{
    Transport,
    vsp::{Reader, ReplyToken},
    wire::{CloseReason, Endpoint, EndpointConfig, Role, SessionId, endpoint::PeerEvent},
};
use tokio::task::{AbortHandle, Id};

use super::{
    answer::collecting,
    pushes::Pushes,
    served::{ServedLink, Server},
    settings::{Settings, Shared},
};
use crate::{
    ConnectionBytes,
    calls::Calls,
    driver::{self, Socket},
    link::{Datagram, DatagramLink},
    memory::MemorySocket,
    shutdown::Shutdown,
    udp::UdpLink,
};

/// Rounds of receive, answer, send before other tasks of the thread have their turn.
const ROUNDS_MAX: usize = 8;
/// Calls of all peers together, as a multiple of what one peer may have.
const CALLS_FACTOR: usize = 16;

impl ServedLink for UdpLink {
    const TRANSPORT: Transport = Transport::Udp;

    type Address = SocketAddr;

    fn served_at(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    async fn serve(server: Server<Self>, shutdown: Shutdown) {
        serve(server, shutdown).await;
    }
}

impl ServedLink for MemorySocket {
    const TRANSPORT: Transport = Transport::Memory;

    type Address = SocketAddr;

    fn served_at(&self) -> io::Result<SocketAddr> {
        Ok(self.address())
    }

    async fn serve(server: Server<Self>, shutdown: Shutdown) {
        serve(server, shutdown).await;
    }
}

/// Serves all peers of one socket until `shutdown`.
pub(super) async fn serve<L: DatagramLink + ServedLink>(server: Server<L>, shutdown: Shutdown) {
    let settings = server.settings.clone();
    let mut served = ServedSocket::new(server);
    let mut draining = pin!(shutdown.draining());
    let overtime = async {
        shutdown.draining().await;
        let drain_timeout = settings.current().config.drain_timeout;
        tokio::time::sleep(drain_timeout).await;
    };
    tokio::select! {
        biased;
        () = shutdown.ended() => {}
        ended = poll_fn(|cx| served.poll(cx, draining.as_mut())) => {
            if let Err(error) = ended {
                tracing::error!(%error, "datagram socket lost");
            }
        }
        () = overtime => {
            tracing::warn!("peers are cut: draining took longer than drain-timeout");
        }
    }
    served
        .shared
        .counters
        .connections_closed
        .add(served.peers.len() as u64);
}

struct ServedSocket<L> {
    socket: Socket<L>,
    calls: Calls<ReplyTo>,
    peers: HashMap<SocketAddr, ServedPeer>,
    pushes: Pushes<SessionKey>,
    transport: Transport,
    shared: Shared,
    settings: Settings,
    is_draining: bool,
}

/// A session; the address alone may be another's by the time that something arrives for it.
type SessionKey = (SocketAddr, Option<SessionId>);

/// A peer with an open session.
struct ServedPeer {
    reader: Reader,
    /// What it makes the gateway hold: requests until nobody has them any more, and what it is sent
    /// until it is acknowledged, given up or, where nobody acknowledges, sent.
    bytes: ConnectionBytes,
    session: Option<SessionId>,
    /// It has said that it begins nothing more.
    is_ending: bool,
    /// Calls that have become tasks; cancelled when the session ends.
    tasks: HashMap<Id, AbortHandle>,
}

/// Where a reply goes. The session is named, too, because another may have taken the address.
#[derive(Debug)]
struct ReplyTo {
    address: SocketAddr,
    session: Option<SessionId>,
    /// None for an event.
    token: Option<ReplyToken>,
}

impl<L: DatagramLink> ServedSocket<L> {
    fn new(server: Server<L>) -> Self
    where
        L: ServedLink,
    {
        let Server {
            link, mut settings, ..
        } = server;
        let shared = settings.begin();
        let endpoint = Endpoint::new(
            endpoint_config(&shared),
            Role::Server,
            driver::random_session_id,
        );
        Self {
            socket: Socket::new(link, endpoint, Arc::clone(&shared.counters)),
            calls: Calls::new(collecting(&shared)),
            peers: HashMap::new(),
            pushes: Pushes::new(),
            transport: L::TRANSPORT,
            shared,
            settings,
            is_draining: false,
        }
    }

    /// Ready when all peers are gone while draining, or the socket is.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut draining: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<io::Result<()>> {
        if let Some(shared) = self.settings.take_change() {
            self.socket.endpoint.reconfigure(endpoint_config(&shared));
            self.shared = shared;
        }
        for _ in 0..ROUNDS_MAX {
            let now = driver::now();
            let mut is_busy = false;
            if !self.is_draining && draining.as_mut().poll(cx).is_ready() {
                self.is_draining = true;
                self.pushes.clear();
                self.socket.endpoint.drain(now, &CloseReason::Shutdown);
            }
            is_busy |= self.socket.poll_timer(cx).is_ready();
            while let Poll::Ready((id, to, outcome)) = self.calls.poll_finished(cx) {
                if let Some(peer) = self.peers.get_mut(&to.address) {
                    peer.tasks.remove(&id);
                }
                self.finish(now, &to, outcome);
            }
            let (is_draining, peers) = (self.is_draining, &self.peers);
            let admit = |datagram: &Datagram| !is_draining || peers.contains_key(&datagram.peer);
            if let Poll::Ready(read) = self.socket.poll_read(cx, now, admit) {
                read?;
                is_busy = true;
            }
            self.handle_events(cx, now);
            self.poll_pushes(cx, now);
            let written = self.socket.poll_write(cx);
            self.handle_events(cx, now);
            if let Poll::Ready(written) = written {
                written?;
                if self.is_draining && self.peers.is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
            is_busy |= self.socket.poll_written(cx).is_ready();
            is_busy |= self.retry_pushes();
            if !is_busy && !self.calls.is_unwatched() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn handle_events(&mut self, cx: &mut Context<'_>, now: Instant) {
        while let Some((address, event)) = self.poll_event(cx, now) {
            match event {
                PeerEvent::Established(dialect) => {
                    tracing::debug!(%address, ?dialect, "session established");
                    self.begin_gathered(cx, now);
                    self.on_established(address);
                }
                PeerEvent::Message(frame) => self.on_message(cx, now, address, frame),
                PeerEvent::Closed(reason) => {
                    self.begin_gathered(cx, now);
                    self.on_closed(address, &reason);
                }
                PeerEvent::Undelivered(_, reason) => {
                    tracing::debug!(%address, %reason, "reply not delivered");
                }
                PeerEvent::Validated => self.on_validated(address),
                PeerEvent::PeerDraining => self.on_peer_draining(address),
                PeerEvent::Delivered(_) | PeerEvent::Pong(_) => {}
            }
        }
    }

    /// The next event. Calls that arrived together begin together, of whichever peers they are:
    /// when no more of them are at hand, or as many as make a batch.
    fn poll_event(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Option<(SocketAddr, PeerEvent)> {
        if !self.calls.is_batch_full() {
            let event = self.socket.endpoint.poll_event();
            if event.is_some() || self.calls.n_gathered() == 0 {
                return event;
            }
        }
        self.begin_gathered(cx, now);
        self.socket.endpoint.poll_event()
    }
}

fn endpoint_config(shared: &Shared) -> EndpointConfig {
    EndpointConfig {
        retry: shared.config.retry.clone(),
        peers_max: shared.config.connections_max,
        ..EndpointConfig::new(shared.config.session.clone())
    }
}
