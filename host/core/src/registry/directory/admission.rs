//! What may enter the directory, and how entries change. Every change of an entry passes `put` or
//! `remove`: they keep table, schedules, history and the list of changed services in step.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use super::{
    Directory, RegisterChange, RegisterError, Registered, RenewError, Replaced, ToldEntry,
    table::Line,
};
use crate::registry::{
    entry::Entry,
    health::Monitor,
    lease::{EntryLease, Ttl},
    owner::{EntryKey, Incarnation, InstanceId, Owner},
    snapshot::EntryRecord,
};

impl Directory {
    pub(super) fn check_incarnation(
        &self,
        owner: &Owner,
        entry: &Entry,
    ) -> Result<(), RegisterError> {
        let held = self.table.get(&entry.key(owner));
        let held = held.map(|line| line.record.entry.incarnation);
        match held {
            Some(held) if entry.incarnation < held => Err(RegisterError::StaleIncarnation {
                given: entry.incarnation,
                held,
            }),
            _ => Ok(()),
        }
    }

    /// Whether owner and bounds allow `entry`; a stranger who has its name and goes for it.
    pub(super) fn check_entry(
        &self,
        owner: &Owner,
        entry: &Entry,
        ttl: Option<Ttl>,
    ) -> Result<Option<Owner>, RegisterError> {
        match owner {
            Owner::Peer(_) => return Err(RegisterError::OfPeer),
            Owner::Registered(_) if ttl.is_none() => return Err(RegisterError::LeaseNeeded),
            Owner::Registered(_) | Owner::Local(_) | Owner::Config => {}
        }
        let holder = self.table.holder(&entry.instance);
        let squatter = holder.filter(|holder| *holder != owner).cloned();
        if let Some(squatter) = &squatter
            && (squatter.is_of_operator() || !owner.is_of_operator())
        {
            let instance = entry.instance.clone();
            return Err(RegisterError::HeldByAnother { instance });
        }
        if self.table.get(&entry.key(owner)).is_none() {
            self.check_room(owner, usize::from(squatter.is_some()))?;
        }
        Ok(squatter)
    }

    /// Takes `entry` where owner and bounds allow.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        owner: &Owner,
        entry: Entry,
        ttl: Option<Ttl>,
    ) -> Result<Registered, RegisterError> {
        let squatter = self.check_entry(owner, &entry, ttl)?;
        let key = entry.key(owner);
        if let Some(owner) = squatter {
            // What the operator runs goes before a stranger who took its name.
            let instance = key.instance.clone();
            self.remove(&EntryKey { owner, instance });
        }
        let change = self.put(now, owner, entry, ttl);
        let lease = self.renew(now, &key);
        Ok(Registered { lease, change })
    }

    /// Whether `owner` may have one more entry, `n_leaving` others of all being about to go.
    pub(super) fn check_room(&self, owner: &Owner, n_leaving: usize) -> Result<(), RegisterError> {
        let config = &self.config;
        let limit = if owner.is_own() {
            config.entries_per_owner_max
        } else {
            config.entries_per_peer_max
        };
        if self.table.n_of(owner) >= limit {
            return Err(RegisterError::OwnerFull { limit });
        }
        let limit = config.entries_max;
        let strangers_max = limit.saturating_sub(config.entries_reserved);
        let is_full = self.table.len() - n_leaving >= limit
            || !owner.is_of_operator() && self.table.n_of_strangers() >= strangers_max;
        if is_full {
            let limit = if owner.is_of_operator() {
                limit
            } else {
                strangers_max
            };
            return Err(RegisterError::Full { limit });
        }
        Ok(())
    }

    /// Makes `entries` all that `owner` has. What goes, goes first, so that there is room.
    pub(super) fn replace(
        &mut self,
        now: Instant,
        owner: &Owner,
        entries: Vec<ToldEntry>,
    ) -> Replaced {
        let wanted = entries.into_iter();
        let wanted: BTreeMap<InstanceId, ToldEntry> = wanted
            .map(|told| (told.entry.instance.clone(), told))
            .collect();
        let mut replaced = Replaced::default();
        for key in self.table.keys_of(owner) {
            if !wanted.contains_key(&key.instance) {
                replaced.removed += usize::from(self.remove(&key).is_some());
            }
        }
        for (instance, ToldEntry { entry, ttl }) in wanted {
            let result = match owner {
                Owner::Peer(_) => self.learn(now, owner, entry, ttl),
                Owner::Local(_) | Owner::Config | Owner::Registered(_) => self
                    .admit(now, owner, entry, ttl)
                    .map(|registration| registration.change),
            };
            self.note(&mut replaced, instance, result);
        }
        replaced
    }

    pub(super) fn note(
        &mut self,
        replaced: &mut Replaced,
        instance: InstanceId,
        result: Result<RegisterChange, RegisterError>,
    ) {
        match result {
            Ok(RegisterChange::Added) => replaced.added += 1,
            Ok(RegisterChange::Changed) => replaced.changed += 1,
            Ok(RegisterChange::Renewed) => {}
            Err(error) => {
                self.stats.refused += 1;
                replaced.refused.push((instance, error));
            }
        }
    }

    /// Writes an entry that was admitted.
    pub(super) fn put(
        &mut self,
        now: Instant,
        owner: &Owner,
        entry: Entry,
        ttl: Option<Ttl>,
    ) -> RegisterChange {
        let key = entry.key(owner);
        let before = self.table.get(&key).map(|line| Arc::clone(&line.record));
        if let Some(before) = &before
            && before.entry == entry
            && before.ttl == ttl
        {
            self.stats.renewed += 1;
            return RegisterChange::Renewed;
        }
        let instance = entry.instance.clone();
        let owner = owner.detached();
        let record = Arc::new(EntryRecord {
            key: EntryKey { owner, instance },
            entry,
            ttl,
            revision: self.history.cursor().revision + 1,
        });
        let mut line = Line {
            record: Arc::clone(&record),
            monitor: Monitor::default(),
            is_stale: false,
        };
        if let Some(old) = self.table.remove(&key) {
            self.changed.insert(old.record.entry.service.clone());
            (line.monitor, line.is_stale) = (old.monitor, old.is_stale);
            let is_same = old.record.entry.incarnation == record.entry.incarnation
                && old.record.entry.is_at_same_place(&record.entry);
            if !is_same {
                line.monitor.on_restart(&self.config.health, now);
            }
            self.stats.changed += 1;
        } else {
            self.stats.added += 1;
        }
        self.holds
            .set(&key, line.monitor.poll_timeout(&self.config.health));
        self.changed.insert(record.entry.service.clone());
        self.table.insert(line);
        let change = if before.is_some() {
            RegisterChange::Changed
        } else {
            RegisterChange::Added
        };
        self.history.push(before, Some(record));
        change
    }

    pub(super) fn remove(&mut self, key: &EntryKey) -> Option<Arc<EntryRecord>> {
        let line = self.table.remove(key)?;
        self.leases.set(key, None);
        self.holds.set(key, None);
        self.changed.insert(line.record.entry.service.clone());
        self.history.push(Some(Arc::clone(&line.record)), None);
        self.stats.removed += 1;
        Some(line.record)
    }

    /// Lets the lease of an own entry begin at `now`.
    pub(super) fn renew(&mut self, now: Instant, key: &EntryKey) -> EntryLease {
        let ttl = self.table.get(key).and_then(|line| line.record.ttl);
        let expires = ttl.map(|ttl| now + ttl.duration());
        self.leases.set(key, expires);
        EntryLease { ttl, expires }
    }

    /// The key of an entry that `owner` has itself registered, in a life not later than the
    /// sender's.
    pub(super) fn held(
        &self,
        owner: &Owner,
        instance: &InstanceId,
        given: Incarnation,
    ) -> Result<EntryKey, RenewError> {
        let key = EntryKey {
            owner: owner.clone(),
            instance: instance.clone(),
        };
        let line = self.table.get(&key).filter(|_| owner.is_own());
        let Some(line) = line else {
            let instance = key.instance;
            return Err(RenewError::NotHeld { instance });
        };
        let held = line.record.entry.incarnation;
        if given < held {
            return Err(RenewError::StaleIncarnation { given, held });
        }
        Ok(key)
    }
}
