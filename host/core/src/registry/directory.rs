//! The directory itself: entries in, snapshot and changes out.

mod admission;
mod config;
mod error;
mod peers;
mod table;
#[cfg(test)]
pub(super) mod tests;
mod told;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

pub use config::{ConfigError, DirectoryConfig};
pub use error::{RegisterError, RenewError, SyncError};
use table::Table;
use told::Peer;
pub use told::{PeerChange, PeerState, ToldEntry};

use super::{
    entry::Entry,
    health::{Health, HealthOutcome, HealthSource},
    lease::{EntryLease, Schedule, Ttl},
    owner::{EntryKey, Incarnation, InstanceId, Owner},
    query::Query,
    snapshot::{EntryRecord, ServiceInstance, ServiceInstances, Snapshot, merged},
    watch::{Changes, Cursor, History, WatchQuery, WatchSnapshot},
};
use crate::text::Text;

/// Who can answer for what. See the module's documentation for its contract and bounds.
#[derive(Debug)]
pub struct Directory {
    config: DirectoryConfig,
    table: Table,
    /// When an entry goes, for those that go by time.
    leases: Schedule,
    /// When an instance that flapped is let up.
    holds: Schedule,
    peers: BTreeMap<Text, Peer>,
    history: History,
    /// Services whose instances are not those of `snapshot`.
    changed: BTreeSet<Text>,
    snapshot: Arc<Snapshot>,
    stats: DirectoryStats,
}

/// What became of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered {
    pub lease: EntryLease,
    pub change: RegisterChange,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegisterChange {
    Added,
    Changed,
    /// It was there, just so; the lease begins anew. Health and revision stay.
    Renewed,
}

/// What a replacement of many entries did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replaced {
    pub added: usize,
    pub changed: usize,
    pub removed: usize,
    /// What was not taken, and why.
    pub refused: Vec<(InstanceId, RegisterError)>,
}

/// What time did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DirectoryEvent {
    /// No heartbeat came; the entry is gone.
    LeaseExpired(Arc<EntryRecord>),
    /// The peer that told it did not come back; the entry is gone.
    GraceOver(Arc<EntryRecord>),
    /// An instance that flapped has been held down long enough and is up.
    Recovered(EntryKey),
}

/// Counters since the start, and gauges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DirectoryStats {
    pub entries: usize,
    pub services: usize,
    pub leases: usize,
    pub added: u64,
    pub changed: u64,
    pub removed: u64,
    /// Registrations that changed nothing, and heartbeats.
    pub renewed: u64,
    /// Entries that went by time; counted in `removed` too.
    pub expired: u64,
    pub refused: u64,
}

impl Directory {
    /// An empty directory. `epoch` must differ from that of any life before: a random number, or
    /// the time of the start.
    ///
    /// # Errors
    /// The first setting that is out of bounds.
    pub fn new(config: DirectoryConfig, epoch: u64) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            table: Table::default(),
            leases: Schedule::default(),
            holds: Schedule::default(),
            peers: BTreeMap::new(),
            history: History::new(epoch, config.history_max),
            changed: BTreeSet::new(),
            snapshot: Arc::default(),
            stats: DirectoryStats::default(),
            config,
        })
    }

    /// Takes `entry`, or renews its lease when it is there just so.
    ///
    /// # Errors
    /// Why it is refused; then nothing has changed.
    pub fn register(
        &mut self,
        now: Instant,
        owner: &Owner,
        entry: Entry,
        ttl: Option<Ttl>,
    ) -> Result<Registered, RegisterError> {
        let result = self
            .check_incarnation(owner, &entry)
            .and_then(|()| self.admit(now, owner, entry, ttl));
        self.stats.refused += u64::from(result.is_err());
        result
    }

    /// Whether `register` would take `entry` at present. One that it would not counts as refused.
    ///
    /// # Errors
    /// As `register`.
    pub fn check(
        &mut self,
        owner: &Owner,
        entry: &Entry,
        ttl: Option<Ttl>,
    ) -> Result<(), RegisterError> {
        let result = self.check_incarnation(owner, entry);
        let result = result.and_then(|()| self.check_entry(owner, entry, ttl).map(drop));
        self.stats.refused += u64::from(result.is_err());
        result
    }

    /// Whether `unregister` would remove the entry at present; its key.
    ///
    /// # Errors
    /// As `unregister`.
    pub fn check_held(
        &self,
        owner: &Owner,
        instance: &InstanceId,
        incarnation: Incarnation,
    ) -> Result<EntryKey, RenewError> {
        self.held(owner, instance, incarnation)
    }

    /// Takes an entry that was leased before a restart of the gateway, of which `left` was left.
    ///
    /// # Errors
    /// As `register`.
    pub fn restore(
        &mut self,
        now: Instant,
        owner: &Owner,
        entry: Entry,
        ttl: Ttl,
        left: Duration,
    ) -> Result<Registered, RegisterError> {
        let key = entry.key(owner);
        let mut registration = self.register(now, owner, entry, Some(ttl))?;
        let expires = now + left.min(ttl.duration());
        self.leases.set(&key, Some(expires));
        registration.lease.expires = Some(expires);
        Ok(registration)
    }

    /// Renews the lease of one entry. `incarnation` is the sender's, so that a life that should
    /// have ended keeps nothing alive.
    ///
    /// # Errors
    /// Why there is nothing to renew.
    pub fn heartbeat(
        &mut self,
        now: Instant,
        owner: &Owner,
        instance: &InstanceId,
        incarnation: Incarnation,
    ) -> Result<EntryLease, RenewError> {
        let key = self.held(owner, instance, incarnation)?;
        self.stats.renewed += 1;
        Ok(self.renew(now, &key))
    }

    /// Renews all leases of a remote provider; how many it has.
    pub fn heartbeat_all(&mut self, now: Instant, owner: &Owner) -> usize {
        if !owner.is_own() {
            return 0;
        }
        let keys = self.table.keys_of(owner);
        for key in &keys {
            self.stats.renewed += 1;
            self.renew(now, key);
        }
        keys.len()
    }

    /// Removes one entry.
    ///
    /// # Errors
    /// Why there is nothing to remove.
    pub fn unregister(
        &mut self,
        owner: &Owner,
        instance: &InstanceId,
        incarnation: Incarnation,
    ) -> Result<Arc<EntryRecord>, RenewError> {
        let key = self.held(owner, instance, incarnation)?;
        let not_held = || RenewError::NotHeld {
            instance: instance.clone(),
        };
        self.remove(&key).ok_or_else(not_held)
    }

    /// Makes `entries` all that `owner` has, for instance after a reload of the configuration. Of
    /// two entries of one instance the last counts.
    pub fn replace_all_of(
        &mut self,
        now: Instant,
        owner: &Owner,
        entries: Vec<ToldEntry>,
    ) -> Replaced {
        if owner.is_own() {
            return self.replace(now, owner, entries);
        }
        let refuse = |told: ToldEntry| (told.entry.instance.clone(), RegisterError::OfPeer);
        Replaced {
            refused: entries.into_iter().map(refuse).collect(),
            ..Replaced::default()
        }
    }

    /// Removes all that `owner` has and what is known of it: a plugin that was unloaded, a peer
    /// that is no longer configured. How many entries that were.
    pub fn forget(&mut self, owner: &Owner) -> usize {
        if let Owner::Peer(name) = owner {
            self.peers.remove(name);
        }
        let keys = self.table.keys_of(owner);
        keys.iter().filter_map(|key| self.remove(key)).count()
    }

    /// Counts an outcome of a probe or a call. The instance's health, when that changed it.
    pub fn on_outcome(
        &mut self,
        now: Instant,
        key: &EntryKey,
        source: HealthSource,
        outcome: HealthOutcome,
    ) -> Option<Health> {
        let health = &self.config.health;
        let line = self.table.get_mut(key)?;
        let changed = line.monitor.on_outcome(health, now, source, outcome);
        self.holds.set(key, line.monitor.poll_timeout(health));
        if !changed {
            return None;
        }
        self.changed.insert(line.record.entry.service.clone());
        Some(line.monitor.health())
    }

    /// When `poll` has something to do, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let lease = self.leases.next().map(|at| (at, "lease"));
        let hold = self.holds.next().map(|at| (at, "hold"));
        lease.into_iter().chain(hold).min_by_key(|(at, _)| *at)
    }

    /// Removes what has expired at `now` and lets up what was held down.
    pub fn poll(&mut self, now: Instant) -> Vec<DirectoryEvent> {
        let mut events = Vec::new();
        while let Some(key) = self.leases.take_due(now) {
            let Some(record) = self.remove(&key) else {
                continue;
            };
            self.stats.expired += 1;
            events.push(match &key.owner {
                Owner::Peer(name) => {
                    self.on_grace_over(name);
                    DirectoryEvent::GraceOver(record)
                }
                Owner::Local(_) | Owner::Config | Owner::Registered(_) => {
                    DirectoryEvent::LeaseExpired(record)
                }
            });
        }
        while let Some(key) = self.holds.take_due(now) {
            let Some(line) = self.table.get_mut(&key) else {
                continue;
            };
            if line.monitor.handle_timeout(&self.config.health, now) {
                self.changed.insert(line.record.entry.service.clone());
                events.push(DirectoryEvent::Recovered(key));
            }
        }
        events
    }
}

/// What is read.
impl Directory {
    /// All instances that match `query`: never balanced, never cut, by service, instance and owner.
    #[must_use]
    pub fn discover(&self, query: &Query) -> Vec<ServiceInstance> {
        let asked = |service: &&Text| query.service.as_ref().is_none_or(|name| name == *service);
        let services: Vec<&Text> = match &query.service {
            Some(name) => vec![name],
            None => self.table.services().filter(asked).collect(),
        };
        let instances = services.into_iter();
        let instances = instances.flat_map(|name| merged(self.table.instances_of(name)));
        instances
            .filter(|instance| query.matches(&instance.record.entry))
            .collect()
    }

    /// All that `watch` sees, and the cursor from which to follow it.
    #[must_use]
    pub fn watch_snapshot(&self, watch: &WatchQuery) -> WatchSnapshot {
        let records = self.table.lines().map(|line| &line.record);
        WatchSnapshot {
            records: records
                .filter(|record| watch.sees(record))
                .cloned()
                .collect(),
            cursor: self.history.cursor(),
        }
    }

    /// What a peer may learn: what this gateway answers for itself, and nothing that it learned.
    #[must_use]
    pub fn exportable(&self) -> WatchSnapshot {
        self.watch_snapshot(&WatchQuery::of_peer())
    }

    /// At most `changes_max` changes since `cursor` that `watch` sees. Ask again from the answer's
    /// cursor until that is `cursor()`.
    #[must_use]
    pub fn changes_since(&self, cursor: Cursor, watch: &WatchQuery, changes_max: usize) -> Changes {
        self.history.since(cursor, watch, changes_max)
    }

    /// Where the changes are at present.
    #[must_use]
    pub const fn cursor(&self) -> Cursor {
        self.history.cursor()
    }

    /// The lease of an entry that is there.
    #[must_use]
    pub fn lease(&self, key: &EntryKey) -> Option<EntryLease> {
        let ttl = self.table.get(key)?.record.ttl;
        let expires = self.leases.at(key);
        Some(EntryLease { ttl, expires })
    }

    /// An entry that is there.
    #[must_use]
    pub fn record(&self, key: &EntryKey) -> Option<&Arc<EntryRecord>> {
        Some(&self.table.get(key)?.record)
    }

    /// The entries of remote providers with their leases: what a restart should keep.
    pub fn leased(&self) -> impl Iterator<Item = (&Arc<EntryRecord>, EntryLease)> {
        let records = self.table.lines().map(|line| &line.record);
        let registered = records.filter(|record| matches!(record.key.owner, Owner::Registered(_)));
        registered.filter_map(|record| Some((record, self.lease(&record.key)?)))
    }

    /// Whether `snapshot` would give another one than before.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The instances of every service. Builds anew only the services that changed.
    pub fn snapshot(&mut self) -> Arc<Snapshot> {
        if self.is_changed() {
            let percent = self.config.panic_percent;
            let rebuilt = std::mem::take(&mut self.changed).into_iter().map(|name| {
                let told = self.table.instances_of(&name);
                let service =
                    (!told.is_empty()).then(|| ServiceInstances::new(name.clone(), told, percent));
                (name, service)
            });
            self.snapshot = Arc::new(self.snapshot.with(rebuilt, self.history.cursor().revision));
        }
        Arc::clone(&self.snapshot)
    }

    #[must_use]
    pub fn stats(&self) -> DirectoryStats {
        DirectoryStats {
            entries: self.table.len(),
            services: self.table.services().count(),
            leases: self.leases.len(),
            ..self.stats
        }
    }
}
