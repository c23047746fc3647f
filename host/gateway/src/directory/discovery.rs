//! A source of entries that others have. Peer gateways are one; engines that hold the entries of a
//! fleet (NATS, Consul, etcd) can be others. Whatever the source, what it told is not told on.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use postern_core::{
    Error, Text,
    registry::{
        Cursor, Owner, ToldEntry,
        directory::{PeerChange, PeerState, Replaced, SyncError},
    },
};
use postern_system::random::part_of;
use tracing::{debug, info, warn};

use super::SharedDirectory;

/// What a source tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Update {
    /// All that it has at `cursor`.
    Snapshot {
        entries: Vec<ToldEntry>,
        cursor: Cursor,
    },
    /// What changed from `since` to `cursor`; nothing may have.
    Changes {
        since: Cursor,
        changes: Vec<PeerChange>,
        cursor: Cursor,
    },
}

/// A source of entries. It is asked, and is never ahead of what has been taken.
pub(crate) trait Discovery: Send {
    /// Opens a session, in a time that the source bounds.
    fn connect(&mut self) -> BoxFuture<'_, Result<(), Error>>;

    /// Waits for what is new since `held`; a snapshot where that is `None` or too old. It answers
    /// within a time that the source bounds, with no changes when there are none: that is its sign
    /// of life. An error ends the session.
    fn next(&mut self, held: Option<Cursor>) -> BoxFuture<'_, Result<Update, Error>>;
}

/// The first wait before a source is tried again; doubles up to `peer-retry-max`.
const RETRY: Duration = Duration::from_millis(250);

impl SharedDirectory {
    /// Follows a source under the name of a configured peer. Never ends by itself.
    pub(super) async fn follow(self: Arc<Self>, name: Text, mut source: Box<dyn Discovery>) {
        let mut n_failed = 0;
        loop {
            let error = match source.connect().await {
                Ok(()) => {
                    let (n_updates, error) = self.follow_session(&name, &mut *source).await;
                    if n_updates > 0 {
                        n_failed = 0;
                    }
                    error
                }
                Err(error) => error,
            };
            self.on_peer_failed(&name, n_failed, &error);
            // Full jitter, so that gateways that lost a peer together do not come back together.
            let cap = RETRY.saturating_mul(1 << n_failed.min(16));
            tokio::time::sleep(part_of(cap.min(self.settings().peer_retry_max))).await;
            n_failed += 1;
        }
    }

    /// One session to its end: how many updates were taken, and why it ended.
    async fn follow_session(&self, name: &Text, source: &mut dyn Discovery) -> (usize, Error) {
        if !self.on_peer_connected(name) {
            return (
                0,
                Error::not_found(format!("peer {name} is not configured")),
            );
        }
        let mut n_updates = 0;
        loop {
            let held = self.peer(name).and_then(|peer| peer.cursor);
            let update = match source.next(held).await {
                Ok(update) => update,
                Err(error) => return (n_updates, error),
            };
            n_updates += 1;
            match self.take_update(name, update) {
                Ok(replaced) if replaced.refused.is_empty() => {}
                Ok(replaced) => {
                    let n_refused = replaced.refused.len();
                    let (instance, error) = replaced.refused.into_iter().next().unzip();
                    let instance = instance.map(|instance| instance.to_string());
                    let error = error.map(|error| error.to_string());
                    warn!(peer = %name, n_refused, instance, error, "entries are not taken");
                    // The snapshot is fetched again, and would be refused again at once.
                    tokio::time::sleep(self.settings().peer_wait).await;
                }
                // The snapshot is fetched.
                Err(error @ SyncError::Gap { .. }) => debug!(peer = %name, %error, "out of step"),
                Err(error @ SyncError::NotConnected) => {
                    return (n_updates, Error::not_found(error.to_string()));
                }
            }
        }
    }

    fn take_update(&self, name: &Text, update: Update) -> Result<Replaced, SyncError> {
        let owner = Owner::Peer(name.clone());
        self.change(|state, now| {
            let drains = &mut state.drains;
            let mut adapted = |told: ToldEntry| ToldEntry {
                entry: drains.adapt(&owner, told.entry),
                ..told
            };
            let taken = match update {
                Update::Snapshot { entries, cursor } => {
                    let entries = entries.into_iter().map(adapted).collect();
                    state.machine.on_peer_snapshot(now, name, entries, cursor)
                }
                Update::Changes {
                    since,
                    changes,
                    cursor,
                } => {
                    let changes = changes.into_iter().map(|change| match change {
                        PeerChange::Put(told) => PeerChange::Put(adapted(told)),
                        PeerChange::Removed(instance) => PeerChange::Removed(instance),
                    });
                    let changes = changes.collect();
                    let machine = &mut state.machine;
                    machine.on_peer_changes(now, name, since, changes, cursor)
                }
            };
            state.drains.reconcile(now, &mut state.machine);
            if let (Ok(_), Some(note)) = (&taken, state.peers.get_mut(name)) {
                note.error = None;
            }
            taken
        })
    }

    /// How things stand with a peer; `None` before it was ever connected.
    #[must_use]
    pub(crate) fn peer(&self, name: &Text) -> Option<PeerState> {
        self.state.lock().machine.peer(name)
    }

    /// False when it is no peer any more.
    fn on_peer_connected(&self, name: &Text) -> bool {
        self.change(|state, now| {
            let is_configured = state.peers.contains_key(name);
            if is_configured {
                state.machine.on_peer_connected(now, name);
                info!(peer = %name, "peer is connected");
            }
            is_configured
        })
    }

    fn on_peer_failed(&self, name: &Text, n_failed: u32, error: &Error) {
        self.change(|state, now| {
            let Some(note) = state.peers.get_mut(name) else {
                return;
            };
            let was_connected = (state.machine.peer(name)).is_some_and(|peer| peer.is_connected);
            if was_connected || n_failed == 0 {
                warn!(peer = %name, %error, "peer is not reached; what it told is kept for a while");
            }
            note.error = Some(error.to_string());
            state.machine.on_peer_lost(now, name);
        });
    }
}

#[cfg(test)]
mod tests;
