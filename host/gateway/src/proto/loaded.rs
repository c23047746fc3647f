//! The schemas of everything that is loaded at present: plugins, upstreams, and the gateway's own
//! services.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arc_swap::ArcSwap;
use postern_core::{Text, route::HttpRoute, service::ServiceInfo};
use prost_reflect::DescriptorPool;
use tokio::sync::Notify;

use super::schema::ProtoSchema;

/// Schemas by who has them. Whoever reads takes no lock.
#[derive(Debug, Default)]
pub(crate) struct LoadedSchemas {
    loaded: ArcSwap<Loaded>,
    changed: Notify,
}

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
        if self.loaded.load().by_owner.get(owner) == loaded.as_ref() {
            return;
        }
        self.loaded.rcu(|all| {
            let mut by_owner = all.by_owner.clone();
            match &loaded {
                Some(loaded) => drop(by_owner.insert(owner.clone(), loaded.clone())),
                None => drop(by_owner.remove(owner)),
            }
            Loaded::of(by_owner)
        });
        self.changed.notify_one();
    }

    /// Waits until `set` has changed something since this was called last. One task at a time may wait.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// These are the plugins that have schemas, and no others.
    pub(crate) fn set_plugins(&self, plugins: &BTreeMap<Text, LoadedSchema>) {
        self.loaded.rcu(|all| {
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
        let mut services: Vec<_> = self.loaded.load().by_service.keys().cloned().collect();
        services.sort_unstable();
        services
    }

    /// What `of` says of the schema of a service; `None` where nobody who answers for it has one.
    pub(crate) fn of_service<T>(
        &self,
        service: &str,
        of: impl FnOnce(&ProtoSchema) -> T,
    ) -> Option<T> {
        self.loaded
            .load()
            .by_service
            .get(service)
            .map(|schema| of(schema))
    }

    /// What is said of the services elsewhere, but for those that a plugin has a schema of.
    pub(crate) fn upstream_services(&self) -> Vec<ServiceInfo> {
        self.of_upstreams(|schema, service| {
            let mut services = schema.services().iter();
            services.find(|info| info.name == *service).cloned()
        })
    }

    /// The routes that schemas of services elsewhere make, each named `SERVICE.METHOD`, but for those of
    /// services that a plugin has a schema of.
    pub(crate) fn upstream_routes(&self) -> Vec<HttpRoute> {
        self.of_upstreams(|schema, service| {
            let routes = schema.routes(|name| *service == *name);
            routes.collect::<Vec<_>>()
        })
    }

    fn of_upstreams<T, I: IntoIterator<Item = T>>(
        &self,
        of: impl Fn(&ProtoSchema, &Text) -> I,
    ) -> Vec<T> {
        let all = self.loaded.load();
        let upstreams = all
            .by_owner
            .iter()
            .filter_map(|(owner, loaded)| match owner {
                SchemaOwner::Upstream(service) => Some((service, &loaded.schema)),
                SchemaOwner::BuiltIn(_) | SchemaOwner::Plugin(_) => None,
            });
        let first = upstreams.filter(|(service, schema)| {
            let answering = all.by_service.get(*service);
            answering.is_some_and(|answering| Arc::ptr_eq(answering, schema))
        });
        first
            .flat_map(|(service, schema)| of(schema, service))
            .collect()
    }

    /// What `find` finds in the first pool where it finds anything. The gateway's own come first, then
    /// plugins.
    pub(crate) fn find<T>(&self, find: impl Fn(&DescriptorPool) -> Option<T>) -> Option<T> {
        let all = self.loaded.load();
        let mut all = all.by_owner.values();
        all.find_map(|loaded| find(loaded.schema.pool()))
    }

    /// Of every pool, what `of` says of it.
    pub(crate) fn each<T>(&self, of: impl Fn(&DescriptorPool) -> T) -> Vec<T> {
        let all = self.loaded.load();
        let all = all.by_owner.values();
        all.map(|loaded| of(loaded.schema.pool())).collect()
    }
}

impl PartialEq for LoadedSchema {
    /// A schema that was compiled again is another.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.schema, &other.schema) && self.services == other.services
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn routes_of_a_service_elsewhere_are_there_while_no_plugin_has_its_schema() {
        let source = "syntax = \"proto3\"; package t; import \"google/api/annotations.proto\"; \
            message A {} service S { rpc Get(A) returns (A) { option (google.api.http) = { get: \"/a\" }; } } \
            service Other { rpc Get(A) returns (A) { option (google.api.http) = { get: \"/b\" }; } }";
        let schema = || {
            let schema = ProtoSchema::of_source("t.proto", source);
            let schema = schema.unwrap_or_else(|faults| panic!("{faults}"));
            LoadedSchema {
                schema: Arc::new(schema),
                services: vec!["t.S".into()],
            }
        };
        let schemas = LoadedSchemas::default();
        let names = || -> Vec<_> {
            let routes = schemas.upstream_routes().into_iter();
            routes.map(|route| route.name.to_string()).collect()
        };
        let (owner, elsewhere) = (SchemaOwner::Upstream("t.S".into()), schema());
        schemas.set(&owner, Some(elsewhere.clone()));
        schemas.changed().await;
        assert_eq!(names(), ["t.S.Get"]);
        assert_eq!(schemas.upstream_services().len(), 1);
        schemas.set_plugins(&BTreeMap::from([("p".into(), schema())]));
        assert_eq!(names(), [""; 0]);
        assert!(schemas.upstream_services().is_empty());
        schemas.set_plugins(&BTreeMap::new());
        // The same again is no change.
        schemas.set(&owner, Some(elsewhere));
        let unchanged = tokio::time::timeout(std::time::Duration::ZERO, schemas.changed());
        assert!(unchanged.await.is_err());
        schemas.set(&owner, None);
        schemas.changed().await;
        assert_eq!(names(), [""; 0]);
    }
}
