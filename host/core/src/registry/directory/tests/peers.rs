//! What peers tell, and what is kept of a lost one and for how long.

use super::*;
use crate::registry::address::Address;

#[test]
fn what_a_lost_peer_told_is_stale_and_used_until_the_grace_ends() {
    let mut subject = Subject::in_step(&["a", "b"]);
    subject.directory.on_peer_lost(at(10), &subject.name);
    assert!(
        found(&subject.directory)
            .iter()
            .all(|instance| instance.stale)
    );
    assert_eq!(subject.usable(), "a b");
    assert_eq!(subject.directory.poll_timeout(), Some((at(70), "lease")));
    assert_eq!(subject.directory.poll(at(69)), []);
    let events = subject.directory.poll(at(70));
    assert!(matches!(
        &events[..],
        [DirectoryEvent::GraceOver(_), DirectoryEvent::GraceOver(_)]
    ));
    assert_eq!(found(&subject.directory), []);
    check(&subject.directory);
}

#[test]
fn an_entry_with_a_shorter_lease_goes_when_that_would_have_ended() {
    let mut subject = Subject::in_step(&["a"]);
    let ttl = Ttl::new(Duration::from_secs(20)).ok();
    let told = ToldEntry {
        entry: plain("short"),
        ttl,
    };
    subject.snapshot(
        1,
        vec![
            ToldEntry {
                entry: plain("a"),
                ttl: None,
            },
            told,
        ],
    );
    // While the peer is there, it says what has expired.
    assert_eq!(subject.directory.poll(at(500)), []);
    subject.directory.on_peer_lost(at(500), &subject.name);
    assert_eq!(subject.directory.poll(at(520)).len(), 1);
    assert_eq!(subject.usable(), "a");
}

#[test]
fn a_peer_that_is_back_with_nothing_changed_makes_all_fresh() {
    let mut subject = Subject::in_step(&["a"]);
    subject.directory.on_peer_lost(at(10), &subject.name);
    subject.directory.on_peer_connected(at(20), &subject.name);
    assert!(
        found(&subject.directory)[0].stale,
        "it has said nothing yet"
    );
    let revision = subject.directory.cursor();
    subject.changes(21, Vec::new()).expect("from where it was");
    assert!(!found(&subject.directory)[0].stale);
    assert_eq!(subject.directory.poll(at(5000)), []);
    assert_eq!(subject.directory.cursor(), revision);
    check(&subject.directory);
}

#[test]
fn a_peer_that_is_back_after_something_went_is_asked_for_everything() {
    let mut subject = Subject::in_step(&["a"]);
    subject.directory.on_peer_lost(at(10), &subject.name);
    assert_eq!(subject.directory.poll(at(70)).len(), 1);
    subject.directory.on_peer_connected(at(71), &subject.name);
    // Its changes since then do not tell of what it has had all the time.
    assert_eq!(
        subject.directory.peer(&subject.name).expect("known").cursor,
        None
    );
    let given = subject.cursor;
    let gap = SyncError::Gap { given, held: None };
    assert_eq!(subject.changes(72, Vec::new()), Err(gap));
}

#[test]
fn a_peer_that_is_back_just_in_time_is_given_time_to_tell() {
    let mut subject = Subject::in_step(&["a"]);
    subject.directory.on_peer_lost(at(10), &subject.name);
    subject.directory.on_peer_connected(at(69), &subject.name);
    assert_eq!(subject.directory.poll(at(78)), []);
    subject.snapshot(
        78,
        vec![ToldEntry {
            entry: plain("a"),
            ttl: None,
        }],
    );
    assert_eq!(subject.directory.poll(at(5000)), []);
    assert_eq!(subject.usable(), "a");
}

#[test]
fn how_long_it_is_given_is_a_setting() {
    for (peer_sync_s, is_kept) in [(10, true), (3, false)] {
        let config = DirectoryConfig {
            peer_sync: Duration::from_secs(peer_sync_s),
            ..DirectoryConfig::default()
        };
        let mut subject = Subject::in_step_of(config, &["a"]);
        subject.directory.on_peer_lost(at(10), &subject.name);
        subject.directory.on_peer_connected(at(69), &subject.name);
        assert_eq!(subject.directory.poll(at(78)).is_empty(), is_kept);
    }
}

#[test]
fn a_peer_that_comes_and_goes_gains_no_more_than_that_once() {
    let mut subject = Subject::in_step(&["a"]);
    subject.directory.on_peer_lost(at(10), &subject.name);
    for secs in 11..80 {
        subject.directory.on_peer_connected(at(secs), &subject.name);
        subject.directory.on_peer_lost(at(secs), &subject.name);
        assert_eq!(subject.directory.poll(at(secs)), [], "at {secs} s");
    }
    // Lost at 10 s, 60 s of grace, 10 s to tell.
    assert_eq!(subject.directory.poll(at(80)).len(), 1);
}

#[test]
fn what_is_not_in_the_snapshot_is_gone() {
    let mut subject = Subject::in_step(&["a", "b"]);
    let replaced = subject.snapshot(
        5,
        vec![ToldEntry {
            entry: plain("b"),
            ttl: None,
        }],
    );
    let expected = Replaced {
        removed: 1,
        ..Replaced::default()
    };
    assert_eq!(replaced, expected);
    assert_eq!(names(&found(&subject.directory)), ["b"]);
}

#[test]
fn changes_that_do_not_follow_are_refused() {
    let mut subject = Subject::in_step(&["a"]);
    let held = subject.cursor;
    let given = Cursor {
        revision: held.revision + 1,
        ..held
    };
    let gap = SyncError::Gap {
        given,
        held: Some(held),
    };
    let removal = vec![PeerChange::Removed(InstanceId::new("a"))];
    let told = (subject.directory).on_peer_changes(at(1), &subject.name, given, removal, given);
    assert_eq!(told, Err(gap));
    assert_eq!(names(&found(&subject.directory)), ["a"]);
}

#[test]
fn changes_are_applied_in_order() {
    let mut subject = Subject::in_step(&["a"]);
    let put = |name: &str| {
        PeerChange::Put(ToldEntry {
            entry: plain(name),
            ttl: None,
        })
    };
    let gone = |name: &str| PeerChange::Removed(InstanceId::new(name));
    let changes = vec![
        gone("a"),
        put("b"),
        put("c"),
        gone("b"),
        put("a"),
        gone("nobody"),
    ];
    let replaced = subject.changes(1, changes).expect("they follow");
    assert_eq!((replaced.added, replaced.removed), (3, 2));
    assert_eq!(names(&found(&subject.directory)), ["a", "c"]);
    check(&subject.directory);
}

#[test]
fn nothing_is_taken_from_a_peer_that_is_not_connected() {
    let mut subject = Subject::in_step(&["a"]);
    subject.directory.on_peer_lost(at(1), &subject.name);
    assert_eq!(subject.changes(2, Vec::new()), Err(SyncError::NotConnected));
    let cursor = subject.cursor;
    let told = (subject.directory).on_peer_snapshot(at(2), &subject.name, Vec::new(), cursor);
    assert_eq!(told, Err(SyncError::NotConnected));
    let told = subject
        .directory
        .on_peer_snapshot(at(2), &"other".into(), Vec::new(), cursor);
    assert_eq!(told, Err(SyncError::NotConnected));
    assert_eq!(subject.usable(), "a");
}

#[test]
fn what_a_peer_told_is_not_told_on() {
    let mut subject = Subject::in_step(&["a"]);
    let own = [Owner::Config, Owner::Local("l".into()), provider("p")];
    for (owner, name) in own.iter().zip(["c", "l", "p"]) {
        register(&mut subject.directory, 0, owner, plain(name)).expect("new");
    }
    let records = subject.directory.exportable().records;
    let exported: Vec<_> = records
        .iter()
        .map(|record| record.key.owner.clone())
        .collect();
    let mut own = own.to_vec();
    own.sort();
    assert_eq!(exported, own);
    let begin = Cursor {
        revision: 0,
        ..subject.directory.cursor()
    };
    let changes = subject
        .directory
        .changes_since(begin, &WatchQuery::of_peer(), usize::MAX);
    let Changes::Since { changes, cursor } = changes else {
        panic!("all changes are kept");
    };
    assert_eq!((changes.len(), cursor), (3, subject.directory.cursor()));
}

#[test]
fn a_provider_that_is_registered_here_and_with_a_peer_is_one_instance() {
    let mut subject = Subject::in_step(&[]);
    let reached = || {
        entry("a", |draft| {
            draft.addresses = Address::parse("tcp://h:1").into_iter().collect();
        })
    };
    let told = ToldEntry {
        entry: reached(),
        ttl: None,
    };
    subject.snapshot(0, vec![told]);
    let owner = provider("p");
    register(&mut subject.directory, 0, &owner, reached()).expect("own names");
    assert_eq!(subject.directory.stats().entries, 2);
    let shown = found(&subject.directory);
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0].record.key.owner, owner);
    // When the provider goes here, what the peer told shows.
    let name = InstanceId::new("a");
    let gone = (subject.directory).unregister(&owner, &name, Incarnation(0));
    assert!(gone.is_ok());
    assert_eq!(found(&subject.directory)[0].record.key.owner, peer("gw"));
}

#[test]
fn peers_have_names_of_their_own() {
    let mut subject = Subject::in_step(&["a"]);
    register(&mut subject.directory, 0, &provider("p"), plain("a")).expect("own names");
    // Without an address each is reached only through who told it, so these are two.
    assert_eq!(names(&found(&subject.directory)), ["a", "a"]);
}

#[test]
fn a_peer_that_is_configured_no_more_leaves_nothing() {
    let mut subject = Subject::in_step(&["a", "b"]);
    assert_eq!(subject.directory.forget(&peer("gw")), 2);
    assert_eq!(subject.directory.peer(&subject.name), None);
    assert_eq!(subject.changes(1, Vec::new()), Err(SyncError::NotConnected));
    check(&subject.directory);
}

/// A directory with one peer, `gw`.
struct Subject {
    directory: Directory,
    name: Text,
    cursor: Cursor,
}

impl Subject {
    /// Connected at 0 s, with a snapshot of `names`.
    fn in_step(names: &[&str]) -> Self {
        Self::in_step_of(DirectoryConfig::default(), names)
    }

    fn in_step_of(config: DirectoryConfig, names: &[&str]) -> Self {
        let name = Text::from("gw");
        let cursor = Cursor {
            epoch: 7,
            revision: 1,
        };
        let mut subject = Self {
            directory: Directory::new(config, 1).expect("good settings"),
            name,
            cursor,
        };
        subject.directory.on_peer_connected(at(0), &subject.name);
        let told = names.iter().map(|name| ToldEntry {
            entry: plain(name),
            ttl: None,
        });
        assert_eq!(subject.snapshot(0, told.collect()).added, names.len());
        subject
    }

    fn snapshot(&mut self, secs: u64, told: Vec<ToldEntry>) -> Replaced {
        let taken = (self.directory).on_peer_snapshot(at(secs), &self.name, told, self.cursor);
        taken.expect("connected")
    }

    fn changes(&mut self, secs: u64, changes: Vec<PeerChange>) -> Result<Replaced, SyncError> {
        let since = self.cursor;
        self.cursor.revision += changes.len() as u64;
        (self.directory).on_peer_changes(at(secs), &self.name, since, changes, self.cursor)
    }

    fn usable(&mut self) -> String {
        let snapshot = self.directory.snapshot();
        let service = snapshot.service(&"s".into());
        service.map_or_else(String::new, |service| names(service.usable()).join(" "))
    }
}
