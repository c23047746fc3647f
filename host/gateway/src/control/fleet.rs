//! Services as the directory has them: what this gateway's plugins answer for and what is elsewhere
//! become clusters, and clusters become routes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use postern_core::{
    BoxFuture, Handler, Text,
    registry::{
        Caller, Entry, EntryKey, HealthOutcome, HealthSource, Owner, Query, ServiceInstance,
        ServiceInstances, Snapshot,
    },
    service::ServiceInfo,
};
use postern_net::{
    Pool, Probe,
    http::{HttpRoutes, ROUTES_SERVICE, RouteEnds},
    upstream::ProbeQuestion,
};

use super::{
    grpc_remote::GrpcUpstreams,
    proof::{PeerTokens, Proof},
    remote::{DescriptionSource, Remote},
    requests::Requests,
    serving_plugins::ServingPlugins,
    slot::PluginSlot,
    versions::VersionSplit,
};
use crate::{
    cluster::{Cluster, Clusters, Policies, ServiceNumbers, Witness},
    config::{Config, Hints},
    directory::{LocalService, SharedDirectory, probes::InstanceProber},
    grpc::SchemaService,
    pipeline::route::{Route, RouteTarget},
    proto::{LoadedSchema, LoadedSchemas, SchemaOwner},
    telemetry::calls::CallBook,
};

/// Everybody who can answer, and how they are reached.
pub(crate) struct Fleet {
    directory: Arc<SharedDirectory>,
    clusters: Clusters,
    serving_plugins: Arc<ServingPlugins>,
    pool: Pool,
    requests: Requests,
    policies: ArcSwap<Policies>,
    /// By which peers know this gateway, by their names.
    tokens: Arc<PeerTokens>,
    /// Plugins that the directory was told of.
    told: Mutex<BTreeSet<String>>,
    /// Services of the gateway itself.
    built_in: Vec<BuiltIn>,
    /// Services that are answered over channels and by modules of VYRA.
    brokered: ArcSwap<Vec<BuiltIn>>,
    /// Of plugins, upstreams and the gateway's own services.
    schemas: Arc<LoadedSchemas>,
    /// Where requests over HTTP go.
    http_routes: HttpRoutes,
    /// What the directory had when routes were made of it last.
    routed: ArcSwap<Snapshot>,
}

/// A service that no plugin provides.
pub(crate) struct BuiltIn {
    pub info: ServiceInfo,
    pub handler: Arc<dyn Handler>,
}

/// Asks remote instances for a sign of life, over the sessions that calls use.
pub(crate) struct PooledProber {
    pool: Pool,
    requests: Requests,
    directory: Arc<SharedDirectory>,
}

/// Tells the directory what calls show.
struct Seen(Arc<SharedDirectory>);

impl Fleet {
    pub(crate) fn new(
        config: &Config,
        directory: Arc<SharedDirectory>,
        (pool, requests): (Pool, Requests),
        (mut built_in, schemas): (Vec<BuiltIn>, Arc<LoadedSchemas>),
    ) -> Self {
        let http_routes = HttpRoutes::default();
        built_in.push(BuiltIn::routes(&http_routes));
        let serving_plugins = Arc::<ServingPlugins>::default();
        let witness: Arc<dyn Witness> = Arc::new(Seen(Arc::clone(&directory)));
        let fleet = Self {
            clusters: Clusters::new(Some(Arc::clone(&serving_plugins) as _), Some(witness)),
            directory,
            serving_plugins,
            pool,
            requests,
            policies: ArcSwap::default(),
            tokens: Arc::default(),
            told: Mutex::default(),
            built_in,
            brokered: ArcSwap::default(),
            schemas,
            http_routes,
            routed: ArcSwap::default(),
        };
        fleet.apply(config, &BTreeMap::new());
        fleet
    }

    /// Holds calls to what `config` says, with what manifests say of their services below it.
    pub(super) fn apply(&self, config: &Config, hints: &BTreeMap<Text, Hints>) {
        let zone = config.directory.zone.as_deref().map(Text::from);
        let policies = config.services.policies(hints, zone);
        self.policies.store(Arc::new(policies));
        self.requests.apply(config);
        self.tokens.apply(&config.peers);
    }

    /// Makes what the directory has of this gateway's plugins what they answer for.
    pub(super) fn enter(
        &self,
        slots: &BTreeMap<String, Arc<PluginSlot>>,
        splits: &BTreeMap<String, Arc<VersionSplit>>,
    ) {
        let changed = self.serving_plugins.set(slots, splits);
        self.clusters.reconnect(&changed);
        let mut told = self.told.lock();
        for name in told.iter().filter(|name| !slots.contains_key(*name)) {
            self.directory.remove_local(name);
        }
        told.clear();
        for (name, slot) in slots {
            let services = services(slot);
            if services.is_empty() {
                self.directory.remove_local(name);
            } else {
                self.directory.set_local(name, services);
            }
            told.insert(name.clone());
        }
    }

    /// A route for each service that somebody can answer for or did until a moment ago.
    pub(super) fn routes(
        &self,
        slots: &BTreeMap<String, Arc<PluginSlot>>,
        book: &CallBook,
    ) -> Vec<Route> {
        let snapshot = self.directory.snapshot();
        let connect = |instance: &ServiceInstance| self.connect(instance);
        let clusters = self
            .clusters
            .rebuild(&snapshot, &self.policies.load(), &connect);
        let brokered = self.brokered.load();
        // The gateway's own come second: they stand in the place of others of their name.
        let built_in = brokered.iter().chain(&self.built_in);
        let mut routes: Vec<_> = built_in.map(|built_in| built_in.route(book)).collect();
        for (name, cluster) in clusters {
            if let Some(service) = snapshot.service(&name).filter(|_| !self.is_built_in(&name)) {
                routes.push(route(service, &cluster, slots, book));
            }
        }
        self.routed.store(snapshot);
        routes
    }

    /// The services that changed in the directory since the last routes, each with its route; without
    /// where nobody is known who could answer. What did not change is not looked at.
    pub(super) fn changed_routes(
        &self,
        slots: &BTreeMap<String, Arc<PluginSlot>>,
        book: &CallBook,
    ) -> Vec<(Text, Option<Route>)> {
        let snapshot = self.directory.snapshot();
        let changes = snapshot.changes_since(&self.routed.load());
        let (policies, connect) = (self.policies.load(), |instance: &ServiceInstance| {
            self.connect(instance)
        });
        let mut routes = Vec::with_capacity(changes.len());
        for (name, service) in changes {
            let service = service.as_ref();
            let cluster = self.clusters.update(&name, service, &policies, &connect);
            if !self.is_built_in(&name) {
                let found = service.zip(cluster);
                let route = found.map(|(service, cluster)| route(service, &cluster, slots, book));
                routes.push((name, route));
            }
        }
        self.routed.store(snapshot);
        routes
    }

    fn is_built_in(&self, service: &str) -> bool {
        let brokered = self.brokered.load();
        let mut built_in = brokered.iter().chain(&self.built_in);
        built_in.any(|built_in| built_in.info.name == service)
    }

    /// What the services of the gateway itself say, and those that are answered over brokers.
    pub(super) fn built_in(&self) -> Vec<ServiceInfo> {
        let brokered = self.brokered.load();
        let built_in = brokered.iter().chain(&self.built_in);
        built_in.map(|built_in| built_in.info.clone()).collect()
    }

    /// Replaces the services that are answered over brokers. Routes follow when they are made anew.
    pub(super) fn set_brokered(&self, services: Vec<BuiltIn>) {
        self.brokered.store(Arc::new(services));
    }

    /// The schemas of what is loaded.
    pub(crate) const fn schemas(&self) -> &Arc<LoadedSchemas> {
        &self.schemas
    }

    /// What instances elsewhere say that `caller` may see.
    pub(super) fn elsewhere(&self, caller: Caller) -> Vec<ServiceInfo> {
        let query = Query {
            caller,
            ..Query::default()
        };
        let found = self.directory.discover(&query);
        let found = found.iter().map(|instance| &instance.record);
        let elsewhere = found.filter(|record| !matches!(record.key.owner, Owner::Local(_)));
        elsewhere.map(|record| described(&record.entry)).collect()
    }

    /// Services that no plugin of this gateway answers for, each with an instance that may be a gateway and
    /// describe it: the first `limit` by name.
    pub(super) fn described_elsewhere(
        &self,
        limit: usize,
    ) -> Vec<(Text, DescriptionSource, Remote)> {
        let snapshot = self.directory.snapshot();
        let is_local =
            |instance: &ServiceInstance| matches!(instance.record.key.owner, Owner::Local(_));
        let services = snapshot.services();
        let elsewhere = services.filter(|service| !service.all().iter().any(is_local));
        let found = elsewhere.filter_map(|service| {
            let mut instances = service.all().iter().filter(|instance| !instance.stale);
            let (source, remote) = instances.find_map(|instance| self.gateway(instance))?;
            Some((service.name().clone(), source, remote))
        });
        found.take(limit).collect()
    }

    /// Where requests over HTTP go.
    pub(crate) const fn http_routes(&self) -> &HttpRoutes {
        &self.http_routes
    }

    pub(crate) const fn directory(&self) -> &Arc<SharedDirectory> {
        &self.directory
    }

    pub(crate) fn numbers(&self) -> Vec<ServiceNumbers> {
        self.clusters.numbers()
    }

    pub(crate) const fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The instances of gRPC.
    pub(crate) fn grpc(&self) -> &GrpcUpstreams {
        &self.requests.grpc
    }

    pub(crate) fn prober(&self) -> Arc<dyn InstanceProber> {
        Arc::new(PooledProber {
            pool: self.pool.clone(),
            requests: self.requests.clone(),
            directory: Arc::clone(&self.directory),
        })
    }

    /// The plugin of this gateway, or the way to where the instance is.
    fn connect(&self, instance: &ServiceInstance) -> Option<Arc<dyn Handler>> {
        match &instance.record.key.owner {
            Owner::Local(plugin) => self.serving_plugins.handler(plugin),
            Owner::Config => self
                .remote(instance, None)
                .or_else(|| self.requests.instance(&instance.record.entry)),
            Owner::Registered(_) => self.remote(instance, None),
            Owner::Peer(peer) => {
                let proof = Proof::new(&self.tokens, peer);
                self.remote(instance, Some(proof))
            }
        }
    }
}

impl Fleet {
    fn remote(&self, instance: &ServiceInstance, proof: Option<Proof>) -> Option<Arc<dyn Handler>> {
        let addresses = &instance.record.entry.addresses;
        Some(Arc::new(Remote::learned(&self.pool, addresses, proof)?))
    }

    /// The instance, where it may be one of a gateway that is asked about it. Providers that have
    /// registered themselves are asked nothing.
    fn gateway(&self, instance: &ServiceInstance) -> Option<(DescriptionSource, Remote)> {
        let record = &instance.record;
        let proof = match &record.key.owner {
            Owner::Peer(peer) => Some(Proof::new(&self.tokens, peer)),
            Owner::Config => None,
            Owner::Local(_) | Owner::Registered(_) => return None,
        };
        let source = DescriptionSource {
            key: record.key.clone(),
            incarnation: record.entry.incarnation,
        };
        Some((
            source,
            Remote::learned(&self.pool, &record.entry.addresses, proof)?,
        ))
    }
}

impl BuiltIn {
    /// The services of `service`, which `schemas` has from here on.
    pub(crate) fn of_schema(service: SchemaService, schemas: &LoadedSchemas) -> Vec<Self> {
        let SchemaService { schema, handler } = service;
        let infos = Arc::clone(schema.services());
        if let Some(first) = infos.first() {
            let owner = SchemaOwner::BuiltIn(first.name.clone());
            schemas.set(&owner, Some(LoadedSchema::from(schema)));
        }
        let built_in = infos.iter().map(|info| Self {
            info: info.clone(),
            handler: Arc::clone(&handler),
        });
        built_in.collect()
    }

    /// What answers for redirects, fixed answers and files, which change with the configuration.
    fn routes(routes: &HttpRoutes) -> Self {
        let summary = "Redirects, fixed answers and files, each by the name of its route.";
        Self {
            info: ServiceInfo {
                name: Text::from_static(ROUTES_SERVICE),
                summary: Text::from_static(summary),
                ..ServiceInfo::default()
            },
            handler: Arc::new(RouteEnds::new(routes.clone())),
        }
    }

    fn route(&self, book: &CallBook) -> Route {
        let service = self.info.name.clone();
        let methods = self.info.methods.iter();
        let mut methods: Vec<_> = methods.map(|method| method.name.clone()).collect();
        methods.sort();
        Route {
            metrics: book.service(&service),
            service,
            version: None,
            plugin: Text::default(),
            generation: 0,
            methods: (!self.info.is_open()).then_some(methods),
            target: RouteTarget::Live(Arc::clone(&self.handler)),
        }
    }
}

impl Witness for Seen {
    fn on_outcome(&self, key: &EntryKey, outcome: HealthOutcome) {
        self.0.on_outcome(key, HealthSource::Call, outcome);
    }
}

impl InstanceProber for PooledProber {
    fn probe(&self, entry: Entry) -> BoxFuture<HealthOutcome> {
        let remote = Remote::new(&self.pool, &entry.addresses);
        let requests = self.requests.remotes(&entry);
        let timeout = self.directory.probe_timeout();
        Box::pin(async move {
            let question = ProbeQuestion::Ping;
            let probed = match remote {
                Some(remote) => remote.probe(&Probe { question, timeout }).await,
                None => requests.probe().await,
            };
            match probed {
                Ok(()) => HealthOutcome::Success,
                Err(_) => HealthOutcome::Failure,
            }
        })
    }

    fn interval_max(&self, entry: &Entry) -> Option<Duration> {
        self.requests.health_interval(entry)
    }
}

/// What the directory is told of a plugin; nothing of one that takes no calls.
fn services(slot: &PluginSlot) -> Vec<LocalService> {
    let shown = slot.shown();
    let Some(current) = shown.current.as_ref().filter(|_| shown.is_healthy()) else {
        return Vec::new();
    };
    // A service that answers any method is not held to those that it names.
    let service = |service: &ServiceInfo| LocalService {
        version: service.version.clone(),
        summary: service.summary.clone(),
        methods: (!service.is_open()).then(|| service.methods.clone()),
        ..LocalService::new(service.name.clone())
    };
    current.services.iter().map(service).collect()
}

/// What an entry says of its service.
fn described(entry: &Entry) -> ServiceInfo {
    ServiceInfo {
        name: entry.service.clone(),
        version: entry
            .version
            .as_ref()
            .map(|version| version.to_string().into()),
        summary: entry.summary.clone(),
        methods: entry.methods.clone().unwrap_or_default(),
        ..ServiceInfo::default()
    }
}

fn route(
    service: &ServiceInstances,
    cluster: &Arc<Cluster>,
    slots: &BTreeMap<String, Arc<PluginSlot>>,
    book: &CallBook,
) -> Route {
    let local = service.all().iter().find_map(|instance| {
        let Owner::Local(plugin) = &instance.record.key.owner else {
            return None;
        };
        let current = slots.get(plugin.as_str())?.shown().current?;
        let version = instance.record.entry.version.as_ref();
        Some((
            plugin.clone(),
            current.generation,
            version.map(ToString::to_string),
        ))
    });
    let (plugin, generation, version) = local.unwrap_or_default();
    let name = service.name();
    Route {
        metrics: book.service(name),
        service: name.clone(),
        version: version.map(Text::from),
        plugin,
        generation,
        methods: methods(service),
        target: match cluster.direct() {
            Some(handler) => RouteTarget::Live(handler),
            None => RouteTarget::Cluster(Arc::clone(cluster)),
        },
    }
}

/// The methods of all instances; `None` when one of them does not say.
fn methods(service: &ServiceInstances) -> Option<Vec<Text>> {
    let mut names = BTreeSet::new();
    for instance in service.all() {
        let methods = instance.record.entry.methods.as_ref()?;
        names.extend(methods.iter().map(|method| method.name.clone()));
    }
    Some(names.into_iter().collect())
}

#[cfg(test)]
mod tests;
