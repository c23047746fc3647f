//! What may be called, as an OpenAPI 3.1 document (<https://spec.openapis.org/oas/v3.1.1>): the routes that
//! lead to methods, then every method at `/v1/services/{service}/{method}`. Pure, and the same for the
//! same input.
//!
//! | of | becomes |
//! | --- | --- |
//! | a route's path | the path; of two that differ by names of parameters alone, one, with the names of the first |
//! | parameters of the path | parameters, with the schema of the member of that name |
//! | other members of what the method takes | parameters of the query for `GET`, `HEAD` and `DELETE`; the body for others |
//! | types | `components/schemas`, called `SERVICE.TYPE` |
//! | a route that a schema says | what its rule makes of path, query and body (`transcoded.rs`) |
//! | methods that stream | NDJSON, and server-sent events out |
//! | what callers prove | security schemes, and for each operation whether it needs one |
//!
//! What has no schema is `{}`. Routes to other ends are not there: nobody says what they take.

mod components;
mod operation;
mod parameter;
mod paths;
mod security;
#[cfg(test)]
mod tests;
mod transcoded;

use std::collections::BTreeMap;

use postern_core::{
    Text,
    route::{HttpRoute, RouteEnd},
    service::{MethodInfo, ServiceInfo},
};
use serde_json::{Value as Json, json};

use self::{
    components::Components,
    operation::{MethodOperation, RouteOperation},
    paths::{Paths, encoded},
    security::Security,
    transcoded::TranscodedOperation,
};
use crate::config::Auth;

/// What a document is about.
pub(crate) struct Subject<'a> {
    /// Name of the gateway.
    pub title: Option<&'a str>,
    /// Only routes that this listener has.
    pub listener: Option<&'a str>,
    /// In their order: of two that take the same the first counts.
    pub routes: Vec<&'a HttpRoute>,
    /// Those that the caller may call, with the methods that it may call.
    pub services: &'a BTreeMap<Text, ServiceInfo>,
    /// Whether the caller may call a method; asked where a service answers more than it names.
    pub may_call: &'a dyn Fn(&str, &str) -> bool,
    pub auth: &'a Auth,
}

/// The document.
pub(crate) fn document(subject: &Subject<'_>) -> Json {
    let mut components = Components::default();
    let mut paths = Paths::default();
    let security = Security::new(subject.auth);
    for route in &subject.routes {
        add_route(subject, route, &security, &mut components, &mut paths);
    }
    for service in subject.services.values() {
        for method in methods(service) {
            let operation = MethodOperation { service, method }.to_json(&mut components);
            let (service, name) = (&*service.name, &*method.name);
            let (path, id) = match name {
                "*" => (
                    format!("/v1/services/{}/{{method}}", encoded(service)),
                    format!("{service}.any"),
                ),
                _ => (
                    format!("/v1/services/{}/{}", encoded(service), encoded(name)),
                    format!("{service}.{name}"),
                ),
            };
            let operation = security.apply(operation, service, name);
            paths.add(&path, "post", &id, operation);
        }
    }
    let tags = subject.services.values().map(|service| {
        let mut tag = json!({ "name": service.name.as_str() });
        if !service.summary.is_empty()
            && let Some(tag) = tag.as_object_mut()
        {
            tag.insert("description".to_owned(), service.summary.as_str().into());
        }
        tag
    });
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": subject.title.unwrap_or("Postern"),
            "description": "What may be called at this gateway, over HTTP.",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "tags": tags.collect::<Vec<_>>(),
        "paths": paths.into_json(),
        "components": components.into_json(),
    });
    let schemes = security.schemes();
    if !schemes.is_empty()
        && let Some(components) = document.get_mut("components").and_then(Json::as_object_mut)
    {
        components.insert("securitySchemes".to_owned(), Json::Object(schemes));
    }
    document
}

/// One that answers any method has one line for all, whatever it names beside.
fn methods(service: &ServiceInfo) -> Vec<&MethodInfo> {
    /// Stands for the methods of a service that names none.
    static ANY: std::sync::LazyLock<MethodInfo> =
        std::sync::LazyLock::new(|| MethodInfo::new("*", false));
    match service.methods.is_empty() {
        true => vec![&*ANY],
        false => service.methods.iter().collect(),
    }
}

/// An operation for each method of HTTP that the route takes, where the caller may call what it leads to.
fn add_route(
    subject: &Subject<'_>,
    route: &HttpRoute,
    security: &Security<'_>,
    components: &mut Components,
    paths: &mut Paths,
) {
    let RouteEnd::Method(end) = &route.end else {
        return;
    };
    let listeners = &route.rule.listeners;
    let is_elsewhere =
        |name: &str| !listeners.is_empty() && !listeners.iter().any(|listener| *listener == *name);
    if subject.listener.is_some_and(is_elsewhere) {
        return;
    }
    let Some(service) = subject.services.get(&end.service) else {
        return;
    };
    if !(subject.may_call)(&end.service, &end.method) {
        return;
    }
    let unnamed;
    let method = match service.method(&end.method) {
        Some(method) => method,
        None => {
            unnamed = MethodInfo::new(end.method.clone(), false);
            &unnamed
        }
    };
    let verbs = route
        .rule
        .methods
        .iter()
        .map(|one| one.to_ascii_lowercase());
    let verbs: Vec<_> = verbs
        .filter(|verb| VERBS.contains(&verb.as_str()))
        .collect();
    for verb in &verbs {
        let place = paths.place(&route.rule.path);
        if paths.has(&place.path, verb) {
            continue;
        }
        let operation = match &end.transcoder {
            Some(transcoder) => TranscodedOperation {
                transcoder,
                service,
                method,
                names: &place.names,
            }
            .to_json(components),
            None => RouteOperation {
                route,
                end,
                service,
                method,
                verb,
                names: &place.names,
            }
            .to_json(components),
        };
        let operation = security.apply(operation, &end.service, &end.method);
        let id = match verbs.len() {
            1 => route.name.to_string(),
            _ => format!("{}.{verb}", route.name),
        };
        paths.add(&place.path, verb, &id, operation);
    }
}

/// Methods of HTTP that a path item has: section 4.8.9.1.
const VERBS: [&str; 8] = [
    "get", "put", "post", "delete", "options", "head", "patch", "trace",
];
