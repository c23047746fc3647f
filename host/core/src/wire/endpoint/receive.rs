//! What becomes of a frame from a peer. The drawing is in endpoint.rs.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use super::{Endpoint, event::PeerEvent, validation};
use crate::wire::{
    fragment::{Fragment, Numbering},
    frame::{Frame, FrameType},
    reassembly::FragmentOutcome,
    reliable::{self, Arrival, RANGES_MAX},
    session::{CloseReason, Role, Session},
};

impl Endpoint {
    /// Whether `frame` from that address is taken; a server makes a peer of a new address.
    pub(super) fn admit(&mut self, now: Instant, from: SocketAddr, frame: &Frame) -> bool {
        let is_hello = frame.kind == FrameType::Hello;
        let Some(peer) = self.peers.find(from) else {
            // Nothing was sent to an unknown address that it could acknowledge.
            let may_begin = self.role == Role::Server && frame.kind != FrameType::Ack;
            if may_begin && is_hello && !self.peers.can_have_room(now, true) {
                // Its session would find no place when its address is proven.
                self.stats.peers_refused += 1;
                return false;
            }
            return may_begin && self.open(now, from, Role::Server).is_ok();
        };
        if peer.role == Role::Server && is_hello && peer.is_stranger(frame) {
            if peer.validation.is_validated() || peer.is_at_work(now) {
                self.on_rival(now, from, frame);
                return false;
            }
            // Another HELLO buys no further guesses.
            let n_wrong_acks = peer.validation.n_wrong_acks();
            self.replace(from, CloseReason::LinkEnded);
            let opened = self.open(now, from, Role::Server);
            if let Some(peer) = self.peers.find(from) {
                peer.validation.add_wrong_acks(n_wrong_acks);
            }
            return opened.is_ok();
        }
        self.peers.on_heard(now, from);
        true
    }

    pub(super) fn handle_frame(
        &mut self,
        now: Instant,
        (from, local): (SocketAddr, Option<IpAddr>),
        octets: usize,
        frame: Frame,
    ) {
        let Some(mut peer) = self.peers.find(from) else {
            return;
        };
        peer.local = local;
        peer.validation.on_received(octets);
        if peer.rival.is_some() || !peer.validation.is_validated() {
            if !self.validate(now, from, &frame) {
                return;
            }
            let Some(validated) = self.peers.find(from) else {
                return;
            };
            peer = validated;
        }
        let requested = reliable::requested_ack(&frame);
        if peer.role == Role::Server && validation::is_echo(&frame) {
            requested.into_iter().for_each(|id| peer.acknowledge(id));
            return;
        }
        if frame.kind == FrameType::Ack {
            self.stats.acks_received += 1;
            peer.on_ack(now, &frame);
        }
        if let Some(id) = requested.filter(|id| peer.incoming.is_known(*id)) {
            // Nothing of it needs to be put together again.
            peer.acknowledge(id);
            self.stats.duplicates += 1;
            return;
        }
        let numbering = peer.numbering(self.config.session.features);
        let Some(part) = Fragment::parse(&frame.headers, numbering) else {
            if numbering == Numbering::Base
                && Fragment::parse(&frame.headers, Numbering::Wide).is_some()
            {
                // Of a session that this end does not know, most likely because it was restarted.
                // Without an acknowledgement the client greets again.
                self.stats.violations += 1;
                return;
            }
            self.deliver(now, from, frame, requested);
            return;
        };
        self.handle_part(now, from, (part, numbering), &frame, requested);
    }

    fn handle_part(
        &mut self,
        now: Instant,
        from: SocketAddr,
        (part, numbering): (Fragment, Numbering),
        frame: &Frame,
        requested: Option<u64>,
    ) {
        let outcome = self
            .reassembly
            .handle_fragment(now, from, part, numbering, frame);
        let Some(peer) = self.peers.find(from) else {
            return;
        };
        let is_new = match outcome {
            FragmentOutcome::Complete(whole) => {
                peer.on_complete(part.id);
                self.deliver(now, from, whole, requested);
                return;
            }
            FragmentOutcome::AfterComplete => {
                requested.into_iter().for_each(|id| peer.acknowledge(id));
                return;
            }
            FragmentOutcome::Pending => true,
            FragmentOutcome::Duplicate => false,
            FragmentOutcome::Copy | FragmentOutcome::Refused(_) => return,
        };
        if numbering == Numbering::Wide
            && let Some(msg_id) = requested
            && peer.on_fragment(now, part.id, part.index, msg_id, is_new)
        {
            peer.report(part.id, self.reassembly.progress(from, part.id, RANGES_MAX));
        }
    }

    /// Hands a whole frame to the session, unless it was handed on before.
    fn deliver(&mut self, now: Instant, from: SocketAddr, frame: Frame, requested: Option<u64>) {
        let Some(peer) = self.peers.find(from) else {
            return;
        };
        if peer.session.is_closed() && !self.try_reopen(now, from, &frame, requested) {
            return;
        }
        let Some(peer) = self.peers.find(from) else {
            return;
        };
        if let Some(id) = requested
            && peer.on_requested_ack(now, id, &frame) == Arrival::Repeated
        {
            self.stats.duplicates += 1;
            return;
        }
        peer.on_frame(&frame);
        if frame.kind == FrameType::Ack && peer.session.dialect().is_none() {
            return;
        }
        self.stats.frames_received += 1;
        peer.note_server(now, &frame);
        if peer.session.handle_frame(now, frame).is_err() {
            self.stats.violations += 1;
        }
    }

    /// Begins a session with the address of one that is over, if `frame` calls for it. A repeated
    /// message does not, and a client's server speaks only when spoken to: what is not handed on is
    /// not acknowledged either.
    fn try_reopen(
        &mut self,
        now: Instant,
        from: SocketAddr,
        frame: &Frame,
        requested: Option<u64>,
    ) -> bool {
        let Some(peer) = self.peers.find(from) else {
            return false;
        };
        if let Some(id) = requested
            && peer.incoming.is_repeated(now, id, frame)
        {
            peer.acknowledge(id);
            self.stats.duplicates += 1;
            return false;
        }
        let begins = matches!(
            frame.kind,
            FrameType::Data | FrameType::Hello | FrameType::Ping
        );
        let Some(reason) = peer.closed.clone() else {
            return false;
        };
        if peer.role == Role::Client || !begins || peer.is_own_hello(frame) {
            return false;
        }
        if peer.lingers_until.is_none() {
            self.events.push_back((from, PeerEvent::Closed(reason)));
        }
        let (config, id) = (self.config.session.clone(), (self.draw)());
        let session = Session::new(config, Role::Server, id, now);
        self.peers.reopen(from, session);
        true
    }
}
