//! From what the directory says to the snapshot of a service.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use postern_core::{
    Handler, Text, Transport,
    balance::{BalancerMemory, Member, Set, TrafficSplit},
    registry::{EntryKey, EntryRecord, Owner, Range, ServiceInstance, ServiceInstances},
};
use postern_net::dial;

use super::{
    Clusters, Connect,
    endpoint::Endpoint,
    policy::{Policies, ServicePolicy},
    policy_state::PolicyState,
    service::Cluster,
    snapshot::{Balancer, Candidate, ClusterSnapshot},
};

/// A service, and of what it was built.
pub(super) struct BuiltService {
    cluster: Arc<Cluster>,
    service: Arc<ServiceInstances>,
    policy: Arc<ServicePolicy>,
    zone: Option<Text>,
    known: BTreeMap<EntryKey, Known>,
    /// Everything that could be had was there: nothing is to be asked for again.
    is_settled: bool,
}

/// An instance of the directory.
struct Known {
    endpoint: Arc<Endpoint>,
    record: Arc<EntryRecord>,
    handler: Option<Arc<dyn Handler>>,
}

impl Known {
    /// It has addresses, and this gateway dials none of them.
    fn is_undialled(&self) -> bool {
        self.handler.is_none() && dial::check(&self.record.entry.addresses).is_err()
    }
}

impl BuiltService {
    pub(super) const fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// Whether one of `plugins` answers for it, or picks who does.
    pub(super) fn is_of(&self, plugins: &BTreeSet<String>) -> bool {
        let mut keys = self.known.keys();
        let answers = keys.any(|key| match &key.owner {
            Owner::Local(plugin) => plugins.contains(plugin.as_str()),
            Owner::Config | Owner::Registered(_) | Owner::Peer(_) => false,
        });
        let balancer = self.policy.component.as_ref();
        answers || balancer.is_some_and(|plugin| plugins.contains(plugin.as_str()))
    }

    /// What it is built of is looked at again.
    pub(super) const fn unsettle(&mut self) {
        self.is_settled = false;
    }

    /// Whether it is built of just that.
    pub(super) fn is_current(
        &self,
        service: &Arc<ServiceInstances>,
        policy: &Arc<ServicePolicy>,
        zone: Option<&Text>,
    ) -> bool {
        self.is_settled
            && Arc::ptr_eq(&self.service, service)
            && (Arc::ptr_eq(&self.policy, policy) || self.policy == *policy)
            && self.zone.as_ref() == zone
    }
}

impl Clusters {
    pub(super) fn build(
        &self,
        before: Option<BuiltService>,
        service: &Arc<ServiceInstances>,
        policies: &Policies,
        connect: &Connect<'_>,
        now: Instant,
    ) -> BuiltService {
        let policy = policies.of(service.name());
        let (cluster, known_before) = match before {
            Some(before) => (Some(before.cluster), before.known),
            None => (None, BTreeMap::new()),
        };
        let known = self.meet_all(known_before, service, connect, now);
        for found in known.values() {
            found.endpoint.breaking.configure(policy.breaker);
        }
        let snapshot_before = cluster.as_ref().map(|cluster| cluster.snapshot());
        let candidates = candidates(service, &known, now);
        let set = Arc::new(set(service, &candidates, policy, policies.zone()));
        let memory = snapshot_before
            .as_ref()
            .map(|p| p.balancer.native().memory());
        let (balancer, is_placed) =
            self.balancer(policy, service.name(), &set, &memory.unwrap_or_default());
        let policy_state = snapshot_before
            .as_ref()
            .map(|snapshot| &snapshot.policy_state);
        let policy_state = PolicyState::next(policy_state, policy, now);
        let candidates: Vec<Candidate> = candidates
            .into_iter()
            .map(|(candidate, _)| candidate)
            .collect();
        match &policy_state.ejection {
            Some(ejection) => ejection.set_candidates(&candidates),
            None => (candidates.iter()).for_each(|one| one.endpoint.set_ejected(false)),
        }
        let snapshot = ClusterSnapshot {
            service: service.name().clone(),
            balancer_name: policy.balancer_name(),
            is_panic: service.is_in_panic(),
            n_known: service.all().len(),
            undialled: undialled(&known),
            is_plain: policy.is_plain(),
            idempotent: idempotent(service),
            policy: Arc::clone(policy),
            set,
            candidates,
            balancer,
            policy_state,
        };
        let is_connected = is_connected(service, &known);
        let siblings = || Arc::downgrade(&self.clusters);
        let cluster = match cluster {
            Some(cluster) => {
                cluster.show(snapshot);
                cluster
            }
            None => Arc::new(Cluster::new(snapshot, siblings(), self.witness.clone())),
        };
        BuiltService {
            cluster,
            service: Arc::clone(service),
            policy: Arc::clone(policy),
            zone: policies.zone().cloned(),
            known,
            is_settled: is_connected && is_placed,
        }
    }

    /// What is known of every instance of `service`.
    fn meet_all(
        &self,
        mut before: BTreeMap<EntryKey, Known>,
        service: &ServiceInstances,
        connect: &Connect<'_>,
        now: Instant,
    ) -> BTreeMap<EntryKey, Known> {
        let instances = service.all().iter();
        let found = instances.map(|instance| {
            let before = before.remove(&instance.record.key);
            let found = self.meet(before, instance, connect, now);
            (instance.record.key.clone(), found)
        });
        found.collect()
    }

    /// What is known of an instance, with the handler that reaches it.
    fn meet(
        &self,
        before: Option<Known>,
        instance: &ServiceInstance,
        connect: &Connect<'_>,
        now: Instant,
    ) -> Known {
        let record = Arc::clone(&instance.record);
        // What was learned of an earlier life, an open breaker above all, is not held against a later.
        let is_same_life =
            |before: &Known| before.record.entry.incarnation == record.entry.incarnation;
        let Some(before) = before.filter(is_same_life) else {
            let endpoint = Endpoint::new(record.key.clone(), self.number(), now);
            return Known {
                endpoint: Arc::new(endpoint),
                handler: connect(instance),
                record,
            };
        };
        let handler = match before.handler {
            Some(handler) if leads_there(&before.record, &record) => Some(handler),
            _ => connect(instance),
        };
        Known {
            endpoint: before.endpoint,
            record,
            handler,
        }
    }

    /// The balancer, and whether it is the one that the policy names.
    fn balancer(
        &self,
        policy: &ServicePolicy,
        service: &Text,
        set: &Arc<Set>,
        memory: &BalancerMemory,
    ) -> (Balancer, bool) {
        let native = || policy.plan.build(set, memory);
        let Some(plugin) = &policy.component else {
            return (Balancer::Native(native()), true);
        };
        let source = self.source.as_ref();
        match source.and_then(|source| source.balancer(plugin, service, set, native())) {
            Some(placed) => (Balancer::Placed(placed), true),
            None => (Balancer::Native(native()), false),
        }
    }
}

/// Whether the handler made for `old` reaches `new`. A plugin may have been replaced under its name,
/// and what has no address is reached through a session that may be another.
fn leads_there(old: &Arc<EntryRecord>, new: &Arc<EntryRecord>) -> bool {
    let is_remote = !matches!(new.key.owner, Owner::Local(_));
    let addresses = &new.entry.addresses;
    is_remote
        && (Arc::ptr_eq(old, new) || !addresses.is_empty() && old.entry.addresses == *addresses)
}

/// Whether a rebuild would find nothing more to call. What cannot be dialled will not be at the next
/// time either.
fn is_connected(service: &ServiceInstances, known: &BTreeMap<EntryKey, Known>) -> bool {
    service.usable().iter().all(|instance| {
        let found = known.get(&instance.record.key);
        found.is_some_and(|found| found.handler.is_some() || found.is_undialled())
    })
}

/// Over which transports those would be called that cannot be dialled.
fn undialled(known: &BTreeMap<EntryKey, Known>) -> Vec<Transport> {
    let without = known.values().filter(|found| found.is_undialled());
    let addresses = without.flat_map(|found| &found.record.entry.addresses);
    let transports: BTreeSet<_> = addresses.map(|address| address.transport).collect();
    transports.into_iter().collect()
}

/// Those of `known` that take calls, in the directory's order, and since when they do.
fn candidates(
    service: &ServiceInstances,
    known: &BTreeMap<EntryKey, Known>,
    now: Instant,
) -> Vec<(Candidate, Instant)> {
    let usable: BTreeSet<&EntryKey> = service.usable().iter().map(|i| &i.record.key).collect();
    let mut candidates = Vec::with_capacity(usable.len());
    for instance in service.all() {
        let Some(found) = known.get(&instance.record.key) else {
            continue;
        };
        let is_usable = usable.contains(&instance.record.key);
        let Some(handler) = found.handler.as_ref().filter(|_| is_usable) else {
            found.endpoint.set_unavailable();
            continue;
        };
        let since = found.endpoint.set_available(now);
        let candidate = Candidate {
            endpoint: Arc::clone(&found.endpoint),
            handler: Arc::clone(handler),
            record: Arc::clone(&found.record),
        };
        candidates.push((candidate, since));
    }
    candidates
}

fn set(
    service: &ServiceInstances,
    candidates: &[(Candidate, Instant)],
    policy: &ServicePolicy,
    zone: Option<&Text>,
) -> Set {
    let member = |(candidate, since): &(Candidate, Instant)| {
        let entry = &candidate.record.entry;
        let name = candidate.endpoint.name();
        let all = service.all().iter();
        let namesakes = all.filter(|instance| instance.record.key.instance.0 == *name);
        // Every gateway calls an instance by the same name, so that they agree on the hashes.
        let id = match namesakes.count() {
            0 | 1 => name.clone(),
            _ => format!("{name} of {}", candidate.record.key.owner).into(),
        };
        Member {
            id,
            weight: entry.weight,
            zone: entry.zone.clone(),
            metadata: entry.metadata.clone(),
            version: label(policy.plan.split.as_ref(), &candidate.record),
            since: *since,
            load: Arc::clone(&candidate.endpoint.load),
        }
    };
    Set::new(candidates.iter().map(member).collect())
        .in_zone(zone.cloned())
        .with_slow_start(policy.slow_start)
        .with_weights(&policy.weights)
}

/// The version as a split names it: of `{"1": 90, "2": 10}` the version 2.3.0 is `2`.
fn label(split: Option<&TrafficSplit>, record: &EntryRecord) -> Option<Text> {
    let version = record.entry.version.as_ref()?;
    let exact = Text::from(version.to_string());
    let parts = split.map(TrafficSplit::parts).unwrap_or_default();
    let covers = |name: &Text| {
        *name == exact || Range::parse(name).is_ok_and(|range| range.accepts(Some(version)))
    };
    let part = parts.iter().find(|(name, _)| covers(name));
    Some(part.map_or(exact, |(name, _)| name.clone()))
}

/// Methods of which some instance says that they may be repeated, and none that they may not.
fn idempotent(service: &ServiceInstances) -> Vec<Text> {
    let mut methods: BTreeMap<&Text, bool> = BTreeMap::new();
    for instance in service.all() {
        for method in instance.record.entry.methods.iter().flatten() {
            let all = methods.entry(&method.name).or_insert(true);
            *all = *all && method.idempotent;
        }
    }
    let methods = methods.into_iter().filter(|(_, all)| *all);
    methods.map(|(name, _)| name.clone()).collect()
}
