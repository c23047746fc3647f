//! The persistent key/value store behind `kv`: one redb file, one table per plugin or shared name.
//!
//! redb makes one durable commit at a time. A single writer thread therefore gathers all writes
//! that wait while a commit is on its way and commits them together, so that sixteen writers cost
//! one sync, not sixteen. A write that has been answered is on disk.
//!
//! After an error of the disk the writer opens the file again (`recovery`); until that has been seen to
//! help, writes are refused with their kind and the time to come again (`failure`).

mod failure;
mod recovery;
mod writer;

use std::{
    fmt,
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
};

use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
    TableError,
};
use tokio::sync::{mpsc, oneshot};

use postern_core::BoxFuture;
pub(crate) use postern_core::key_value::KeyChange as Change;

pub(crate) use self::failure::{BYTES_OF_COPY_MAX, KEYS_OF_COPY_MAX};
use self::{
    failure::fault,
    writer::{ReadFailure, Request, Writer},
};
pub use self::{
    failure::{StoreError, StoreFault, StoreHealth, fault as store_fault},
    recovery::{OpenFile, StoreFile, StoreRecovery},
};

/// Writes that may wait for the writer; a caller beyond waits until one is taken.
const QUEUE_MAX: usize = 1024;
/// Writes in one commit.
const BATCH_MAX: usize = 256;
/// Pages kept in memory, in octets. redb's own default of 1 GiB is for a process of its own.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

type Table<'a> = TableDefinition<'a, &'static str, &'static [u8]>;

/// An open store.
pub(crate) struct Store {
    file: Arc<StoreFile>,
    health: Arc<StoreHealth>,
    writes: Option<mpsc::Sender<Request>>,
    writer: Option<JoinHandle<()>>,
}

struct Write {
    table: Arc<str>,
    change: Change,
    done: oneshot::Sender<Result<bool, StoreError>>,
}

impl Store {
    /// Opens or creates the file; `health` is told when it fails and when that is over.
    pub(crate) fn open(path: &Path, health: &Arc<StoreHealth>) -> Result<Self, StoreError> {
        let owned = path.to_owned();
        Self::open_with(path, health, move || {
            Database::builder()
                .set_cache_size(CACHE_BYTES)
                .create(&owned)
        })
    }

    fn open_with(
        path: &Path,
        health: &Arc<StoreHealth>,
        open: impl Fn() -> Result<Database, DatabaseError> + Send + Sync + 'static,
    ) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Open {
            path: path.to_owned(),
            source: Arc::new(source),
        };
        let thread = |error| StoreError::Thread(Arc::new(error));
        let file = Arc::new(StoreFile::new(open).map_err(failed)?);
        let (writes, queue) = mpsc::channel(QUEUE_MAX);
        let recovery = StoreRecovery::new(Arc::clone(&file), Arc::clone(health));
        let writer = Writer::new(recovery, queue).map_err(thread)?;
        let writer = thread::Builder::new()
            .name("postern-kv".to_owned())
            .spawn(move || writer.run())
            .map_err(thread)?;
        Ok(Self {
            file,
            health: Arc::clone(health),
            writes: Some(writes),
            writer: Some(writer),
        })
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
        let sent = writes.send(Request::Write(write)).await;
        sent.map_err(|_| StoreError::Closed)?;
        result.await.map_err(|_| StoreError::Closed)?
    }

    /// The store as it is. What it looks at is in memory but for one page at most, and a commit that is under
    /// way is not waited for.
    ///
    /// # Errors
    /// As a read.
    pub(crate) fn snapshot(&self) -> Result<StoreSnapshot, StoreError> {
        let opened = self.file.opened().ok_or_else(|| self.health.refusal())?;
        let failed_reads = self.failed_reads(opened.opening);
        match opened.database.begin_read() {
            Ok(transaction) => Ok(StoreSnapshot {
                transaction: Arc::new(transaction),
                failed_reads,
            }),
            Err(error) => Err(failed_reads.tell(error.into())),
        }
    }

    fn failed_reads(&self, opening: u64) -> FailedReads {
        let writes = self.writes.as_ref();
        FailedReads {
            writer: writes.map(mpsc::Sender::downgrade),
            opening,
        }
    }
}

/// The store as it was at one moment. Later writes do not reach it; the file keeps what they replace until it is
/// dropped. Once the file was opened again, nothing more can be read of it.
#[derive(Clone)]
pub(crate) struct StoreSnapshot {
    transaction: Arc<ReadTransaction>,
    failed_reads: FailedReads,
}

/// Where the reads of one opening of the file tell that they met an error of the disk.
#[derive(Clone)]
struct FailedReads {
    /// Weak: the writer ends with the store, and not with its last snapshot.
    writer: Option<mpsc::WeakSender<Request>>,
    opening: u64,
}

impl FailedReads {
    /// Has the file opened again where that may help. Says what the read is told.
    fn tell(&self, error: redb::Error) -> StoreError {
        let Some(fault) = fault(&error) else {
            return StoreError::Database(Arc::new(error));
        };
        let reason: Arc<str> = error.to_string().into();
        let writer = self.writer.as_ref().and_then(mpsc::WeakSender::upgrade);
        if let Some(writer) = writer {
            let failure = ReadFailure {
                fault,
                reason: Arc::clone(&reason),
                opening: self.opening,
            };
            // Where the queue is full, the writes in it meet the same error.
            drop(writer.try_send(Request::ReadFailed(failure)));
        }
        StoreError::failed(fault, reason)
    }
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
        let Some(opened) = self.file.opened() else {
            return Err(self.health.refusal());
        };
        let failed_reads = self.failed_reads(opened.opening);
        let table = Arc::clone(table);
        let task = tokio::task::spawn_blocking(move || {
            let transaction = opened.database.begin_read().map_err(redb::Error::from)?;
            read_within(&transaction, &table, read)
        });
        let result = task.await.map_err(|_| StoreError::Closed)?;
        result.map_err(|error| failed_reads.tell(error))
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
        result.map_err(|error| self.failed_reads.tell(error))
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

impl Drop for Store {
    fn drop(&mut self) {
        self.writes = None;
        if let Some(writer) = self.writer.take() {
            // What was queued has been committed when the thread ends; a panic has been printed.
            drop(writer.join());
        }
    }
}

fn commit<'a>(
    database: &Database,
    batch: impl Iterator<Item = (&'a str, &'a Change)>,
) -> Result<Vec<bool>, redb::Error> {
    let transaction = database.begin_write()?;
    let mut changed = Vec::new();
    for (table, change) in batch {
        let mut table = transaction.open_table(Table::new(table))?;
        changed.push(apply(&mut table, change)?);
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
mod tests;
