//! The schemas of everything that is loaded at present: plugins, upstreams, and the gateway's own
//! services.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arc_swap::ArcSwap;
use postern_core::Text;
use prost_reflect::DescriptorPool;

use super::schema::ProtoSchema;

/// Schemas by who has them. Whoever reads takes no lock.
#[derive(Debug, Default)]
pub(crate) struct LoadedSchemas(ArcSwap<Loaded>);

#[derive(Debug, Default)]
struct Loaded {
    by_owner: BTreeMap<SchemaOwner, LoadedSchema>,
    /// Of each service that somebody answers for, the schema of the first who does. Asked for every
    /// call of gRPC.
    by_service: HashMap<Text, Arc<ProtoSchema>>,
}

/// Who has a schema.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SchemaOwner {
    /// A service of the gateway's own.
    BuiltIn(Text),
    /// A plugin, by its name.
    Plugin(Text),
    /// The instances of a service elsewhere, by its name.
    Upstream(Text),
}

/// A schema, and which of its services its owner answers for.
#[derive(Debug, Clone)]
pub(crate) struct LoadedSchema {
    pub schema: Arc<ProtoSchema>,
    pub services: Vec<Text>,
}

impl LoadedSchemas {
    /// `owner` has `loaded` from here on, or none.
    pub(crate) fn set(&self, owner: &SchemaOwner, loaded: Option<LoadedSchema>) {
        self.0.rcu(|all| {
            let mut by_owner = all.by_owner.clone();
            match &loaded {
                Some(loaded) => drop(by_owner.insert(owner.clone(), loaded.clone())),
                None => drop(by_owner.remove(owner)),
            }
            Loaded::of(by_owner)
        });
    }

    /// These are the plugins that have schemas, and no others.
    pub(crate) fn set_plugins(&self, plugins: &BTreeMap<Text, LoadedSchema>) {
        self.0.rcu(|all| {
            let mut by_owner = all.by_owner.clone();
            by_owner.retain(|owner, _| !matches!(owner, SchemaOwner::Plugin(_)));
            let plugins = plugins.iter();
            by_owner.extend(
                plugins.map(|(name, loaded)| (SchemaOwner::Plugin(name.clone()), loaded.clone())),
            );
            Loaded::of(by_owner)
        });
    }

    /// Every service that somebody answers for and has a schema of, in order.
    pub(crate) fn services(&self) -> Vec<Text> {
        let mut services: Vec<_> = self.0.load().by_service.keys().cloned().collect();
        services.sort_unstable();
        services
    }

    /// What `of` says of the schema of a service; `None` where nobody who answers for it has one.
    pub(crate) fn of_service<T>(
        &self,
        service: &str,
        of: impl FnOnce(&ProtoSchema) -> T,
    ) -> Option<T> {
        self.0
            .load()
            .by_service
            .get(service)
            .map(|schema| of(schema))
    }

    /// What `find` finds in the first pool where it finds anything. The gateway's own come first, then
    /// plugins.
    pub(crate) fn find<T>(&self, find: impl Fn(&DescriptorPool) -> Option<T>) -> Option<T> {
        let all = self.0.load();
        let mut all = all.by_owner.values();
        all.find_map(|loaded| find(loaded.schema.pool()))
    }

    /// Of every pool, what `of` says of it.
    pub(crate) fn each<T>(&self, of: impl Fn(&DescriptorPool) -> T) -> Vec<T> {
        let all = self.0.load();
        let all = all.by_owner.values();
        all.map(|loaded| of(loaded.schema.pool())).collect()
    }
}

impl Loaded {
    fn of(by_owner: BTreeMap<SchemaOwner, LoadedSchema>) -> Self {
        let mut by_service = HashMap::new();
        for loaded in by_owner.values() {
            for service in &loaded.services {
                let first = by_service.entry(service.clone());
                first.or_insert_with(|| Arc::clone(&loaded.schema));
            }
        }
        Self {
            by_owner,
            by_service,
        }
    }
}

impl From<ProtoSchema> for LoadedSchema {
    /// All services of the schema.
    fn from(schema: ProtoSchema) -> Self {
        let services = schema.services().iter().map(|service| service.name.clone());
        Self {
            services: services.collect(),
            schema: Arc::new(schema),
        }
    }
}
