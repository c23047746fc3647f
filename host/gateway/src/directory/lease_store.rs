//! Entries that are not on disk as they are, and the changes that are to be there before they count. Many
//! changes of one entry are one write after the other; many entries are written at a time.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::OnceLock,
    time::Duration,
};

use parking_lot::Mutex;
use postern_core::{
    Error,
    registry::{Entry, EntryKey, Incarnation, Owner, Ttl, directory::Registered},
};
use postern_wasm::{Records, StoreError};
use tokio::sync::{Notify, oneshot};

use super::fault::unwritten;

/// Which entries are not on disk as they are.
#[derive(Default)]
pub(super) struct LeaseStore {
    pub(super) records: OnceLock<Records>,
    dirty: Mutex<Dirty>,
    pub(super) wake: Notify,
    /// Somebody waits for a write.
    urgent: Notify,
}

/// Entries to write, each with the changes that are proposed to it, in order.
#[derive(Default)]
struct Dirty {
    keys: BTreeMap<EntryKey, VecDeque<Proposal>>,
    /// Nothing is written any more.
    is_closed: bool,
}

/// A change that counts once it is on disk, and who waits for it.
pub(super) struct Proposal {
    pub(super) change: EntryChange,
    waiter: oneshot::Sender<Result<Option<Registered>, Error>>,
}

/// What a provider wants of its entry.
#[derive(Debug, Clone)]
pub(super) enum EntryChange {
    Put { entry: Entry, ttl: Ttl },
    Remove { incarnation: Incarnation },
}

/// Entries that are being written, each with at most one change. What is left of them when it is
/// dropped is dirty again.
pub(super) struct Writing<'a> {
    lease_store: &'a LeaseStore,
    pub(super) keys: BTreeMap<EntryKey, Option<Proposal>>,
}

impl LeaseStore {
    /// The entry is not as it was: it is written, or removed when it is gone.
    pub(super) fn mark(&self, key: &EntryKey) {
        if matches!(key.owner, Owner::Registered(_)) && self.records.get().is_some() {
            self.dirty.lock().keys.entry(key.clone()).or_default();
            self.wake.notify_one();
        }
    }

    /// Writes `change` of the entry `key` and waits until it counts.
    pub(super) async fn propose(
        &self,
        key: &EntryKey,
        change: EntryChange,
    ) -> Result<Option<Registered>, Error> {
        let (waiter, written) = oneshot::channel();
        {
            let mut dirty = self.dirty.lock();
            if dirty.is_closed {
                return Err(unwritten(&StoreError::Closed));
            }
            let proposals = dirty.keys.entry(key.clone()).or_default();
            proposals.push_back(Proposal { change, waiter });
        }
        self.hurry();
        let closed = |_| Err(unwritten(&StoreError::Closed));
        written.await.unwrap_or_else(closed)
    }

    fn hurry(&self) {
        self.wake.notify_one();
        self.urgent.notify_one();
    }

    /// Whoever waits from here on is refused.
    pub(super) fn close(&self) {
        self.dirty.lock().is_closed = true;
    }

    /// Waits, but not while somebody else does.
    pub(super) async fn pause(&self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.urgent.notified() => {}
        }
    }

    /// What is to be written: of each entry the next change that somebody waits for.
    pub(super) fn take(&self) -> Writing<'_> {
        let mut dirty = self.dirty.lock();
        let mut writing = BTreeMap::new();
        for (key, mut proposals) in std::mem::take(&mut dirty.keys) {
            proposals.retain(|proposal| !proposal.waiter.is_closed());
            writing.insert(key.clone(), proposals.pop_front());
            if !proposals.is_empty() {
                dirty.keys.insert(key, proposals);
                self.hurry();
            }
        }
        Writing {
            lease_store: self,
            keys: writing,
        }
    }
}

impl Writing<'_> {
    /// What became of the write of `key`. A change that is on disk counts once `take` has made it, and who
    /// waited is told; what failed is to be written again.
    pub(super) fn on_end(
        &mut self,
        key: &EntryKey,
        result: &Result<(), StoreError>,
        take: impl FnOnce(&EntryKey, EntryChange) -> Result<Option<Registered>, Error>,
    ) {
        let Some(proposal) = self.keys.remove(key) else {
            return;
        };
        let mut is_written = result.is_ok();
        if let Some(Proposal { change, waiter }) = proposal {
            let result = result.as_ref().map_err(unwritten);
            let result = result.and_then(|()| take(key, change));
            is_written = result.is_ok();
            // A caller that has gone away does not need to hear it.
            drop(waiter.send(result));
        }
        if !is_written {
            self.lease_store.mark(key);
        }
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let mut dirty = self.lease_store.dirty.lock();
        for (key, proposal) in std::mem::take(&mut self.keys) {
            let proposals = dirty.keys.entry(key).or_default();
            if let Some(proposal) = proposal {
                proposals.push_front(proposal);
            }
        }
    }
}
