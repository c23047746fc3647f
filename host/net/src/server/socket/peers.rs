//! The peers of a datagram socket that have an open session.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use postern_core::{Origin, Peer, vsp::Reader, wire::CloseReason};

use super::{ServedPeer, ServedSocket};
use crate::{link::DatagramLink, server::pushes};

impl<L: DatagramLink> ServedSocket<L> {
    pub(super) fn on_established(&mut self, address: SocketAddr) {
        let id = self.socket.endpoint.session_id(address);
        let config = &self.shared.config;
        let served = ServedPeer {
            reader: self.reader(address),
            bytes: config.bytes.connection(config.held_bytes_max),
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
    pub(super) fn on_validated(&mut self, address: SocketAddr) {
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

    pub(super) fn on_closed(&mut self, address: SocketAddr, reason: &CloseReason) {
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

    pub(super) fn on_peer_draining(&mut self, address: SocketAddr) {
        if let Some(peer) = self.peers.get_mut(&address) {
            peer.is_ending = true;
            self.pushes.forget(&(address, peer.session));
        }
    }
}
