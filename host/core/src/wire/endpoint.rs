//! All peers of one datagram socket: sessions, fragments, acknowledgements. Pure: datagrams, time and
//! random numbers are passed in. Formats: wire/mod.rs, tables "Fragment headers" and "header keys".
//!
//! # Run loop
//!
//! One `handle_*`, `send`, `connect` or `close`; then `poll_event` until `None` (with `begin` at once
//! for every call that an event starts); then `poll_transmit` until `None` or until the socket takes
//! no more. Sleep until `poll_timeout` or the next datagram.
//!
//! # What a datagram goes through
//!
//! ```text
//! decode ─▶ peer ─▶ ACK? ─▶ outgoing
//!                    │ no
//!                    ▼
//!                fragment? ─▶ reassembly ─▶ (report of what is missing)
//!                    │ no          │ whole
//!                    ▼             ▼
//!                REQ_ACK? ─▶ acknowledge ─▶ seen before? ─▶ dropped
//!                    │ no                        │ no
//!                    ▼                           ▼
//!                         session ─▶ event
//! ```
//!
//! A datagram that does not decode is counted and not answered. Peers come and go by themselves;
//! `EndpointConfig::peers_max` bounds them, and forgetting one forgets all that was kept for it.
//! What an address may be sent before it is known to be no forgery is in validation.rs.

mod event;
mod peer;
mod peer_table;
mod proof;
mod receive;
mod report;
mod validation;

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use bytes::{Bytes, BytesMut};

pub use self::event::{
    DeliveryMode, EndpointConfig, EndpointStats, PeerEvent, SendId, SendRefusal, Transmit,
    Undelivered,
};
use self::{
    peer::{Peer, Written},
    peer_table::PeerTable,
};
use super::{
    frame::{Frame, FrameError},
    reassembly::Reassembly,
    reliable::RANGES_MAX,
    session::{CloseReason, Dialect, Role, SessionId},
};

/// The machine of one socket. See the module.
pub struct Endpoint {
    config: EndpointConfig,
    role: Role,
    /// Draws a random session id.
    draw: Box<dyn FnMut() -> SessionId + Send>,
    peers: PeerTable,
    reassembly: Reassembly,
    /// Peers that may have something to transmit, served in turn.
    ready: VecDeque<SocketAddr>,
    /// Peers whose sessions may have events.
    eventful: VecDeque<SocketAddr>,
    events: VecDeque<(SocketAddr, PeerEvent)>,
    /// The latest time passed in.
    now: Option<Instant>,
    next_send_id: u64,
    scratch: BytesMut,
    stats: EndpointStats,
}

impl Endpoint {
    /// A server takes datagrams from anyone, a client from those it has connected to. `draw` gives
    /// random session ids.
    #[must_use]
    pub fn new(
        config: EndpointConfig,
        role: Role,
        draw: impl FnMut() -> SessionId + Send + 'static,
    ) -> Self {
        Self {
            peers: PeerTable::new(config.peers_max),
            reassembly: Reassembly::new(config.session.limits.clone()),
            config,
            role,
            draw: Box::new(draw),
            ready: VecDeque::new(),
            eventful: VecDeque::new(),
            events: VecDeque::new(),
            now: None,
            next_send_id: 1,
            scratch: BytesMut::new(),
            stats: EndpointStats::default(),
        }
    }

    /// Puts another configuration in force: for sessions that begin from here on, and for what all
    /// peers share. Sessions that are open keep what their peers were told.
    pub fn reconfigure(&mut self, config: EndpointConfig) {
        self.peers.set_peers_max(config.peers_max);
        self.reassembly.set_limits(config.session.limits.clone());
        self.config = config;
    }

    /// Takes a datagram of up to 65,535 octets. `local` is the address of this end that it was sent
    /// to, where that is known: its answer leaves from there.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        local: Option<IpAddr>,
        datagram: Bytes,
    ) {
        self.now = Some(now);
        self.stats.datagrams_received += 1;
        let octets = datagram.len();
        match Frame::decode_datagram(datagram, self.config.session.limits.frame_bytes_max) {
            Ok(frame) => {
                if self.admit(now, from, &frame) {
                    self.handle_frame(now, (from, local), octets, frame);
                    self.touch(from);
                }
            }
            Err(FrameError::Crc { .. }) => self.stats.crc_errors += 1,
            Err(_) => self.stats.malformed += 1,
        }
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        let now = self.now?;
        while let Some(to) = self.ready.pop_front() {
            let Some(peer) = self.peers.find(to) else {
                continue;
            };
            self.scratch.reserve(self.config.datagram_bytes_max);
            match peer.poll_transmit(now, &mut self.scratch, self.config.datagram_bytes_max) {
                Written::Nothing => {
                    peer.is_ready = false;
                    self.stats.retransmits += peer.outgoing.take_retransmits();
                    self.settle(now, to);
                    self.scratch.clear();
                    continue;
                }
                Written::TooMuch => {
                    self.stats.amplification_limited += 1;
                    self.scratch.clear();
                    self.ready.push_back(to);
                    continue;
                }
                Written::Ack => self.stats.acks_sent += 1,
                Written::Frame => {}
            }
            let local = peer.local;
            self.ready.push_back(to);
            self.stats.datagrams_sent += 1;
            let octets = self.scratch.split().freeze();
            return Some(Transmit { to, local, octets });
        }
        None
    }

    /// What happened, and to which peer.
    pub fn poll_event(&mut self) -> Option<(SocketAddr, PeerEvent)> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let address = *self.eventful.front()?;
            let Some(peer) = self.peers.find(address) else {
                self.eventful.pop_front();
                continue;
            };
            if peer.must_echo() && !peer.session.is_closed() {
                // Nobody is told of a session before its client has shown that it is there.
                peer.is_eventful = false;
                self.eventful.pop_front();
                continue;
            }
            let Some(event) = peer.session.poll_event() else {
                peer.is_eventful = false;
                self.eventful.pop_front();
                if let Some(now) = self.now {
                    self.settle(now, address);
                }
                continue;
            };
            let established = match peer.translate(event) {
                Some(PeerEvent::Established(dialect)) => dialect,
                Some(event) => return Some((address, event)),
                None => continue,
            };
            self.on_established(address, &established);
            return Some((address, PeerEvent::Established(established)));
        }
    }

    /// When `handle_timeout` is due next, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let reassembly = self.reassembly.poll_timeout().map(|at| (at, "reassembly"));
        [reassembly, self.peers.poll_timeout()]
            .into_iter()
            .flatten()
            .min_by_key(|(at, _)| *at)
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = Some(now);
        self.reassembly.handle_timeout(now);
        for address in self.peers.take_due(now) {
            let Some(peer) = self.peers.find(address) else {
                continue;
            };
            if peer.lingers_until.is_some_and(|until| until <= now) {
                self.forget(address);
                continue;
            }
            peer.session.handle_timeout(now);
            let may_repeat = peer.validation.is_validated();
            peer.outgoing.handle_timeout(now, may_repeat);
            if peer.role == Role::Client && peer.outgoing.take_silence() {
                // The server may have been restarted and know nothing of the session.
                peer.session.greet_again(now);
            }
            for fragment_id in peer.due_reports(now) {
                let progress = self.reassembly.progress(address, fragment_id, RANGES_MAX);
                peer.report(fragment_id, progress);
            }
            self.touch(address);
        }
    }

    /// Begins a session with `to` as a client: HELLO is said until WELCOME comes or
    /// `SessionConfig::hello_timeout` is over, which means the base dialect. `Established` follows.
    /// A session that is there is left alone; one that is over is replaced.
    ///
    /// # Errors
    /// `TooManyPeers`.
    pub fn connect(&mut self, now: Instant, to: SocketAddr) -> Result<(), SendRefusal> {
        self.now = Some(now);
        match self.peers.find(to) {
            Some(peer) if !peer.session.is_closed() => return Ok(()),
            Some(_) => self.replace(to, CloseReason::LinkEnded),
            None => {}
        }
        self.open(now, to, Role::Client)
    }

    /// Sends `frame`. Before the dialect is settled it is held back.
    ///
    /// # Errors
    /// `Split` when it cannot be put into datagrams, `UnknownPeer` for an address without a session,
    /// `Session` when the session is closed or too much is queued.
    pub fn send(
        &mut self,
        now: Instant,
        to: SocketAddr,
        frame: Frame,
        delivery: DeliveryMode,
    ) -> Result<SendId, SendRefusal> {
        self.now = Some(now);
        let id = SendId(self.next_send_id);
        let Some(peer) = self.peers.find(to) else {
            return Err(SendRefusal::UnknownPeer);
        };
        self.next_send_id += 1;
        let result = peer.send(now, id, frame, delivery, &self.config);
        if matches!(result, Err(SendRefusal::Unvalidated { .. })) {
            self.stats.amplification_limited += 1;
        }
        self.touch(to);
        result.map(|()| id)
    }

    /// Ends the session with `peer` when what is in flight is done. `Closed` follows.
    pub fn close(&mut self, now: Instant, peer: SocketAddr, reason: CloseReason) {
        self.now = Some(now);
        if let Some(found) = self.peers.find(peer) {
            found.close(now, reason);
            self.touch(peer);
        }
    }

    /// Ends all sessions as `close` does.
    pub fn drain(&mut self, now: Instant, reason: &CloseReason) {
        for address in self.peers.addresses() {
            self.close(now, address, reason.clone());
        }
    }

    /// See `Session::begin`; false also for a peer that is not known.
    #[must_use]
    pub fn begin(&mut self, peer: SocketAddr) -> bool {
        self.peers
            .find(peer)
            .is_some_and(|peer| peer.session.begin())
    }

    /// See `Session::finish`.
    pub fn finish(&mut self, peer: SocketAddr) {
        if let Some(found) = self.peers.find(peer) {
            found.session.finish();
            self.touch(peer);
        }
    }

    /// The id of the session with `peer`.
    #[must_use]
    pub fn session_id(&self, peer: SocketAddr) -> Option<SessionId> {
        self.peers.peek(peer).map(|peer| peer.session.id())
    }

    /// How `peer` speaks; `None` until that is settled.
    #[must_use]
    pub fn dialect(&self, peer: SocketAddr) -> Option<&Dialect> {
        self.peers.peek(peer)?.session.dialect()
    }

    /// Frames and octets that wait for `peer`, beside those on their way; nothing for an unknown one.
    #[must_use]
    pub fn queued(&self, peer: SocketAddr) -> (usize, usize) {
        self.peers
            .peek(peer)
            .map_or((0, 0), |peer| peer.session.queued())
    }

    /// Peers with which a session is open.
    #[must_use]
    pub fn n_open(&self) -> usize {
        self.peers.n_open()
    }

    #[must_use]
    pub fn stats(&self) -> EndpointStats {
        let reassembly = self.reassembly.stats();
        EndpointStats {
            peers: self.peers.len(),
            peers_unvalidated: self.peers.n_unvalidated(),
            peers_evicted: self.peers.evicted(),
            duplicates: self.stats.duplicates + reassembly.duplicates,
            reassembly_open: reassembly.open,
            reassembly_bytes: reassembly.bytes,
            reassembly_expired: reassembly.expired,
            reassembly_evicted: reassembly.evicted,
            reassembly_refused: reassembly.refused,
            ..self.stats
        }
    }

    fn on_established(&mut self, address: SocketAddr, dialect: &Dialect) {
        let Some(now) = self.now else { return };
        let Some(peer) = self.peers.find(address) else {
            return;
        };
        peer.is_announced = true;
        let is_new = peer.on_established(dialect);
        if peer.role == Role::Client && is_new {
            peer.echo_session();
        }
        for (id, reason) in peer.release_held(now, &self.config) {
            self.stats.undelivered += 1;
            self.events
                .push_back((address, PeerEvent::Undelivered(id, reason)));
        }
        self.peers.on_established(address);
        self.touch(address);
    }

    /// Something may have changed for this peer.
    fn touch(&mut self, address: SocketAddr) {
        let Some(peer) = self.peers.find(address) else {
            return;
        };
        while let Some(sent) = peer.outgoing.poll_result() {
            if sent.id == SendId::ECHO {
                if std::mem::take(&mut peer.is_resumed) {
                    peer.outgoing.restart();
                }
                continue;
            }
            let event = match sent.result {
                Ok(()) => PeerEvent::Delivered(sent.id),
                Err(reason) => {
                    self.stats.undelivered += 1;
                    PeerEvent::Undelivered(sent.id, reason)
                }
            };
            self.events.push_back((address, event));
        }
        if !std::mem::replace(&mut peer.is_ready, true) {
            self.ready.push_back(address);
        }
        if !std::mem::replace(&mut peer.is_eventful, true) {
            self.eventful.push_back(address);
        }
        self.peers.schedule(address);
    }

    /// All that a peer had to say and to send is said and sent.
    fn settle(&mut self, now: Instant, address: SocketAddr) {
        let Some(peer) = self.peers.find(address) else {
            return;
        };
        if peer.continue_close(now) {
            self.touch(address);
            return;
        }
        if peer.session.is_closed() && !peer.is_eventful && peer.lingers_until.is_none() {
            let Some(reason) = peer.closed.clone() else {
                // `Closed` is still in the session's queue.
                peer.is_eventful = true;
                self.eventful.push_back(address);
                return;
            };
            for id in peer.take_unsent() {
                self.stats.undelivered += 1;
                let event = PeerEvent::Undelivered(id, Undelivered::Closed(reason.clone()));
                self.events.push_back((address, event));
            }
            if peer.outgoing.is_empty() {
                self.events.push_back((address, PeerEvent::Closed(reason)));
                self.peers
                    .on_closed(address, now + self.config.duplicate_window);
            }
        }
        self.peers.schedule(address);
    }

    /// Makes a peer, forgetting another if there are too many.
    fn open(&mut self, now: Instant, address: SocketAddr, role: Role) -> Result<(), SendRefusal> {
        let peer = Peer::new(&self.config, role, (self.draw)(), now);
        self.insert(now, address, peer)
    }

    fn insert(&mut self, now: Instant, address: SocketAddr, peer: Peer) -> Result<(), SendRefusal> {
        let is_validated = peer.validation.is_validated();
        if !self.peers.has_room(is_validated) {
            let Some(victim) = self.peers.pick_victim(now, is_validated) else {
                self.stats.peers_refused += 1;
                return Err(SendRefusal::TooManyPeers {
                    limit: self.config.peers_max,
                });
            };
            self.replace(victim, CloseReason::LinkEnded);
        }
        self.peers.insert(address, peer);
        self.touch(address);
        Ok(())
    }

    /// Ends a session without a word, for another that takes its place.
    fn replace(&mut self, address: SocketAddr, reason: CloseReason) {
        let Some(peer) = self.peers.find(address) else {
            return;
        };
        let reason = peer.closed.clone().unwrap_or(reason);
        let undelivered = Undelivered::Closed(reason.clone());
        peer.outgoing.abandon(&undelivered);
        let mut lost: Vec<SendId> = peer.take_unsent();
        lost.extend(std::iter::from_fn(|| peer.outgoing.poll_result()).map(|sent| sent.id));
        lost.retain(|id| *id != SendId::ECHO);
        self.stats.undelivered += lost.len() as u64;
        let is_told = peer.lingers_until.is_some() || !peer.is_announced;
        let events = lost
            .into_iter()
            .map(|id| PeerEvent::Undelivered(id, undelivered.clone()));
        self.events.extend(events.map(|event| (address, event)));
        if !is_told {
            self.events.push_back((address, PeerEvent::Closed(reason)));
        }
        self.forget(address);
    }

    fn forget(&mut self, address: SocketAddr) {
        self.peers.remove(address);
        self.reassembly.forget(address);
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("role", &self.role)
            .field("stats", &self.stats())
            .finish()
    }
}

#[cfg(test)]
mod tests;
