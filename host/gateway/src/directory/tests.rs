//! The directory with a clock, a file and other gateways.

mod network;
mod persistence;

use std::time::Duration;

use postern_core::{
    Kind,
    registry::{Caller, Draft, Entry, Incarnation, InstanceId, Owner, Ttl},
    service::MethodInfo,
};

use super::*;
use crate::config::InstanceSettings;

fn directory(change: impl FnOnce(&mut Config)) -> Arc<SharedDirectory> {
    let mut config = Config::default();
    change(&mut config);
    SharedDirectory::new(&config).expect("good settings")
}

fn address(text: &str) -> Address {
    Address::parse(text).expect("an address")
}

/// Every instance with its weight, by name.
fn weights(directory: &SharedDirectory, service: &str) -> Vec<(String, u32)> {
    let query = Query::service(service, Caller::Trusted);
    let found = directory.discover(&query).into_iter().map(|instance| {
        let entry = &instance.record.entry;
        (entry.instance.to_string(), entry.weight)
    });
    found.collect()
}

/// A registration as the service makes it.
fn register(directory: &SharedDirectory, owner: &str, instance: &str, ttl: Duration) {
    let mut draft = Draft::new(instance, "s");
    draft.addresses = vec![address("tcp://10.0.0.1:9090")];
    let owner = Owner::Registered(owner.into());
    let ttl = Ttl::new(ttl).expect("a time to live");
    let key = EntryKey {
        owner: owner.clone(),
        instance: InstanceId::new(instance),
    };
    let taken = directory.change(|state, now| {
        let entry = Entry::new(&draft).expect("an entry");
        let entry = state.drains.adapt(&owner, entry);
        state.machine.register(now, &owner, entry, Some(ttl))
    });
    taken.expect("taken");
    directory.lease_store.mark(&key);
}

#[test]
fn plugins_have_names_addresses_and_place_from_the_gateway() {
    let directory = directory(|config| {
        config.directory.name = Some("edge-1".to_owned());
        config.directory.zone = Some("a".to_owned());
        config.directory.vnets = vec!["public".to_owned()];
    });
    let mut service = LocalService::new("accounts");
    service.version = Some("1.2".into());
    directory.set_local("users", vec![LocalService::new("users"), service]);
    directory.set_addresses(vec![address("tcp://0.0.0.0:9090")]);
    let found = directory.discover(&Query::service("accounts", Caller::Trusted));
    let entry = &found[0].record.entry;
    assert_eq!(entry.instance.as_str(), "edge-1/users/accounts");
    assert_eq!(
        entry.version.as_ref().map(ToString::to_string).as_deref(),
        Some("1.2.0")
    );
    assert_eq!(entry.addresses, [address("tcp://0.0.0.0:9090")]);
    assert_eq!(entry.zone.as_deref(), Some("a"));
    assert!(entry.vnets.contains("public"));
    assert_eq!(
        weights(&directory, "users"),
        [("edge-1/users".to_owned(), 100)]
    );
    assert_eq!(directory.remove_local("users"), 2);
    assert_eq!(directory.snapshot().services().len(), 0);
}

#[test]
fn a_service_is_there_without_the_words_that_an_entry_has_no_room_for() {
    let directory = SharedDirectory::new(&Config::default()).expect("good settings");
    let described = |summary_bytes: usize| {
        let method = |n: usize| {
            let summary = "x".repeat(summary_bytes);
            MethodInfo::unary(format!("m{n}"), true).with_summary(summary)
        };
        let mut service = LocalService::new("users");
        service.methods = Some((0..30).map(method).collect());
        directory.set_local("users", vec![service]);
        let found = directory.discover(&Query::service("users", Caller::Trusted));
        found[0].record.entry.methods.clone().expect("methods")
    };
    assert!(
        described(100)
            .iter()
            .all(|method| method.summary.len() == 100)
    );
    // 30 of 1,000 octets are more than an entry holds; 1,025 are more than a text.
    for summary_bytes in [1000, 1025] {
        let methods = described(summary_bytes);
        let expected = (0..30).map(|n| MethodInfo::unary(format!("m{n}"), true));
        assert_eq!(methods, expected.collect::<Vec<_>>());
    }
}

#[test]
fn a_configuration_is_applied_to_entries_and_peers_while_running() {
    let mut config = Config::default();
    let instance = |port: u16| InstanceSettings {
        service: Some("s".to_owned()),
        addresses: vec![address(&format!("tcp://10.0.0.1:{port}"))],
        ..InstanceSettings::default()
    };
    config.instances.insert("a".to_owned(), instance(1));
    config.instances.insert("b".to_owned(), instance(2));
    let directory = SharedDirectory::new(&config).expect("good settings");
    let mut changes = directory.changes();
    changes.borrow_and_update();
    config.instances.remove("a");
    config.instances.insert("c".to_owned(), instance(3));
    config.directory.advertise = vec![address("tcp://edge.example:9")];
    config.directory.panic_percent = 10;
    config
        .peers
        .insert("west".to_owned(), PeerSettings::default());
    let applied = directory.apply(&config);
    assert_eq!((applied.instances.added, applied.instances.removed), (1, 1));
    assert_eq!(applied.at_next_start, ["panic-percent"]);
    assert!(changes.has_changed().expect("the directory is there"));
    let names: Vec<_> = weights(&directory, "s")
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["b", "c"]);
    assert_eq!(directory.numbers().peers, 1);
    directory.set_local("users", vec![LocalService::new("users")]);
    let found = directory.discover(&Query::service("users", Caller::Trusted));
    assert_eq!(
        found[0].record.entry.addresses,
        [address("tcp://edge.example:9")]
    );
    config.peers.clear();
    directory.apply(&config);
    assert_eq!(directory.numbers().peers, 0);
}

#[test]
fn a_drained_instance_weighs_nothing_however_often_it_registers() {
    let directory = directory(|_| ());
    let minute = Duration::from_secs(60);
    register(&directory, "ann", "a", minute);
    register(&directory, "ann", "b", minute);
    assert_eq!(
        directory.drain("nobody").map_err(|e| e.kind),
        Err(Kind::NotFound)
    );
    assert_eq!(directory.drain("a").expect("it is there"), 1);
    let expected = |a: u32| vec![("a".to_owned(), a), ("b".to_owned(), 100)];
    assert_eq!(weights(&directory, "s"), expected(0));
    register(&directory, "ann", "a", minute);
    assert_eq!(weights(&directory, "s"), expected(0));
    assert_eq!(directory.view().services[0].usable, 1);
    assert_eq!(
        directory.view().services[0].instances[0].entry.weight,
        100,
        "as it was written"
    );
    assert_eq!(directory.undrain("a").expect("it was drained"), 1);
    assert_eq!(weights(&directory, "s"), expected(100));
    let again = directory.undrain("a").map_err(|error| error.kind);
    assert_eq!(again, Err(Kind::FailedPrecondition));
}

#[tokio::test(start_paused = true)]
async fn a_drain_leaves_the_lease_as_it_is() {
    let directory = directory(|_| ());
    register(&directory, "ann", "a", Duration::from_secs(60));
    tokio::time::advance(Duration::from_secs(20)).await;
    directory.drain("a").expect("it is there");
    let left = directory.view().services[0].instances[0].expires_in_ms;
    assert_eq!(left, Some(40_000));
}

#[tokio::test(start_paused = true)]
async fn a_lease_ends_without_heartbeats_and_not_before() {
    let directory = directory(|_| ());
    let shutdown = Shutdown::new();
    let running = tokio::spawn(Arc::clone(&directory).run(shutdown.clone()));
    register(&directory, "ann", "a", Duration::from_secs(3));
    register(&directory, "ann", "b", Duration::from_secs(10));
    let mut changes = directory.changes();
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let owner = Owner::Registered("ann".into());
        let renewed = directory.change(|state, now| {
            let life = Incarnation(0);
            state
                .machine
                .heartbeat(now, &owner, &InstanceId::new("a"), life)
        });
        renewed.expect("renewed");
    }
    tokio::time::sleep(Duration::from_millis(2990)).await;
    assert_eq!(weights(&directory, "s").len(), 2);
    changes.borrow_and_update();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(weights(&directory, "s"), [("b".to_owned(), 100)]);
    assert!(changes.has_changed().expect("the directory is there"));
    assert_eq!(directory.numbers().expired, 1);
    shutdown.drain();
    running.await.expect("it ends");
}
