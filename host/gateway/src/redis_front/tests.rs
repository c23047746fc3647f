//! Keys that end, over a store in memory that somebody else writes, too.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use postern_core::{
    BoxFuture, Error,
    key_value::{KeyChange, KeyValueStore},
};

use super::table::{LiveEntry, Tables, now_ms};

#[derive(Debug, Default)]
struct MemoryStore {
    tables: Mutex<BTreeMap<(String, String), Vec<u8>>>,
    n_writes: AtomicUsize,
}

impl MemoryStore {
    fn put(&self, table: &str, key: &str, value: &str) {
        let at = (table.to_owned(), key.to_owned());
        self.tables.lock().insert(at, value.as_bytes().to_vec());
    }

    fn keys_of(&self, table: &str) -> Vec<String> {
        let tables = self.tables.lock();
        let keys = tables.keys().filter(|(of, _)| of == table);
        keys.map(|(_, key)| key.clone()).collect()
    }
}

impl KeyValueStore for MemoryStore {
    fn get(&self, table: &str, key: &str) -> BoxFuture<Result<Option<Vec<u8>>, Error>> {
        let at = (table.to_owned(), key.to_owned());
        let value = self.tables.lock().get(&at).cloned();
        Box::pin(std::future::ready(Ok(value)))
    }

    fn keys(
        &self,
        table: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> BoxFuture<Result<Vec<String>, Error>> {
        let keys = self.keys_of(table).into_iter();
        let keys = keys.filter(|key| key.starts_with(prefix));
        let keys = keys.filter(|key| after.is_none_or(|after| key.as_str() > after));
        let keys = keys.take(limit).collect();
        Box::pin(std::future::ready(Ok(keys)))
    }

    fn write(
        &self,
        table: &str,
        change: KeyChange,
        _: Option<Duration>,
    ) -> BoxFuture<Result<bool, Error>> {
        self.n_writes.fetch_add(1, Ordering::SeqCst);
        let at = (table.to_owned(), change.key().to_owned());
        let mut tables = self.tables.lock();
        let has_changed = match change {
            KeyChange::Set { value, .. } => {
                tables.insert(at, value);
                true
            }
            KeyChange::Delete { .. } => tables.remove(&at).is_some(),
            KeyChange::Swap {
                expected, value, ..
            } => {
                let is_expected = tables.get(&at) == expected.as_ref();
                if is_expected {
                    match value {
                        Some(value) => drop(tables.insert(at, value)),
                        None => drop(tables.remove(&at)),
                    }
                }
                is_expected
            }
        };
        drop(tables);
        Box::pin(std::future::ready(Ok(has_changed)))
    }
}

fn entry(value: &str, ends_at: Option<i64>) -> LiveEntry {
    LiveEntry {
        value: value.as_bytes().to_vec(),
        ends_at,
    }
}

const TABLE: &str = "shared/cache";

#[tokio::test]
async fn a_value_ends_and_its_record_with_it() {
    let store = Arc::new(MemoryStore::default());
    let tables = Tables::new(Arc::clone(&store) as Arc<dyn KeyValueStore>);
    let table = tables.shared("cache");
    let ends_at = Some(now_ms() + 50);
    let wanted = entry("1", ends_at);
    let set = table.update("a", |before| {
        assert_eq!(before, None);
        Ok((Some(Some(wanted.clone())), ()))
    });
    set.await.expect("set");
    assert_eq!(
        table.get("a").await.expect("read"),
        Some(entry("1", ends_at))
    );
    assert_eq!(store.keys_of("shared/cache/expiry"), ["a"]);
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(table.get("a").await.expect("read"), None);
    let swept = async {
        while !store.tables.lock().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let swept = tokio::time::timeout(Duration::from_secs(30), swept).await;
    swept.expect("deleted by itself");
}

#[tokio::test]
async fn what_ends_is_known_again_after_a_restart() {
    let store = Arc::new(MemoryStore::default());
    let ends_at = Some(now_ms() + 60_000);
    for _ in 0..2 {
        let tables = Tables::new(Arc::clone(&store) as Arc<dyn KeyValueStore>);
        let table = tables.shared("cache");
        let wanted = entry("1", ends_at);
        let kept = table.update("a", |before| {
            let is_there = before.is_some();
            Ok(((!is_there).then(|| Some(wanted.clone())), is_there))
        });
        kept.await.expect("read");
        assert_eq!(
            table.get("a").await.expect("read"),
            Some(entry("1", ends_at))
        );
    }
}

#[tokio::test]
async fn a_value_of_somebody_else_does_not_end() {
    let store = Arc::new(MemoryStore::default());
    let tables = Tables::new(Arc::clone(&store) as Arc<dyn KeyValueStore>);
    let table = tables.shared("cache");
    let wanted = entry("1", Some(now_ms() + 60_000));
    let set = table.update("a", |_| Ok((Some(Some(wanted.clone())), ())));
    set.await.expect("set");
    store.put(TABLE, "a", "2");
    assert_eq!(table.get("a").await.expect("read"), Some(entry("2", None)));
}

#[tokio::test]
async fn a_change_begins_again_when_somebody_else_was_faster() {
    let store = Arc::new(MemoryStore::default());
    let tables = Tables::new(Arc::clone(&store) as Arc<dyn KeyValueStore>);
    let table = tables.shared("cache");
    let mut seen = Vec::new();
    let added = table.update("a", |before| {
        let before = before.map_or_else(String::new, |before| {
            String::from_utf8_lossy(&before.value).into_owned()
        });
        seen.push(before.clone());
        if seen.len() == 1 {
            store.put(TABLE, "a", "x");
        }
        Ok((Some(Some(entry(&format!("{before}y"), None))), ()))
    });
    added.await.expect("added");
    assert_eq!(seen, ["", "x"]);
    assert_eq!(table.get("a").await.expect("read"), Some(entry("xy", None)));
}

#[tokio::test]
async fn a_key_without_an_end_costs_one_write() {
    let store = Arc::new(MemoryStore::default());
    let tables = Tables::new(Arc::clone(&store) as Arc<dyn KeyValueStore>);
    let table = tables.shared("cache");
    table.set("a".to_owned(), b"1".to_vec()).await.expect("set");
    assert_eq!(store.n_writes.load(Ordering::SeqCst), 1);
    assert!(table.delete("a".to_owned()).await.expect("deleted"));
    assert!(!table.delete("a".to_owned()).await.expect("not there"));
    assert_eq!(store.n_writes.load(Ordering::SeqCst), 3);
}
