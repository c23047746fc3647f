//! The persistent key/value store behind `kv`: one redb file, one table per plugin or shared name.
//!
//! redb makes one durable commit at a time. A single writer thread therefore gathers all writes
//! that wait while a commit is on its way and commits them together, so that sixteen writers cost
//! one sync, not sixteen. A write that has been answered is on disk.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use tokio::sync::{mpsc, oneshot};

/// Writes that may wait for the writer; a caller beyond waits for a place.
const QUEUE_MAX: usize = 1024;
/// Writes in one commit.
const BATCH_MAX: usize = 256;
/// Pages kept in memory, in octets. redb's own default of 1 GiB is for a process of its own.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

type Table<'a> = TableDefinition<'a, &'static str, &'static [u8]>;

/// An open store.
pub(crate) struct Store {
    database: Arc<Database>,
    writes: Option<mpsc::Sender<Write>>,
    writer: Option<JoinHandle<()>>,
}

/// A change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Set {
        key: String,
        value: Vec<u8>,
    },
    Delete {
        key: String,
    },
    /// Sets or deletes if the value is what is expected; `None` is absent on both sides.
    Swap {
        key: String,
        expected: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
    },
}

struct Write {
    table: Arc<str>,
    change: Change,
    done: oneshot::Sender<Result<bool, StoreError>>,
}

/// Why the store failed. Shared by all writes of a commit.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    #[error("store {path}: {source}")]
    Open {
        path: PathBuf,
        source: Arc<redb::DatabaseError>,
    },
    #[error("store: {0}")]
    Database(Arc<redb::Error>),
    #[error("store: {0}")]
    Thread(Arc<io::Error>),
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether another process has the store open.
    pub(crate) fn is_open_elsewhere(&self) -> bool {
        match self {
            Self::Open { source, .. } => {
                matches!(**source, redb::DatabaseError::DatabaseAlreadyOpen)
            }
            Self::Database(_) | Self::Thread(_) | Self::Closed => false,
        }
    }
}

impl Store {
    /// Opens or creates the file.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Open {
            path: path.to_owned(),
            source: Arc::new(source),
        };
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(path)
            .map_err(failed)?;
        let database = Arc::new(database);
        let (writes, queue) = mpsc::channel(QUEUE_MAX);
        let written = Arc::clone(&database);
        let writer = thread::Builder::new()
            .name("postern-kv".to_owned())
            .spawn(move || write_all(&written, queue))
            .map_err(|error| StoreError::Thread(Arc::new(error)))?;
        Ok(Self {
            database,
            writes: Some(writes),
            writer: Some(writer),
        })
    }

    /// The value of `key` in `table`.
    pub(crate) async fn get(
        &self,
        table: &Arc<str>,
        key: String,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(table, move |table| {
            Ok(table.get(&*key)?.map(|value| value.value().to_vec()))
        })
        .await
    }

    /// Up to `limit` keys that begin with `prefix` and come after `after`, in order.
    pub(crate) async fn keys(
        &self,
        table: &Arc<str>,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        let scan = move |table: &ReadTable| {
            let start = after
                .as_deref()
                .filter(|after| *after >= prefix.as_str())
                .unwrap_or(&prefix);
            let mut keys = Vec::new();
            for entry in table.range(start..)? {
                let (key, _) = entry?;
                let key = key.value();
                if !key.starts_with(&*prefix) || keys.len() >= limit {
                    break;
                }
                if after.as_deref() != Some(key) {
                    keys.push(key.to_owned());
                }
            }
            Ok(keys)
        };
        self.read(table, scan).await
    }

    /// Every key of `table` with its value, in order.
    pub(crate) async fn entries(
        &self,
        table: &Arc<str>,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.read(table, |table| {
            let pairs = table.iter()?.map(|entry| {
                let (key, value) = entry?;
                Ok((key.value().to_owned(), value.value().to_vec()))
            });
            pairs.collect()
        })
        .await
    }

    /// Applies a change and makes it durable. Says whether it changed anything: a `Swap` that did
    /// not find what it expected, or a `Delete` of nothing, did not.
    pub(crate) async fn write(&self, table: &Arc<str>, change: Change) -> Result<bool, StoreError> {
        let (done, result) = oneshot::channel();
        let write = Write {
            table: Arc::clone(table),
            change,
            done,
        };
        let Some(writes) = &self.writes else {
            return Err(StoreError::Closed);
        };
        writes.send(write).await.map_err(|_| StoreError::Closed)?;
        result.await.map_err(|_| StoreError::Closed)?
    }

    async fn read<T, F>(&self, table: &Arc<str>, read: F) -> Result<T, StoreError>
    where
        T: Default + Send + 'static,
        F: FnOnce(&ReadTable) -> Result<T, redb::StorageError> + Send + 'static,
    {
        let (database, table) = (Arc::clone(&self.database), Arc::clone(table));
        let task = tokio::task::spawn_blocking(move || {
            let transaction = database.begin_read().map_err(redb::Error::from)?;
            match transaction.open_table(Table::new(&table)) {
                Ok(table) => read(&table).map_err(redb::Error::from),
                // Nothing was written yet.
                Err(TableError::TableDoesNotExist(_)) => Ok(T::default()),
                Err(error) => Err(error.into()),
            }
        });
        let result = task.await.map_err(|_| StoreError::Closed)?;
        result.map_err(|error| StoreError::Database(Arc::new(error)))
    }
}

type ReadTable = redb::ReadOnlyTable<&'static str, &'static [u8]>;

impl Drop for Store {
    fn drop(&mut self) {
        self.writes = None;
        if let Some(writer) = self.writer.take() {
            // What was queued has been committed when the thread ends; a panic has been printed.
            drop(writer.join());
        }
    }
}

/// The writer: one commit after the other, each with all that waits.
fn write_all(database: &Database, mut queue: mpsc::Receiver<Write>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while queue.blocking_recv_many(&mut batch, BATCH_MAX) > 0 {
        let result = commit(database, &batch);
        match result {
            Ok(changed) => {
                for (write, changed) in batch.drain(..).zip(changed) {
                    // A caller that has gone away does not need to hear it.
                    drop(write.done.send(Ok(changed)));
                }
            }
            Err(error) => {
                let error = StoreError::Database(Arc::new(error));
                for write in batch.drain(..) {
                    drop(write.done.send(Err(error.clone())));
                }
            }
        }
    }
}

fn commit(database: &Database, batch: &[Write]) -> Result<Vec<bool>, redb::Error> {
    let transaction = database.begin_write()?;
    let mut changed = Vec::with_capacity(batch.len());
    for write in batch {
        let mut table = transaction.open_table(Table::new(&write.table))?;
        changed.push(apply(&mut table, &write.change)?);
    }
    transaction.commit()?;
    Ok(changed)
}

fn apply(
    table: &mut redb::Table<'_, &'static str, &'static [u8]>,
    change: &Change,
) -> Result<bool, redb::StorageError> {
    match change {
        Change::Set { key, value } => {
            table.insert(&**key, &**value)?;
            Ok(true)
        }
        Change::Delete { key } => Ok(table.remove(&**key)?.is_some()),
        Change::Swap {
            key,
            expected,
            value,
        } => {
            let is_expected =
                table.get(&**key)?.as_ref().map(|value| value.value()) == expected.as_deref();
            if !is_expected {
                return Ok(false);
            }
            match value {
                Some(value) => drop(table.insert(&**key, &**value)?),
                None => drop(table.remove(&**key)?),
            }
            Ok(true)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store, Arc<str>) {
        let folder = tempfile::TempDir::new().unwrap();
        let store = Store::open(&folder.path().join("kv.redb")).unwrap();
        (folder, store, "plugin/test".into())
    }

    fn set(key: &str, value: &[u8]) -> Change {
        Change::Set {
            key: key.to_owned(),
            value: value.to_vec(),
        }
    }

    fn swap(expected: Option<&[u8]>, value: Option<&[u8]>) -> Change {
        let (expected, value) = (expected.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec));
        Change::Swap {
            key: "k".to_owned(),
            expected,
            value,
        }
    }

    #[tokio::test]
    async fn a_swap_changes_only_what_it_expects() {
        let (_folder, store, table) = store();
        assert!(
            !store
                .write(&table, swap(Some(b"1"), Some(b"2")))
                .await
                .unwrap()
        );
        assert!(store.write(&table, swap(None, Some(b"1"))).await.unwrap());
        assert!(!store.write(&table, swap(None, Some(b"2"))).await.unwrap());
        assert!(
            store
                .write(&table, swap(Some(b"1"), Some(b"2")))
                .await
                .unwrap()
        );
        assert_eq!(
            store.get(&table, "k".to_owned()).await.unwrap().unwrap(),
            b"2"
        );
        assert!(store.write(&table, swap(Some(b"2"), None)).await.unwrap());
        assert_eq!(store.get(&table, "k".to_owned()).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_delete_says_whether_there_was_something() {
        let (_folder, store, table) = store();
        let delete = || Change::Delete {
            key: "k".to_owned(),
        };
        assert!(!store.write(&table, delete()).await.unwrap());
        store.write(&table, set("k", b"")).await.unwrap();
        assert!(store.write(&table, delete()).await.unwrap());
    }

    #[tokio::test]
    async fn keys_come_in_order_by_prefix_after_a_key_up_to_a_limit() {
        let (_folder, store, table) = store();
        for key in ["a", "b/1", "b/2", "b/3", "c"] {
            store.write(&table, set(key, b"")).await.unwrap();
        }
        let keys = async |prefix: &str, after: Option<&str>, limit| {
            store
                .keys(&table, prefix.to_owned(), after.map(str::to_owned), limit)
                .await
                .unwrap()
        };
        assert_eq!(keys("b/", None, 10).await, ["b/1", "b/2", "b/3"]);
        assert_eq!(keys("b/", Some("b/1"), 10).await, ["b/2", "b/3"]);
        assert_eq!(keys("b/", Some("a"), 2).await, ["b/1", "b/2"]);
        assert_eq!(keys("b/", Some("b/3"), 10).await, Vec::<String>::new());
        assert_eq!(keys("", None, 0).await, Vec::<String>::new());
        assert_eq!(keys("", None, 10).await, ["a", "b/1", "b/2", "b/3", "c"]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn swaps_of_many_writers_lose_nothing() {
        let (_folder, store, table) = store();
        let store = Arc::new(store);
        let writers = (0..8).map(|_| {
            let (store, table) = (Arc::clone(&store), Arc::clone(&table));
            tokio::spawn(async move {
                for _ in 0..5 {
                    loop {
                        let before = store.get(&table, "k".to_owned()).await.unwrap();
                        let count = before.as_deref().map_or(0, |octets| octets[0]);
                        let change = swap(before.as_deref(), Some(&[count + 1]));
                        if store.write(&table, change).await.unwrap() {
                            break;
                        }
                    }
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
        assert_eq!(
            store.get(&table, "k".to_owned()).await.unwrap().unwrap(),
            [40]
        );
    }
}
