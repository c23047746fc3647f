//! A watcher who lags, takes what he is told in pages, and is compared with a full record of what
//! there was at each revision.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{
    registry::{
        directory::Directory,
        owner::EntryKey,
        query::{Caller, Query},
        snapshot::EntryRecord,
        watch::{Changes, Cursor, DirectoryChange, Scope, WatchQuery},
    },
    testing::Rng,
};

type Records = BTreeMap<EntryKey, Arc<EntryRecord>>;

#[derive(Debug)]
pub(super) struct Mirror {
    watch: WatchQuery,
    cursor: Option<Cursor>,
    records: Records,
    page: usize,
    lag_percent: u64,
    /// What there was after each step, of the life of the directory that is watched.
    log: HashMap<Cursor, Records>,
    pub(super) n_too_old: u64,
    pub(super) n_compared: u64,
}

impl Mirror {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let caller = if rng.chance(50) {
            Caller::Trusted
        } else {
            Caller::Holding(["trade".into()].into())
        };
        let scope = if rng.chance(50) {
            Scope::All
        } else {
            Scope::Own
        };
        let query = Query {
            caller,
            ..Query::default()
        };
        Self {
            watch: WatchQuery { scope, query },
            cursor: None,
            records: Records::new(),
            page: 1 + usize::try_from(rng.below(4)).expect("small"),
            lag_percent: rng.below(90),
            log: HashMap::new(),
            n_too_old: 0,
            n_compared: 0,
        }
    }

    /// Takes a page, or nothing, and compares.
    pub(super) fn step(&mut self, rng: &mut Rng, directory: &Directory) {
        let there = || keyed(directory.watch_snapshot(&self.watch).records);
        self.log.entry(directory.cursor()).or_insert_with(there);
        if !rng.chance(self.lag_percent) {
            self.take_page(directory);
        }
        self.compare();
    }

    /// Takes all that is left and compares.
    pub(super) fn catch_up(&mut self, directory: &Directory) {
        while self.cursor != Some(directory.cursor()) {
            self.take_page(directory);
            self.compare();
        }
    }

    fn take_page(&mut self, directory: &Directory) {
        let changes = match self.cursor {
            Some(cursor) => directory.changes_since(cursor, &self.watch, self.page),
            None => Changes::TooOld,
        };
        match changes {
            Changes::TooOld => {
                self.n_too_old += 1;
                let snapshot = directory.watch_snapshot(&self.watch);
                self.cursor = Some(snapshot.cursor);
                self.records = keyed(snapshot.records);
            }
            Changes::Since { changes, cursor } => {
                self.cursor = Some(cursor);
                for change in changes {
                    match change {
                        DirectoryChange::Put(record) => {
                            self.records.insert(record.key.clone(), record);
                        }
                        DirectoryChange::Removed(key) => {
                            let known = self.records.remove(&key);
                            assert!(known.is_some(), "{key:?} goes and never came");
                        }
                    }
                }
            }
        }
    }

    fn compare(&mut self) {
        let logged = self.cursor.and_then(|cursor| self.log.get(&cursor));
        if let Some(logged) = logged {
            assert_eq!(*logged, self.records, "a change was skipped");
            self.n_compared += 1;
        }
    }
}

fn keyed(records: Vec<Arc<EntryRecord>>) -> Records {
    let records = records.into_iter();
    records.map(|record| (record.key.clone(), record)).collect()
}
