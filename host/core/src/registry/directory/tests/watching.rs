//! Changes since a cursor: all of them in order, or the word that they are no longer known.

use super::*;
use crate::registry::watch::{DirectoryChange, Scope};

#[test]
fn a_watcher_is_told_of_everything_since_its_cursor() {
    let mut directory = directory();
    let begin = directory.cursor();
    for name in ["a", "b"] {
        directory
            .register(at(0), &Owner::Config, plain(name), None)
            .expect("new");
    }
    directory.forget(&Owner::Config);
    let (changes, cursor) = since(&directory, begin, usize::MAX).expect("all kept");
    assert_eq!(changes, ["+a", "+b", "-a", "-b"]);
    assert_eq!(cursor, directory.cursor());
    assert_eq!(
        since(&directory, cursor, usize::MAX),
        Some((Vec::new(), cursor))
    );
}

#[test]
fn a_long_answer_is_taken_in_parts() {
    let mut directory = directory();
    let mut cursor = directory.cursor();
    let expected: Vec<String> = (10..20).map(|n| format!("+{n}")).collect();
    for name in &expected {
        let entry = plain(name.trim_start_matches('+'));
        directory
            .register(at(0), &Owner::Config, entry, None)
            .expect("new");
    }
    let mut told = Vec::new();
    while cursor != directory.cursor() {
        let (changes, next) = since(&directory, cursor, 3).expect("all kept");
        assert!(changes.len() <= 3);
        assert!(next.revision > cursor.revision);
        told.extend(changes);
        cursor = next;
    }
    assert_eq!(told, expected);
}

#[test]
fn who_was_away_for_more_than_is_kept_is_told_so() {
    let config = DirectoryConfig {
        history_max: 3,
        ..DirectoryConfig::default()
    };
    let mut directory = Directory::new(config, 1).expect("good settings");
    let begin = directory.cursor();
    for n in 0..3 {
        directory
            .register(at(0), &Owner::Config, plain(&n.to_string()), None)
            .expect("new");
    }
    assert!(since(&directory, begin, usize::MAX).is_some());
    directory
        .register(at(0), &Owner::Config, plain("3"), None)
        .expect("new");
    assert_eq!(since(&directory, begin, usize::MAX), None);
    let later = Cursor {
        revision: 1,
        ..begin
    };
    assert_eq!(
        since(&directory, later, usize::MAX).map(|(changes, _)| changes.len()),
        Some(3)
    );
}

#[test]
fn a_cursor_of_another_life_or_of_the_future_is_too_old() {
    let mut directory = directory();
    directory
        .register(at(0), &Owner::Config, plain("a"), None)
        .expect("new");
    let cursor = directory.cursor();
    for wrong in [
        Cursor {
            epoch: cursor.epoch + 1,
            ..cursor
        },
        Cursor {
            revision: cursor.revision + 1,
            ..cursor
        },
        Cursor {
            revision: u64::MAX,
            ..cursor
        },
    ] {
        assert_eq!(since(&directory, wrong, usize::MAX), None, "{wrong:?}");
    }
}

#[test]
fn an_entry_that_may_no_longer_be_seen_is_gone_for_that_watcher() {
    let mut directory = directory();
    let begin = directory.cursor();
    let closed = entry("a", |draft| draft.permissions = ["trade".into()].into());
    let hidden = entry("b", |draft| draft.permissions = ["trade".into()].into());
    for entry in [plain("a"), closed, hidden, plain("a")] {
        directory
            .register(at(0), &Owner::Config, entry, None)
            .expect("taken");
    }
    directory.forget(&Owner::Config);
    let watch = WatchQuery::default();
    let (changes, cursor) = seen(&directory, begin, &watch, usize::MAX).expect("all kept");
    assert_eq!(changes, ["+a", "-a", "+a", "-a"]);
    assert_eq!(cursor, directory.cursor());
}

#[test]
fn what_a_watcher_does_not_see_moves_its_cursor_all_the_same() {
    let mut directory = directory();
    let begin = directory.cursor();
    directory.on_peer_connected(at(0), &"gw".into());
    let told = vec![ToldEntry {
        entry: plain("a"),
        ttl: None,
    }];
    directory
        .on_peer_snapshot(at(0), &"gw".into(), told, begin)
        .expect("connected");
    let own = WatchQuery {
        scope: Scope::Own,
        ..WatchQuery::default()
    };
    let answer = seen(&directory, begin, &own, 0);
    assert_eq!(answer, Some((Vec::new(), directory.cursor())));
}

/// What a watcher of all that is open is told, `+name` and `-name`; `None` when it is too old.
fn since(directory: &Directory, cursor: Cursor, max: usize) -> Option<(Vec<String>, Cursor)> {
    seen(directory, cursor, &WatchQuery::default(), max)
}

fn seen(
    directory: &Directory,
    cursor: Cursor,
    watch: &WatchQuery,
    max: usize,
) -> Option<(Vec<String>, Cursor)> {
    let Changes::Since { changes, cursor } = directory.changes_since(cursor, watch, max) else {
        return None;
    };
    let tell = |change: DirectoryChange| match change {
        DirectoryChange::Put(record) => format!("+{}", record.key.instance),
        DirectoryChange::Removed(key) => format!("-{}", key.instance),
    };
    Some((changes.into_iter().map(tell).collect(), cursor))
}
