//! What the gateway itself keeps over a restart, in the file of the plugins' store. Its tables have
//! names that no plugin can have.

use std::sync::Arc;

use crate::store::{Change, Store, StoreError};

/// One table of records by key. Clones share it; the store stays open while one is there.
#[derive(Clone)]
pub struct Records {
    store: Arc<Store>,
    table: Arc<str>,
}

impl Records {
    pub(crate) fn new(store: Arc<Store>, table: &str) -> Self {
        Self {
            store,
            table: format!("gateway/{table}").into(),
        }
    }

    /// Every record, by key.
    ///
    /// # Errors
    /// What the store says.
    pub async fn load_all(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.store.entries(&self.table).await
    }

    /// Sets the record of `key`; it is on disk when this returns. Writes that wait at one time are
    /// committed together.
    ///
    /// # Errors
    /// What the store says.
    pub async fn put(&self, key: String, value: Vec<u8>) -> Result<(), StoreError> {
        let change = Change::Set { key, value };
        self.store.write(&self.table, change).await.map(|_| ())
    }

    /// Removes the record of `key`. Says whether there was one.
    ///
    /// # Errors
    /// What the store says.
    pub async fn delete(&self, key: String) -> Result<bool, StoreError> {
        self.store.write(&self.table, Change::Delete { key }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn records_outlive_the_store_and_are_apart_from_those_of_plugins() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("kv.redb");
        let store = Arc::new(Store::open(&path, &Arc::default()).unwrap());
        let records = Records::new(Arc::clone(&store), "leases");
        assert_eq!(records.load_all().await.unwrap(), []);
        records.put("b".to_owned(), b"2".to_vec()).await.unwrap();
        records.put("a".to_owned(), b"1".to_vec()).await.unwrap();
        records.put("c".to_owned(), b"3".to_vec()).await.unwrap();
        assert!(records.delete("c".to_owned()).await.unwrap());
        assert!(!records.delete("c".to_owned()).await.unwrap());
        let other = Records::new(store, "other");
        assert_eq!(other.load_all().await.unwrap(), []);
        drop((records, other));
        let store = Arc::new(Store::open(&path, &Arc::default()).unwrap());
        let all = Records::new(store, "leases").load_all().await.unwrap();
        let expected = [("a", b"1"), ("b", b"2")];
        assert_eq!(
            all,
            expected.map(|(key, value)| (key.to_owned(), value.to_vec()))
        );
    }
}
