//! The schemas of everything that is loaded at present: plugins, upstreams, and the gateway's own
//! services.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use postern_core::{Text, service::MethodInfo};
use prost_reflect::DescriptorPool;

use super::schema::ProtoSchema;

/// Schemas by who has them. Whoever reads takes no lock.
#[derive(Debug, Default)]
pub(crate) struct LoadedSchemas(ArcSwap<BTreeMap<SchemaOwner, LoadedSchema>>);

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
            let mut all = BTreeMap::clone(all);
            match &loaded {
                Some(loaded) => drop(all.insert(owner.clone(), loaded.clone())),
                None => drop(all.remove(owner)),
            }
            all
        });
    }

    /// These are the plugins that have schemas, and no others.
    pub(crate) fn set_plugins(&self, plugins: &BTreeMap<Text, LoadedSchema>) {
        self.0.rcu(|all| {
            let others = all
                .iter()
                .filter(|(owner, _)| !matches!(owner, SchemaOwner::Plugin(_)));
            let others = others.map(|(owner, loaded)| (owner.clone(), loaded.clone()));
            let plugins = plugins.iter();
            let plugins =
                plugins.map(|(name, loaded)| (SchemaOwner::Plugin(name.clone()), loaded.clone()));
            others.chain(plugins).collect::<BTreeMap<_, _>>()
        });
    }

    /// Every service that somebody answers for and has a schema of, in order.
    pub(crate) fn services(&self) -> Vec<Text> {
        let all = self.0.load();
        let mut services: Vec<_> = all
            .values()
            .flat_map(|loaded| loaded.services.clone())
            .collect();
        services.sort_unstable();
        services.dedup();
        services
    }

    /// The methods of a service that somebody answers for and has a schema of.
    pub(crate) fn methods(&self, service: &Text) -> Option<Vec<MethodInfo>> {
        let all = self.0.load();
        let loaded = all
            .values()
            .find(|loaded| loaded.services.contains(service))?;
        let info = loaded
            .schema
            .services()
            .iter()
            .find(|info| info.name == *service)?;
        Some(info.methods.clone())
    }

    /// What `find` finds in the first pool where it finds anything. The gateway's own come first, then
    /// plugins.
    pub(crate) fn find<T>(&self, find: impl Fn(&DescriptorPool) -> Option<T>) -> Option<T> {
        let all = self.0.load();
        all.values().find_map(|loaded| find(loaded.schema.pool()))
    }

    /// Of every pool, what `of` says of it.
    pub(crate) fn each<T>(&self, of: impl Fn(&DescriptorPool) -> T) -> Vec<T> {
        let all = self.0.load();
        all.values()
            .map(|loaded| of(loaded.schema.pool()))
            .collect()
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
