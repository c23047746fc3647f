//! A store as clients of Redis see it: keys that may end, and changes that depend on what there was.
//!
//! Changes of one key that depend on what there was come one after the other, by one of `LOCKS` locks;
//! what plugins do to the same key meanwhile makes such a change begin again. A key that is set whatever
//! it was waits for none.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use postern_core::{
    Blame, BoxFuture, Error, Kind,
    key_value::{KeyChange, KeyValueStore, check_key, check_value},
    resp::RespError,
};
use postern_system::clock;
use tokio::sync::OnceCell;
use tokio_util::task::AbortOnDropHandle;

use super::{expiry::Expiring, failure::Refusal};

/// The tables that clients use, of one store.
#[derive(Debug)]
pub(super) struct Tables {
    store: Arc<dyn KeyValueStore>,
    open: Mutex<BTreeMap<String, Arc<KeyTable>>>,
}

/// One table.
pub(super) struct KeyTable {
    store: Arc<dyn KeyValueStore>,
    name: String,
    expiring: OnceCell<Expiring>,
    sweeper: Mutex<Option<AbortOnDropHandle<()>>>,
    hasher: RandomState,
    locks: Vec<tokio::sync::Mutex<()>>,
}

/// A key that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LiveEntry {
    pub value: Vec<u8>,
    /// In milliseconds since 1970.
    pub ends_at: Option<i64>,
}

/// What a key is to be: none is not to be there.
pub(super) type Wanted = Option<LiveEntry>;

impl Tables {
    pub(super) fn new(store: Arc<dyn KeyValueStore>) -> Self {
        Self {
            store,
            open: Mutex::default(),
        }
    }

    /// The table that plugins share as `name`.
    pub(super) fn shared(&self, name: &str) -> Arc<KeyTable> {
        let mut open = self.open.lock();
        let table = open.entry(name.to_owned()).or_insert_with(|| {
            Arc::new(KeyTable::new(
                Arc::clone(&self.store),
                format!("shared/{name}"),
            ))
        });
        Arc::clone(table)
    }
}

impl KeyTable {
    fn new(store: Arc<dyn KeyValueStore>, name: String) -> Self {
        Self {
            store,
            name,
            expiring: OnceCell::new(),
            sweeper: Mutex::default(),
            hasher: RandomState::new(),
            locks: (0..LOCKS).map(|_| tokio::sync::Mutex::default()).collect(),
        }
    }

    /// The key, where it is there.
    pub(super) async fn get(self: &Arc<Self>, key: &str) -> Result<Option<LiveEntry>, Error> {
        let expiring = self.expiring().await?;
        let value = self.store.get(&self.name, key).await?;
        Ok(live(expiring, key, value.as_deref()))
    }

    /// Sets the key, whatever it was; it does not end.
    pub(super) async fn set(self: &Arc<Self>, key: String, value: Vec<u8>) -> Result<(), Refusal> {
        if self.expiring().await?.has(&key) {
            let wanted = LiveEntry {
                value,
                ends_at: None,
            };
            let decide = |_: Option<&LiveEntry>| Ok((Some(Some(wanted.clone())), ()));
            return self.update(&key, decide).await;
        }
        let change = KeyChange::Set { key, value };
        self.store.write(&self.name, change, None).await?;
        Ok(())
    }

    /// Deletes the key; whether it was there.
    pub(super) async fn delete(self: &Arc<Self>, key: String) -> Result<bool, Refusal> {
        if self.expiring().await?.has(&key) {
            let decide = |before: Option<&LiveEntry>| Ok((Some(None), before.is_some()));
            return self.update(&key, decide).await;
        }
        let change = KeyChange::Delete { key };
        Ok(self.store.write(&self.name, change, None).await?)
    }

    /// Makes of the key what `decide` says, given what it is; none leaves it. It is asked again when
    /// somebody else has changed the key meanwhile.
    pub(super) async fn update<T: Send>(
        self: &Arc<Self>,
        key: &str,
        mut decide: impl FnMut(Option<&LiveEntry>) -> Result<(Option<Wanted>, T), RespError> + Send,
    ) -> Result<T, Refusal> {
        let expiring = self.expiring().await?;
        let _alone = match self.lock_of(key) {
            Some(lock) => Some(lock.lock().await),
            None => None,
        };
        for _ in 0..TRIES {
            let value = self.store.get(&self.name, key).await?;
            let before = live(expiring, key, value.as_deref());
            let (wanted, told) = decide(before.as_ref())?;
            let Some(wanted) = wanted else {
                return Ok(told);
            };
            let wanted = wanted.filter(|entry| entry.ends_at.is_none_or(|at| at > now_ms()));
            if self.replace(expiring, key, value, wanted).await? {
                return Ok(told);
            }
        }
        let message = format!("the key was changed {TRIES} times by others meanwhile");
        Err(Error::new(Kind::Aborted, Blame::Client, message).into())
    }

    /// Up to `limit` keys that begin with `prefix` and come after `after`, in order, with those that
    /// have ended, and which are to be left out by `is_over`.
    pub(super) async fn keys(
        self: &Arc<Self>,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        self.expiring().await?;
        self.store.keys(&self.name, prefix, after, limit).await
    }

    /// Whether the key has ended. Known once keys were asked for.
    pub(super) fn is_over(&self, key: &str) -> bool {
        let expiring = self.expiring.get();
        expiring.is_some_and(|expiring| expiring.is_over(key, now_ms()))
    }

    /// Replaces `value` of the key; false where it is not that any more.
    async fn replace(
        &self,
        expiring: &Expiring,
        key: &str,
        value: Option<Vec<u8>>,
        wanted: Wanted,
    ) -> Result<bool, Error> {
        let before = match &wanted {
            Some(LiveEntry {
                value,
                ends_at: Some(at_ms),
            }) => Some(expiring.put(key, value, *at_ms).await?),
            Some(_) if expiring.has(key) => {
                expiring.restore(key, None).await?;
                None
            }
            Some(_) | None => None,
        };
        let wanted = wanted.map(|entry| entry.value);
        let is_replaced = wanted == value || {
            let change = KeyChange::Swap {
                key: key.to_owned(),
                expected: value,
                value: wanted.clone(),
            };
            self.store.write(&self.name, change, None).await?
        };
        match (is_replaced, before) {
            (false, Some(before)) => expiring.restore(key, before).await?,
            (true, _) if wanted.is_none() && expiring.has(key) => {
                expiring.restore(key, None).await?;
            }
            (true | false, _) => {}
        }
        Ok(is_replaced)
    }

    async fn expiring(self: &Arc<Self>) -> Result<&Expiring, Error> {
        let open = || Expiring::open(Arc::clone(&self.store), format!("{}/expiry", self.name));
        let expiring = self.expiring.get_or_try_init(open).await?;
        let mut sweeper = self.sweeper.lock();
        if sweeper.is_none() {
            let sweeping = sweeping(Arc::downgrade(self));
            *sweeper = Some(AbortOnDropHandle::new(tokio::spawn(sweeping)));
        }
        drop(sweeper);
        Ok(expiring)
    }

    fn lock_of(&self, key: &str) -> Option<&tokio::sync::Mutex<()>> {
        let n_locks = self.locks.len() as u64;
        let idx = self.hasher.hash_one(key).checked_rem(n_locks)?;
        self.locks.get(usize::try_from(idx).ok()?)
    }
}

/// As `sweep`, of which a table need not know what it is made of.
fn sweeping(table: Weak<KeyTable>) -> BoxFuture<()> {
    Box::pin(sweep(table))
}

/// Deletes keys that have ended, so that whoever else reads the table does not find them.
async fn sweep(table: Weak<KeyTable>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        let Some(table) = table.upgrade() else {
            return;
        };
        let due = table
            .expiring
            .get()
            .map(|expiring| expiring.due(now_ms(), SWEEP_KEYS_MAX));
        for key in due.unwrap_or_default() {
            let decide = |before: Option<&LiveEntry>| {
                // A value of somebody else does not end, and nothing more is said of it.
                Ok((Some(before.cloned()), ()))
            };
            if let Err(Refusal::Failed(error)) = table.update(&key, decide).await {
                tracing::debug!(%error, "a key that has ended could not be deleted");
                break;
            }
        }
    }
}

fn live(expiring: &Expiring, key: &str, value: Option<&[u8]>) -> Option<LiveEntry> {
    let value = value?;
    let ends_at = expiring.end_of(key, value);
    ends_at.is_none_or(|at| at > now_ms()).then(|| LiveEntry {
        value: value.to_vec(),
        ends_at,
    })
}

/// A key as a store has it.
///
/// # Errors
/// What is no text, or too long.
pub(super) fn key_of(octets: &[u8]) -> Result<String, RespError> {
    let key = std::str::from_utf8(octets);
    let key = key.map_err(|_| RespError::fixed("ERR keys of this store are UTF-8"))?;
    check_key(key).map_err(|error| RespError::new(format!("ERR {}", error.message)))?;
    Ok(key.to_owned())
}

/// A value as a store takes it.
///
/// # Errors
/// What is too long.
pub(super) fn value_of(octets: &[u8]) -> Result<Vec<u8>, RespError> {
    check_value(octets.len()).map_err(|error| RespError::new(format!("ERR {}", error.message)))?;
    Ok(octets.to_vec())
}

/// Milliseconds since 1970, as ends are written.
#[must_use]
pub(super) fn now_ms() -> i64 {
    i64::try_from(clock::unix_time_ms()).unwrap_or(i64::MAX)
}

impl std::fmt::Debug for KeyTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyTable")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Locks of one table; keys that share one wait for each other's commits.
const LOCKS: usize = 256;
/// Tries of a change before whoever asked for it is told.
const TRIES: usize = 64;
/// How often keys that have ended are deleted that nobody asks for.
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);
/// Keys deleted at one time.
const SWEEP_KEYS_MAX: usize = 1000;
