//! The directory of this gateway: the pure machine of `postern_core::registry` with a clock, the
//! network and a file. It is a cheap handle: one lock for changes, an immutable snapshot for reads.
//!
//! | file | what |
//! |---|---|
//! | `service` | the built-in service `directory` |
//! | `listing`, `batch` | entries and changes as JSON |
//! | `discovery` | a source of entries that others have, and how it is followed |
//! | `peers` | other gateways as such sources |
//! | `probes` | asking remote instances for a sign of life |
//! | `leases`, `lease_store` | leases on disk, and what is still to be written |
//! | `fault` | what providers are told |
//! | `running` | what happens by itself |
//! | `drains` | what operators take out |
//! | `plugins` | what plugins look up |
//! | `local` | what this gateway's plugins and its configuration have |
//! | `view` | numbers and snapshots for operators |
//!
//! What callers see of it: `host/docs/directory.md`.

mod batch;
pub(crate) mod discovery;
mod drains;
mod fault;
mod lease_store;
mod leases;
pub(crate) mod listing;
mod local;
mod peers;
mod plugins;
pub(crate) mod probes;
mod running;
pub(crate) mod service;
mod view;

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use postern_core::{
    Error, Text,
    registry::{
        self, Address, EntryKey, Health, HealthOutcome, HealthSource, Incarnation, InstanceId,
        Query, ServiceInstance, Snapshot, directory::ConfigError,
    },
};
use postern_net::{Shutdown, tls::ClientTls};
use postern_system::{clock, random};
use tokio::sync::{Notify, Semaphore, watch};
use tracing::{info, warn};

use self::{drains::Drains, lease_store::LeaseStore};
pub(crate) use self::{local::LocalService, view::Numbers};
use crate::config::{Config, DirectorySettings, PeerSettings};

/// Who can answer for what, for all parts of the gateway. Share it as `Arc`.
pub(crate) struct SharedDirectory {
    state: Mutex<State>,
    snapshot: ArcSwap<Snapshot>,
    changes: watch::Sender<u64>,
    settings: ArcSwap<DirectorySettings>,
    /// The settings of the start: some are taken then only.
    built_with: DirectorySettings,
    /// The peers that are to be followed, by name.
    followed: watch::Sender<BTreeMap<Text, PeerSettings>>,
    /// `run` waits for another instant than the next.
    rescheduled: Notify,
    watchers: Arc<Semaphore>,
    lease_store: LeaseStore,
    /// Watchers are let go when it drains.
    closing: Shutdown,
    upstream_tls: OnceLock<Arc<ClientTls>>,
}

/// What the lock guards.
struct State {
    machine: registry::Directory,
    /// Of this process, for what its plugins answer for.
    life: Incarnation,
    drains: Drains,
    /// What each plugin answers for, as it was told.
    locals: BTreeMap<Text, Vec<LocalService>>,
    /// Where this gateway's own listeners are reached.
    addresses: Vec<Address>,
    /// Each peer of the configuration, and how things stand with it.
    peers: BTreeMap<Text, PeerNote>,
    /// What `run` waits for.
    next: Option<Instant>,
}

/// What is known of a peer beside its entries.
#[derive(Debug, Default)]
struct PeerNote {
    address: Option<Address>,
    error: Option<String>,
}

impl SharedDirectory {
    /// A directory with what the configuration names.
    ///
    /// # Errors
    /// The first setting that is out of bounds; those of a checked configuration are within.
    pub(crate) fn new(config: &Config) -> Result<Arc<Self>, ConfigError> {
        let settings = config.directory.clone();
        let machine = registry::Directory::new(settings.to_core(), random::even())?;
        let directory = Arc::new(Self {
            state: Mutex::new(State {
                machine,
                life: Incarnation(clock::unix_time_ms()),
                drains: Drains::default(),
                locals: BTreeMap::new(),
                addresses: Vec::new(),
                peers: BTreeMap::new(),
                next: None,
            }),
            snapshot: ArcSwap::default(),
            changes: watch::Sender::new(0),
            watchers: Arc::new(Semaphore::new(settings.watchers_max)),
            settings: ArcSwap::from_pointee(settings.clone()),
            built_with: settings,
            followed: watch::Sender::new(BTreeMap::new()),
            rescheduled: Notify::new(),
            lease_store: LeaseStore::default(),
            closing: Shutdown::new(),
            upstream_tls: OnceLock::new(),
        });
        directory.apply(config);
        Ok(directory)
    }

    /// What peers are shown and verified by. Set once, before it runs.
    pub(crate) fn set_upstream_tls(&self, tls: Arc<ClientTls>) {
        // A second one would be the same.
        let _ = self.upstream_tls.set(tls);
    }

    /// What peers are shown and verified by.
    pub(super) fn upstream_tls(&self) -> Arc<ClientTls> {
        self.upstream_tls.get().cloned().unwrap_or_default()
    }

    /// What the data path reads. Always the newest; costs no lock.
    #[must_use]
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Told the revision each time that there is another snapshot; also where only the health of
    /// an instance changed, and then the revision is the same as before.
    #[must_use]
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// All instances that match: never balanced, never cut.
    #[must_use]
    pub(crate) fn discover(&self, query: &Query) -> Vec<ServiceInstance> {
        self.state.lock().machine.discover(query)
    }

    /// Counts an outcome of a call or a probe; the instance's health when that changed it.
    pub(crate) fn on_outcome(
        &self,
        key: &EntryKey,
        source: HealthSource,
        outcome: HealthOutcome,
    ) -> Option<Health> {
        let changed = self.change(|state, now| state.machine.on_outcome(now, key, source, outcome));
        match changed {
            Some(Health::Down) => {
                warn!(owner = %key.owner, instance = %key.instance, "instance is down");
            }
            Some(Health::Up) => {
                info!(owner = %key.owner, instance = %key.instance, "instance is up");
            }
            None => {}
        }
        changed
    }

    /// Gives an instance no new calls until `undrain`, also when it registers again; how many
    /// entries of that name there are.
    ///
    /// # Errors
    /// `not-found` when there is none.
    pub(crate) fn drain(&self, instance: &str) -> Result<usize, Error> {
        let instance = InstanceId::new(instance);
        self.change(|state, now| {
            let n_found = state.n_named(&instance);
            if n_found == 0 && !state.drains.contains(&instance) {
                let message = format!("no instance {instance} is in the directory");
                return Err(Error::not_found(message));
            }
            if state.drains.insert(instance.clone()) {
                info!(%instance, "instance is drained");
            }
            state.drains.reconcile(now, &mut state.machine);
            Ok(n_found)
        })
    }

    /// Ends a drain: the instance has the weight that its owner gave it. How many entries that are.
    ///
    /// # Errors
    /// `failed-precondition` when it is not drained.
    pub(crate) fn undrain(&self, instance: &str) -> Result<usize, Error> {
        let instance = InstanceId::new(instance);
        self.change(|state, now| {
            if !state.drains.remove(&instance) {
                let (kind, blame) = (
                    postern_core::Kind::FailedPrecondition,
                    postern_core::Blame::Client,
                );
                let message = format!("instance {instance} is not drained");
                return Err(Error::new(kind, blame, message));
            }
            info!(%instance, "instance is drained no more");
            state.drains.reconcile(now, &mut state.machine);
            Ok(state.n_named(&instance))
        })
    }

    /// Time for a sign of life.
    #[must_use]
    pub(crate) fn probe_timeout(&self) -> Duration {
        self.settings().probe_timeout
    }

    /// The settings in force.
    fn settings(&self) -> Arc<DirectorySettings> {
        self.settings.load_full()
    }

    /// One change under the lock, and all that follows from it.
    fn change<T>(&self, change: impl FnOnce(&mut State, Instant) -> T) -> T {
        let mut state = self.state.lock();
        let result = change(&mut state, clock::now());
        // Within the lock, so that an older snapshot never follows a newer one.
        if state.machine.is_changed() {
            let snapshot = state.machine.snapshot();
            let revision = snapshot.revision();
            self.snapshot.store(snapshot);
            self.changes.send_replace(revision);
        }
        let next = state.machine.poll_timeout().map(|(at, _)| at);
        if next != state.next {
            state.next = next;
            self.rescheduled.notify_one();
        }
        result
    }
}

impl State {
    fn n_named(&self, instance: &InstanceId) -> usize {
        let all = self.machine.watch_snapshot(&drains::everything()).records;
        all.iter()
            .filter(|record| record.key.instance == *instance)
            .count()
    }
}

#[cfg(test)]
mod tests;
