//! The entries and the ways to find them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    registry::{
        health::Monitor,
        owner::{EntryKey, InstanceId, Owner},
        snapshot::{EntryRecord, ServiceInstance},
    },
    text::Text,
};

/// All entries by key. The other maps follow from `lines`.
#[derive(Debug, Default)]
pub(super) struct Table {
    lines: BTreeMap<EntryKey, Line>,
    by_service: BTreeMap<Text, BTreeSet<EntryKey>>,
    /// Who holds a name, among all but peers.
    own: BTreeMap<InstanceId, Owner>,
    n_by_owner: BTreeMap<Owner, usize>,
    n_of_operator: usize,
}

/// An entry, and what is known of it beside.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) record: Arc<EntryRecord>,
    pub(super) monitor: Monitor,
    pub(super) is_stale: bool,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    pub(super) fn n_of(&self, owner: &Owner) -> usize {
        self.n_by_owner.get(owner).copied().unwrap_or_default()
    }

    /// Entries that the operator did not decide on.
    pub(super) fn n_of_strangers(&self) -> usize {
        self.lines.len() - self.n_of_operator
    }

    pub(super) fn get(&self, key: &EntryKey) -> Option<&Line> {
        self.lines.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &EntryKey) -> Option<&mut Line> {
        self.lines.get_mut(key)
    }

    /// Who of this gateway's own holds `instance`.
    pub(super) fn holder(&self, instance: &InstanceId) -> Option<&Owner> {
        self.own.get(instance)
    }

    /// By key.
    pub(super) fn lines(&self) -> impl Iterator<Item = &Line> {
        self.lines.values()
    }

    pub(super) fn of_owner<'a>(&'a self, owner: &'a Owner) -> impl Iterator<Item = &'a Line> {
        let behind = self.lines.range(owner.first_key()..);
        let own = behind.take_while(move |(key, _)| key.owner == *owner);
        own.map(|(_, line)| line)
    }

    pub(super) fn keys_of(&self, owner: &Owner) -> Vec<EntryKey> {
        self.of_owner(owner)
            .map(|line| line.record.key.clone())
            .collect()
    }

    pub(super) fn services(&self) -> impl Iterator<Item = &Text> {
        self.by_service.keys()
    }

    pub(super) fn instances_of(&self, service: &Text) -> Vec<ServiceInstance> {
        let keys = self.by_service.get(service).into_iter().flatten();
        let lines = keys.filter_map(|key| self.lines.get(key));
        lines.map(Line::instance).collect()
    }

    pub(super) fn insert(&mut self, line: Line) {
        let key = line.record.key.clone();
        self.remove(&key);
        if key.owner.is_own() {
            self.own.insert(key.instance.clone(), key.owner.clone());
        }
        let service = line.record.entry.service.clone();
        self.by_service
            .entry(service)
            .or_default()
            .insert(key.clone());
        *self.n_by_owner.entry(key.owner.clone()).or_default() += 1;
        self.n_of_operator += usize::from(key.owner.is_of_operator());
        self.lines.insert(key, line);
    }

    pub(super) fn remove(&mut self, key: &EntryKey) -> Option<Line> {
        let line = self.lines.remove(key)?;
        if key.owner.is_own() {
            self.own.remove(&key.instance);
        }
        let service = &line.record.entry.service;
        if let Some(keys) = self.by_service.get_mut(service) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_service.remove(service);
            }
        }
        if let Some(n) = self.n_by_owner.get_mut(&key.owner) {
            *n -= 1;
            if *n == 0 {
                self.n_by_owner.remove(&key.owner);
            }
        }
        self.n_of_operator -= usize::from(key.owner.is_of_operator());
        Some(line)
    }

    /// Panics where an index does not follow from the lines.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let mut expected = Self::default();
        for (key, line) in &self.lines {
            assert_eq!(line.record.key, *key);
            assert_eq!(line.record.entry.instance, key.instance);
            let service = line.record.entry.service.clone();
            expected
                .by_service
                .entry(service)
                .or_default()
                .insert(key.clone());
            *expected.n_by_owner.entry(key.owner.clone()).or_default() += 1;
            expected.n_of_operator += usize::from(key.owner.is_of_operator());
            if key.owner.is_own() {
                let twice = (expected.own).insert(key.instance.clone(), key.owner.clone());
                assert_eq!(twice, None, "{} is held twice", key.instance);
                assert!(!line.is_stale, "what is our own is never stale");
            }
        }
        assert_eq!(self.by_service, expected.by_service);
        assert_eq!(self.own, expected.own);
        assert_eq!(self.n_by_owner, expected.n_by_owner);
        assert_eq!(self.n_of_operator, expected.n_of_operator);
    }
}

impl Line {
    pub(super) fn instance(&self) -> ServiceInstance {
        ServiceInstance {
            record: Arc::clone(&self.record),
            health: self.monitor.health(),
            stale: self.is_stale,
        }
    }
}
