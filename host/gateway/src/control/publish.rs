//! The routes that the set of plugins makes, and the catalogue of services.

use std::{collections::BTreeMap, sync::Arc};

use postern_core::{Handler, Text};
use postern_net::http::{self, Catalog};
use postern_wasm::{CallKind, MethodInfo, ServiceInfo};

use super::{Control, extensions, slot::Slot};
use crate::pipeline::route::{Route, Table, Target};

impl Control {
    /// Routes follow the set: one for each service of each plugin that takes calls, and one that
    /// says why for a plugin that takes none.
    pub(super) fn publish(&self) {
        let slots = self.slots.lock();
        let mut routes = BTreeMap::new();
        for slot in slots.values() {
            if let Some(route) = self.down_routes(slot) {
                routes.insert(route.service.clone(), route);
            }
        }
        // What is alive comes second: it stands in the place of what is not.
        for slot in slots.values() {
            for route in self.live_routes(slot) {
                routes.insert(route.service.clone(), route);
            }
        }
        self.routes.publish(Table::from_iter(routes.into_values()));
        self.extensions
            .publish(extensions::chain(&slots, &self.config.load()));
    }

    fn live_routes(&self, slot: &Slot) -> Vec<Route> {
        let shown = slot.shown();
        let Some(current) = &shown.current else {
            return Vec::new();
        };
        let route = |service: &ServiceInfo| {
            let name = Text::from(service.name.as_str());
            let mut methods: Vec<_> = service
                .methods
                .iter()
                .map(|method| Text::from(method.name.as_str()))
                .collect();
            methods.sort();
            // A service that answers any method is not held to those that it names.
            let is_closed = !methods.is_empty() && methods.iter().all(|method| *method != "*");
            Route {
                metrics: self.book.service(&name),
                service: name,
                version: service.version.as_deref().map(Text::from),
                plugin: slot.name.as_str().into(),
                generation: current.generation,
                methods: is_closed.then_some(methods),
                target: if shown.is_healthy() {
                    Target::Live(Arc::clone(&slot.plugin) as Arc<dyn Handler>)
                } else {
                    let message = shown
                        .health
                        .as_ref()
                        .and_then(|health| health.message.as_deref());
                    let reason = message.unwrap_or("no reason given");
                    Target::Down(format!("plugin {} is not healthy: {reason}", slot.name).into())
                },
            }
        };
        current.services.iter().map(route).collect()
    }

    /// A plugin that was refused and has nothing from before: its name is known, nobody answers.
    fn down_routes(&self, slot: &Slot) -> Option<Route> {
        let shown = slot.shown();
        let refused = shown.refused.filter(|_| shown.current.is_none())?;
        let name = Text::from(slot.name.as_str());
        Some(Route {
            metrics: self.book.service(&name),
            service: name.clone(),
            version: None,
            plugin: name,
            generation: 0,
            methods: None,
            target: Target::Down(
                format!("plugin {} was refused: {}", slot.name, refused.reason).into(),
            ),
        })
    }
}

impl Catalog for Control {
    fn services(&self) -> Vec<http::ServiceInfo> {
        let slots = self.slots.lock();
        let currents = slots.values().filter_map(|slot| slot.shown().current);
        let mut services: Vec<_> = currents
            .flat_map(|current| current.services)
            .map(service_info)
            .collect();
        services.sort_by(|one, other| one.name.cmp(&other.name));
        services
    }
}

fn service_info(service: ServiceInfo) -> http::ServiceInfo {
    let method = |method: MethodInfo| http::MethodInfo {
        name: method.name,
        summary: method.summary,
        kind: kind_name(method.kind).to_owned(),
        request: method.request,
        response: method.response,
        idempotent: method.idempotent,
    };
    http::ServiceInfo {
        name: service.name,
        version: service.version,
        summary: service.summary,
        methods: service.methods.into_iter().map(method).collect(),
    }
}

const fn kind_name(kind: CallKind) -> &'static str {
    match kind {
        CallKind::Unary => "unary",
        CallKind::ClientStream => "client-stream",
        CallKind::ServerStream => "server-stream",
        CallKind::Bidirectional => "bidirectional",
    }
}
