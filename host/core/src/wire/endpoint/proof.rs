//! How a peer shows that it receives what is sent to its address, and what follows from that. The
//! drawing is in validation.rs.

use std::{net::SocketAddr, time::Instant};

use super::{
    Endpoint,
    event::{PeerEvent, SendId},
    peer::Peer,
    validation::{SESSION_KEY, names_session},
};
use crate::wire::{
    frame::{Frame, FrameType},
    session::{CloseReason, Dialect, Features, Role},
};

impl Peer {
    /// The client has said that it sends the session's number back, and has not done so yet.
    pub(super) fn must_echo(&self) -> bool {
        !self.validation.is_validated()
            && matches!(self.session.dialect(), Some(Dialect::Full(greeting))
                if greeting.features.contains(Features::ECHO))
    }

    /// Whether only somebody who receives what is sent to the address can have sent `frame`.
    fn proves_address(&mut self, frame: &Frame) -> bool {
        if names_session(&frame.headers, self.session.id()) {
            return true;
        }
        frame.kind == FrameType::Ack && {
            let is_expected = self.outgoing.expects(&frame.headers);
            self.validation.on_ack(is_expected)
        }
    }

    /// Sends the number of WELCOME back, until it is acknowledged.
    pub(super) fn echo_session(&mut self) {
        let mut ping = Frame::new(FrameType::Ping);
        // Cannot fail: the number has 32 digits.
        let _ = ping
            .headers
            .push(SESSION_KEY, self.session.id().to_string());
        self.outgoing.admit(SendId::ECHO, ping);
    }
}

impl Endpoint {
    /// Whether the address of `peer` is known to be no forgery.
    #[must_use]
    pub fn is_validated(&self, peer: SocketAddr) -> bool {
        let found = self.peers.peek(peer);
        found.is_some_and(|peer| peer.validation.is_validated())
    }

    /// This end has another address from here on: what `peer` was sent is given up without a word,
    /// and what it has said in answer is forgotten.
    pub fn renew(&mut self, peer: SocketAddr) {
        if let Some(found) = self.peers.find(peer) {
            found.renew();
            self.reassembly.forget(peer);
            self.touch(peer);
        }
    }

    /// Notes what `frame` says about its address. Whether it is to be handled.
    pub(super) fn validate(&mut self, now: Instant, from: SocketAddr, frame: &Frame) -> bool {
        let Some(peer) = self.peers.find(from) else {
            return false;
        };
        if let Some(mut rival) = peer
            .rival
            .take_if(|rival| names_session(&frame.headers, rival.session.id()))
        {
            // What the new client sent before its number was taken for the session's before.
            rival.local = peer.local;
            std::mem::swap(&mut rival.incoming, &mut peer.incoming);
            let was_validated = peer.validation.is_validated();
            if !was_validated && !self.peers.can_have_room(now, true) {
                self.stats.peers_refused += 1;
                return false;
            }
            self.replace(from, CloseReason::LinkEnded);
            // Proven before it is inserted: it takes the room of the session before.
            rival.validation.validate();
            rival.eviction_priority = rival.priority_open();
            return self.insert(now, from, *rival).is_ok();
        }
        if peer.validation.is_validated() {
            return true;
        }
        let Some(peer) = self.peers.find(from) else {
            return false;
        };
        if peer.proves_address(frame) {
            return self.on_validated(now, from);
        }
        if !peer.must_echo() {
            return true;
        }
        match frame.kind {
            FrameType::Hello => true,
            // Its WELCOME was lost, or what it sent after it.
            FrameType::Data | FrameType::Ping | FrameType::Bye => {
                peer.session.welcome_again();
                false
            }
            FrameType::Welcome | FrameType::Pong | FrameType::Ack | FrameType::Err => false,
        }
    }

    /// A HELLO of another client from the address of a session that is proven or at work: anybody can
    /// have sent it. It gets its WELCOME, and takes the session's place when that comes back.
    pub(super) fn on_rival(&mut self, now: Instant, from: SocketAddr, hello: &Frame) {
        let id = (self.draw)();
        let Some(peer) = self.peers.find(from) else {
            return;
        };
        let known = peer.rival.take().filter(|rival| !rival.is_stranger(hello));
        let mut rival =
            known.unwrap_or_else(|| Box::new(Peer::new(&self.config, Role::Server, id, now)));
        rival.on_frame(hello);
        if rival.session.handle_frame(now, hello.clone()).is_err() || !rival.must_echo() {
            self.stats.violations += 1;
            return;
        }
        while let Some(welcome) = rival.session.poll_frame() {
            peer.push_ack(welcome);
        }
        peer.rival = Some(rival);
        self.touch(from);
    }

    /// The address is proven, and its peer moves to those that strangers cannot push out. False when
    /// there is no room among them.
    fn on_validated(&mut self, now: Instant, address: SocketAddr) -> bool {
        if !self.peers.has_room(true) {
            let Some(victim) = self.peers.pick_victim(now, true) else {
                self.stats.peers_refused += 1;
                return false;
            };
            self.replace(victim, CloseReason::LinkEnded);
        }
        self.peers.on_validated(address);
        if self
            .peers
            .find(address)
            .is_some_and(|peer| peer.is_announced)
        {
            self.events.push_back((address, PeerEvent::Validated));
        }
        true
    }
}
