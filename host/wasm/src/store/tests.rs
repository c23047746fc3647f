//! What the store keeps, and what it does when its disk fails.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    time::Duration,
};

use postern_core::{Kind, Retry};
use postern_system::clock;
use redb::{Database, StorageBackend, backends::FileBackend};

use super::*;

/// A file on a disk that fails as it is told.
#[derive(Debug)]
struct Disk {
    file: FileBackend,
    faults: Arc<DiskFaults>,
}

#[derive(Debug, Default)]
struct DiskFaults {
    /// The file cannot grow, as most file systems have it.
    is_full: AtomicBool,
    is_unreadable: AtomicBool,
}

fn store() -> (tempfile::TempDir, Store, Arc<str>) {
    let folder = tempfile::TempDir::new().unwrap();
    let store = Store::open(&folder.path().join("kv.redb"), &Arc::default()).unwrap();
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

#[tokio::test]
async fn a_full_disk_refuses_writes_and_is_written_again_when_there_is_room() {
    let (_folder, store, health, faults) = store_on_a_disk();
    let table: Arc<str> = "plugin/test".into();
    store.write(&table, set("before", b"1")).await.unwrap();
    faults.is_full.store(true, SeqCst);
    let error = store
        .write(&table, set("lost", &large()))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::ResourceExhausted, "{error}");
    let Retry::After(pause) = error.to_error().retry else {
        panic!("{error} does not say when to come again");
    };
    assert!(pause <= Duration::from_secs(5));
    assert!(health.failures() > 0);
    // Later writes meet the same, and what was written can be read.
    let error = store
        .write(&table, set("lost", &large()))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::ResourceExhausted, "{error}");
    let value = patiently(async || store.get(&table, "before".to_owned()).await).await;
    assert_eq!(value.as_deref(), Some(&b"1"[..]));
    faults.is_full.store(false, SeqCst);
    patiently(async || store.write(&table, set("after", &large())).await).await;
    assert!(!health.is_failed() && health.reopened() > 0);
    let keys = store.keys(&table, String::new(), None, 10).await.unwrap();
    assert_eq!(keys, ["after", "before"]);
    assert_eq!(store.entries(&TRIALS.into()).await.unwrap(), []);
}

#[tokio::test]
async fn the_store_recovers_without_anybody_asking() {
    let (_folder, store, health, faults) = store_on_a_disk();
    let mut outage = health.outage();
    faults.is_full.store(true, SeqCst);
    let table: Arc<str> = "plugin/test".into();
    store
        .write(&table, set("lost", &large()))
        .await
        .unwrap_err();
    assert!(outage.wait_for(Option::is_some).await.is_ok());
    faults.is_full.store(false, SeqCst);
    let recovered = outage.wait_for(Option::is_none);
    let recovered = tokio::time::timeout(PATIENCE, recovered).await;
    assert!(recovered.is_ok(), "it stays failed: {:?}", health.outage());
    store.write(&table, set("after", b"2")).await.unwrap();
}

#[tokio::test]
async fn a_read_of_an_opening_before_the_last_begins_no_second_outage() {
    let (_folder, store, health, faults) = store_on_a_disk();
    let table: Arc<str> = "plugin/test".into();
    let before = store.file.opened().unwrap().opening;
    faults.is_full.store(true, SeqCst);
    store
        .write(&table, set("lost", &large()))
        .await
        .unwrap_err();
    faults.is_full.store(false, SeqCst);
    patiently(async || store.write(&table, set("after", b"1")).await).await;
    let n_failures = health.failures();
    let failed = |opening| {
        let error = io::Error::other("a read that was under way");
        let queue = store.file.queue();
        drop(queue.on_failed_read(opening, redb::Error::Io(error)));
    };
    // A read that began before the outage and is told of after it.
    failed(before);
    store.write(&table, set("later", b"2")).await.unwrap();
    assert_eq!(health.failures(), n_failures);
    let latest = store.file.opened().unwrap().opening;
    failed(latest);
    let error = store.write(&table, set("lost", b"3")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    assert_eq!(health.failures(), n_failures + 1);
}

#[tokio::test]
async fn a_failed_read_of_a_snapshot_has_the_file_opened_again() {
    let (_folder, store, health, faults) = store_on_a_disk();
    let table: Arc<str> = "plugin/test".into();
    store.write(&table, set("k", b"1")).await.unwrap();
    let snapshot = store.snapshot().unwrap();
    let mut outage = health.outage();
    faults.is_unreadable.store(true, SeqCst);
    let read = || snapshot.get(&table, "k".to_owned());
    let error = read().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    faults.is_unreadable.store(false, SeqCst);
    // Nobody else asks the store for anything.
    for is_failed in [true, false] {
        let becomes = outage.wait_for(|outage| outage.is_some() == is_failed);
        let becomes = tokio::time::timeout(PATIENCE, becomes).await;
        assert!(becomes.is_ok(), "the store never becomes {is_failed}");
    }
    assert!(health.reopened() > 0);
    let value = store.get(&table, "k".to_owned()).await.unwrap();
    assert_eq!(value.as_deref(), Some(&b"1"[..]));
    // The snapshot is of an opening before, and begins no second outage.
    let n_failures = health.failures();
    assert_eq!(read().await.unwrap_err().kind(), Kind::Unavailable);
    store.write(&table, set("k", b"2")).await.unwrap();
    assert_eq!(health.failures(), n_failures);
}

#[tokio::test]
async fn a_store_ends_while_somebody_holds_a_snapshot_of_it() {
    let (_folder, store, table) = store();
    store.write(&table, set("k", b"1")).await.unwrap();
    let snapshot = store.snapshot().unwrap();
    let ended = tokio::task::spawn_blocking(move || drop(store));
    let ended = tokio::time::timeout(PATIENCE, ended).await;
    assert!(ended.is_ok(), "its writer waits for the snapshot");
    drop(snapshot);
}

/// A store whose disk can fail. Nothing of it is read from memory.
fn store_on_a_disk() -> (tempfile::TempDir, Store, Arc<StoreHealth>, Arc<DiskFaults>) {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("kv.redb");
    let (health, faults) = (Arc::<StoreHealth>::default(), Arc::<DiskFaults>::default());
    let (file, told) = (path.clone(), Arc::clone(&faults));
    let open = move || {
        let mut options = std::fs::File::options();
        let options = options.read(true).write(true).create(true).truncate(false);
        let disk = Disk {
            file: FileBackend::new(options.open(&file)?)?,
            faults: Arc::clone(&told),
        };
        Database::builder()
            .set_cache_size(0)
            .create_with_backend(disk)
    };
    let file = GroupCommit::open_with::<Writes>(&path, &health, open).unwrap();
    (folder, Store { file }, health, faults)
}

/// More than the file has room for as it is.
fn large() -> Vec<u8> {
    vec![7; 8 * 1024 * 1024]
}

/// Until it succeeds: the file may be closed for a moment.
async fn patiently<T>(ask: impl AsyncFn() -> Result<T, StoreError>) -> T {
    let begun = clock::now();
    loop {
        match ask().await {
            Ok(value) => return value,
            Err(error) => assert!(clock::since(begun) < PATIENCE, "still {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

const PATIENCE: Duration = Duration::from_secs(30);
const TRIALS: &str = "gateway/store/trial";

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.faults.is_unreadable.load(SeqCst) {
            return Err(io::Error::other("a sector cannot be read"));
        }
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.faults.is_full.load(SeqCst) && len > self.file.len()? {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}
