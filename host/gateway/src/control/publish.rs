//! The routes that the set of plugins makes, and the catalogue of services.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use bytes::Bytes;
use postern_core::{Error, Text, registry::Caller, service::ServiceInfo};

use super::{Control, extensions, proto_schema, slot::PluginSlot};
use crate::{
    directory::{listing::ServiceListing, service::CatalogueQuery},
    openapi,
    pipeline::route::{Route, RouteTarget},
};

impl Control {
    /// The directory, the routes and the chain of extensions follow the set.
    pub(super) fn publish(&self) {
        let all = self.slots.lock();
        let slots = self.versions.serving(&all);
        let splits = self.versions.splits(&all);
        let config = self.config.load();
        let hinted = slots.values().filter_map(|slot| slot.shown().current);
        let hints = hinted.flat_map(|current| {
            let hints = current.written.hints;
            let names = current.services.into_iter();
            names.map(move |service| (service.name, hints.clone()))
        });
        self.fleet.apply(&config, &hints.collect());
        self.fleet.enter(&slots, &splits);
        self.fleet
            .schemas()
            .set_plugins(&proto_schema::loaded(&slots));
        self.subscribers.follow(&slots);
        self.route(&slots);
        self.publish_http_routes(&slots, &config);
        self.extensions.publish(extensions::chain(&slots, &config));
        self.judge(&slots, &config);
    }

    /// Routes follow the directory: those of services that changed in it.
    pub(super) fn publish_routes(&self) {
        let all = self.slots.lock();
        let slots = self.versions.serving(&all);
        let changed = self.fleet.changed_routes(&slots, &self.book);
        let down = || slots.values().flat_map(|slot| self.down_routes(slot));
        for (service, route) in changed {
            // Of a plugin that takes no calls, its route says why.
            let route = route.or_else(|| down().find(|route| route.service == service));
            match route {
                Some(route) => self.routes.put(&route),
                None => self.routes.remove(&service),
            }
        }
    }

    /// One route for each service that somebody answers for, and one that says why for a plugin that
    /// takes no calls.
    fn route(&self, slots: &BTreeMap<String, Arc<PluginSlot>>) {
        let mut routes = BTreeMap::new();
        for slot in slots.values() {
            for route in self.down_routes(slot) {
                routes.insert(route.service.clone(), route);
            }
        }
        // What is alive comes second: it stands in the place of what is not.
        for route in self.fleet.routes(slots, &self.book) {
            routes.insert(route.service.clone(), route);
        }
        self.routes.publish(routes.into_values());
    }

    /// Routes of a plugin that takes no calls: its names are known, nobody answers. It is being deployed,
    /// it was refused and has nothing from before, or its health check fails.
    fn down_routes(&self, slot: &PluginSlot) -> Vec<Route> {
        let shown = slot.shown();
        let to = |service: Text, generation, target| Route {
            metrics: self.book.service(&service),
            service,
            version: None,
            plugin: slot.plugin_name().into(),
            generation,
            methods: None,
            target,
        };
        let down = |service: Text, generation, reason: String| {
            to(service, generation, RouteTarget::Down(reason.into()))
        };
        let name = &slot.name;
        if let (None, Some(loading)) = (&shown.current, &shown.loading) {
            let services = loading.services.iter().cloned();
            return services
                .map(|service| to(service, 0, RouteTarget::Loading))
                .collect();
        }
        match (&shown.current, &shown.refused) {
            // Why is for operators: it may repeat what the guest wrote to its standard error.
            (None, Some(_)) => {
                let reason = format!("plugin {name} was refused; `postern plugins list` says why");
                vec![down(slot.plugin_name().into(), 0, reason)]
            }
            (Some(current), _) if !shown.is_healthy() => {
                let health = shown.health.as_ref();
                let message = health.and_then(|health| health.message.as_deref());
                let reason = message.unwrap_or("no reason given");
                let reason = format!("plugin {name} is not healthy: {reason}");
                let services = current.services.iter();
                let down = |service: &ServiceInfo| {
                    down(service.name.clone(), current.generation, reason.clone())
                };
                services.map(down).collect()
            }
            (Some(_), _) | (None, None) => Vec::new(),
        }
    }
}

impl Control {
    /// What is said of every service that `caller` may see: those of the gateway itself, of its plugins,
    /// and of instances elsewhere.
    pub(crate) fn described(&self, caller: Caller) -> BTreeMap<Text, ServiceInfo> {
        let mut described: BTreeMap<Text, ServiceInfo> = BTreeMap::new();
        let slots = self.serving();
        let currents = slots.values().filter_map(|slot| slot.shown().current);
        let here = currents.flat_map(|current| current.services);
        for service in here.chain(self.fleet.elsewhere(caller)) {
            match described.entry(service.name.clone()) {
                Entry::Vacant(none) => drop(none.insert(service)),
                Entry::Occupied(mut known) => known.get_mut().merge(&service),
            }
        }
        self.remote_services.add_to(&mut described);
        for service in self.fleet.schemas().upstream_services() {
            if let Some(known) = described.get_mut(&service.name) {
                known.merge(&service);
            }
        }
        // Nobody else answers for these.
        let built_in = self.fleet.built_in().into_iter();
        described.extend(built_in.map(|service| (service.name.clone(), service)));
        described
    }

    /// What `caller` may see and call, service by service, with the methods that it may call. `may_call` is
    /// asked about each method; of a service that does not say which it has, about none in particular.
    fn callable(
        &self,
        caller: Caller,
        may_call: &dyn Fn(&str, &str) -> bool,
    ) -> BTreeMap<Text, ServiceInfo> {
        let mut callable = self.described(caller);
        callable.retain(|name, service| {
            let is_open = service.methods.iter().all(|method| method.name == "*");
            service
                .methods
                .retain(|method| may_call(name, &method.name));
            match is_open {
                true => may_call(name, "*"),
                false => !service.methods.is_empty(),
            }
        });
        callable
    }

    /// The JSON of what `caller` may see and call.
    ///
    /// # Errors
    /// `not-found` when there is none of the name that is asked for.
    pub(crate) fn catalogue(
        &self,
        query: CatalogueQuery,
        caller: Caller,
        may_call: &dyn Fn(&str, &str) -> bool,
    ) -> Result<Bytes, Error> {
        let callable = self.callable(caller, may_call);
        let json = match query {
            CatalogueQuery::Services => {
                let services: Vec<_> = callable.values().map(ServiceListing::from).collect();
                serde_json::to_vec(&BTreeMap::from([("services", services)]))
            }
            CatalogueQuery::Service { name, has_schemas } => {
                let found = callable.get(name.as_str());
                let found =
                    found.ok_or_else(|| Error::not_found(format!("no service {name} is here")))?;
                serde_json::to_vec(&match has_schemas {
                    true => ServiceListing::with_schemas(found),
                    false => ServiceListing::from(found),
                })
            }
            CatalogueQuery::OpenApi { listener } => {
                let config = self.config.load();
                let in_force = self.fleet.http_routes().load();
                let routes = in_force.table.routes().iter().map(|route| &**route);
                let document = openapi::document(&openapi::Subject {
                    title: config.directory.name.as_deref(),
                    listener: listener.as_deref(),
                    routes: routes.collect(),
                    services: &callable,
                    may_call,
                    auth: &config.auth,
                });
                serde_json::to_vec(&document)
            }
        };
        let json = json.map_err(|error| Error::internal("catalogue").with_source(error))?;
        Ok(json.into())
    }
}
