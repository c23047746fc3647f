//! Leases in a real file: what is kept over a restart, and what is not.

use std::path::Path;

use postern_core::registry::{Registered, directory::RegisterChange};
use postern_wasm::{Runtime, RuntimeConfig};

use super::{super::leases::Restored, *};
use crate::directory::lease_store::EntryChange;

fn runtime(folder: &Path) -> Arc<Runtime> {
    let config = RuntimeConfig {
        data_dir: folder.to_owned(),
        ..RuntimeConfig::default()
    };
    Runtime::new(config).expect("a runtime")
}

/// One life of a gateway, which ends in order after `live`.
async fn live(runtime: &Arc<Runtime>, live: impl AsyncFnOnce(&Arc<SharedDirectory>)) -> Restored {
    let directory = directory(|_| ());
    let records = runtime.records("leases").expect("a store");
    let restored = directory.restore(records).await.expect("readable");
    let shutdown = Shutdown::new();
    let running = tokio::spawn(Arc::clone(&directory).run(shutdown.clone()));
    live(&directory).await;
    shutdown.drain();
    running.await.expect("it ends");
    restored
}

#[tokio::test]
async fn a_restart_keeps_what_is_still_leased_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = runtime(folder.path());
    let restored = live(&runtime, async |directory: &Arc<SharedDirectory>| {
        register(directory, "ann", "long", Duration::from_secs(60));
        register(directory, "ann", "short", Duration::from_secs(1));
        register(directory, "bob", "left", Duration::from_secs(60));
        directory.set_local("users", vec![LocalService::new("s")]);
        directory.drain("long").expect("it is there");
        // It is written while the gateway runs, too.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let owner = Owner::Registered("bob".into());
        let left = directory.change(|state, _| {
            let life = Incarnation(0);
            state
                .machine
                .unregister(&owner, &InstanceId::new("left"), life)
        });
        directory.lease_store.mark(&left.expect("it was there").key);
    })
    .await;
    assert_eq!(restored, Restored::default());
    // The file is closed and opened again, as by a new process.
    runtime.shutdown();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let restored = live(&runtime, async |directory: &Arc<SharedDirectory>| {
        assert_eq!(weights(directory, "s"), [("long".to_owned(), 100)]);
        let view = directory.view();
        let left = view.services[0].instances[0]
            .expires_in_ms
            .expect("a lease");
        assert!((50_000..59_500).contains(&left), "{left} ms are left");
        assert_eq!(view.services[0].instances[0].owner, "provider ann");
    })
    .await;
    let expected = Restored {
        restored: 1,
        expired: 1,
        refused: 0,
    };
    assert_eq!(restored, expected);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_left_out_and_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = runtime(folder.path());
    let records = runtime.records("leases").expect("a store");
    records
        .put("x".to_owned(), b"{".to_vec())
        .await
        .expect("written");
    let restored = live(&runtime, async |_: &Arc<SharedDirectory>| ()).await;
    assert_eq!((restored.restored, restored.refused), (0, 1));
    assert_eq!(records.load_all().await.expect("readable"), []);
}

#[tokio::test]
async fn a_change_that_cannot_be_written_leaves_the_directory_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = runtime(folder.path());
    live(&runtime, async |directory: &Arc<SharedDirectory>| {
        let key = |instance: &str| EntryKey {
            owner: Owner::Registered("ann".into()),
            instance: InstanceId::new(instance),
        };
        let put = |instance: &str, weight: u32| {
            let mut draft = Draft::new(instance, "s");
            draft.addresses = vec![address("tcp://10.0.0.1:9090")];
            draft.weight = weight;
            EntryChange::Put {
                entry: Entry::new(&draft).expect("an entry"),
                ttl: Ttl::default(),
            }
        };
        let remove = || EntryChange::Remove {
            incarnation: Incarnation(0),
        };
        let taken = directory.change_entry(&key("a"), put("a", 100)).await;
        taken.expect("written");
        let lease = || directory.state.lock().machine.lease(&key("a"));
        let (before, revision) = (lease(), directory.snapshot().revision());
        directory.lease_store.close();
        for (instance, change) in [
            ("a", put("a", 50)),
            ("a", put("a", 100)),
            ("a", remove()),
            ("b", put("b", 1)),
        ] {
            let refused = directory.change_entry(&key(instance), change).await;
            let error = refused.expect_err("it is not on disk");
            assert_eq!(error.kind, Kind::Unavailable, "{error}");
        }
        assert_eq!(weights(directory, "s"), [("a".to_owned(), 100)]);
        assert_eq!(directory.snapshot().revision(), revision);
        assert_eq!(lease(), before);
    })
    .await;
}

#[tokio::test]
async fn changes_of_one_entry_count_one_after_the_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = runtime(folder.path());
    live(&runtime, async |directory: &Arc<SharedDirectory>| {
        let key = EntryKey {
            owner: Owner::Registered("ann".into()),
            instance: InstanceId::new("a"),
        };
        let put = |incarnation: u64| {
            let mut draft = Draft::new("a", "s");
            draft.incarnation = Incarnation(incarnation);
            directory.change_entry(
                &key,
                EntryChange::Put {
                    entry: Entry::new(&draft).expect("an entry"),
                    ttl: Ttl::default(),
                },
            )
        };
        let remove = EntryChange::Remove {
            incarnation: Incarnation(2),
        };
        // All are asked for before the first is on disk; the life before the last is too late.
        let remove = directory.change_entry(&key, remove);
        let (first, second, late, gone) = tokio::join!(put(1), put(2), put(1), remove);
        let change = |taken: Option<Registered>| taken.expect("a registration").change;
        assert_eq!(change(first.expect("taken")), RegisterChange::Added);
        assert_eq!(change(second.expect("taken")), RegisterChange::Changed);
        assert_eq!(
            late.expect_err("an older life").kind,
            Kind::FailedPrecondition
        );
        assert_eq!(gone.expect("it was there"), None);
        assert_eq!(weights(directory, "s"), []);
    })
    .await;
    runtime.shutdown();
    let restored = live(&runtime, async |_: &Arc<SharedDirectory>| ()).await;
    assert_eq!(restored, Restored::default(), "nothing is left on disk");
}
