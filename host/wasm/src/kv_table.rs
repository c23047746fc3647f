//! A plugin's table of the key/value store, and what keys, values and lists may be, whoever asks for them.

use std::{sync::Arc, time::Duration};

use postern_core::{BoxFuture, Error, Kind, key_value};

pub(crate) use postern_core::key_value::KEYS_MAX;

use crate::{
    bindings::Failure,
    convert::failure,
    named_stores::NamedStores,
    store::{Change, OverlaidTable, ReadStore as _, Store, StoreError, StoreSnapshot},
};

/// A plugin's view of the store.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) store: KvStore,
    pub(crate) name: Arc<str>,
}

/// Where a table lies.
#[derive(Debug, Clone)]
pub(crate) enum KvStore {
    /// In the gateway's own file.
    Local(Arc<Store>),
    Other(OtherStore),
}

/// A store of others, by its name in the configuration.
#[derive(Debug, Clone)]
pub(crate) struct OtherStore {
    pub(crate) stores: Arc<NamedStores>,
    pub(crate) name: Arc<str>,
    /// For how long it keeps what is set.
    pub(crate) ttl: Option<Duration>,
}

impl Table {
    /// The table of `plugin`, or the one that its manifest says it shares.
    pub(crate) fn new(store: KvStore, plugin: &str, shared: Option<&str>) -> Self {
        let name = shared.map_or_else(
            || format!("plugin/{plugin}"),
            |name| format!("shared/{name}"),
        );
        Self {
            store,
            name: name.into(),
        }
    }

    pub(crate) async fn get(&self, key: String) -> Result<Option<Vec<u8>>, StoreError> {
        match &self.store {
            KvStore::Local(store) => store.get(&self.name, key).await,
            KvStore::Other(other) => {
                let store = other.stores.find(&other.name)?;
                Ok(store.get(&self.name, &key).await?)
            }
        }
    }

    /// As `Store::keys`.
    pub(crate) async fn keys(
        &self,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        match &self.store {
            KvStore::Local(store) => store.keys(&self.name, prefix, after, limit).await,
            KvStore::Other(other) => {
                let store = other.stores.find(&other.name)?;
                let keys = store.keys(&self.name, &prefix, after.as_deref(), limit);
                Ok(keys.await?)
            }
        }
    }

    /// As `Store::write`.
    pub(crate) async fn write(&self, change: Change) -> Result<bool, StoreError> {
        match &self.store {
            KvStore::Local(store) => store.write(&self.name, change).await,
            KvStore::Other(other) => {
                let store = other.stores.find(&other.name)?;
                Ok(store.write(&self.name, change, other.ttl).await?)
            }
        }
    }
}

impl OverlaidTable for Table {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn snapshot(&self) -> Option<Result<StoreSnapshot, StoreError>> {
        match &self.store {
            KvStore::Local(store) => Some(store.snapshot()),
            KvStore::Other(_) => None,
        }
    }

    fn get(&self, key: String) -> BoxFuture<Result<Option<Vec<u8>>, StoreError>> {
        let table = self.clone();
        Box::pin(async move { Self::get(&table, key).await })
    }

    fn keys(
        &self,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<Result<Vec<String>, StoreError>> {
        let table = self.clone();
        Box::pin(async move { Self::keys(&table, prefix, after, limit).await })
    }
}

pub(crate) fn check_key(key: &str) -> Result<(), Failure> {
    key_value::check_key(key).map_err(refused)
}

pub(crate) fn check_value(length: usize) -> Result<(), Failure> {
    key_value::check_value(length).map_err(refused)
}

pub(crate) fn no_store() -> Failure {
    failure(Kind::Unavailable, "this gateway has no store")
}

pub(crate) fn invalid(message: String) -> Failure {
    failure(Kind::FailedPrecondition, message)
}

fn refused(error: Error) -> Failure {
    failure(error.kind, error.message)
}
