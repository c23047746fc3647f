//! Against real servers, which each test starts for itself.

mod away;
mod channels;
mod cluster;
mod encrypted;
mod key_values;
mod sentinel;
mod server;
mod streams;

use std::{sync::Arc, time::Duration};

use postern_core::{
    Error,
    key_value::{KeyChange, KeyValueStore},
};
use postern_system::clock;

use self::server::Server;
use super::*;

/// A client of `server`, with what `change` makes of the defaults.
fn store(server: &Server, change: impl FnOnce(&mut RedisConfig)) -> Arc<RedisStore> {
    store_at(&server.url(), change)
}

fn store_at(url: &str, change: impl FnOnce(&mut RedisConfig)) -> Arc<RedisStore> {
    let mut config = RedisConfig::new("main", url.parse().expect("an address"));
    change(&mut config);
    RedisStore::open(config, Arc::default())
}

fn set(key: &str, value: &str) -> KeyChange {
    KeyChange::Set {
        key: key.to_owned(),
        value: value.into(),
    }
}

async fn put(store: &RedisStore, key: &str, value: &str) -> Result<bool, Error> {
    store.key_values().write("t", set(key, value), None).await
}

async fn value(store: &RedisStore, key: &str) -> Result<Option<String>, Error> {
    let value = store.key_values().get("t", key).await?;
    Ok(value.map(|value| String::from_utf8(value).expect("text")))
}

/// Until it is so.
async fn patiently(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = clock::now();
    while !is_so().await {
        assert!(clock::since(begun) < PATIENCE, "still not: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
