//! Requests over HTTP and where they go: the routes of the configuration, then those of the plugins that
//! take calls, each with its generation, then those that schemas of services elsewhere make.
//!
//! A plugin whose routes take the same requests as those of somebody else is refused, as one that claims
//! a service which is held. A configuration that comes later wins, and the plugin's route is shadowed. So
//! is a route of a service elsewhere: what that says of itself takes no request from anybody here.

use std::{collections::BTreeMap, sync::Arc};

use postern_core::{
    Text,
    route::{HttpRoute, RouteEnd, RouteTable},
    service::ServiceInfo,
};
use postern_net::http::{RequestSchema, RouteSchemas};
use tracing::warn;

use super::{Control, slot::PluginSlot};
use crate::{
    config::{Config, hidden_route, routes::RouteSettings},
    schema::MethodSchema,
};

impl Control {
    /// Follows what is known of services elsewhere, for ever: their routes come, change and go with it.
    pub(crate) async fn follow_schemas(&self) {
        loop {
            self.fleet.schemas().changed().await;
            self.publish_http_routes_again();
        }
    }

    /// Something changed that routes over HTTP are made of beside plugins and the configuration.
    pub(super) fn publish_http_routes_again(&self) {
        let all = self.slots.lock();
        let config = self.config.load();
        self.publish_http_routes(&self.versions.serving(&all), &config);
    }

    /// Requests go where the configuration and the plugins say from here on.
    pub(super) fn publish_http_routes(
        &self,
        slots: &BTreeMap<String, Arc<PluginSlot>>,
        config: &Config,
    ) {
        let shown: Vec<_> = slots.values().map(|slot| slot.shown()).collect();
        let of_plugins = shown.iter().filter_map(|shown| shown.current.as_ref());
        let of_plugins = of_plugins.flat_map(|current| current.routes.iter().cloned());
        // Requests to what is being deployed are told so. Those that serve come first.
        let loading = shown.iter().filter(|shown| shown.current.is_none());
        let loading = loading.filter_map(|shown| shown.loading.as_ref());
        let loading = loading.flat_map(|loading| loading.routes.iter().cloned());
        let schemas = self.fleet.schemas();
        let here = of_configuration(config).chain(of_plugins).chain(loading);
        let table = RouteTable::new(here.chain(schemas.upstream_routes()));
        let elsewhere = schemas.upstream_services();
        let routes = self.fleet.http_routes();
        let is_same = routes.load().table == table;
        let is_new_schema = self.route_schemas.lock().follow(&table, |service| {
            let of_plugins = slots.values().filter_map(|slot| slot.shown().current);
            let found = of_plugins
                .flat_map(|current| current.services)
                .find(|known| known.name == *service);
            let found = found.or_else(|| self.remote_services.get(service));
            let mut elsewhere = elsewhere.iter();
            found.or_else(|| elsewhere.find(|known| known.name == *service).cloned())
        });
        if is_same && !is_new_schema {
            return;
        }
        for conflict in table.conflicts().into_iter().filter(|_| !is_same) {
            let (first, second) = (&*conflict.first, &*conflict.second);
            warn!(
                first,
                second, "two routes take the same requests, the first has them"
            );
        }
        for route in table.routes() {
            if let Some(hidden) = hidden_route(route, config) {
                let (route, listener, path) = (&*route.name, hidden.listener, hidden.served());
                warn!(
                    route,
                    listener, path, "a listener serves the path of a route itself"
                );
            }
        }
        let schemas = self.route_schemas.lock().in_force();
        routes.set(table, schemas);
    }
}

/// What the methods take that routes lead to, compiled once for each.
#[derive(Default)]
pub(super) struct MethodSchemas(BTreeMap<Text, Arc<MethodSchema>>);

impl MethodSchemas {
    /// Makes them those of `table`, by what `described` says of services. Whether one has changed.
    fn follow(
        &mut self,
        table: &RouteTable,
        described: impl Fn(&str) -> Option<ServiceInfo>,
    ) -> bool {
        let mut services: BTreeMap<Text, Option<ServiceInfo>> = BTreeMap::new();
        let mut next = BTreeMap::new();
        for route in table.routes() {
            let RouteEnd::Method(end) = &route.end else {
                continue;
            };
            let service = services.entry(end.service.clone());
            let service = service.or_insert_with(|| described(&end.service));
            let Some(method) = service.as_ref().and_then(|info| info.method(&end.method)) else {
                continue;
            };
            let text = service
                .as_ref()
                .and_then(|info| info.schema(&method.request));
            if text.is_none() && !method.request.name.is_empty() {
                continue;
            }
            let known = self.0.get(&route.name);
            let known = known.filter(|known| known.is_of(text, end.is_checked));
            if let Some(known) = known {
                next.insert(route.name.clone(), Arc::clone(known));
                continue;
            }
            match text
                .map(|text| MethodSchema::new(text, end.is_checked))
                .transpose()
            {
                Ok(made) => {
                    let made = made.unwrap_or_else(MethodSchema::nothing);
                    next.insert(route.name.clone(), Arc::new(made));
                }
                // Those of plugins were looked at when they were deployed.
                Err(error) => {
                    let (route, service, kind) =
                        (&*route.name, &*end.service, &*method.request.name);
                    warn!(route, service, kind, %error, "a schema is not used");
                }
            }
        }
        let is_same = |(name, schema): (&Text, &Arc<MethodSchema>)| {
            let known = self.0.get(name);
            known.is_some_and(|known| Arc::ptr_eq(known, schema))
        };
        let has_changed = next.len() != self.0.len() || !next.iter().all(is_same);
        self.0 = next;
        has_changed
    }

    fn in_force(&self) -> RouteSchemas {
        let schemas = self.0.iter();
        schemas
            .map(|(name, schema)| (name.clone(), Arc::clone(schema) as Arc<dyn RequestSchema>))
            .collect()
    }
}

/// The routes that the configuration names.
pub(super) fn of_configuration(config: &Config) -> impl Iterator<Item = HttpRoute> {
    let enabled = config.routes.iter().filter(|(_, route)| route.enabled);
    // What is wrong with one was told when it was read.
    enabled.filter_map(|(name, route)| route.to_route(name).ok())
}

/// The routes that the manifest of `plugin` names, to services of its own.
///
/// # Errors
/// A route to a service that is not its own, with the reason.
pub(super) fn of_manifest(
    plugin: &str,
    routes: &BTreeMap<String, RouteSettings>,
    services: &[ServiceInfo],
) -> Result<Vec<HttpRoute>, String> {
    let enabled = routes.iter().filter(|(_, route)| route.enabled);
    let made = enabled.map(|(name, settings)| {
        let refused = |reason: String| format!("manifest: routes.{name}: {reason}");
        let own = match services {
            [only] => Some(only.name.to_string()),
            _ => None,
        };
        let is_to_method = settings.method.is_some();
        let service = settings.service.clone().or(own).filter(|_| is_to_method);
        let settings = RouteSettings {
            service,
            ..settings.clone()
        };
        let mut route = settings
            .to_route(name)
            .map_err(|fault| refused(fault.message))?;
        if let RouteEnd::Method(end) = &route.end
            && !services.iter().any(|service| service.name == end.service)
        {
            let service = &end.service;
            return Err(refused(format!(
                "service {service} is not one of the plugin's own"
            )));
        }
        route.name = Text::from(format!("{plugin}.{name}"));
        Ok(route)
    });
    made.collect()
}

#[cfg(test)]
mod tests {
    use postern_core::service::{MethodInfo, TypeInfo};

    use super::*;
    use crate::config::Manifest;

    fn made(text: &str, services: &[&str]) -> Result<Vec<String>, String> {
        let config = Config::default();
        let manifest = Manifest::parse("users.toml", text, &config);
        let manifest = manifest.map_err(|faults| faults.to_string())?;
        let services = services.iter().map(|name| ServiceInfo {
            name: Text::from(*name),
            ..ServiceInfo::default()
        });
        let services: Vec<_> = services.collect();
        let routes = of_manifest("users", &manifest.routes, &services)?;
        let told = routes.iter().map(|route| match &route.end {
            RouteEnd::Method(end) => format!("{} {}/{}", route.name, end.service, end.method),
            other @ (RouteEnd::Upstream(_)
            | RouteEnd::Redirect(_)
            | RouteEnd::Fixed(_)
            | RouteEnd::Files(_)) => format!("{} {}", route.name, other.name()),
        });
        Ok(told.collect())
    }

    #[test]
    fn a_plugin_routes_to_its_own_services() {
        let route = "[routes.get]\npath = \"/users/{id}\"\nmethod = \"GetUser\"\n";
        assert_eq!(
            made(route, &["users"]),
            Ok(vec!["users.get users/GetUser".to_owned()])
        );
        let two = made(route, &["users", "groups"]).expect_err("which of them?");
        assert_eq!(two, "manifest: routes.get: the key \"service\" is missing");
        let other = format!("{route}service = \"payments\"\n");
        let refused = made(&other, &["users"]).expect_err("another's");
        assert_eq!(
            refused,
            "manifest: routes.get: service payments is not one of the plugin's own"
        );
        let fixed = "[routes.a]\npath = \"/a\"\nfixed = { status = 204 }\n[routes.b]\nenabled = false\n\
                     path = \"/b\"\nmethod = \"X\"\nservice = \"y\"\n";
        assert_eq!(
            made(fixed, &["users"]),
            Ok(vec!["users.a fixed".to_owned()])
        );
    }

    #[test]
    fn what_a_method_takes_is_compiled_once_and_follows_its_service() {
        let text = "[routes.get]\npath = \"/users/{id}\"\nmethod = \"GetUser\"\nvalidate = true\n";
        let manifest = Manifest::parse("users.toml", text, &Config::default()).expect("valid");
        let service = |schema: &'static str| ServiceInfo {
            name: Text::from_static("users"),
            methods: vec![MethodInfo {
                request: TypeInfo { name: "Id".into() },
                ..MethodInfo::unary("GetUser", true)
            }],
            schemas: Arc::new([("Id".into(), schema.into())].into()),
            ..ServiceInfo::default()
        };
        let routes = of_manifest("users", &manifest.routes, &[service("{}")]).expect("routes");
        let table = RouteTable::new(routes);
        let mut schemas = MethodSchemas::default();
        assert!(schemas.follow(&table, |_| Some(service("{}"))));
        assert!(!schemas.follow(&table, |_| Some(service("{}"))));
        assert!(schemas.follow(&table, |_| Some(service("{\"type\":\"object\"}"))));
        let refused =
            |schemas: &MethodSchemas| schemas.in_force()["users.get"].check(b"7").is_err();
        assert!(refused(&schemas));
        // Of a service that is gone, nothing is known.
        assert!(schemas.follow(&table, |_| None));
        assert!(schemas.in_force().is_empty());
        // What cannot be used is left out.
        assert!(!schemas.follow(&table, |_| Some(service("{\"type\":7}"))));
    }

    #[test]
    fn a_manifest_leads_to_no_files_and_no_upstream() {
        for (key, end) in [
            ("files = { folder = \"/etc\" }", "files"),
            ("upstream = \"x\"", "upstream"),
        ] {
            let text = format!("[routes.a]\npath = \"/{{p*}}\"\n{key}\n");
            let refused = made(&text, &["users"]).expect_err("refused");
            let expected = format!("a manifest leads to no {end}; the configuration may");
            assert!(refused.contains(&expected), "{refused}");
        }
    }
}
