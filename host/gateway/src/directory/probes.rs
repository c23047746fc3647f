//! Asking remote instances for a sign of life: each at its own time, spread over the interval, at
//! most so many at once. What is down is asked more often, since only probes bring it up.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use postern_core::{
    BoxFuture,
    registry::{
        Entry, EntryKey, EntryRecord, Health, HealthOutcome, HealthSource, Owner, Snapshot,
    },
};
use postern_net::{Shutdown, dial};
use postern_system::{clock::now, random::part_of};
use tokio::task::JoinSet;

use super::SharedDirectory;

/// Asks one instance. What it answers is its health, however it is asked.
pub(crate) trait InstanceProber: Send + Sync {
    /// The future owns what it needs; it is dropped when its time is over, which is a failure.
    fn probe(&self, entry: Entry) -> BoxFuture<HealthOutcome>;

    /// The longest interval for an instance, where its protocol has one of its own.
    fn interval_max(&self, _entry: &Entry) -> Option<Duration> {
        None
    }
}

/// When each instance is asked.
#[derive(Debug, Default)]
struct Schedule {
    /// What it was made of last.
    snapshot: Arc<Snapshot>,
    due: BTreeMap<EntryKey, Due>,
    /// The same, the earliest first.
    queue: BTreeSet<(Instant, EntryKey)>,
}

#[derive(Debug)]
struct Due {
    record: Arc<EntryRecord>,
    health: Health,
    /// No interval is longer.
    interval_max: Option<Duration>,
    at: Instant,
}

/// How often.
#[derive(Debug, Clone, Copy)]
struct Rhythm {
    up: Duration,
    down: Duration,
}

/// Asks all remote instances until `shutdown` drains.
pub(crate) async fn run(
    directory: Arc<SharedDirectory>,
    ask: Arc<dyn InstanceProber>,
    shutdown: Shutdown,
) {
    let mut changes = directory.changes();
    let mut schedule = Schedule::default();
    let mut asked: BTreeSet<EntryKey> = BTreeSet::new();
    let mut probes = JoinSet::new();
    loop {
        let settings = directory.settings();
        let rhythm = Rhythm {
            up: settings.probe_interval,
            down: settings.probe_down_interval,
        };
        changes.borrow_and_update();
        let interval_max = |entry: &Entry| ask.interval_max(entry);
        schedule.follow((directory.snapshot(), now()), rhythm, part_of, interval_max);
        while probes.len() < settings.probe_concurrency
            && let Some((key, entry)) = schedule.take_due(now(), rhythm, &asked)
        {
            asked.insert(key.clone());
            let (probe, timeout) = (ask.probe(entry), settings.probe_timeout);
            probes.spawn(async move {
                let outcome = tokio::time::timeout(timeout, probe).await;
                (key, outcome.unwrap_or(HealthOutcome::Failure))
            });
        }
        let is_full = probes.len() >= settings.probe_concurrency;
        let next = schedule.next(&asked).filter(|_| !is_full);
        let due = async {
            match next {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => {}
            Some(done) = probes.join_next() => {
                // A probe that panicked is asked again when the set is empty.
                let Ok((key, outcome)) = done else {
                    asked.clear();
                    continue;
                };
                asked.remove(&key);
                directory.on_outcome(&key, HealthSource::Probe, outcome);
            }
            changed = changes.changed() => if changed.is_err() { return },
            () = shutdown.draining() => return,
        }
    }
}

impl Schedule {
    /// Takes over what changed in the snapshot. `part_of` gives a random part of an interval, and
    /// `interval_max` is as of an `InstanceProber`.
    fn follow(
        &mut self,
        (snapshot, now): (Arc<Snapshot>, Instant),
        rhythm: Rhythm,
        part_of: impl Fn(Duration) -> Duration,
        interval_max: impl Fn(&Entry) -> Option<Duration>,
    ) {
        let before = std::mem::replace(&mut self.snapshot, snapshot);
        if Arc::ptr_eq(&before, &self.snapshot) {
            return;
        }
        let changes = self.snapshot.changes_since(&before);
        let mut known: BTreeMap<EntryKey, Due> = BTreeMap::new();
        let gone = changes.keys().filter_map(|name| before.service(name));
        for instance in gone.flat_map(|service| service.all()) {
            let key = &instance.record.key;
            if let Some(due) = self.due.remove(key) {
                self.queue.remove(&(due.at, key.clone()));
                known.insert(key.clone(), due);
            }
        }
        let services = changes.values().flatten();
        for instance in services.flat_map(|service| service.all()) {
            let record = &instance.record;
            let is_remote = !matches!(record.key.owner, Owner::Local(_));
            let addresses = &record.entry.addresses;
            // Nothing is learned of the health of what cannot be dialled from here.
            let is_dialled = match record.key.owner {
                Owner::Config => dial::check_all(addresses).is_ok(),
                Owner::Local(_) | Owner::Registered(_) | Owner::Peer(_) => {
                    dial::check(addresses).is_ok()
                }
            };
            if !is_remote || addresses.is_empty() || !is_dialled {
                continue;
            }
            let interval_max = interval_max(&record.entry);
            let interval = rhythm.of(instance.health, interval_max);
            // A first probe comes anywhere within the interval, so that a gateway that starts with
            // a thousand instances does not ask them all at once.
            let fresh = || now + part_of(interval);
            let at = match known.remove(&record.key) {
                // One that just went down is not left to its old, longer interval.
                Some(due) if due.health != instance.health => due.at.min(fresh()),
                Some(due) => due.at,
                None => fresh(),
            };
            let due = Due {
                record: Arc::clone(record),
                health: instance.health,
                interval_max,
                at,
            };
            self.queue.insert((at, record.key.clone()));
            self.due.insert(record.key.clone(), due);
        }
    }

    /// One instance whose time has come and that is not being asked; its next time is set.
    fn take_due(
        &mut self,
        now: Instant,
        rhythm: Rhythm,
        asked: &BTreeSet<EntryKey>,
    ) -> Option<(EntryKey, Entry)> {
        let (at, key) = self.first(asked).filter(|(at, _)| *at <= now)?.clone();
        self.queue.remove(&(at, key.clone()));
        let due = self.due.get_mut(&key)?;
        let interval = rhythm.of(due.health, due.interval_max);
        due.at = (at + interval).max(now + interval / 2);
        self.queue.insert((due.at, key.clone()));
        Some((key, due.record.entry.clone()))
    }

    fn next(&self, asked: &BTreeSet<EntryKey>) -> Option<Instant> {
        self.first(asked).map(|(at, _)| *at)
    }

    fn first(&self, asked: &BTreeSet<EntryKey>) -> Option<&(Instant, EntryKey)> {
        self.queue.iter().find(|(_, key)| !asked.contains(key))
    }
}

impl Rhythm {
    fn of(self, health: Health, interval_max: Option<Duration>) -> Duration {
        let interval = match health {
            Health::Up => self.up,
            Health::Down => self.down,
        };
        interval_max.map_or(interval, |max| interval.min(max))
    }
}

#[cfg(test)]
mod tests;
