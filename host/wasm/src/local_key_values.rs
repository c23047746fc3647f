//! The gateway's own file as a key/value store for whoever is no plugin.

use std::{sync::Arc, time::Duration};

use postern_core::{
    Blame, BoxFuture, Error, Kind,
    key_value::{KeyChange, KeyValueStore},
};

use crate::store::{ReadStore as _, Store};

/// The store's file. It stays open while this is there.
#[derive(Debug, Clone)]
pub(crate) struct LocalKeyValues(Arc<Store>);

impl LocalKeyValues {
    pub(crate) const fn new(store: Arc<Store>) -> Self {
        Self(store)
    }
}

impl KeyValueStore for LocalKeyValues {
    fn get(&self, table: &str, key: &str) -> BoxFuture<Result<Option<Vec<u8>>, Error>> {
        let (store, table, key) = (Arc::clone(&self.0), Arc::from(table), key.to_owned());
        Box::pin(async move {
            let value = store.get(&table, key).await;
            value.map_err(|error| error.to_error())
        })
    }

    fn keys(
        &self,
        table: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> BoxFuture<Result<Vec<String>, Error>> {
        let (store, table) = (Arc::clone(&self.0), Arc::from(table));
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        Box::pin(async move {
            let keys = store.keys(&table, prefix, after, limit).await;
            keys.map_err(|error| error.to_error())
        })
    }

    fn write(
        &self,
        table: &str,
        change: KeyChange,
        ttl: Option<Duration>,
    ) -> BoxFuture<Result<bool, Error>> {
        let (store, table) = (Arc::clone(&self.0), Arc::from(table));
        Box::pin(async move {
            if ttl.is_some() {
                let message = "the gateway's own store keeps values until they are deleted; use a store of \
                               [stores.NAME] for those that expire";
                return Err(Error::new(Kind::Unimplemented, Blame::Client, message));
            }
            let written = store.write(&table, change).await;
            written.map_err(|error| error.to_error())
        })
    }
}
