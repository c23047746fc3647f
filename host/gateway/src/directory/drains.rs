//! Instances that an operator has drained: they weigh nothing, however often they register, and get
//! their own weight back at the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use postern_core::registry::{
    Caller, Directory, Entry, EntryKey, EntryRecord, InstanceId, Owner, Query, ToldEntry,
    WatchQuery, directory::PeerChange,
};

/// What is drained, and what it weighed.
#[derive(Debug, Default)]
pub(super) struct Drains {
    names: BTreeSet<InstanceId>,
    weights: BTreeMap<EntryKey, u32>,
}

impl Drains {
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn contains(&self, instance: &InstanceId) -> bool {
        self.names.contains(instance)
    }

    /// Whether that is new.
    pub(super) fn insert(&mut self, instance: InstanceId) -> bool {
        self.names.insert(instance)
    }

    /// Whether it was drained.
    pub(super) fn remove(&mut self, instance: &InstanceId) -> bool {
        self.names.remove(instance)
    }

    /// The entry as it goes into the directory.
    pub(super) fn adapt(&mut self, owner: &Owner, entry: Entry) -> Entry {
        let key = EntryKey {
            owner: owner.clone(),
            instance: entry.instance.clone(),
        };
        // What it weighed before says nothing any more.
        self.weights.remove(&key);
        if entry.weight == 0 || !self.names.contains(&entry.instance) {
            return entry;
        }
        self.weights.insert(key, entry.weight);
        with_weight(entry, 0)
    }

    /// The entry as its owner wrote it.
    pub(super) fn written(&self, record: &EntryRecord) -> Entry {
        match self.weights.get(&record.key) {
            Some(weight) => with_weight(record.entry.clone(), *weight),
            None => record.entry.clone(),
        }
    }

    /// Brings every entry into step with what is drained. What a lost peer told waits until the
    /// peer is in step again.
    pub(super) fn reconcile(&mut self, now: Instant, directory: &mut Directory) {
        if self.names.is_empty() && self.weights.is_empty() {
            return;
        }
        self.weights.retain(|key, _| directory.lease(key).is_some());
        for record in directory.watch_snapshot(&everything()).records {
            let is_drained = self.names.contains(&record.key.instance);
            let written = self.weights.get(&record.key).copied();
            let weight = match (is_drained, written) {
                (true, _) if record.entry.weight > 0 => 0,
                (false, Some(weight)) => weight,
                _ => continue,
            };
            if !put(now, directory, &record, weight) {
                continue;
            }
            if is_drained {
                self.weights.insert(record.key.clone(), record.entry.weight);
            } else {
                self.weights.remove(&record.key);
            }
        }
    }
}

/// Writes the entry again with another weight, and leaves its lease as it is.
fn put(now: Instant, directory: &mut Directory, record: &EntryRecord, weight: u32) -> bool {
    let owner = &record.key.owner;
    let entry = with_weight(record.entry.clone(), weight);
    let lease = directory.lease(&record.key);
    match owner {
        Owner::Local(_) | Owner::Config => {
            directory.register(now, owner, entry, record.ttl).is_ok()
        }
        Owner::Registered(_) => {
            let expires = lease.and_then(|lease| lease.expires);
            let (Some(ttl), Some(expires)) = (record.ttl, expires) else {
                return false;
            };
            let left = expires.saturating_duration_since(now);
            directory.restore(now, owner, entry, ttl, left).is_ok()
        }
        Owner::Peer(name) => {
            let Some(cursor) = directory.peer(name).and_then(|peer| peer.cursor) else {
                return false;
            };
            let ttl = record.ttl;
            let change = vec![PeerChange::Put(ToldEntry { entry, ttl })];
            let put = directory.on_peer_changes(now, name, cursor, change, cursor);
            put.is_ok_and(|put| put.refused.is_empty())
        }
    }
}

/// A weight within the bounds of an entry, as both that occur here are, cannot be refused.
fn with_weight(entry: Entry, weight: u32) -> Entry {
    let mut draft = entry.clone().into_draft();
    draft.weight = weight;
    Entry::new(&draft).unwrap_or(entry)
}

/// All entries, for whoever may see all.
pub(super) fn everything() -> WatchQuery {
    let query = Query {
        caller: Caller::Trusted,
        ..Query::default()
    };
    WatchQuery {
        query,
        ..WatchQuery::default()
    }
}
