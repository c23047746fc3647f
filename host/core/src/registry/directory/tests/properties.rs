//! What holds after any sequence of operations.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::registry::watch::{DirectoryChange, Scope};

/// Few names, so that operations meet.
#[derive(Debug, Clone)]
enum Operation {
    Register {
        owner: Owner,
        entry: Entry,
        ttl: Option<Ttl>,
    },
    Restore {
        owner: Owner,
        entry: Entry,
        left: Duration,
    },
    Heartbeat {
        owner: Owner,
        name: u8,
        incarnation: u64,
    },
    HeartbeatAll {
        owner: Owner,
    },
    Unregister {
        owner: Owner,
        name: u8,
        incarnation: u64,
    },
    ReplaceAll {
        owner: Owner,
        entries: Vec<Entry>,
    },
    Forget {
        owner: Owner,
    },
    Outcome {
        owner: Owner,
        name: u8,
        source: HealthSource,
        outcome: HealthOutcome,
    },
    OfPeer {
        peer: u8,
        word: Word,
    },
    Poll,
    Snapshot,
}

/// What a peer says, or the session with it.
#[derive(Debug, Clone)]
enum Word {
    Connected,
    Lost,
    Snapshot(Vec<Entry>, u8),
    Changes(u8, Vec<PeerChange>, u8),
}

proptest! {
    #[test]
    fn any_operations_keep_what_the_directory_promises(
        steps in prop::collection::vec((operation(), -2_000_i64..40_000), 1..80),
        history_max in 1..20_usize,
        page in 1..5_usize,
    ) {
        let mut directory = small(history_max);
        let mut follower = Follower::new(&directory, page);
        let mut now = at(1_000_000);
        for (operation, millis) in steps {
            let before = directory.cursor();
            // A clock that goes back must do no harm.
            let passed = Duration::from_millis(millis.unsigned_abs());
            now = if millis < 0 { now - passed } else { now + passed };
            apply(&mut directory, now, operation);
            check(&directory);
            prop_assert!(directory.cursor().revision >= before.revision);
            check_visible(&mut directory, before);
            follower.step(&directory);
        }
        // Without anybody, everything that has a lease goes, and nothing else.
        for name in ["0", "1"] {
            directory.on_peer_lost(now, &name.into());
        }
        let end = now + Duration::from_secs(3 * 24 * 60 * 60);
        directory.poll(end);
        check(&directory);
        let of_operator = |record: &Arc<EntryRecord>| record.ttl.is_none() && record.key.owner.is_own();
        prop_assert!(directory.watch_snapshot(&everything()).records.iter().all(of_operator));
        follower.step(&directory);
    }
}

/// A watcher who applies what it is told, in pages, and must always have what is there.
struct Follower {
    watch: WatchQuery,
    cursor: Cursor,
    records: BTreeMap<EntryKey, Arc<EntryRecord>>,
    page: usize,
}

impl Follower {
    fn new(directory: &Directory, page: usize) -> Self {
        let caller = Caller::Holding(["trade".into()].into());
        let query = Query {
            caller,
            ..Query::default()
        };
        Self {
            watch: WatchQuery {
                scope: Scope::All,
                query,
            },
            cursor: directory.cursor(),
            records: BTreeMap::new(),
            page,
        }
    }

    fn step(&mut self, directory: &Directory) {
        while self.cursor != directory.cursor() {
            let before = self.cursor;
            match directory.changes_since(self.cursor, &self.watch, self.page) {
                Changes::TooOld => {
                    let n_missed = directory.cursor().revision - self.cursor.revision;
                    assert!(
                        n_missed > directory.config.history_max as u64,
                        "told so in vain"
                    );
                    let snapshot = directory.watch_snapshot(&self.watch);
                    self.cursor = snapshot.cursor;
                    let records = snapshot.records.into_iter();
                    self.records = records.map(|record| (record.key.clone(), record)).collect();
                }
                Changes::Since { changes, cursor } => {
                    assert!(changes.len() <= self.page);
                    self.cursor = cursor;
                    changes.into_iter().for_each(|change| self.apply(change));
                }
            }
            assert!(self.cursor.revision > before.revision, "no progress");
        }
        let held: Vec<_> = self.records.values().cloned().collect();
        assert_eq!(held, directory.watch_snapshot(&self.watch).records);
    }

    fn apply(&mut self, change: DirectoryChange) {
        match change {
            DirectoryChange::Put(record) => {
                self.records.insert(record.key.clone(), record);
            }
            DirectoryChange::Removed(key) => {
                assert!(
                    self.records.remove(&key).is_some(),
                    "{key:?} was never told"
                );
            }
        }
    }
}

/// Snapshot and discovery show the same, and a service with candidates can be used.
fn check_visible(directory: &mut Directory, before: Cursor) {
    if directory.cursor() != before {
        assert!(directory.is_changed());
    }
    let snapshot = directory.snapshot();
    let mut shown = Vec::new();
    for service in snapshot.services() {
        assert!(!service.all().is_empty());
        let candidates = service
            .all()
            .iter()
            .filter(|i| i.record.entry.weight > 0)
            .count();
        assert_eq!(service.usable().is_empty(), candidates == 0);
        shown.extend(service.all().iter().cloned());
    }
    let query = Query {
        caller: Caller::Trusted,
        ..Query::default()
    };
    assert_eq!(shown, directory.discover(&query));
    assert_eq!(snapshot.revision(), directory.cursor().revision);
}

fn apply(directory: &mut Directory, now: Instant, operation: Operation) {
    let told = |entry| ToldEntry { entry, ttl: None };
    let id = |name: u8| InstanceId::new(name.to_string());
    match operation {
        Operation::Register { owner, entry, ttl } => {
            let before = directory.cursor();
            let change = directory
                .register(now, &owner, entry, ttl)
                .map(|r| r.change);
            let expected = u64::from(matches!(
                change,
                Ok(RegisterChange::Added | RegisterChange::Changed)
            ));
            let n_changes = directory.cursor().revision - before.revision;
            // Taking a name from a stranger removes one entry and adds another.
            let took = change == Ok(RegisterChange::Added) && n_changes == 2;
            assert!(n_changes == expected || took);
        }
        Operation::Restore { owner, entry, left } => {
            let _ = directory.restore(now, &owner, entry, Ttl::default(), left);
        }
        Operation::Heartbeat {
            owner,
            name,
            incarnation,
        } => {
            let _ = directory.heartbeat(now, &owner, &id(name), Incarnation(incarnation));
        }
        Operation::HeartbeatAll { owner } => {
            directory.heartbeat_all(now, &owner);
        }
        Operation::Unregister {
            owner,
            name,
            incarnation,
        } => {
            let _ = directory.unregister(&owner, &id(name), Incarnation(incarnation));
        }
        Operation::ReplaceAll { owner, entries } => {
            directory.replace_all_of(now, &owner, entries.into_iter().map(told).collect());
        }
        Operation::Forget { owner } => {
            directory.forget(&owner);
        }
        Operation::Outcome {
            owner,
            name,
            source,
            outcome,
        } => {
            let key = key_of(&owner, &name.to_string());
            directory.on_outcome(now, &key, source, outcome);
        }
        Operation::OfPeer { peer, word } => {
            hear(directory, now, &peer.to_string().into(), word);
        }
        Operation::Poll => {
            directory.poll(now);
            assert!(directory.poll_timeout().is_none_or(|(at, _)| at > now));
        }
        Operation::Snapshot => {
            directory.snapshot();
        }
    }
}

fn hear(directory: &mut Directory, now: Instant, name: &Text, word: Word) {
    let cursor = |revision: u8| Cursor {
        epoch: 1,
        revision: revision.into(),
    };
    match word {
        Word::Connected => directory.on_peer_connected(now, name),
        Word::Lost => directory.on_peer_lost(now, name),
        Word::Snapshot(entries, at) => {
            let told = |entry| ToldEntry { entry, ttl: None };
            let entries = entries.into_iter().map(told).collect();
            let _ = directory.on_peer_snapshot(now, name, entries, cursor(at));
        }
        Word::Changes(since, changes, at) => {
            let (since, at) = (cursor(since), cursor(at));
            let _ = directory.on_peer_changes(now, name, since, changes, at);
        }
    }
}

fn operation() -> impl Strategy<Value = Operation> {
    let name = 0..5_u8;
    let ttl = prop::option::of((1..100_u64).prop_map(Duration::from_secs));
    let ttl = ttl.prop_map(|ttl| ttl.and_then(|ttl| Ttl::new(ttl).ok()));
    let entries = || prop::collection::vec(any_entry(), 0..6);
    let outcomes = prop_oneof![
        2 => Just(HealthOutcome::Failure),
        1 => Just(HealthOutcome::Success),
    ];
    let source = prop_oneof![Just(HealthSource::Probe), Just(HealthSource::Call)];
    let named = || (owner(), 0..5_u8, 0..3_u64);
    prop_oneof![
        8 => (owner(), any_entry(), ttl)
            .prop_map(|(owner, entry, ttl)| Operation::Register { owner, entry, ttl }),
        1 => (owner(), any_entry(), (0..100_u64).prop_map(Duration::from_secs))
            .prop_map(|(owner, entry, left)| Operation::Restore { owner, entry, left }),
        4 => named().prop_map(|(owner, name, incarnation)| {
            Operation::Heartbeat { owner, name, incarnation }
        }),
        1 => owner().prop_map(|owner| Operation::HeartbeatAll { owner }),
        2 => named().prop_map(|(owner, name, incarnation)| {
            Operation::Unregister { owner, name, incarnation }
        }),
        1 => (owner(), entries())
            .prop_map(|(owner, entries)| Operation::ReplaceAll { owner, entries }),
        1 => owner().prop_map(|owner| Operation::Forget { owner }),
        6 => (owner(), name, source, outcomes).prop_map(|(owner, name, source, outcome)| {
            Operation::Outcome { owner, name, source, outcome }
        }),
        11 => (0..2_u8, word()).prop_map(|(peer, word)| Operation::OfPeer { peer, word }),
        4 => Just(Operation::Poll),
        1 => Just(Operation::Snapshot),
    ]
}

fn word() -> impl Strategy<Value = Word> {
    let (name, few) = (0..5_u8, 0..2_u8);
    let change = prop_oneof![
        any_entry().prop_map(|entry| PeerChange::Put(ToldEntry { entry, ttl: None })),
        name.prop_map(|n| PeerChange::Removed(InstanceId::new(n.to_string()))),
    ];
    let changes = prop::collection::vec(change, 0..4);
    let entries = prop::collection::vec(any_entry(), 0..6);
    prop_oneof![
        3 => Just(Word::Connected),
        2 => Just(Word::Lost),
        3 => (entries, few.clone()).prop_map(|(entries, at)| Word::Snapshot(entries, at)),
        3 => (few.clone(), changes, few)
            .prop_map(|(since, changes, at)| Word::Changes(since, changes, at)),
    ]
}

fn owner() -> impl Strategy<Value = Owner> {
    prop_oneof![
        2 => Just(Owner::Config),
        2 => (0..2_u8).prop_map(|n| Owner::Local(n.to_string().into())),
        5 => (0..3_u8).prop_map(|n| Owner::Registered(n.to_string().into())),
        2 => (0..2_u8).prop_map(|n| Owner::Peer(n.to_string().into())),
    ]
}

fn any_entry() -> impl Strategy<Value = Entry> {
    (0..5_u8, 0..2_u8, 0..3_u64, 0..3_u32, any::<bool>()).prop_map(
        |(name, service, incarnation, weight, is_closed)| {
            let mut draft = Draft::new(name.to_string(), format!("s{service}"));
            draft.incarnation = Incarnation(incarnation);
            draft.weight = weight;
            if is_closed {
                let permission = if weight == 1 { "trade" } else { "other" };
                draft.permissions = [permission.into()].into();
            }
            Entry::new(&draft).expect("a good entry")
        },
    )
}

/// So small that its bounds are met.
fn small(history_max: usize) -> Directory {
    let config = DirectoryConfig {
        entries_max: 12,
        entries_reserved: 4,
        entries_per_owner_max: 3,
        entries_per_peer_max: 3,
        history_max,
        ..DirectoryConfig::default()
    };
    Directory::new(config, 1).expect("good settings")
}

fn everything() -> WatchQuery {
    let query = Query {
        caller: Caller::Trusted,
        ..Query::default()
    };
    WatchQuery {
        query,
        ..WatchQuery::default()
    }
}
