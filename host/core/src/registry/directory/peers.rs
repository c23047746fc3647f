//! What peer gateways tell, and what is kept of a peer that is lost.
//!
//! ```text
//!             on_peer_connected              snapshot or changes
//!   (nothing) ────────────────▶ connected ───────────────────────▶ in step
//!                                   ▲                                 │
//!                 on_peer_connected │          on_peer_lost           │
//!                                   │                                 ▼
//!                                 lost: entries are stale, and go at the end of the grace
//! ```
//!
//! The grace runs from the loss until the peer is in step again; a peer that comes back is given
//! `peer_sync` to tell what it has. A peer that comes and goes without telling anything gains no
//! more than that once, so an entry outlives a peer's last word by `peer_grace + peer_sync` at most.

use std::time::Instant;

use super::{
    Directory, PeerChange, PeerState, RegisterChange, RegisterError, Replaced, SyncError, ToldEntry,
};
use crate::{
    registry::{
        entry::Entry,
        lease::Ttl,
        owner::{EntryKey, Owner},
        watch::Cursor,
    },
    text::Text,
};

impl Directory {
    /// A session with the peer stands. Ask it for its changes since `peer(name).cursor`, or for its
    /// snapshot.
    pub fn on_peer_connected(&mut self, now: Instant, name: &Text) {
        let name = Text::from(name.as_str());
        let owner = Owner::Peer(name.clone());
        let peer = self.peers.entry(name).or_default();
        peer.is_connected = true;
        let Some(lost_at) = peer.lost_at else {
            return;
        };
        let sync = self.config.peer_sync;
        for key in self.table.keys_of(&owner) {
            let last = self.end_of_grace(lost_at, &key) + sync;
            let prolonged = (now + sync).min(last);
            if self.leases.at(&key).is_some_and(|at| at < prolonged) {
                self.leases.set(&key, Some(prolonged));
            }
        }
    }

    /// The session with the peer is gone. What it told is stale from here on.
    pub fn on_peer_lost(&mut self, now: Instant, name: &Text) {
        let Some(peer) = self.peers.get_mut(name) else {
            return;
        };
        peer.is_connected = false;
        if peer.lost_at.is_some() {
            return;
        }
        peer.lost_at = Some(now);
        for key in self.table.keys_of(&Owner::Peer(name.clone())) {
            let end = self.end_of_grace(now, &key);
            self.leases.set(&key, Some(end));
            self.set_stale(&key, true);
        }
    }

    /// Takes `entries` for all that the peer has at `cursor`.
    ///
    /// Where something is refused the cursor is not kept, so that the snapshot is fetched again.
    ///
    /// # Errors
    /// `NotConnected`; then nothing has changed.
    pub fn on_peer_snapshot(
        &mut self,
        now: Instant,
        name: &Text,
        entries: Vec<ToldEntry>,
        cursor: Cursor,
    ) -> Result<Replaced, SyncError> {
        self.check_connected(name)?;
        let replaced = self.replace(now, &Owner::Peer(name.clone()), entries);
        let is_whole = replaced.refused.is_empty();
        self.on_peer_in_step(name, is_whole.then_some(cursor));
        Ok(replaced)
    }

    /// Takes what changed at the peer from `since` to `cursor`.
    ///
    /// # Errors
    /// `Gap` when `since` is not where the last snapshot or changes ended; then nothing has changed.
    pub fn on_peer_changes(
        &mut self,
        now: Instant,
        name: &Text,
        since: Cursor,
        changes: Vec<PeerChange>,
        cursor: Cursor,
    ) -> Result<Replaced, SyncError> {
        let held = self.check_connected(name)?;
        if held != Some(since) {
            return Err(SyncError::Gap { given: since, held });
        }
        let owner = Owner::Peer(name.clone());
        let mut replaced = Replaced::default();
        for change in changes {
            match change {
                PeerChange::Put(ToldEntry { entry, ttl }) => {
                    let instance = entry.instance.clone();
                    let result = self.learn(now, &owner, entry, ttl);
                    self.note(&mut replaced, instance, result);
                }
                PeerChange::Removed(instance) => {
                    let owner = owner.clone();
                    let removed = self.remove(&EntryKey { owner, instance });
                    replaced.removed += usize::from(removed.is_some());
                }
            }
        }
        let is_whole = replaced.refused.is_empty();
        self.on_peer_in_step(name, is_whole.then_some(cursor));
        Ok(replaced)
    }

    /// How things stand with a peer; `None` when it was never connected.
    #[must_use]
    pub fn peer(&self, name: &Text) -> Option<PeerState> {
        let peer = self.peers.get(name)?;
        Some(PeerState {
            is_connected: peer.is_connected,
            lost_at: peer.lost_at,
            cursor: peer.cursor,
            n_entries: self.table.n_of(&Owner::Peer(name.clone())),
        })
    }

    /// Takes an entry of a peer. Its own directory has judged incarnations and who may have what.
    pub(super) fn learn(
        &mut self,
        now: Instant,
        owner: &Owner,
        entry: Entry,
        ttl: Option<Ttl>,
    ) -> Result<RegisterChange, RegisterError> {
        if self.table.get(&entry.key(owner)).is_none() {
            self.check_room(owner, 0)?;
        }
        Ok(self.put(now, owner, entry, ttl))
    }

    /// Something that the peer told has gone without its word, so that its changes alone do not
    /// lead back to what it has.
    pub(super) fn on_grace_over(&mut self, name: &Text) {
        if let Some(peer) = self.peers.get_mut(name) {
            peer.cursor = None;
        }
    }

    /// The peer has told all that it has: what is left is fresh and goes by its word alone.
    fn on_peer_in_step(&mut self, name: &Text, cursor: Option<Cursor>) {
        let Some(peer) = self.peers.get_mut(name) else {
            return;
        };
        peer.cursor = cursor;
        if peer.lost_at.take().is_none() {
            return;
        }
        for key in self.table.keys_of(&Owner::Peer(name.clone())) {
            self.leases.set(&key, None);
            self.set_stale(&key, false);
        }
    }

    fn check_connected(&self, name: &Text) -> Result<Option<Cursor>, SyncError> {
        let peer = self.peers.get(name).filter(|peer| peer.is_connected);
        peer.map(|peer| peer.cursor).ok_or(SyncError::NotConnected)
    }

    fn end_of_grace(&self, lost_at: Instant, key: &EntryKey) -> Instant {
        let grace = self.config.peer_grace;
        let ttl = self.table.get(key).and_then(|line| line.record.ttl);
        lost_at + ttl.map_or(grace, |ttl| grace.min(ttl.duration()))
    }

    fn set_stale(&mut self, key: &EntryKey, is_stale: bool) {
        if let Some(line) = self.table.get_mut(key)
            && line.is_stale != is_stale
        {
            line.is_stale = is_stale;
            self.changed.insert(line.record.entry.service.clone());
        }
    }
}
