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
pub(super) struct PeerTable {
    peers: HashMap<SocketAddr, Peer>,
    peers_max: usize,
    /// When peers want to be woken. At most one entry a peer; it may be earlier than needed.
    wakes: BTreeSet<(Instant, SocketAddr)>,
    /// Peers with validated addresses by what is lost with them, then by when they were last heard.
    validated: BTreeSet<Rank>,
    /// The same of the others, which never push out one of the former.
    unvalidated: BTreeSet<Rank>,
    n_closed: usize,
    evicted: u64,
}

type Rank = (EvictionPriority, Instant, SocketAddr);

/// What is lost with a peer; the least is forgotten first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum EvictionPriority {
    /// Remembered only so that repetitions are recognised.
    Closed,
    /// It has said HELLO and proven nothing.
    Greeted,
    Base,
    Full,
}

impl PeerTable {
    pub(super) fn new(peers_max: usize) -> Self {
        Self {
            peers: HashMap::new(),
            peers_max,
            wakes: BTreeSet::new(),
            validated: BTreeSet::new(),
            unvalidated: BTreeSet::new(),
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

    pub(super) fn n_unvalidated(&self) -> usize {
        self.unvalidated.len()
    }

    /// Whether there is room for one more peer whose address is validated, or is not.
    pub(super) fn has_room(&self, is_validated: bool) -> bool {
        self.ranks(is_validated).len() < self.peers_max
    }

    pub(super) fn insert(&mut self, address: SocketAddr, peer: Peer) {
        let rank = (peer.eviction_priority, peer.heard_at, address);
        self.ranks_mut(peer.validation.is_validated()).insert(rank);
        self.peers.insert(address, peer);
    }

    pub(super) fn remove(&mut self, address: SocketAddr) {
        let Some(peer) = self.peers.remove(&address) else {
            return;
        };
        self.n_closed -= usize::from(peer.lingers_until.is_some());
        self.ranks_mut(peer.validation.is_validated()).remove(&(
            peer.eviction_priority,
            peer.heard_at,
            address,
        ));
        if let Some(at) = peer.wakes_at {
            self.wakes.remove(&(at, address));
        }
    }

    /// Who is forgotten for another: the lowest priority, then the longest silent, of those with no work
    /// under way.
    pub(super) fn pick_victim(&mut self, now: Instant, is_validated: bool) -> Option<SocketAddr> {
        let victim = self.find_victim(now, is_validated);
        self.evicted += u64::from(victim.is_some());
        victim
    }

    /// Whether there is room, or can be made.
    pub(super) fn can_have_room(&mut self, now: Instant, is_validated: bool) -> bool {
        self.has_room(is_validated) || self.find_victim(now, is_validated).is_some()
    }

    /// Busy peers that stand in front are ranked behind all idle ones, so that they cannot hide
    /// those from the next stranger.
    fn find_victim(&mut self, now: Instant, is_validated: bool) -> Option<SocketAddr> {
        let highest = if is_validated {
            EvictionPriority::Full
        } else {
            EvictionPriority::Base
        };
        let ranks = self.ranks(is_validated).iter();
        let candidates: Vec<Rank> = ranks.take(CANDIDATES_MAX).copied().collect();
        for (priority, heard_at, address) in candidates {
            let peer = self.peers.get(&address);
            if peer.is_some_and(|peer| !peer.is_idle(now)) {
                self.change(address, |peer| {
                    peer.eviction_priority = peer.eviction_priority.max(highest);
                    peer.heard_at = now;
                });
            } else if !is_validated
                || priority < EvictionPriority::Base
                || heard_at + SILENCE_MIN <= now
            {
                return Some(address);
            }
        }
        None
    }

    /// A frame came from `address`.
    pub(super) fn on_heard(&mut self, now: Instant, address: SocketAddr) {
        self.change(address, |peer| peer.heard_at = now);
    }

    /// The session with `address` reached a dialect.
    pub(super) fn on_established(&mut self, address: SocketAddr) {
        self.change(address, |peer| {
            peer.eviction_priority = peer.priority_open()
        });
    }

    /// The address of a peer is proven.
    pub(super) fn on_validated(&mut self, address: SocketAddr) {
        self.change(address, |peer| {
            peer.validation.validate();
            peer.eviction_priority = peer.priority_open();
        });
    }

    /// The session with `address` is over.
    pub(super) fn on_closed(&mut self, address: SocketAddr, lingers_until: Instant) {
        let Some(peer) = self.peers.get_mut(&address) else {
            return;
        };
        self.n_closed += usize::from(peer.lingers_until.is_none());
        peer.lingers_until = Some(lingers_until);
        self.change(address, |peer| {
            peer.eviction_priority = EvictionPriority::Closed
        });
    }

    /// Begins a session with the address of one that is over.
    pub(super) fn reopen(&mut self, address: SocketAddr, session: Session) {
        let Some(peer) = self.peers.get_mut(&address) else {
            return;
        };
        self.n_closed -= usize::from(peer.lingers_until.is_some());
        peer.reopen(session);
        self.change(address, |peer| {
            peer.eviction_priority = EvictionPriority::Greeted
        });
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
        let (before, was_validated) = (
            (peer.eviction_priority, peer.heard_at, address),
            peer.validation.is_validated(),
        );
        change(peer);
        let (after, is_validated) = (
            (peer.eviction_priority, peer.heard_at, address),
            peer.validation.is_validated(),
        );
        self.ranks_mut(was_validated).remove(&before);
        self.ranks_mut(is_validated).insert(after);
    }

    const fn ranks(&self, is_validated: bool) -> &BTreeSet<Rank> {
        if is_validated {
            &self.validated
        } else {
            &self.unvalidated
        }
    }

    const fn ranks_mut(&mut self, is_validated: bool) -> &mut BTreeSet<Rank> {
        if is_validated {
            &mut self.validated
        } else {
            &mut self.unvalidated
        }
    }
}
