//! The store as it was at one moment. Later writes do not reach it; the file keeps what it replaces until the
//! snapshot is dropped.

use std::sync::Arc;

use redb::{ReadTransaction, ReadableDatabase as _};

use super::{ReadTable, Store, StoreError, failure::fault, keys_of, read_within, value_of};

/// A reader that stays at its moment.
pub(crate) struct StoreSnapshot(ReadTransaction);

impl Store {
    /// The store as it is. What it looks at is in memory but for one page at most, and a commit that is under
    /// way is not waited for.
    ///
    /// # Errors
    /// As a read.
    pub(crate) fn snapshot(&self) -> Result<Arc<StoreSnapshot>, StoreError> {
        let opened = self.file.opened().ok_or_else(|| self.health.refusal())?;
        let transaction = opened.database.begin_read();
        let transaction =
            transaction.map_err(|error| self.on_failed_read(error.into(), opened.opening))?;
        Ok(Arc::new(StoreSnapshot(transaction)))
    }
}

impl StoreSnapshot {
    /// As `Store::get`.
    pub(crate) async fn get(
        self: &Arc<Self>,
        table: &Arc<str>,
        key: String,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(table, move |table| value_of(table, &key)).await
    }

    /// As `Store::keys`.
    pub(crate) async fn keys(
        self: &Arc<Self>,
        table: &Arc<str>,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        let scan = move |table: &ReadTable| keys_of(table, &prefix, after.as_deref(), limit);
        self.read(table, scan).await
    }

    async fn read<T, F>(self: &Arc<Self>, table: &Arc<str>, read: F) -> Result<T, StoreError>
    where
        T: Default + Send + 'static,
        F: FnOnce(&ReadTable) -> Result<T, redb::StorageError> + Send + 'static,
    {
        let (snapshot, table) = (Arc::clone(self), Arc::clone(table));
        let task = tokio::task::spawn_blocking(move || read_within(&snapshot.0, &table, read));
        let result = task.await.map_err(|_| StoreError::Closed)?;
        result.map_err(|error| match fault(&error) {
            Some(fault) => StoreError::failed(fault, error.to_string().into()),
            None => StoreError::Database(Arc::new(error)),
        })
    }
}
