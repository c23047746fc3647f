//! One datagram socket and all its peers: requests become calls, outcomes become replies.

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
    Call, Error, Origin, Peer, Transport,
    event::Delivery as Pushed,
    vsp::{Inbound, Reader, ReplyToken, event_frame},
    wire::{
        CloseReason, Delivery, Endpoint, EndpointConfig, Frame, Role, SessionId,
        endpoint::{Event, SendError},
        session,
    },
};
use tokio::task::{AbortHandle, Id};

use super::{
    Server, Settings, Shared,
    answer::{answer, busy, collecting, too_long, unsent, unvalidated},
    frames::{self, Seen},
    pushes::{self, Pushes, has_room},
};
use crate::{
    calls::{Begun, Calls, Outcome},
    driver::{self, Socket},
    link::{Datagram, DatagramLink},
    shutdown::Shutdown,
};

/// Rounds of receive, answer, send before other tasks of the thread have their turn.
const ROUNDS_MAX: usize = 8;
/// Calls of all peers together, as a multiple of what one peer may have.
const CALLS_FACTOR: usize = 16;

/// Serves all peers of one socket until `shutdown`.
pub(super) async fn serve<L: DatagramLink>(server: Server<L>, shutdown: Shutdown) {
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
    fn new(server: Server<L>) -> Self {
        let Server {
            link,
            transport,
            mut settings,
            ..
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
            transport,
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
                Event::Established(dialect) => {
                    tracing::debug!(%address, ?dialect, "session established");
                    self.begin_gathered(cx, now);
                    self.on_established(address);
                }
                Event::Message(frame) => self.on_message(cx, now, address, frame),
                Event::Closed(reason) => {
                    self.begin_gathered(cx, now);
                    self.on_closed(address, &reason);
                }
                Event::Undelivered(_, reason) => {
                    tracing::debug!(%address, %reason, "reply not delivered");
                }
                Event::Validated => self.on_validated(address),
                Event::PeerDraining => self.on_peer_draining(address),
                Event::Delivered(_) | Event::Pong(_) => {}
            }
        }
    }

    /// The next event. Calls that arrived together begin together, of whichever peers they are:
    /// when no more of them are at hand, or as many as make a batch.
    fn poll_event(&mut self, cx: &mut Context<'_>, now: Instant) -> Option<(SocketAddr, Event)> {
        if !self.calls.is_batch_full() {
            let event = self.socket.endpoint.poll_event();
            if event.is_some() || self.calls.n_gathered() == 0 {
                return event;
            }
        }
        self.begin_gathered(cx, now);
        self.socket.endpoint.poll_event()
    }

    fn on_established(&mut self, address: SocketAddr) {
        let id = self.socket.endpoint.session_id(address);
        let served = ServedPeer {
            reader: self.reader(address),
            session: id,
            is_ending: false,
            tasks: HashMap::new(),
        };
        match self.peers.get_mut(&address) {
            // A peer that says HELLO after it has begun in the base dialect keeps its calls.
            Some(known) => {
                let before = std::mem::replace(&mut known.session, id);
                known.reader = served.reader;
                if before != id {
                    self.pushes.forget(&(address, before));
                }
            }
            None => {
                self.peers.insert(address, served);
                self.shared.counters.connections_opened.add(1);
            }
        }
    }

    /// What it says from here on may be answered with events.
    fn on_validated(&mut self, address: SocketAddr) {
        let reader = self.reader(address);
        if let Some(peer) = self.peers.get_mut(&address) {
            peer.reader = reader;
        }
    }

    fn reader(&self, address: SocketAddr) -> Reader {
        let endpoint = &self.socket.endpoint;
        let id = endpoint.session_id(address);
        let outbox = if endpoint.is_validated(address) {
            self.pushes.outbox((address, id))
        } else {
            pushes::unvalidated()
        };
        let peer = Peer::new(self.transport, Origin::Ip(address))
            .with_session(id.map_or_else(String::new, |id| id.to_string()));
        let default_service = self.shared.config.default_service.clone();
        Reader::new(Arc::new(peer), default_service)
            .with_outbox(outbox)
            .on_datagrams()
    }

    fn on_closed(&mut self, address: SocketAddr, reason: &CloseReason) {
        let Some(peer) = self.peers.remove(&address) else {
            return;
        };
        self.pushes.forget(&(address, peer.session));
        self.shared.counters.connections_closed.add(1);
        if matches!(reason, CloseReason::SlowReader { .. }) {
            self.shared.counters.slow_readers.add(1);
            tracing::warn!(%address, %reason, "session closed");
        } else {
            tracing::debug!(%address, %reason, "session closed");
        }
        for task in peer.tasks.into_values() {
            task.abort();
        }
    }

    fn on_message(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        address: SocketAddr,
        frame: Frame,
    ) {
        let seen = frames::inbound(&self.shared.config.frames, frame);
        let Some(peer) = self.peers.get_mut(&address) else {
            return;
        };
        let frame = match seen {
            Seen::Pass(frame) => frame,
            Seen::Dropped => return,
            Seen::Refused(frame, error) => {
                // Whatever else than a request it refuses is forgotten.
                if let Inbound::Request { token, .. } = peer.reader.read(now, frame) {
                    self.send_or_log(now, address, token.error_frame(&error));
                }
                return;
            }
        };
        match peer.reader.read(now, frame) {
            Inbound::Request { call, token } => {
                if let Some(limit) = self.limit_reached(cx, now, address) {
                    let frame = token.error_frame(&busy(limit));
                    self.send_or_log(now, address, frame);
                    return;
                }
                self.gather(address, call, Some(token));
            }
            Inbound::Event(call) => match self.limit_reached(cx, now, address) {
                Some(limit) => {
                    let error = busy(limit);
                    tracing::debug!(%address, %error, "event not handed on");
                }
                None => self.gather(address, call, None),
            },
            Inbound::Unfit { error } => {
                tracing::debug!(%address, %error, "event not handed on");
            }
            Inbound::Refused { frame, error } => {
                tracing::debug!(%address, %error, "request refused");
                self.send_or_log(now, address, frame);
            }
            Inbound::Response(response) => {
                tracing::debug!(correlation = ?response.correlation, "response to no call");
            }
            Inbound::Probe => {}
        }
    }

    /// The limit of calls, when this peer or all together are at it.
    fn limit_reached(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        address: SocketAddr,
    ) -> Option<usize> {
        if self.limit(address).is_some() && self.calls.n_gathered() > 0 {
            // Most of what is gathered is answered as soon as it is begun.
            self.begin_gathered(cx, now);
        }
        self.limit(address)
    }

    /// The limit of calls, when this peer or all together would be at it if all that is gathered
    /// were in flight.
    fn limit(&self, address: SocketAddr) -> Option<usize> {
        let limit = self.shared.config.calls_in_flight_max;
        let limit_all = limit.saturating_mul(CALLS_FACTOR);
        let n_gathered = self.calls.n_gathered();
        let of_peer = self.peers.get(&address).map_or(0, |peer| peer.tasks.len());
        let is_full = of_peer + n_gathered >= limit || self.calls.len() + n_gathered >= limit_all;
        is_full.then_some(limit)
    }

    fn gather(&mut self, address: SocketAddr, call: Call, token: Option<ReplyToken>) {
        if !self.socket.endpoint.begin(address) {
            tracing::debug!(%address, "request after the session began to close");
            return;
        }
        let session = self.socket.endpoint.session_id(address);
        let to = ReplyTo {
            address,
            session,
            token,
        };
        self.calls.gather(to, call);
    }

    fn begin_gathered(&mut self, cx: &mut Context<'_>, now: Instant) {
        while let Some(ReplyTo { address, .. }) = self.calls.next_key() {
            let address = *address;
            match self.calls.begin_next(cx) {
                Some(Begun::Done(to, outcome)) => self.finish(now, &to, outcome),
                Some(Begun::Task(task)) => {
                    if let Some(peer) = self.peers.get_mut(&address) {
                        peer.tasks.insert(task.id(), task);
                    }
                }
                None => return,
            }
        }
    }

    fn finish(&mut self, now: Instant, to: &ReplyTo, outcome: Outcome) {
        let ReplyTo {
            address,
            session,
            token,
        } = to;
        if self.socket.endpoint.session_id(*address) != *session {
            return;
        }
        match token {
            Some(token) => self.answer(now, *address, token, outcome),
            None => {
                if let Err(error) = outcome {
                    tracing::debug!(%address, %error, "event not published");
                }
            }
        }
        self.socket.endpoint.finish(*address);
    }

    fn answer(&mut self, now: Instant, address: SocketAddr, token: &ReplyToken, outcome: Outcome) {
        let reply = answer(token, outcome);
        let frame = match frames::outbound(&self.shared.config.frames, reply) {
            Ok(Some(frame)) => frame,
            Ok(None) => return,
            Err(error) => token.error_frame(&error),
        };
        let endpoint = &mut self.socket.endpoint;
        match endpoint.send(now, address, frame, Delivery::Reply) {
            Ok(_) => {}
            Err(SendError::Split(error)) => {
                let frame = token.error_frame(&too_long(&error));
                self.send_or_log(now, address, frame);
            }
            Err(SendError::Session(error @ session::SendError::TooLong { .. })) => {
                let frame = token.error_frame(&too_long(&error));
                self.send_or_log(now, address, frame);
            }
            Err(error @ SendError::Unvalidated { .. }) => {
                tracing::debug!(%address, %error, "reply not sent");
                self.send_or_log(now, address, token.error_frame(&unvalidated()));
            }
            Err(error) => tracing::debug!(%address, %error, "reply not sent"),
        }
    }

    fn on_peer_draining(&mut self, address: SocketAddr) {
        if let Some(peer) = self.peers.get_mut(&address) {
            peer.is_ending = true;
            self.pushes.forget(&(address, peer.session));
        }
    }

    /// Sends events that peers have subscribed to, as far as there is room for each.
    fn poll_pushes(&mut self, cx: &mut Context<'_>, now: Instant) {
        loop {
            let (endpoint, peers) = (&self.socket.endpoint, &self.peers);
            let (limits, is_draining) = (&self.shared.config.session.limits, self.is_draining);
            let is_open = |(address, session): &SessionKey| {
                let peer = peers.get(address);
                !is_draining && peer.is_some_and(|peer| peer.session == *session && !peer.is_ending)
            };
            let has_room = |(address, _): &SessionKey, bytes| {
                has_room(endpoint.queued(*address), bytes, limits)
            };
            let polled = self.pushes.poll_delivery(cx, is_open, has_room);
            let Poll::Ready((key, pushed)) = polled else {
                return;
            };
            if let Err(error) = self.push(now, key.0, &pushed) {
                tracing::debug!(address = %key.0, %error, "event not sent");
                self.pushes.on_unsent(&key, &pushed);
            }
        }
    }

    /// Acknowledged where the peer acknowledges what it is sent, as replies are.
    fn push(&mut self, now: Instant, address: SocketAddr, pushed: &Pushed) -> Result<(), Error> {
        let frame = event_frame(pushed).map_err(|error| unsent(&error))?;
        let endpoint = &mut self.socket.endpoint;
        let sent = endpoint.send(now, address, frame, Delivery::Reply);
        sent.map(drop).map_err(|error| unsent(&error))
    }

    fn retry_pushes(&mut self) -> bool {
        let (endpoint, limits) = (&self.socket.endpoint, &self.shared.config.session.limits);
        self.pushes
            .retry(|(address, _), bytes| has_room(endpoint.queued(*address), bytes, limits))
    }

    fn send_or_log(&mut self, now: Instant, address: SocketAddr, frame: Frame) {
        if let Err(error) = self
            .socket
            .endpoint
            .send(now, address, frame, Delivery::Reply)
        {
            tracing::debug!(%address, %error, "reply not sent");
        }
    }
}

fn endpoint_config(shared: &Shared) -> EndpointConfig {
    EndpointConfig {
        retry: shared.config.retry.clone(),
        peers_max: shared.config.connections_max,
        ..EndpointConfig::new(shared.config.session.clone())
    }
}
