//! What a copy sees of its own writes, of the table, and of what others write meanwhile.

use std::sync::Arc;

use postern_core::Kind;

use super::*;
use crate::{
    kv_table::{KvStore, Table},
    store::Store,
};

fn table() -> (tempfile::TempDir, Table) {
    let folder = tempfile::TempDir::new().unwrap();
    let store = Store::open(&folder.path().join("kv.redb"), &Arc::default()).unwrap();
    let store = KvStore::Local(Arc::new(store));
    (folder, Table::new(store, "users", None))
}

fn store_of(table: &Table) -> &Arc<Store> {
    match &table.store {
        KvStore::Local(store) => store,
        KvStore::Other(other) => panic!("{other:?} is no file"),
    }
}

fn over(table: &Table) -> KvOverlay {
    KvOverlay::new(table.clone())
}

fn set(key: &str, value: &str) -> Change {
    Change::Set {
        key: key.to_owned(),
        value: value.into(),
    }
}

fn delete(key: &str) -> Change {
    Change::Delete {
        key: key.to_owned(),
    }
}

fn swap(key: &str, expected: Option<&str>, value: Option<&str>) -> Change {
    Change::Swap {
        key: key.to_owned(),
        expected: expected.map(Into::into),
        value: value.map(Into::into),
    }
}

async fn put(table: &Table, key: &str, value: &str) {
    let written = table.write(set(key, value));
    assert!(written.await.unwrap());
}

async fn real(table: &Table) -> Vec<(String, Vec<u8>)> {
    store_of(table).entries(&table.name).await.unwrap()
}

async fn value(overlay: &KvOverlay, key: &str) -> Option<String> {
    let value = overlay.get(key.to_owned()).await.unwrap();
    value.map(|value| String::from_utf8(value).unwrap())
}

async fn keys(overlay: &KvOverlay, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    let after = after.map(ToOwned::to_owned);
    overlay.keys(prefix.to_owned(), after, limit).await.unwrap()
}

#[tokio::test]
async fn a_copy_sees_its_own_writes_and_the_table_sees_none() {
    let (_folder, table) = table();
    put(&table, "a", "1").await;
    put(&table, "b", "2").await;
    let before = real(&table).await;
    let overlay = over(&table);
    assert_eq!(value(&overlay, "a").await.as_deref(), Some("1"));
    assert!(overlay.write(set("a", "7")).await.unwrap());
    assert!(overlay.write(delete("b")).await.unwrap());
    assert!(!overlay.write(delete("b")).await.unwrap(), "it is gone");
    assert!(!overlay.write(delete("none")).await.unwrap());
    assert!(overlay.write(set("c", "3")).await.unwrap());
    assert_eq!(value(&overlay, "a").await.as_deref(), Some("7"));
    assert_eq!(value(&overlay, "b").await, None);
    assert_eq!(value(&overlay, "c").await.as_deref(), Some("3"));
    assert_eq!(real(&table).await, before);
    assert_eq!(
        value(&over(&table), "c").await,
        None,
        "nor does the next copy"
    );
}

#[tokio::test]
async fn a_swap_compares_with_what_the_copy_sees() {
    let (_folder, table) = table();
    put(&table, "a", "1").await;
    let overlay = over(&table);
    assert!(!overlay.write(swap("a", None, Some("2"))).await.unwrap());
    assert!(
        overlay
            .write(swap("a", Some("1"), Some("2")))
            .await
            .unwrap()
    );
    assert!(
        !overlay
            .write(swap("a", Some("1"), Some("3")))
            .await
            .unwrap()
    );
    assert!(overlay.write(swap("a", Some("2"), None)).await.unwrap());
    assert!(overlay.write(swap("a", None, Some("4"))).await.unwrap());
    assert_eq!(value(&overlay, "a").await.as_deref(), Some("4"));
}

#[tokio::test]
async fn what_others_write_meanwhile_is_not_seen() {
    let (_folder, table) = table();
    put(&table, "n", "1").await;
    let overlay = over(&table);
    // The call itself, which is faster than its copy.
    put(&table, "n", "2").await;
    put(&table, "new", "1").await;
    assert_eq!(value(&overlay, "n").await.as_deref(), Some("1"));
    assert_eq!(keys(&overlay, "", None, 10).await, ["n"]);
    assert!(
        overlay
            .write(swap("n", Some("1"), Some("2")))
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn keys_are_those_of_both_in_their_order() {
    let (_folder, table) = table();
    for key in ["a", "u/1", "u/3", "u/5", "u/7", "v"] {
        put(&table, key, "x").await;
    }
    let overlay = over(&table);
    for key in ["u/2", "u/9", "w"] {
        assert!(overlay.write(set(key, "y")).await.unwrap());
    }
    for key in ["u/1", "u/5"] {
        assert!(overlay.write(delete(key)).await.unwrap());
    }
    assert_eq!(
        keys(&overlay, "u/", None, 10).await,
        ["u/2", "u/3", "u/7", "u/9"]
    );
    assert_eq!(keys(&overlay, "u/", None, 2).await, ["u/2", "u/3"]);
    assert_eq!(keys(&overlay, "u/", Some("u/2"), 2).await, ["u/3", "u/7"]);
    assert_eq!(keys(&overlay, "u/", Some("u/9"), 2).await, [""; 0]);
    assert_eq!(keys(&overlay, "u/", Some("a"), 1).await, ["u/2"]);
    assert_eq!(keys(&overlay, "", None, 0).await, [""; 0]);
}

#[tokio::test]
async fn what_a_copy_writes_is_bounded_and_the_refusal_says_by_what() {
    let (_folder, table) = table();
    let overlay = over(&table);
    for n in 0..KEYS_OF_COPY_MAX {
        assert!(overlay.write(set(&n.to_string(), "x")).await.unwrap());
    }
    let full = overlay.write(set("one more", "x")).await.unwrap_err();
    assert_eq!(full.kind(), Kind::ResourceExhausted);
    assert!(full.to_string().contains("written 1001 keys"), "{full}");
    assert_eq!(value(&overlay, "one more").await, None);
    assert!(overlay.write(set("0", "y")).await.unwrap(), "the same key");

    let overlay = over(&table);
    let half = "x".repeat(BYTES_OF_COPY_MAX / 2 - 1);
    assert!(overlay.write(set("a", &half)).await.unwrap());
    assert!(
        overlay.write(set("b", &half)).await.unwrap(),
        "at the bound"
    );
    let full = overlay.write(set("c", "")).await.unwrap_err();
    assert!(full.to_string().contains("of 2097153 octets"), "{full}");
    // A value that is gone makes room, its key does not.
    assert!(overlay.write(delete("a")).await.unwrap());
    assert!(overlay.write(set("c", "x")).await.unwrap());
}
