//! Watching the directory: a snapshot, and the changes since it. Nothing is skipped: who was away
//! for more changes than are kept is told so and fetches a new snapshot (the model is the watch by
//! revision of etcd and Kubernetes).

use std::{collections::VecDeque, sync::Arc};

use super::{
    owner::EntryKey,
    query::{Caller, Query},
    snapshot::EntryRecord,
};

/// A place in the changes of one directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Which life of the directory. After a restart revisions begin anew, so that those of the
    /// life before mean nothing.
    pub epoch: u64,
    /// Grows by one with each change.
    pub revision: u64,
}

/// What a watcher is told of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchQuery {
    pub scope: Scope,
    pub query: Query,
}

/// Whose entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// Those for which this gateway answers itself. A peer watches these: one hop.
    Own,
    #[default]
    All,
}

/// What a watcher may see, all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchSnapshot {
    /// By key.
    pub records: Vec<Arc<EntryRecord>>,
    /// From where `changes_since` goes on.
    pub cursor: Cursor,
}

/// What became of one entry, as far as the watcher may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DirectoryChange {
    /// It is there, or is different.
    Put(Arc<EntryRecord>),
    /// It is gone, or may no longer be seen.
    Removed(EntryKey),
}

/// What happened since a cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    /// In order, to be applied one after the other. `cursor` is where to go on.
    Since {
        changes: Vec<DirectoryChange>,
        cursor: Cursor,
    },
    /// Changes since then are no longer known: fetch a snapshot.
    TooOld,
}

/// The last changes of a directory.
#[derive(Debug)]
pub(super) struct History {
    epoch: u64,
    revision: u64,
    /// The changes up to `revision`, one for each number.
    changes: VecDeque<Logged>,
    changes_max: usize,
}

/// One change. Both sides are kept, since a watcher may see one and not the other.
#[derive(Debug)]
struct Logged {
    before: Option<Arc<EntryRecord>>,
    after: Option<Arc<EntryRecord>>,
}

impl WatchQuery {
    /// What a peer watches: everything that this gateway answers for.
    #[must_use]
    pub fn of_peer() -> Self {
        Self {
            scope: Scope::Own,
            query: Query {
                caller: Caller::Trusted,
                ..Query::default()
            },
        }
    }

    #[must_use]
    pub fn sees(&self, record: &EntryRecord) -> bool {
        let in_scope = match self.scope {
            Scope::Own => record.key.owner.is_own(),
            Scope::All => true,
        };
        in_scope && self.query.matches(&record.entry)
    }
}

impl History {
    pub(super) const fn new(epoch: u64, changes_max: usize) -> Self {
        Self {
            epoch,
            revision: 0,
            changes: VecDeque::new(),
            changes_max,
        }
    }

    pub(super) const fn cursor(&self) -> Cursor {
        Cursor {
            epoch: self.epoch,
            revision: self.revision,
        }
    }

    /// Logs one change.
    pub(super) fn push(
        &mut self,
        before: Option<Arc<EntryRecord>>,
        after: Option<Arc<EntryRecord>>,
    ) {
        self.revision += 1;
        if self.changes.len() >= self.changes_max {
            self.changes.pop_front();
        }
        self.changes.push_back(Logged { before, after });
    }

    /// At most `changes_max` changes that `watch` sees, and where to go on.
    pub(super) fn since(&self, cursor: Cursor, watch: &WatchQuery, changes_max: usize) -> Changes {
        let n_missed = self.revision.checked_sub(cursor.revision);
        let n_missed = n_missed.and_then(|n| usize::try_from(n).ok());
        let skip = n_missed.and_then(|n| self.changes.len().checked_sub(n));
        // A revision that is still to come is not of this directory, whatever its epoch says.
        let Some(skip) = skip.filter(|_| cursor.epoch == self.epoch) else {
            return Changes::TooOld;
        };
        let mut changes = Vec::new();
        let mut revision = cursor.revision;
        for logged in self.changes.iter().skip(skip) {
            if let Some(change) = logged.seen_by(watch) {
                if changes.len() >= changes_max {
                    break;
                }
                changes.push(change);
            }
            revision += 1;
        }
        let cursor = Cursor { revision, ..cursor };
        Changes::Since { changes, cursor }
    }
}

impl Logged {
    fn seen_by(&self, watch: &WatchQuery) -> Option<DirectoryChange> {
        let seen =
            |side: &Option<Arc<EntryRecord>>| side.clone().filter(|record| watch.sees(record));
        match (seen(&self.before), seen(&self.after)) {
            (_, Some(after)) => Some(DirectoryChange::Put(after)),
            (Some(before), None) => Some(DirectoryChange::Removed(before.key.clone())),
            (None, None) => None,
        }
    }
}
