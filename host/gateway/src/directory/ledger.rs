//! Leases on disk, so that a restart keeps what is still leased. A registration is answered when it is
//! on disk; heartbeats are written behind, and many of one entry are one write.
//!
//! A record holds the wall-clock end of its lease; what is left of it at the start is what the
//! entry gets. A clock that was set forward ends leases early, one that was set back never
//! prolongs one beyond its own length.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::OnceLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use postern_core::registry::{Key, Owner};
use postern_wasm::{Records, StoreError};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, oneshot};
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
    dirty: Mutex<Dirty>,
    wake: Notify,
    /// Somebody waits for a write.
    urgent: Notify,
}

/// Entries to write, each with those who wait for it.
#[derive(Default)]
struct Dirty {
    keys: BTreeMap<Key, Vec<Waiter>>,
    /// Nothing is written any more.
    is_closed: bool,
}

type Waiter = oneshot::Sender<Result<(), StoreError>>;

/// Entries that are being written. What is left of them when it is dropped is dirty again.
struct Writing<'a> {
    ledger: &'a Ledger,
    keys: BTreeMap<Key, Vec<Waiter>>,
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
            self.dirty.lock().keys.entry(key.clone()).or_default();
            self.wake.notify_one();
        }
    }

    /// As `mark`, and waits until it is on disk.
    pub(super) async fn keep(&self, key: &Key) -> Result<(), StoreError> {
        if self.records.get().is_none() {
            return Ok(());
        }
        let (waiter, written) = oneshot::channel();
        {
            let mut dirty = self.dirty.lock();
            if dirty.is_closed {
                return Err(StoreError::Closed);
            }
            dirty.keys.entry(key.clone()).or_default().push(waiter);
        }
        self.wake.notify_one();
        self.urgent.notify_one();
        written.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Whoever waits from here on is refused.
    pub(super) fn close(&self) {
        self.dirty.lock().is_closed = true;
    }

    /// Waits, but not while somebody else does.
    async fn pause(&self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.urgent.notified() => {}
        }
    }

    fn take(&self) -> Writing<'_> {
        let keys = std::mem::take(&mut self.dirty.lock().keys);
        Writing { ledger: self, keys }
    }
}

impl Writing<'_> {
    /// What became of the write of `key`. Who waited is told; one that failed is to be written again.
    fn on_end(&mut self, key: &Key, result: &Result<(), StoreError>) {
        let waiters = self.keys.remove(key).unwrap_or_default();
        for waiter in waiters {
            // A caller that has gone away does not need to hear it.
            drop(waiter.send(result.clone()));
        }
        if result.is_err() {
            self.ledger
                .dirty
                .lock()
                .keys
                .entry(key.clone())
                .or_default();
        }
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let mut dirty = self.ledger.dirty.lock();
        for (key, waiters) in std::mem::take(&mut self.keys) {
            dirty.keys.entry(key).or_default().extend(waiters);
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

    /// Writes what changes. Never ends by itself.
    pub(super) async fn write_ledger(&self) {
        loop {
            self.ledger.wake.notified().await;
            self.ledger.pause(GATHER).await;
            if !self.flush().await {
                self.ledger.pause(RETRY).await;
                self.ledger.wake.notify_one();
            }
        }
    }

    /// Writes what has changed; whether all of it is on disk.
    pub(super) async fn flush(&self) -> bool {
        let Some(records) = self.ledger.records.get() else {
            return true;
        };
        let mut writing = self.ledger.take();
        let mut leased = self.leased(&writing.keys);
        let keys: Vec<Key> = writing.keys.keys().cloned().collect();
        let writes = keys.into_iter().map(|key| {
            let (name, value) = (name_of(&key), leased.remove(&key));
            async move {
                let written = match value {
                    Some(value) => records.put(name, value).await,
                    None => records.delete(name).await.map(|_| ()),
                };
                (key, written)
            }
        });
        let mut results = pin!(stream::iter(writes).buffer_unordered(WRITES_MAX));
        let (mut n_failed, mut first) = (0_usize, None);
        while let Some((key, result)) = results.next().await {
            writing.on_end(&key, &result);
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
    fn leased(&self, keys: &BTreeMap<Key, Vec<Waiter>>) -> BTreeMap<Key, Vec<u8>> {
        let (now, now_ms) = (super::now(), unix_millis());
        let state = self.state.lock();
        let all = state.machine.leased();
        let asked = all.filter(|(record, _)| keys.contains_key(&record.key));
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
