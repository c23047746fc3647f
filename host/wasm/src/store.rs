//! The persistent key/value store behind `kv`: one redb file, one table per plugin or shared name. A write
//! that has been answered is on disk.
//!
//! Any file of redb is written by one thread (`group_commit`). After an error of the disk it opens
//! the file again (`recovery`); until that has been seen to help, writes are refused with their kind and the
//! time to come again (`failure`).

mod failure;
mod group_commit;
mod recovery;

use std::{fmt, path::Path, sync::Arc};

use redb::{
    ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableError, WriteTransaction,
};
use tokio::sync::oneshot;

use postern_core::BoxFuture;
pub(crate) use postern_core::key_value::KeyChange as Change;

pub(crate) use self::failure::{BYTES_OF_COPY_MAX, KEYS_OF_COPY_MAX};
use self::group_commit::WriterQueue;
pub use self::{
    failure::{StoreError, StoreHealth},
    group_commit::{CACHE_BYTES, GroupCommit},
};

/// Requests that are written by one commit, and what each is told: how one kind of store uses its file.
pub trait CommitBatch: Default + 'static {
    type Request: Send + 'static;

    /// The name of the thread that writes.
    const THREAD: &'static str;
    /// Requests in one commit.
    const REQUESTS_MAX: usize;
    /// Units of room that requests may hold until they are answered; whoever asks for more waits.
    const UNITS_MAX: usize;

    fn add(&mut self, request: Self::Request);

    /// Whether there is nothing to commit.
    fn is_empty(&self) -> bool;

    /// Octets that it writes, about.
    fn n_bytes(&self) -> usize;

    /// # Errors
    /// What redb says; nothing is committed then.
    fn write(&mut self, transaction: &WriteTransaction) -> Result<(), redb::Error>;

    /// It is on disk.
    fn on_committed(self);

    /// Nothing of it is on disk.
    fn on_failed(self, error: &StoreError);
}

type Table<'a> = TableDefinition<'a, &'static str, &'static [u8]>;

/// An open store.
pub(crate) struct Store {
    file: GroupCommit<Write>,
}

struct Write {
    table: Arc<str>,
    change: Change,
    done: oneshot::Sender<Result<bool, StoreError>>,
}

/// The writes of one commit.
#[derive(Default)]
struct Writes {
    writes: Vec<Write>,
    /// In their order, once they have been put into the commit.
    changed: Vec<bool>,
}

impl Store {
    /// Opens or creates the file; `health` is told when it fails and when that is over.
    pub(crate) fn open(path: &Path, health: &Arc<StoreHealth>) -> Result<Self, StoreError> {
        let file = GroupCommit::open::<Writes>(path, health)?;
        Ok(Self { file })
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
        let table = Arc::clone(table);
        let write = |done| Write {
            table,
            change,
            done,
        };
        self.file.ask(1, write).await
    }

    /// The store as it is. What it looks at is in memory but for one page at most, and a commit that is under
    /// way is not waited for.
    ///
    /// # Errors
    /// As a read.
    pub(crate) fn snapshot(&self) -> Result<StoreSnapshot, StoreError> {
        let opened = self.file.opened()?;
        let (queue, opening) = (Arc::clone(self.file.queue()), opened.opening);
        match opened.database.begin_read() {
            Ok(transaction) => Ok(StoreSnapshot {
                transaction: Arc::new(transaction),
                queue,
                opening,
            }),
            Err(error) => Err(queue.on_failed_read(opening, error.into())),
        }
    }
}

/// The store as it was at one moment. Later writes do not reach it; the file keeps what they replace until it is
/// dropped. Once the file was opened again, nothing more can be read of it.
#[derive(Clone)]
pub(crate) struct StoreSnapshot {
    transaction: Arc<ReadTransaction>,
    /// Told of errors of the disk; the writer ends with the store all the same.
    queue: Arc<WriterQueue<Write>>,
    opening: u64,
}

/// A table that a copy's overlay lies over, whatever keeps it.
pub(crate) trait OverlaidTable: Send + Sync {
    fn name(&self) -> &Arc<str>;

    /// The table as it is at this moment; `None` where it cannot be kept so.
    fn snapshot(&self) -> Option<Result<StoreSnapshot, StoreError>>;

    /// As `ReadStore::get`.
    fn get(&self, key: String) -> BoxFuture<Result<Option<Vec<u8>>, StoreError>>;

    /// As `ReadStore::keys`.
    fn keys(
        &self,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<Result<Vec<String>, StoreError>>;
}

/// What can be asked of the store, as it is or as it was.
pub(crate) trait ReadStore {
    /// What `read` makes of `table`, on a thread that may wait for the disk; the default of a table that nothing
    /// was written to.
    fn read<T, F>(
        &self,
        table: &Arc<str>,
        read: F,
    ) -> impl Future<Output = Result<T, StoreError>> + Send
    where
        T: Default + Send + 'static,
        F: FnOnce(&ReadTable) -> Result<T, redb::StorageError> + Send + 'static;

    /// The value of `key` in `table`.
    fn get(
        &self,
        table: &Arc<str>,
        key: String,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, StoreError>> + Send {
        self.read(table, move |table| {
            Ok(table.get(&*key)?.map(|value| value.value().to_vec()))
        })
    }

    /// Up to `limit` keys that begin with `prefix` and come after `after`, in order.
    fn keys(
        &self,
        table: &Arc<str>,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<String>, StoreError>> + Send {
        self.read(table, move |table| {
            keys_of(table, &prefix, after.as_deref(), limit)
        })
    }
}

impl ReadStore for Store {
    async fn read<T, F>(&self, table: &Arc<str>, read: F) -> Result<T, StoreError>
    where
        T: Default + Send + 'static,
        F: FnOnce(&ReadTable) -> Result<T, redb::StorageError> + Send + 'static,
    {
        let table = Arc::clone(table);
        self.file
            .read(move |transaction| read_within(transaction, &table, read))
            .await
    }
}

impl ReadStore for StoreSnapshot {
    async fn read<T, F>(&self, table: &Arc<str>, read: F) -> Result<T, StoreError>
    where
        T: Default + Send + 'static,
        F: FnOnce(&ReadTable) -> Result<T, redb::StorageError> + Send + 'static,
    {
        let (transaction, table) = (Arc::clone(&self.transaction), Arc::clone(table));
        let task = tokio::task::spawn_blocking(move || read_within(&transaction, &table, read));
        let result = task.await.map_err(|_| StoreError::Closed)?;
        result.map_err(|error| self.queue.on_failed_read(self.opening, error))
    }
}

pub(crate) type ReadTable = redb::ReadOnlyTable<&'static str, &'static [u8]>;

/// Reads `table` as a transaction sees it.
fn read_within<T: Default>(
    transaction: &ReadTransaction,
    table: &str,
    read: impl FnOnce(&ReadTable) -> Result<T, redb::StorageError>,
) -> Result<T, redb::Error> {
    match transaction.open_table(Table::new(table)) {
        Ok(table) => read(&table).map_err(redb::Error::from),
        // Nothing was written yet.
        Err(TableError::TableDoesNotExist(_)) => Ok(T::default()),
        Err(error) => Err(error.into()),
    }
}

fn keys_of(
    table: &ReadTable,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<String>, redb::StorageError> {
    let start = after.filter(|after| *after >= prefix).unwrap_or(prefix);
    let mut keys = Vec::new();
    for entry in table.range(start..)? {
        let (key, _) = entry?;
        let key = key.value();
        if !key.starts_with(prefix) || keys.len() >= limit {
            break;
        }
        if after != Some(key) {
            keys.push(key.to_owned());
        }
    }
    Ok(keys)
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl CommitBatch for Writes {
    type Request = Write;

    const THREAD: &'static str = "postern-kv";
    const REQUESTS_MAX: usize = 256;
    /// One for each write.
    const UNITS_MAX: usize = 1024;

    fn add(&mut self, write: Write) {
        self.writes.push(write);
    }

    fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    fn n_bytes(&self) -> usize {
        self.writes.iter().map(|write| write.change.n_bytes()).sum()
    }

    fn write(&mut self, transaction: &WriteTransaction) -> Result<(), redb::Error> {
        for write in &self.writes {
            let mut table = transaction.open_table(Table::new(&write.table))?;
            self.changed.push(apply(&mut table, &write.change)?);
        }
        Ok(())
    }

    fn on_committed(self) {
        for (write, changed) in self.writes.into_iter().zip(self.changed) {
            // A caller that has gone away does not need to hear it.
            drop(write.done.send(Ok(changed)));
        }
    }

    fn on_failed(self, error: &StoreError) {
        for write in self.writes {
            drop(write.done.send(Err(error.clone())));
        }
    }
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
mod tests;
