//! The peers of an endpoint: who is known, when each wants to be woken, and who is forgotten first.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::peer::Peer;
use crate::wire::session::Session;

/// A full peer that was silent for less is not forgotten to make room for a stranger.
const SILENCE_MIN: Duration = Duration::from_secs(5);
/// Peers looked at to find one with nothing in flight.
const CANDIDATES_MAX: usize = 16;

#[derive(Debug)]
pub(super) struct Roster {
    peers: HashMap<SocketAddr, Peer>,
    peers_max: usize,
    /// When peers want to be woken. At most one entry a peer; it may be earlier than needed.
    wakes: BTreeSet<(Instant, SocketAddr)>,
    /// Peers by rank (closed, base, full), then by when they were last heard.
    by_worth: BTreeSet<(Worth, Instant, SocketAddr)>,
    n_closed: usize,
    evicted: u64,
}

/// What is lost with a peer; the least is forgotten first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Worth {
    /// Remembered only so that repetitions are recognised.
    Closed,
    Base,
    Full,
}

impl Roster {
    pub(super) fn new(peers_max: usize) -> Self {
        Self {
            peers: HashMap::new(),
            peers_max,
            wakes: BTreeSet::new(),
            by_worth: BTreeSet::new(),
            n_closed: 0,
            evicted: 0,
        }
    }

    /// Nobody is forgotten before the next stranger comes.
    pub(super) const fn set_peers_max(&mut self, peers_max: usize) {
        self.peers_max = peers_max;
    }

    pub(super) fn len(&self) -> usize {
        self.peers.len()
    }

    pub(super) fn n_open(&self) -> usize {
        self.peers.len() - self.n_closed
    }

    pub(super) const fn evicted(&self) -> u64 {
        self.evicted
    }

    pub(super) fn find(&mut self, address: SocketAddr) -> Option<&mut Peer> {
        self.peers.get_mut(&address)
    }

    pub(super) fn peek(&self, address: SocketAddr) -> Option<&Peer> {
        self.peers.get(&address)
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let mut addresses: Vec<SocketAddr> = self.peers.keys().copied().collect();
        addresses.sort_unstable();
        addresses
    }

    pub(super) fn has_room(&self) -> bool {
        self.peers.len() < self.peers_max
    }

    pub(super) fn insert(&mut self, address: SocketAddr, peer: Peer) {
        self.by_worth.insert((peer.worth, peer.heard_at, address));
        self.peers.insert(address, peer);
    }

    pub(super) fn remove(&mut self, address: SocketAddr) {
        let Some(peer) = self.peers.remove(&address) else {
            return;
        };
        self.n_closed -= usize::from(peer.lingers_until.is_some());
        self.by_worth.remove(&(peer.worth, peer.heard_at, address));
        if let Some(at) = peer.wakes_at {
            self.wakes.remove(&(at, address));
        }
    }

    /// Who is forgotten for another: the least worth, then the longest silent, of those with nothing
    /// in flight.
    pub(super) fn pick_victim(&mut self, now: Instant) -> Option<SocketAddr> {
        let is_spare = |(worth, heard_at, address): &&(Worth, Instant, SocketAddr)| {
            let is_idle = self.peers.get(address).is_none_or(Peer::is_idle);
            is_idle && (*worth < Worth::Full || *heard_at + SILENCE_MIN <= now)
        };
        let victim = self
            .by_worth
            .iter()
            .take(CANDIDATES_MAX)
            .find(is_spare)
            .copied();
        self.evicted += u64::from(victim.is_some());
        victim.map(|(_, _, address)| address)
    }

    /// A frame came from `address`.
    pub(super) fn on_heard(&mut self, now: Instant, address: SocketAddr) {
        self.change(address, |peer| peer.heard_at = now);
    }

    /// The session with `address` reached a dialect.
    pub(super) fn on_established(&mut self, address: SocketAddr) {
        self.change(address, |peer| {
            peer.worth = if peer.is_full() {
                Worth::Full
            } else {
                Worth::Base
            };
        });
    }

    /// The session with `address` is over.
    pub(super) fn on_closed(&mut self, address: SocketAddr, lingers_until: Instant) {
        let Some(peer) = self.peers.get_mut(&address) else {
            return;
        };
        self.n_closed += usize::from(peer.lingers_until.is_none());
        peer.lingers_until = Some(lingers_until);
        self.change(address, |peer| peer.worth = Worth::Closed);
    }

    /// Begins a session with the address of one that is over.
    pub(super) fn reopen(&mut self, address: SocketAddr, session: Session) {
        let Some(peer) = self.peers.get_mut(&address) else {
            return;
        };
        self.n_closed -= usize::from(peer.lingers_until.is_some());
        peer.reopen(session);
        self.change(address, |peer| peer.worth = Worth::Base);
    }

    /// Sees to it that the peer is woken in time.
    pub(super) fn schedule(&mut self, address: SocketAddr) {
        let Some(peer) = self.peers.get_mut(&address) else {
            return;
        };
        let Some((at, _)) = peer.poll_timeout() else {
            return;
        };
        // Waking early is harmless, and moving a deadline back with every datagram is not free.
        if peer.wakes_at.is_some_and(|wakes_at| wakes_at <= at) {
            return;
        }
        if let Some(old) = peer.wakes_at.replace(at) {
            self.wakes.remove(&(old, address));
        }
        self.wakes.insert((at, address));
    }

    pub(super) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let (at, address) = self.wakes.first()?;
        let due = self.peers.get(address).and_then(Peer::poll_timeout);
        Some((*at, due.map_or("peer", |(_, why)| why)))
    }

    /// Peers to wake at `now`; they are to be scheduled again.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<SocketAddr> {
        let mut due = Vec::new();
        while let Some(&(at, address)) = self.wakes.first()
            && at <= now
        {
            self.wakes.pop_first();
            if let Some(peer) = self.peers.get_mut(&address) {
                peer.wakes_at = None;
            }
            due.push(address);
        }
        due
    }

    fn change(&mut self, address: SocketAddr, change: impl FnOnce(&mut Peer)) {
        let Some(peer) = self.peers.get_mut(&address) else {
            return;
        };
        self.by_worth.remove(&(peer.worth, peer.heard_at, address));
        change(peer);
        self.by_worth.insert((peer.worth, peer.heard_at, address));
    }
}
