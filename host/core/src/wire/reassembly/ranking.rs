//! Who holds how much of something that all peers share, and who holds most.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
};

/// An amount per peer, ordered by amount.
#[derive(Debug, Default)]
pub(super) struct Ranking {
    amounts: HashMap<SocketAddr, usize>,
    ordered: BTreeSet<(usize, SocketAddr)>,
    total: usize,
}

impl Ranking {
    pub(super) const fn total(&self) -> usize {
        self.total
    }

    pub(super) fn of(&self, peer: SocketAddr) -> usize {
        self.amounts.get(&peer).copied().unwrap_or(0)
    }

    pub(super) fn most(&self) -> Option<SocketAddr> {
        self.ordered.last().map(|(_, peer)| *peer)
    }

    pub(super) fn set(&mut self, peer: SocketAddr, amount: usize) {
        let old = if amount == 0 {
            self.amounts.remove(&peer)
        } else {
            self.amounts.insert(peer, amount)
        };
        if let Some(old) = old {
            self.ordered.remove(&(old, peer));
            self.total -= old;
        }
        if amount > 0 {
            self.ordered.insert((amount, peer));
            self.total += amount;
        }
    }
}
