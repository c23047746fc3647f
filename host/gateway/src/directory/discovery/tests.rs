//! How a source is followed, with a source that says what the test wants and a stopped clock.

use std::{collections::VecDeque, time::Instant};

use parking_lot::Mutex;
use postern_core::{
    Blame,
    registry::{Draft, Entry, InstanceId},
};
use postern_system::clock;

use super::*;
use crate::config::{Config, PeerSettings};

type Asked = Arc<Mutex<Vec<(Instant, Option<Cursor>)>>>;

/// Tells what it was given, then nothing more; `asked` is when and from where it was asked.
struct Script {
    connects: bool,
    updates: VecDeque<Update>,
    asked: Asked,
}

impl Discovery for Script {
    fn connect(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        if !self.connects {
            self.asked.lock().push((clock::now(), None));
        }
        let failed = (!self.connects).then(|| Error::unavailable(Blame::Upstream, "nobody there"));
        Box::pin(async { failed.map_or(Ok(()), Err) })
    }

    fn next(&mut self, held: Option<Cursor>) -> BoxFuture<'_, Result<Update, Error>> {
        self.asked.lock().push((clock::now(), held));
        let update = self.updates.pop_front();
        Box::pin(async {
            match update {
                Some(update) => Ok(update),
                None => std::future::pending().await,
            }
        })
    }
}

fn follow(connects: bool, updates: Vec<Update>) -> (Arc<SharedDirectory>, Asked) {
    let mut config = Config::default();
    config.directory.entries_per_peer_max = 2;
    config
        .peers
        .insert("west".to_owned(), PeerSettings::default());
    let directory = SharedDirectory::new(&config).expect("good settings");
    let asked = Asked::default();
    let script = Script {
        connects,
        updates: updates.into(),
        asked: Arc::clone(&asked),
    };
    tokio::spawn(Arc::clone(&directory).follow("west".into(), Box::new(script)));
    (directory, asked)
}

fn told(instance: &str) -> ToldEntry {
    let entry = Entry::new(&Draft::new(instance, "s")).expect("an entry");
    ToldEntry { entry, ttl: None }
}

fn cursor(revision: u64) -> Cursor {
    Cursor { epoch: 1, revision }
}

fn picture(instances: &[&str], revision: u64) -> Update {
    Update::Snapshot {
        entries: instances.iter().map(|name| told(name)).collect(),
        cursor: cursor(revision),
    }
}

#[tokio::test(start_paused = true)]
async fn changes_follow_a_picture_and_a_gap_asks_for_another() {
    let step = |since, revision| Update::Changes {
        since: cursor(since),
        changes: vec![
            PeerChange::Removed(InstanceId::new("a")),
            PeerChange::Put(told("b")),
        ],
        cursor: cursor(revision),
    };
    let updates = vec![
        picture(&["a"], 1),
        step(1, 3),
        step(7, 9),
        picture(&["c"], 9),
    ];
    let (directory, asked) = follow(true, updates);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let from: Vec<_> = asked.lock().iter().map(|(_, held)| *held).collect();
    let expected = [None, Some(1), Some(3), Some(3), Some(9)];
    assert_eq!(from, expected.map(|revision| revision.map(cursor)));
    assert_eq!(directory.numbers().learned, 1);
    assert_eq!(
        directory.view().services[0].instances[0].entry.instance,
        "c"
    );
}

#[tokio::test(start_paused = true)]
async fn a_picture_that_is_refused_is_not_fetched_again_at_once() {
    let (directory, asked) = follow(true, vec![picture(&["a", "b", "c"], 1)]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(directory.numbers().learned, 2, "as many as a peer may have");
    let asked = asked.lock();
    let waited = asked[1].0 - asked[0].0;
    assert!(waited >= Duration::from_secs(10), "{waited:?}");
    assert_eq!(asked[1].1, None, "the picture again");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_not_there_is_tried_less_and_less_often() {
    let (directory, asked) = follow(false, Vec::new());
    tokio::time::sleep(Duration::from_secs(600)).await;
    let tries: Vec<_> = asked.lock().iter().map(|(at, _)| *at).collect();
    let n_tries = tries.len();
    // Full jitter: half of 10 s on average, after a few that come sooner.
    assert!((90..=170).contains(&n_tries), "{n_tries} tries in 600 s");
    assert!(
        tries[1] - tries[0] <= Duration::from_millis(251),
        "the second comes soon"
    );
    let view = &directory.view().peers[0];
    assert!(!view.connected);
    assert_eq!(view.error.as_deref(), Some("unavailable: nobody there"));
}
