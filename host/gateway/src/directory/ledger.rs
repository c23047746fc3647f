//! Leases on disk, so that a restart keeps what is still leased. Written behind: a registration is
//! answered first and on disk a moment later, and many heartbeats of one entry are one write.
//!
//! A record holds the wall-clock end of its lease; what is left of it at the start is what the
//! entry gets. A clock that was set forward ends leases early, one that was set back never
//! prolongs one beyond its own length.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use postern_core::registry::{Key, Owner};
use postern_wasm::{Records, StoreError};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tracing::{info, warn};

use super::{
    Directory,
    listing::{Listing, millis},
};

/// Writes under way at one time; the store commits those that wait together.
const WRITES_MAX: usize = 256;
/// Wait for more changes before they are written together.
const GATHER: Duration = Duration::from_millis(50);
/// Wait after a failure of the store.
const RETRY: Duration = Duration::from_secs(1);

/// Which entries are not on disk as they are.
#[derive(Default)]
pub(super) struct Ledger {
    records: OnceLock<Records>,
    dirty: Mutex<BTreeSet<Key>>,
    wake: Notify,
}

/// What became of the leases of the life before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restored {
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

impl Ledger {
    /// The entry is not as it was: it is written, or removed when it is gone.
    pub(super) fn mark(&self, key: &Key) {
        if matches!(key.owner, Owner::Registered(_)) && self.records.get().is_some() {
            self.dirty.lock().insert(key.clone());
            self.wake.notify_one();
        }
    }
}

impl Directory {
    /// Takes what was leased in the life before, and keeps leases in `records` from here on. Call it
    /// once, before `run` and before the doors open.
    ///
    /// # Errors
    /// What the store says.
    pub async fn restore(&self, records: Records) -> Result<Restored, StoreError> {
        let all = records.load_all().await?;
        // A second call changes nothing: the first table stays.
        let _ = self.ledger.records.set(records.clone());
        let mut restored = Restored::default();
        let now_ms = unix_millis();
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
            records.delete(name).await?;
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

    /// Writes what changes. Never ends by itself.
    pub(super) async fn write_ledger(&self) {
        loop {
            self.ledger.wake.notified().await;
            tokio::time::sleep(GATHER).await;
            if !self.flush().await {
                tokio::time::sleep(RETRY).await;
                self.ledger.wake.notify_one();
            }
        }
    }

    /// Writes what has changed; whether all of it is on disk.
    pub(super) async fn flush(&self) -> bool {
        let Some(records) = self.ledger.records.get() else {
            return true;
        };
        let keys = std::mem::take(&mut *self.ledger.dirty.lock());
        let mut leased = self.leased(&keys);
        let writes = keys.into_iter().map(|key| {
            let (name, value) = (name_of(&key), leased.remove(&key));
            async move {
                let written = match value {
                    Some(value) => records.put(name, value).await,
                    None => records.delete(name).await.map(|_| ()),
                };
                written.map_err(|error| (key, error))
            }
        });
        let results = stream::iter(writes).buffer_unordered(WRITES_MAX);
        let failed: Vec<_> = results.filter_map(async |r| r.err()).collect().await;
        let Some((_, error)) = failed.first() else {
            return true;
        };
        warn!(%error, leases = failed.len(), "leases are not written, a restart would lose them");
        let failed = failed.into_iter().map(|(key, _)| key);
        self.ledger.dirty.lock().extend(failed);
        false
    }

    /// The records of those of `keys` that are there.
    fn leased(&self, keys: &BTreeSet<Key>) -> BTreeMap<Key, Vec<u8>> {
        let (now, now_ms) = (super::now(), unix_millis());
        let state = self.state.lock();
        let all = state.machine.leased();
        let asked = all.filter(|(record, _)| keys.contains(&record.key));
        let written = asked.filter_map(|(record, lease)| {
            let Owner::Registered(owner) = &record.key.owner else {
                return None;
            };
            let left = lease.expires?.saturating_duration_since(now);
            let leased = Leased {
                owner: owner.to_string(),
                ends_at_ms: now_ms.saturating_add(millis(left)),
                entry: Listing::of(&state.drains.written(record), record.ttl),
            };
            Some((record.key.clone(), serde_json::to_vec(&leased).ok()?))
        });
        written.collect()
    }
}

/// One name for each key: the length says where the owner ends.
fn name_of(key: &Key) -> String {
    let owner = match &key.owner {
        Owner::Registered(name) | Owner::Local(name) | Owner::Peer(name) => name.as_str(),
        Owner::Config => "",
    };
    format!("{}:{owner}{}", owner.len(), key.instance)
}

pub(super) fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, millis)
}
