//! JSON transcoding: routes of HTTP that a schema says itself, by `google.api.http`
//! (google/api/http.proto, "HttpRule"). Pure.
//!
//! ```text
//! method of a schema ─▶ rule ─▶ binding, checked against the types ─▶ HttpRoute with its Transcoder
//! path, query, body ─▶ message in JSON ─▶ call ─▶ reply in JSON ─▶ response
//! ```
//! | file | what it does |
//! | --- | --- |
//! | `rule` | reads the rules of a method from its options |
//! | `field` | finds fields by their paths, `shelf.theme` |
//! | `binding` | compares one rule with the types of its method |
//! | `value` | text of a path or a query as the JSON of its field |
//! | `members` | what a request says beside its body, and its body, as one JSON object |
//! | `violations` | what of a request does not fit, as `google.rpc.BadRequest` |
//! | `request`, `reply` | what a method is called with, and what is sent of its reply |
//! | `fault` | what is wrong with the rules of a schema |
//!
//! Paths are templates of core (`route/http_rule.rs`), so that one tree finds all routes. JSON becomes
//! protobuf where the handler wants that, and no field of a body is looked at here beyond those that the
//! path names.

mod binding;
mod fault;
mod field;
mod members;
mod reply;
mod request;
mod rule;
#[cfg(test)]
mod tests;
mod value;
mod violations;

use std::collections::BTreeMap;

use postern_core::{
    Headers, Text,
    route::{BodyForm, HttpRoute, MethodEnd, RouteEnd, RouteRule, RouteTable, SharedTranscoder},
};
use prost_reflect::{DescriptorPool, MethodDescriptor, ServiceDescriptor};

pub(super) use self::fault::drawn;
use self::{
    binding::Binding,
    fault::{RuleFault, RuleProblem},
    rule::HttpRule,
};

/// The routes of those of `services` that `pool` has, each named `SERVICE.METHOD`, additional bindings with
/// their number behind it. Methods are in the order of the schema.
///
/// # Errors
/// All that is wrong with the rules; there is at least one fault then.
pub(super) fn routes<'s>(
    pool: &DescriptorPool,
    services: impl IntoIterator<Item = &'s str>,
) -> Result<Vec<HttpRoute>, Vec<RuleFault>> {
    let services = services.into_iter();
    let services = services.filter_map(|name| pool.get_service_by_name(name));
    let (mut routes, mut faults) = (Vec::new(), Vec::new());
    let mut places = BTreeMap::new();
    for service in services {
        for method in service.methods() {
            for (number, rule) in rule::read(&method).into_iter().enumerate() {
                let fault = |problem| RuleFault::of(&method, number, problem);
                match route(&service, &method, number, &rule) {
                    Ok(route) => {
                        places.insert(route.name.clone(), (method.clone(), number));
                        routes.push(route);
                    }
                    Err(problems) => faults.extend(problems.into_iter().map(fault)),
                }
            }
        }
    }
    let table = RouteTable::new(routes.iter().cloned());
    for conflict in table.conflicts() {
        let place = |name| places.get(name);
        if let (Some((other, at)), Some((method, number))) =
            (place(&conflict.first), place(&conflict.second))
        {
            let other = fault::place_name(other, *at);
            faults.push(RuleFault::of(method, *number, RuleProblem::Taken { other }));
        }
    }
    match faults.is_empty() {
        true => Ok(routes),
        false => Err(faults),
    }
}

/// The route of one rule.
fn route(
    service: &ServiceDescriptor,
    method: &MethodDescriptor,
    number: usize,
    rule: &HttpRule,
) -> Result<HttpRoute, Vec<RuleProblem>> {
    let (path, binding) = Binding::new(method, number, rule)?;
    let (service, name) = (service.full_name(), method.name());
    let route_name = match number {
        0 => format!("{service}.{name}"),
        number => format!("{service}.{name}.{number}"),
    };
    let verb = rule.verb.as_deref();
    Ok(HttpRoute {
        name: route_name.into(),
        rule: RouteRule {
            methods: verb.map(Text::from).into_iter().collect(),
            ..RouteRule::new(path)
        },
        end: RouteEnd::Method(MethodEnd {
            service: service.into(),
            method: name.into(),
            version: None,
            body: BodyForm::Json,
            types: BTreeMap::new(),
            produces: Vec::new(),
            is_checked: false,
            transcoder: Some(SharedTranscoder::new(binding)),
        }),
        status: None,
        headers: Headers::new(),
        has_problems: false,
        timeout_ms: None,
    })
}
