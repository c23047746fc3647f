//! Who may register, renew and remove what, and until when.

mod arbitrary;
mod bounds;
mod peers;
mod properties;
mod reading;
mod watching;

use std::{collections::BTreeSet, slice};

use super::{table::Table, *};
use crate::{
    registry::{
        entry::Draft,
        query::Caller,
        version::{Range, Version},
    },
    testing::epoch,
};

#[test]
fn the_same_registration_renews_and_changes_nothing_else() {
    let mut directory = directory();
    let registration = register(&mut directory, 0, &provider("p"), plain("a"));
    assert_eq!(registration.map(|r| r.change), Ok(RegisterChange::Added));
    fail(&mut directory, &provider("p"), "a");
    let before = directory.cursor();
    let registration = register(&mut directory, 7, &provider("p"), plain("a")).expect("again");
    assert_eq!(registration.change, RegisterChange::Renewed);
    assert_eq!(registration.lease.expires, Some(at(7 + 60)));
    assert_eq!(directory.cursor(), before);
    // Consul once reset the status of a check that was registered again (consul pull 4904).
    assert_eq!(health(&directory, "a"), Some(Health::Down));
}

#[test]
fn other_content_of_the_same_life_replaces() {
    let mut directory = directory();
    register(&mut directory, 0, &provider("p"), plain("a")).expect("new");
    let heavier = entry("a", |draft| draft.weight = 7);
    let registration = register(&mut directory, 1, &provider("p"), heavier).expect("heavier");
    assert_eq!(registration.change, RegisterChange::Changed);
    assert_eq!(directory.cursor().revision, 2);
    assert_eq!(found(&directory)[0].record.entry.weight, 7);
}

#[test]
fn a_later_life_wins_and_an_older_one_is_refused_by_name() {
    let mut directory = directory();
    let life = |n| entry("a", move |draft| draft.incarnation = Incarnation(n));
    let owner = provider("p");
    register(&mut directory, 0, &owner, life(1)).expect("first life");
    fail(&mut directory, &owner, "a");
    register(&mut directory, 1, &owner, life(2)).expect("second life");
    assert_eq!(health(&directory, "a"), Some(Health::Up));

    let (given, held) = (Incarnation(1), Incarnation(2));
    let stale = RegisterError::StaleIncarnation { given, held };
    assert_eq!(
        stale.to_string(),
        "incarnation 1 is older than 2, which is registered"
    );
    assert_eq!(register(&mut directory, 2, &owner, life(1)), Err(stale));
    let stale = RenewError::StaleIncarnation { given, held };
    let name = InstanceId::new("a");
    assert_eq!(
        directory.heartbeat(at(2), &owner, &name, given),
        Err(stale.clone())
    );
    // The end of the old process, told late, must not take the new one out.
    assert_eq!(directory.unregister(&owner, &name, given), Err(stale));
    assert_eq!(
        directory
            .lease(&key_of(&owner, "a"))
            .and_then(|l| l.expires),
        Some(at(61))
    );
    assert!(directory.unregister(&owner, &name, held).is_ok());
    check(&directory);
}

#[test]
fn only_the_owner_renews_replaces_and_removes() {
    let mut directory = directory();
    register(&mut directory, 0, &provider("p"), plain("a")).expect("new");
    let (other, name) = (provider("q"), InstanceId::new("a"));
    let refused = register(&mut directory, 1, &other, plain("a"));
    let instance = name.clone();
    assert_eq!(
        refused,
        Err(RegisterError::HeldByAnother {
            instance: instance.clone()
        })
    );
    let not_held = RenewError::NotHeld { instance };
    let life = Incarnation(9);
    assert_eq!(
        directory.heartbeat(at(1), &other, &name, life),
        Err(not_held.clone())
    );
    assert_eq!(
        directory.unregister(&other, &name, life).err(),
        Some(not_held)
    );
    assert_eq!(directory.heartbeat_all(at(1), &other), 0);
    assert_eq!(
        directory.replace_all_of(at(1), &other, Vec::new()),
        Replaced::default()
    );
    assert_eq!(directory.forget(&other), 0);
    assert_eq!(found(&directory).len(), 1);
}

#[test]
fn nobody_keeps_a_name_from_the_operator() {
    let mut directory = directory();
    register(&mut directory, 0, &provider("p"), plain("users")).expect("free");
    let local = Owner::Local("users".into());
    let registration = directory.register(at(1), &local, plain("users"), None);
    assert_eq!(registration.map(|r| r.change), Ok(RegisterChange::Added));
    let owners: Vec<_> = found(&directory)
        .iter()
        .map(|i| i.record.key.owner.clone())
        .collect();
    assert_eq!(owners, slice::from_ref(&local));
    let name = InstanceId::new("users");
    let beat = directory.heartbeat(at(2), &provider("p"), &name, Incarnation(0));
    assert_eq!(
        beat,
        Err(RenewError::NotHeld {
            instance: name.clone()
        })
    );
    // The other way round, and between two of the operator's, whoever came first stays.
    let held = RegisterError::HeldByAnother { instance: name };
    assert_eq!(
        register(&mut directory, 3, &provider("p"), plain("users")),
        Err(held.clone())
    );
    let refused = directory.register(at(3), &Owner::Config, plain("users"), None);
    assert_eq!(refused, Err(held));
    assert_eq!(directory.poll(at(1000)), []);
    check(&directory);
}

#[test]
fn a_lease_ends_at_its_end_and_not_before() {
    let mut directory = directory();
    register(&mut directory, 0, &provider("p"), plain("a")).expect("new");
    assert_eq!(directory.poll_timeout(), Some((at(60), "lease")));
    let just_before = at(60) - Duration::from_nanos(1);
    assert_eq!(directory.poll(just_before), []);
    let name = InstanceId::new("a");
    let lease = directory.heartbeat(just_before, &provider("p"), &name, Incarnation(0));
    let expires = Some(just_before + Duration::from_secs(60));
    assert_eq!(lease.map(|lease| lease.expires), Ok(expires));
    assert_eq!(directory.poll(at(60)), []);
    assert_eq!(directory.heartbeat_all(at(61), &provider("p")), 1);
    let record = Arc::clone(&found(&directory)[0].record);
    assert_eq!(
        directory.poll(at(121)),
        [DirectoryEvent::LeaseExpired(record)]
    );
    assert_eq!(found(&directory), []);
    assert_eq!(directory.poll_timeout(), None);
    check(&directory);
}

#[test]
fn a_provider_comes_back_by_itself_after_its_lease_ended() {
    let mut directory = directory();
    let owner = provider("p");
    register(&mut directory, 0, &owner, plain("a")).expect("new");
    directory.poll(at(60));
    let name = InstanceId::new("a");
    let beat = directory.heartbeat(at(61), &owner, &name, Incarnation(0));
    assert_eq!(beat, Err(RenewError::NotHeld { instance: name }));
    let registration = register(&mut directory, 61, &owner, plain("a")).expect("free again");
    assert_eq!(registration.change, RegisterChange::Added);
}

#[test]
fn plugins_and_configuration_need_no_lease_and_providers_do() {
    let mut directory = directory();
    let local = Owner::Local("users".into());
    let lease = EntryLease {
        ttl: None,
        expires: None,
    };
    let registration = directory
        .register(at(0), &local, plain("a"), None)
        .expect("new");
    assert_eq!(registration.lease, lease);
    let refused = directory.register(at(0), &provider("p"), plain("b"), None);
    assert_eq!(refused, Err(RegisterError::LeaseNeeded));
    let refused = directory.register(at(0), &peer("gw"), plain("b"), None);
    assert_eq!(refused, Err(RegisterError::OfPeer));
    assert_eq!(directory.poll_timeout(), None);
    assert_eq!(directory.stats().refused, 2);
}

#[test]
fn what_was_leased_before_a_restart_is_kept_for_what_was_left() {
    let mut old = directory();
    register(&mut old, 0, &provider("p"), plain("a")).expect("new");
    old.register(at(0), &Owner::Config, plain("b"), None)
        .expect("new");
    let leased: Vec<_> = old
        .leased()
        .map(|(record, lease)| (Arc::clone(record), lease))
        .collect();
    assert_eq!(leased.len(), 1);
    let (record, lease) = &leased[0];
    let left = lease.expires.expect("leased") - at(20);

    let mut new = directory();
    let (owner, ttl) = (&record.key.owner, lease.ttl.expect("leased"));
    let registration = new.restore(at(20), owner, record.entry.clone(), ttl, left);
    assert_eq!(registration.map(|r| r.lease.expires), Ok(Some(at(60))));
    let name = InstanceId::new("a");
    let lease = new
        .heartbeat(at(50), owner, &name, Incarnation(0))
        .expect("still there");
    assert_eq!(lease.expires, Some(at(110)));
    // No more is left than the whole of it, whatever a store says.
    let registration = new.restore(at(50), owner, plain("c"), ttl, Duration::from_secs(9999));
    assert_eq!(registration.map(|r| r.lease.expires), Ok(Some(at(110))));
}

#[test]
fn a_reload_changes_only_what_differs() {
    let mut directory = directory();
    let told = |entry| ToldEntry { entry, ttl: None };
    let first = vec![told(plain("a")), told(plain("b")), told(plain("c"))];
    let replaced = directory.replace_all_of(at(0), &Owner::Config, first);
    assert_eq!((replaced.added, directory.cursor().revision), (3, 3));
    let heavier = entry("b", |draft| draft.weight = 1);
    let second = vec![
        told(plain("a")),
        told(plain("b")),
        told(heavier),
        told(plain("d")),
    ];
    let replaced = directory.replace_all_of(at(1), &Owner::Config, second);
    let expected = Replaced {
        added: 1,
        changed: 1,
        removed: 1,
        refused: Vec::new(),
    };
    assert_eq!(replaced, expected);
    assert_eq!(directory.cursor().revision, 6);
    assert_eq!(names(&found(&directory)), ["a", "b", "d"]);
    check(&directory);
}

/// A directory with the default settings.
fn directory() -> Directory {
    Directory::new(DirectoryConfig::default(), 1).expect("defaults are good")
}

/// Panics where two parts of the directory do not agree.
pub(in crate::registry) fn check(directory: &Directory) {
    directory.table.check();
    let stats = directory.stats();
    assert_eq!(stats.added - stats.removed, stats.entries as u64);
    assert_eq!(
        stats.added + stats.changed + stats.removed,
        directory.cursor().revision
    );
    let config = &directory.config;
    assert!(stats.entries <= config.entries_max);
    let strangers_max = config.entries_max - config.entries_reserved;
    assert!(directory.table.n_of_strangers() <= strangers_max);
    check_times(directory, &directory.table);
}

/// Who has a lease goes by time, who is stale too, and nobody else.
fn check_times(directory: &Directory, table: &Table) {
    let mut n_leased = 0;
    let mut owners = BTreeSet::new();
    for line in table.lines() {
        let EntryRecord { key, ttl, .. } = &*line.record;
        let by_time = if key.owner.is_own() {
            ttl.is_some()
        } else {
            line.is_stale
        };
        assert_eq!(directory.leases.at(key).is_some(), by_time, "{key:?}");
        n_leased += usize::from(by_time);
        owners.insert(&key.owner);
    }
    assert_eq!(directory.leases.len(), n_leased);
    for owner in owners {
        let limit = if owner.is_own() {
            directory.config.entries_per_owner_max
        } else {
            directory.config.entries_per_peer_max
        };
        assert!(table.n_of(owner) <= limit);
    }
}

fn register(
    directory: &mut Directory,
    secs: u64,
    owner: &Owner,
    entry: Entry,
) -> Result<Registered, RegisterError> {
    directory.register(at(secs), owner, entry, Some(Ttl::default()))
}

/// As many failed probes as mark an instance down.
fn fail(directory: &mut Directory, owner: &Owner, name: &str) {
    for _ in 0..3 {
        directory.on_outcome(
            at(0),
            &key_of(owner, name),
            HealthSource::Probe,
            HealthOutcome::Failure,
        );
    }
}

fn succeed(directory: &mut Directory, owner: &Owner, name: &str) {
    for _ in 0..2 {
        directory.on_outcome(
            at(0),
            &key_of(owner, name),
            HealthSource::Probe,
            HealthOutcome::Success,
        );
    }
}

/// All instances of service `s`.
fn found(directory: &Directory) -> Vec<ServiceInstance> {
    directory.discover(&Query::service("s", Caller::Trusted))
}

fn health(directory: &Directory, name: &str) -> Option<Health> {
    let found = found(directory).into_iter();
    let mut named = found.filter(|instance| *instance.record.key.instance == *name);
    named.next().map(|instance| instance.health)
}

fn names(instances: &[ServiceInstance]) -> Vec<&str> {
    instances
        .iter()
        .map(|instance| instance.record.key.instance.as_str())
        .collect()
}

fn at(secs: u64) -> Instant {
    epoch() + Duration::from_secs(secs)
}

fn provider(name: &str) -> Owner {
    Owner::Registered(name.into())
}

fn peer(name: &str) -> Owner {
    Owner::Peer(name.into())
}

fn key_of(owner: &Owner, instance: &str) -> EntryKey {
    EntryKey {
        owner: owner.clone(),
        instance: InstanceId::new(instance),
    }
}

fn plain(instance: &str) -> Entry {
    entry(instance, |_| {})
}

/// An entry of service `s`.
fn entry(instance: &str, change: impl FnOnce(&mut Draft)) -> Entry {
    let mut draft = Draft::new(instance, "s");
    change(&mut draft);
    Entry::new(&draft).expect("a good entry")
}
