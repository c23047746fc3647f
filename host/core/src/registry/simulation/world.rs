//! Gateways, providers, their network, the trouble they have, and what must hold all the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::AddAssign,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    CONVERGED_MAX, GRACE, KEPT_MAX, LEARNED_MAX, STEP, TTL_MIN,
    gateway::{Gateway, name_of, told},
    network::Network,
    provider::Provider,
};
use crate::{
    registry::{
        directory::{DirectoryEvent, ToldEntry, tests::check},
        health::{HealthOutcome, HealthSource},
        owner::{EntryKey, InstanceId, Owner},
        snapshot::EntryRecord,
    },
    testing::{Rng, epoch},
    text::Text,
};

type Records = Vec<Arc<EntryRecord>>;

const TROUBLE: Duration = Duration::from_secs(20);

pub(super) struct World {
    rng: Rng,
    now: Instant,
    gateways: Vec<Gateway>,
    names: Vec<Text>,
    providers: Vec<Provider>,
    network: Network,
    /// How likely a heartbeat is lost.
    heartbeat_loss: u64,
    /// What each gateway answers for, or once did.
    exports: BTreeMap<(usize, InstanceId), Export>,
    /// What each gateway knew of each peer after the step before.
    learned: BTreeMap<(usize, usize), Learned>,
    tally: Tally,
}

#[derive(Debug, Clone, Copy)]
struct Export {
    since: Instant,
    last: Instant,
}

#[derive(Debug)]
struct Learned {
    lost_at: Option<Instant>,
    instances: BTreeSet<InstanceId>,
}

/// What happened, so that a simulation in which nothing happens is noticed.
#[derive(Debug, Default)]
pub(super) struct Tally {
    cuts: u64,
    losses: u64,
    restarts: u64,
    expired: u64,
    graces: u64,
    panics: u64,
    too_old: u64,
    compared: u64,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let now = epoch();
        let n = 2 + usize::try_from(rng.below(3)).expect("small");
        let gateways = (0..n)
            .map(|idx| Gateway::new(&mut rng, now, idx, n))
            .collect();
        let n_providers = 1 + usize::try_from(rng.below(6)).expect("small");
        let mut providers = Vec::new();
        for number in 0..n_providers {
            let home = number % n;
            providers.push(Provider::new(&mut rng, now, number, home));
        }
        Self {
            now,
            names: (0..n).map(name_of).collect(),
            gateways,
            providers,
            network: Network::new(now, n),
            heartbeat_loss: rng.below(20),
            exports: BTreeMap::new(),
            learned: BTreeMap::new(),
            tally: Tally::default(),
            rng,
        }
    }

    pub(super) fn run(mut self) -> Tally {
        let end = self.now + TROUBLE;
        while self.now < end {
            self.trouble();
            self.step();
        }
        self.network.heal(self.now);
        self.heartbeat_loss = 0;
        let end = self.now + CONVERGED_MAX;
        while self.now < end {
            self.step();
        }
        self.check_converged();
        for gateway in &mut self.gateways {
            gateway.mirror.catch_up(&gateway.directory);
            self.tally.too_old += gateway.mirror.n_too_old;
            self.tally.compared += gateway.mirror.n_compared;
        }
        self.tally
    }

    /// Time passes; everybody does what is due; everything is checked.
    fn step(&mut self) {
        self.now += STEP;
        let now = self.now;
        while let Some(message) = self.network.receive(now) {
            let answer = self.gateways[message.to].handle(now, message);
            if let Some(answer) = answer {
                self.network.send(now, &mut self.rng, answer);
            }
        }
        for provider in &mut self.providers {
            let home = &mut self.gateways[provider.home];
            provider.step(&mut self.rng, now, home, self.heartbeat_loss);
        }
        for gateway in &mut self.gateways {
            let (events, messages) = gateway.step(now);
            for event in events {
                match event {
                    DirectoryEvent::LeaseExpired(_) => self.tally.expired += 1,
                    DirectoryEvent::GraceOver(_) => self.tally.graces += 1,
                    DirectoryEvent::Recovered(_) => {}
                }
            }
            for message in messages {
                self.network.send(now, &mut self.rng, message);
            }
            gateway.mirror.step(&mut self.rng, &gateway.directory);
        }
        let snapshots = self.gateways.iter();
        let snapshots: Vec<Records> = snapshots.map(|gateway| gateway.all()).collect();
        self.note_exports(&snapshots);
        for (idx, records) in snapshots.iter().enumerate() {
            self.check_own(idx, records);
            self.check_learned(idx, records);
        }
    }

    /// Something goes wrong, perhaps.
    fn trouble(&mut self) {
        let (rng, now) = (&mut self.rng, self.now);
        let n = self.gateways.len();
        let any = |rng: &mut Rng, n: usize| usize::try_from(rng.below(n as u64)).expect("an index");
        if rng.chance(15) {
            let (a, b) = (any(rng, n), any(rng, n));
            let is_cut = rng.chance(40);
            let loss = if rng.chance(50) { rng.below(60) } else { 0 };
            self.network.set(now, a, b, is_cut, loss);
            if rng.chance(80) {
                self.network.set(now, b, a, is_cut, loss);
            }
            self.tally.cuts += u64::from(is_cut);
            self.tally.losses += u64::from(loss > 0);
        }
        if rng.chance(15) {
            let provider = any(rng, self.providers.len());
            self.providers[provider].trouble(rng, now, &mut self.gateways);
        }
        if rng.chance(2) {
            let idx = any(rng, n);
            let keeps_leases = rng.chance(50);
            self.gateways[idx].restart(now, keeps_leases);
            let guests = self
                .providers
                .iter_mut()
                .filter(|provider| provider.home == idx);
            if !keeps_leases {
                guests.for_each(Provider::on_forgotten);
            }
            self.learned.retain(|(gateway, _), _| *gateway != idx);
            self.tally.restarts += 1;
        }
        self.fail_probes();
    }

    /// Probes and calls of random instances go wrong, or well.
    fn fail_probes(&mut self) {
        let (rng, now) = (&mut self.rng, self.now);
        for gateway in &mut self.gateways {
            if rng.chance(75) {
                continue;
            }
            for record in gateway.all() {
                let outcome = if rng.chance(60) {
                    HealthOutcome::Failure
                } else {
                    HealthOutcome::Success
                };
                let source = if rng.chance(50) {
                    HealthSource::Call
                } else {
                    HealthSource::Probe
                };
                gateway
                    .directory
                    .on_outcome(now, &record.key, source, outcome);
            }
        }
    }

    fn note_exports(&mut self, snapshots: &[Records]) {
        let now = self.now;
        for (idx, records) in snapshots.iter().enumerate() {
            for record in records.iter().filter(|record| record.key.owner.is_own()) {
                let key = (idx, record.key.instance.clone());
                let fresh = Export {
                    since: now,
                    last: now,
                };
                let export = self.exports.entry(key).or_insert(fresh);
                if export.last + STEP < now {
                    *export = fresh;
                }
                export.last = now;
            }
        }
    }

    /// What this gateway answers for is there, and its service can be used.
    fn check_own(&mut self, idx: usize, records: &Records) {
        let guests = self
            .providers
            .iter()
            .filter(|provider| provider.home == idx);
        let guests = guests.filter_map(|provider| provider.expected(self.now));
        let expected: Vec<EntryKey> = guests.chain(self.gateways[idx].plugin_key()).collect();
        let directory = &mut self.gateways[idx].directory;
        let snapshot = directory.snapshot();
        for key in expected {
            let record = records.iter().find(|record| record.key == key);
            let record = record.unwrap_or_else(|| panic!("{key:?} is alive and not there"));
            let service = snapshot.service(&record.entry.service);
            let service = service.expect("a service with an entry");
            assert!(!service.usable().is_empty(), "{key:?} cannot be used");
            self.tally.panics += u64::from(service.is_in_panic());
        }
    }

    /// What this gateway learned is of whoever answers for it, kept long enough and not too long.
    fn check_learned(&mut self, idx: usize, records: &Records) {
        let now = self.now;
        for peer in (0..self.gateways.len()).filter(|peer| *peer != idx) {
            let directory = &self.gateways[idx].directory;
            let instances: BTreeSet<InstanceId> = told_by(records, &self.names[peer])
                .map(|record| record.key.instance.clone())
                .collect();
            for instance in &instances {
                let export = self.exports.get(&(peer, instance.clone()));
                let export = export.unwrap_or_else(|| panic!("{peer} never had {instance}"));
                let age = now - export.last;
                assert!(
                    age <= KEPT_MAX,
                    "{idx} keeps {instance} of {peer} for {age:?}"
                );
            }
            self.check_known(idx, peer, &instances);
            let lost_at = directory
                .peer(&self.names[peer])
                .and_then(|peer| peer.lost_at);
            let learned = Learned { lost_at, instances };
            if let Some(before) = self.learned.get(&(idx, peer))
                && lost_at.is_some_and(|at| before.lost_at == Some(at) && now < at + kept_min())
            {
                assert_eq!(
                    before.instances, learned.instances,
                    "dropped before its time"
                );
            }
            self.learned.insert((idx, peer), learned);
        }
    }

    /// What a peer has had for a while over a good link is known.
    fn check_known(&self, idx: usize, peer: usize, instances: &BTreeSet<InstanceId>) {
        let Some(good_since) = self.network.good_since(idx, peer) else {
            return;
        };
        let all = InstanceId::new("");
        let exports = self
            .exports
            .range((peer, all)..)
            .take_while(|((of, _), _)| *of == peer);
        for ((_, instance), export) in exports {
            let is_there = export.last == self.now;
            let [own, theirs] = [idx, peer].map(|idx| self.gateways[idx].began_at());
            let since = export.since.max(good_since).max(own).max(theirs);
            if is_there && self.now > since + LEARNED_MAX {
                let is_known = instances.contains(instance);
                assert!(is_known, "{idx} lacks {instance} of {peer}");
            }
        }
    }

    /// Everybody knows what everybody answers for, and finds the same.
    fn check_converged(&self) {
        let exported = |idx: usize| -> Vec<ToldEntry> {
            let exported = self.gateways[idx].directory.exportable().records;
            let mut exported: Vec<ToldEntry> = exported.iter().map(|record| told(record)).collect();
            exported.sort_by(|a, b| a.entry.instance.cmp(&b.entry.instance));
            exported
        };
        let n = self.gateways.len();
        let found: Vec<_> = self.gateways.iter().map(Gateway::found).collect();
        for (idx, gateway) in self.gateways.iter().enumerate() {
            check(&gateway.directory);
            assert_eq!(found[idx], found[0]);
            let records = gateway.all();
            for peer in (0..n).filter(|peer| *peer != idx) {
                let learned = told_by(&records, &self.names[peer]);
                let learned: Vec<ToldEntry> = learned.map(|record| told(record)).collect();
                assert_eq!(learned, exported(peer), "what {idx} knows of {peer}");
                let state = gateway.directory.peer(&self.names[peer]);
                assert!(state.is_some_and(|state| state.is_connected && state.lost_at.is_none()));
            }
        }
    }
}

/// What `peer` told, of all that a gateway has.
fn told_by<'a>(records: &'a Records, peer: &'a Text) -> impl Iterator<Item = &'a Arc<EntryRecord>> {
    let of_peer = move |owner: &Owner| matches!(owner, Owner::Peer(name) if name == peer);
    records
        .iter()
        .filter(move |record| of_peer(&record.key.owner))
}

/// The least time that anything is kept of a lost peer.
fn kept_min() -> Duration {
    GRACE.min(TTL_MIN)
}

impl Tally {
    /// Trouble of every kind was there.
    pub(super) fn check(&self) {
        let Self {
            cuts,
            losses,
            restarts,
            expired,
            graces,
            panics,
            too_old,
            compared,
        } = *self;
        for count in [
            cuts, losses, restarts, expired, graces, panics, too_old, compared,
        ] {
            assert!(count > 0, "{self:?}");
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.cuts += other.cuts;
        self.losses += other.losses;
        self.restarts += other.restarts;
        self.expired += other.expired;
        self.graces += other.graces;
        self.panics += other.panics;
        self.too_old += other.too_old;
        self.compared += other.compared;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cuts,
            losses,
            restarts,
            expired,
            graces,
            panics,
            too_old,
            compared,
        } = self;
        write!(
            f,
            "{cuts} cuts, {losses} lossy links, {restarts} restarts, {expired} leases expired, \
             {graces} graces over, {panics} steps in panic, {too_old} snapshots for watchers, \
             {compared} states compared"
        )
    }
}
