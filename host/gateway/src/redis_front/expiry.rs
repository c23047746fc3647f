//! When keys end. Values lie in their table as everybody sees them; that one ends stands in a table
//! beside it, by key: when, in milliseconds since 1970, and the first eight octets of the SHA-256 of the
//! value that ends. A value that somebody else has put there since does not end.
//!
//! The table is held in memory, so that a key without an end costs nothing to read. What is said there
//! is on disk before the value is: a gateway that is killed between the two leaves a value that ends as
//! was asked, or the one before it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use parking_lot::Mutex;
use postern_core::{
    Blame, Error, Kind,
    key_value::{KEYS_MAX, KeyChange, KeyValueStore},
};
use sha2::{Digest, Sha256};

/// Keys of one table that end.
#[derive(Debug)]
pub(super) struct Expiring {
    store: Arc<dyn KeyValueStore>,
    table: String,
    index: Mutex<Index>,
}

#[derive(Debug, Default)]
struct Index {
    by_key: HashMap<String, Ending>,
    by_time: BTreeSet<(i64, String)>,
}

/// When a value ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ending {
    pub at_ms: i64,
    value: u64,
}

impl Expiring {
    /// Reads what stands in `table`.
    pub(super) async fn open(store: Arc<dyn KeyValueStore>, table: String) -> Result<Self, Error> {
        let mut index = Index::default();
        let mut after: Option<String> = None;
        loop {
            let keys = store.keys(&table, "", after.as_deref(), KEYS_MAX).await?;
            let is_last = keys.len() < KEYS_MAX;
            after = keys.last().cloned();
            for key in keys {
                let record = store.get(&table, &key).await?;
                if let Some(ending) = record.and_then(|record| Ending::decode(&record)) {
                    index.insert(key, ending);
                }
            }
            if is_last {
                break;
            }
        }
        Ok(Self {
            store,
            table,
            index: Mutex::new(index),
        })
    }

    /// Whether something is said of `key`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.index.lock().by_key.contains_key(key)
    }

    /// When `value` of `key` ends.
    pub(super) fn end_of(&self, key: &str, value: &[u8]) -> Option<i64> {
        let ending = self.index.lock().by_key.get(key).copied()?;
        (ending.value == mark(value)).then_some(ending.at_ms)
    }

    /// Whether `key` ended before `now_ms`, whatever its value is.
    pub(super) fn is_over(&self, key: &str, now_ms: i64) -> bool {
        let index = self.index.lock();
        index
            .by_key
            .get(key)
            .is_some_and(|ending| ending.at_ms <= now_ms)
    }

    /// `value` of `key` ends at `at_ms`. Gives what was said before.
    pub(super) async fn put(
        &self,
        key: &str,
        value: &[u8],
        at_ms: i64,
    ) -> Result<Option<Ending>, Error> {
        let ending = Ending {
            at_ms,
            value: mark(value),
        };
        let before = {
            let index = self.index.lock();
            let before = index.by_key.get(key).copied();
            if before.is_none() && index.by_key.len() >= EXPIRING_MAX {
                let message = format!("{EXPIRING_MAX} keys of the store end, which is the limit");
                return Err(Error::new(Kind::ResourceExhausted, Blame::Client, message));
            }
            before
        };
        self.write(key, Some(ending)).await?;
        Ok(before)
    }

    /// Says of `key` what was said before.
    pub(super) async fn restore(&self, key: &str, before: Option<Ending>) -> Result<(), Error> {
        self.write(key, before).await
    }

    /// Up to `keys_max` keys that ended before `now_ms`.
    pub(super) fn due(&self, now_ms: i64, keys_max: usize) -> Vec<String> {
        let index = self.index.lock();
        let due = index
            .by_time
            .iter()
            .take_while(|(at_ms, _)| *at_ms <= now_ms);
        due.take(keys_max).map(|(_, key)| key.clone()).collect()
    }

    async fn write(&self, key: &str, ending: Option<Ending>) -> Result<(), Error> {
        let key = key.to_owned();
        let change = match ending {
            Some(ending) => KeyChange::Set {
                key: key.clone(),
                value: ending.encode(),
            },
            None => KeyChange::Delete { key: key.clone() },
        };
        self.store.write(&self.table, change, None).await?;
        let mut index = self.index.lock();
        match ending {
            Some(ending) => index.insert(key, ending),
            None => index.remove(&key),
        }
        Ok(())
    }
}

impl Index {
    fn insert(&mut self, key: String, ending: Ending) {
        self.remove(&key);
        self.by_time.insert((ending.at_ms, key.clone()));
        self.by_key.insert(key, ending);
    }

    fn remove(&mut self, key: &str) {
        if let Some(ending) = self.by_key.remove(key) {
            self.by_time.remove(&(ending.at_ms, key.to_owned()));
        }
    }
}

impl Ending {
    fn encode(self) -> Vec<u8> {
        [self.at_ms.to_be_bytes(), self.value.to_be_bytes()].concat()
    }

    fn decode(record: &[u8]) -> Option<Self> {
        let (at_ms, value) = record.split_first_chunk::<8>()?;
        Some(Self {
            at_ms: i64::from_be_bytes(*at_ms),
            value: u64::from_be_bytes(*value.first_chunk::<8>()?),
        })
    }
}

/// By what a value is known again.
fn mark(value: &[u8]) -> u64 {
    let hash: [u8; 32] = Sha256::digest(value).into();
    hash.first_chunk::<8>()
        .map_or(0, |first| u64::from_be_bytes(*first))
}

/// Keys of one table that end: about 200 octets of memory each.
const EXPIRING_MAX: usize = 1_000_000;
