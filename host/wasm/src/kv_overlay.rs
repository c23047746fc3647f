//! What the copy of a call reads and writes in the place of its plugin's table: the table as it was when the
//! call came, and over it what the copy has written. It lives as long as the copy.
//!
//! ```text
//! read  ─▶ written by the copy? ─ yes ─▶ that
//!                └─ no ─▶ the table as it was
//! write ─▶ kept here, within bounds; the table never hears of it
//! ```
//! The moment counts: a copy runs beside its call, and would else read what the call itself has written.
//! A store of others has no moments: of that a copy reads what is there when it reads.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use parking_lot::Mutex;

use crate::store::{
    BYTES_OF_COPY_MAX, Change, KEYS_OF_COPY_MAX, OverlaidTable, ReadStore as _, StoreError,
    StoreSnapshot,
};

/// The table of one copy.
pub(crate) struct KvOverlay {
    table: Box<dyn OverlaidTable>,
    /// Of the gateway's own file, as it was when the call came, or what reads are told where it could not be
    /// read then.
    before: Option<Result<StoreSnapshot, StoreError>>,
    written: Mutex<Written>,
}

/// What was written, by key; `None` where it was deleted.
#[derive(Debug, Default)]
struct Written {
    values: BTreeMap<String, Option<Vec<u8>>>,
    n_bytes: usize,
}

impl KvOverlay {
    /// Over `table` as it is.
    pub(crate) fn new(table: impl OverlaidTable + 'static) -> Self {
        Self {
            before: table.snapshot(),
            table: Box::new(table),
            written: Mutex::default(),
        }
    }

    /// Whether it lies over `table`.
    pub(crate) fn is_over(&self, table: &str) -> bool {
        **self.table.name() == *table
    }

    pub(crate) async fn get(&self, key: String) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(written) = self.written.lock().values.get(&key) {
            return Ok(written.clone());
        }
        match self.before()? {
            Some(before) => before.get(self.table.name(), key).await,
            None => self.table.get(key).await,
        }
    }

    /// As `Store::keys`.
    pub(crate) async fn keys(
        &self,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        let written = self.written.lock().keys(&prefix, after.as_deref());
        // Each key that was written hides one of the table at most.
        let n_keys = limit.saturating_add(written.len());
        let before = match self.before()? {
            Some(before) => {
                before
                    .keys(self.table.name(), prefix, after, n_keys)
                    .await?
            }
            None => self.table.keys(prefix, after, n_keys).await?,
        };
        let mut keys: BTreeSet<String> = before.into_iter().collect();
        for (key, is_there) in written {
            match is_there {
                true => keys.insert(key),
                false => keys.remove(&key),
            };
        }
        Ok(keys.into_iter().take(limit).collect())
    }

    /// As `Store::write`.
    ///
    /// # Errors
    /// `CopyFull` for more than a copy may write.
    pub(crate) async fn write(&self, change: Change) -> Result<bool, StoreError> {
        // It does not change, so that it may be read before the lock is taken.
        let before = match &change {
            Change::Set { .. } => None,
            Change::Delete { key } | Change::Swap { key, .. } => self.get(key.clone()).await?,
        };
        self.written.lock().apply(change, before)
    }

    fn before(&self) -> Result<Option<&StoreSnapshot>, StoreError> {
        let before = self.before.as_ref().map(Result::as_ref);
        before.transpose().map_err(Clone::clone)
    }
}

impl Written {
    /// Keys that begin with `prefix` and come after `after`, and whether they are there.
    fn keys(&self, prefix: &str, after: Option<&str>) -> Vec<(String, bool)> {
        let start = match after.filter(|after| *after >= prefix) {
            Some(after) => Bound::Excluded(after),
            None => Bound::Included(prefix),
        };
        let keys = self.values.range::<str, _>((start, Bound::Unbounded));
        let keys = keys.take_while(|(key, _)| key.starts_with(prefix));
        keys.map(|(key, value)| (key.clone(), value.is_some()))
            .collect()
    }

    /// `before` is what the key has in the table.
    fn apply(&mut self, change: Change, before: Option<Vec<u8>>) -> Result<bool, StoreError> {
        let current = |key: &str| self.values.get(key).unwrap_or(&before);
        let (key, value) = match change {
            Change::Set { key, value } => (key, Some(value)),
            Change::Delete { key } if current(&key).is_none() => return Ok(false),
            Change::Delete { key } => (key, None),
            Change::Swap { key, expected, .. } if *current(&key) != expected => return Ok(false),
            Change::Swap { key, value, .. } => (key, value),
        };
        self.put(key, value)?;
        Ok(true)
    }

    fn put(&mut self, key: String, value: Option<Vec<u8>>) -> Result<(), StoreError> {
        let n_bytes = |value: &Option<Vec<u8>>| key.len() + value.as_ref().map_or(0, Vec::len);
        let replaced = self.values.get(&key);
        let n_keys = self.values.len() + usize::from(replaced.is_none());
        let n_bytes = self.n_bytes + n_bytes(&value) - replaced.map_or(0, n_bytes);
        if n_keys > KEYS_OF_COPY_MAX || n_bytes > BYTES_OF_COPY_MAX {
            return Err(StoreError::CopyFull { n_keys, n_bytes });
        }
        self.n_bytes = n_bytes;
        self.values.insert(key, value);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
