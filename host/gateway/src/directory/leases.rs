//! Leases on disk, so that a restart keeps what is still leased. A registration, or the end of one, is
//! written first and counts once it is on disk: one that cannot be written changes nothing. Heartbeats
//! are written behind, and many of one entry are one write.
//!
//! A record holds the wall-clock end of its lease; what is left of it at the start is what the
//! entry gets. A clock that was set forward ends leases early, one that was set back never
//! prolongs one beyond its own length.

use std::{collections::BTreeMap, pin::pin, time::Duration};

use futures_util::{StreamExt, stream};
use postern_core::{
    Error,
    registry::{Entry, EntryKey, Owner, Ttl, directory::Registered},
};
use postern_system::clock;
use postern_wasm::{Records, StoreError};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::{
    SharedDirectory,
    fault::{not_renewed, refused},
    lease_store::{EntryChange, Proposal},
    listing::{Listing, millis},
};

/// Writes under way at one time; the store commits those that wait together.
const WRITES_MAX: usize = 256;
/// Wait for more changes before they are written together.
const GATHER: Duration = Duration::from_millis(50);
/// Wait after a failure of the store.
const RETRY: Duration = Duration::from_secs(1);

/// What became of the leases of the life before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Restored {
    /// Entries that are there again.
    pub restored: usize,
    /// Leases that ended meanwhile.
    pub expired: usize,
    /// Records that cannot be read, or have no place any more.
    pub refused: usize,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Leased {
    owner: String,
    /// Milliseconds since 1970.
    ends_at_ms: u64,
    entry: Listing,
}

impl SharedDirectory {
    /// Takes what was leased in the life before, and keeps leases in `records` from here on. Call it
    /// once, before `run` and before the listeners open.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn restore(&self, records: Records) -> Result<Restored, StoreError> {
        let all = records.load_all().await?;
        // A second call changes nothing: the first table stays.
        let _ = self.lease_store.records.set(records.clone());
        let mut restored = Restored::default();
        let now_ms = clock::unix_time_ms();
        for (name, value) in all {
            let leased = serde_json::from_slice::<Leased>(&value);
            let leased = leased.inspect_err(|error| {
                warn!(record = %name, %error, "a lease on disk cannot be read");
            });
            let count = match leased {
                Ok(leased) if leased.ends_at_ms <= now_ms => &mut restored.expired,
                Ok(leased) if self.take_back(&leased, now_ms) => {
                    restored.restored += 1;
                    continue;
                }
                Ok(_) | Err(_) => &mut restored.refused,
            };
            *count += 1;
            if let Err(error) = records.delete(name.clone()).await {
                // It is left out at the next start, too.
                warn!(record = %name, %error, "a lease that ended stays on disk");
            }
        }
        let (n_kept, n_expired) = (restored.restored, restored.expired);
        info!(
            restored = n_kept,
            expired = n_expired,
            "leases read from disk"
        );
        Ok(restored)
    }

    fn take_back(&self, leased: &Leased, now_ms: u64) -> bool {
        let owner = Owner::Registered(leased.owner.as_str().into());
        let left = Duration::from_millis(leased.ends_at_ms.saturating_sub(now_ms));
        let told = match leased.entry.told() {
            Ok(told) => told,
            Err(error) => {
                warn!(owner = %owner, %error, "a lease on disk holds no entry");
                return false;
            }
        };
        let Some(ttl) = told.ttl else { return false };
        let taken = self.change(|state, now| {
            let entry = state.drains.adapt(&owner, told.entry);
            state.machine.restore(now, &owner, entry, ttl, left)
        });
        if let Err(error) = &taken {
            warn!(owner = %owner, %error, "a lease on disk is not taken");
        }
        taken.is_ok()
    }

    /// Makes `change` of the entry `key`, on disk first where leases are kept.
    ///
    /// # Errors
    /// Why it is not made; then nothing has changed.
    pub(super) async fn change_entry(
        &self,
        key: &EntryKey,
        change: EntryChange,
    ) -> Result<Option<Registered>, Error> {
        match self.lease_store.records.get() {
            Some(_) => self.lease_store.propose(key, change).await,
            None => self.take_change(key, change),
        }
    }

    fn take_change(
        &self,
        key: &EntryKey,
        change: EntryChange,
    ) -> Result<Option<Registered>, Error> {
        let EntryKey { owner, instance } = key;
        self.change(|state, now| match change {
            EntryChange::Put { entry, ttl } => {
                state
                    .machine
                    .check(owner, &entry, Some(ttl))
                    .map_err(refused)?;
                let entry = state.drains.adapt(owner, entry);
                let taken = state.machine.register(now, owner, entry, Some(ttl));
                taken.map(Some).map_err(refused)
            }
            EntryChange::Remove { incarnation } => {
                let gone = state.machine.unregister(owner, instance, incarnation);
                gone.map(|_| None).map_err(not_renewed)
            }
        })
    }

    /// Writes what changes. Never ends by itself.
    pub(super) async fn write_leases(&self) {
        loop {
            self.lease_store.wake.notified().await;
            self.lease_store.pause(GATHER).await;
            if !self.flush().await {
                self.lease_store.pause(RETRY).await;
                self.lease_store.wake.notify_one();
            }
        }
    }

    /// Writes what has changed; whether all of it is on disk.
    pub(super) async fn flush(&self) -> bool {
        let Some(records) = self.lease_store.records.get() else {
            return true;
        };
        let mut writing = self.lease_store.take();
        let mut leased = self.leased(&writing.keys);
        let keys: Vec<EntryKey> = writing.keys.keys().cloned().collect();
        let writes: Vec<_> = keys
            .into_iter()
            .map(|key| {
                let kept = leased.remove(&key);
                let value = match writing.keys.get(&key).and_then(Option::as_ref) {
                    Some(proposal) => proposal.change.record(&key),
                    None => kept,
                };
                let name = name_of(&key);
                async move {
                    let written = match value {
                        Some(value) => records.put(name, value).await,
                        None => records.delete(name).await.map(|_| ()),
                    };
                    (key, written)
                }
            })
            .collect();
        let mut results = pin!(stream::iter(writes).buffer_unordered(WRITES_MAX));
        let (mut n_failed, mut first) = (0_usize, None);
        while let Some((key, result)) = results.next().await {
            writing.on_end(&key, &result, |key, change| self.take_change(key, change));
            if let Err(error) = result {
                n_failed += 1;
                first.get_or_insert(error);
            }
        }
        match first {
            None => return true,
            // The store says once that it has failed.
            Some(StoreError::Failed { .. }) => {}
            Some(error) => {
                warn!(%error, leases = n_failed, "leases are not written, a restart would lose them");
            }
        }
        false
    }

    /// The records of those of `keys` that are there.
    fn leased(&self, keys: &BTreeMap<EntryKey, Option<Proposal>>) -> BTreeMap<EntryKey, Vec<u8>> {
        let now = clock::now();
        let state = self.state.lock();
        let written = keys.keys().filter_map(|key| {
            let record = state.machine.record(key)?;
            let lease = state.machine.lease(key)?;
            let left = lease.expires?.saturating_duration_since(now);
            let entry = state.drains.written(record);
            let leased = Leased::record(key, &entry, record.ttl, left)?;
            Some((key.clone(), leased))
        });
        written.collect()
    }
}

impl EntryChange {
    /// What the entry's record says after it; `None` when there is none.
    fn record(&self, key: &EntryKey) -> Option<Vec<u8>> {
        match self {
            Self::Put { entry, ttl } => Leased::record(key, entry, Some(*ttl), ttl.duration()),
            Self::Remove { .. } => None,
        }
    }
}

impl Leased {
    /// The record of an entry whose lease lasts for `left`.
    fn record(key: &EntryKey, entry: &Entry, ttl: Option<Ttl>, left: Duration) -> Option<Vec<u8>> {
        let Owner::Registered(owner) = &key.owner else {
            return None;
        };
        let leased = Self {
            owner: owner.to_string(),
            ends_at_ms: clock::unix_time_ms().saturating_add(millis(left)),
            entry: Listing::of(entry, ttl),
        };
        serde_json::to_vec(&leased).ok()
    }
}

/// One name for each key: the length says where the owner ends.
fn name_of(key: &EntryKey) -> String {
    let owner = match &key.owner {
        Owner::Registered(name) | Owner::Local(name) | Owner::Peer(name) => name.as_str(),
        Owner::Config => "",
    };
    format!("{}:{owner}{}", owner.len(), key.instance)
}
