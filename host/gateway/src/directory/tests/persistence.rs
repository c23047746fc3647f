//! Leases in a real file: what is kept over a restart, and what is not.

use std::path::Path;

use postern_wasm::{Runtime, RuntimeConfig};

use super::*;

fn runtime(folder: &Path) -> Arc<Runtime> {
    let config = RuntimeConfig {
        data_dir: folder.to_owned(),
        ..RuntimeConfig::default()
    };
    Runtime::new(config).expect("a runtime")
}

/// One life of a gateway, which ends in order after `live`.
async fn live(runtime: &Arc<Runtime>, live: impl AsyncFnOnce(&Arc<Directory>)) -> Restored {
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
    let restored = live(&runtime, async |directory: &Arc<Directory>| {
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
        directory.ledger.mark(&left.expect("it was there").key);
    })
    .await;
    assert_eq!(restored, Restored::default());
    // The file is closed and opened again, as by a new process.
    runtime.shutdown();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let restored = live(&runtime, async |directory: &Arc<Directory>| {
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
    let restored = live(&runtime, async |_: &Arc<Directory>| ()).await;
    assert_eq!((restored.restored, restored.refused), (0, 1));
    assert_eq!(records.load_all().await.expect("readable"), []);
}
