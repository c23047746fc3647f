//! `grpc-service-config`: the standard service configuration of gRPC (`grpc/service_config/service_config.proto`
//! as JSON) as keys of `[services.NAME]`, which come before those that are written there.
//!
//! | of the document | key |
//! | --- | --- |
//! | `methodConfig.timeout` | `timeout` |
//! | `methodConfig.maxRequestMessageBytes`, `maxResponseMessageBytes` | `grpc.send-bytes-max`, `grpc.receive-bytes-max` |
//! | `methodConfig.retryPolicy`, `hedgingPolicy` | `retry`, `hedge`, `idempotent`, `per-try-timeout` |
//! | `loadBalancingConfig`, `loadBalancingPolicy` | `balancer` |
//! | `healthCheckConfig.serviceName` | `grpc.health-service` |
//!
//! `Service` keeps where the document is (`.grpc_service_config`), for whoever shows the configuration.
//! What would mean something else here is refused by its name: one policy holds for all methods of a
//! service but for which of them may be repeated, and what bounds retries is their share of all calls.

mod methods;
mod policies;
mod translation;

use std::path::Path;

use serde_json::{Map, Value as Json};

use self::translation::{Refusal, Translation};
use super::{
    section::{Bounds, Field, SectionReader, Shape, join},
    value::{Node, Provenance, Value},
};

/// Where a service configuration is: its file, or itself. What it says has become keys of the service.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct GrpcServiceConfig(pub Option<String>);

/// The keys that the service configuration in `table`, which stands at `path`, means for `service`; `None`
/// where there is none. What is refused of it becomes a fault.
pub(super) fn of_service(
    service: &str,
    table: &Node,
    path: &str,
    reader: &mut SectionReader,
) -> Option<Node> {
    let Value::Table(entries) = &table.value else {
        return None;
    };
    let entry = entries.iter().find(|entry| entry.key == KEY)?;
    let path = join(path, KEY);
    let place = &entry.node.place;
    let document = match &entry.node.value {
        Value::Text(file) | Value::Untyped(file) => match read(file, reader) {
            Ok(document) => document,
            Err(message) => {
                reader.fault(&path, place, message, "write the path of a JSON file");
                return None;
            }
        },
        value @ Value::Table(_) => value.to_json(),
        // Told where the key itself is read.
        Value::Integer(_) | Value::Literal(_) | Value::Boolean(_) | Value::List(_) => return None,
    };
    match translate(service, &document, place) {
        Ok(node) => Some(node),
        Err(refusals) => {
            for Refusal { part, message } in refusals {
                let remedy = "remove it, and write keys of the service that mean what is meant";
                reader.fault(&path, place, format!("{part}: {message}"), remedy);
            }
            None
        }
    }
}

fn read(file: &str, reader: &SectionReader) -> Result<Json, String> {
    let text = (reader.read_file)(Path::new(file));
    let text = text.map_err(|error| format!("cannot read {file}: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("{file} is no JSON: {error}"))
}

/// The keys of `[services.SERVICE]` that `document` means.
///
/// # Errors
/// Everything that would mean something else here.
fn translate(service: &str, document: &Json, place: &Provenance) -> Result<Node, Vec<Refusal>> {
    let mut translation = Translation {
        service,
        place,
        keys: Vec::new(),
        refusals: Vec::new(),
    };
    match document.as_object() {
        Some(members) => translate_members(&mut translation, members),
        None => translation.refuse("", format!("{document} is no object")),
    }
    if translation.refusals.is_empty() {
        let value = Value::Table(translation.keys);
        let place = place.clone();
        Ok(Node { place, value })
    } else {
        Err(translation.refusals)
    }
}

impl Field for GrpcServiceConfig {
    /// Keeps where it is. What it says was taken over beside this (services.rs).
    fn merge(&mut self, node: &Node, path: &str, _: Bounds, reader: &mut SectionReader) {
        reader.places.insert(path.to_owned(), node.place.clone());
        match &node.value {
            Value::Text(file) | Value::Untyped(file) if !file.is_empty() => {
                self.0 = Some(file.clone());
            }
            Value::Table(_) => self.0 = None,
            Value::Text(_)
            | Value::Untyped(_)
            | Value::Integer(_)
            | Value::Literal(_)
            | Value::Boolean(_)
            | Value::List(_) => {
                let message = format!("{} is neither a file nor a table", node.value.shown());
                let remedy =
                    "write the path of a JSON file, or the service configuration as a table";
                reader.fault(path, &node.place, message, remedy);
            }
        }
    }

    fn shape(&self, _: Bounds) -> Shape {
        Shape::Leaf {
            written: None,
            schema: serde_json::json!({ "type": ["string", "object"] }),
            expected: "the path of a JSON file, or a table".to_owned(),
            bounds: None,
        }
    }
}

fn translate_members(translation: &mut Translation<'_>, members: &Map<String, Json>) {
    for (name, value) in members {
        match name.as_str() {
            "methodConfig" => methods::translate(translation, value),
            "loadBalancingConfig" => balancing_config(translation, value),
            // The older key, which the other one comes before.
            "loadBalancingPolicy" if members.contains_key("loadBalancingConfig") => {}
            "loadBalancingPolicy" => {
                let policy = value.as_str().unwrap_or_default().to_ascii_lowercase();
                balancer(translation, name, &policy);
            }
            "healthCheckConfig" => health(translation, value),
            "retryThrottling" => translation.refuse(
                name,
                "tokens by failure are not kept; write retry.budget-ratio and retry.budget-min, which \
                 bound retries by their share of all calls",
            ),
            _ => translation.refuse(name, "unknown key"),
        }
    }
}

/// The first policy that is known counts (gRPC proposal A24).
fn balancing_config(translation: &mut Translation<'_>, value: &Json) {
    let part = "loadBalancingConfig";
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let policies = items.iter().filter_map(Json::as_object);
    let names: Vec<_> = policies.filter_map(|policy| policy.keys().next()).collect();
    let known = names.iter().find(|name| **name == ROUND_ROBIN);
    match known.or_else(|| names.first()) {
        Some(name) => balancer(translation, part, name),
        None => translation.refuse(part, "it names no policy"),
    }
}

fn balancer(translation: &mut Translation<'_>, part: &str, policy: &str) {
    if policy == ROUND_ROBIN {
        translation.key(&["balancer"], Value::Text("round-robin".to_owned()));
        return;
    }
    let message = format!("{policy:?} is not known; write balancer with a policy of this gateway");
    translation.refuse(part, message);
}

fn health(translation: &mut Translation<'_>, value: &Json) {
    let Some(members) = value.as_object() else {
        translation.refuse("healthCheckConfig", "it is no object");
        return;
    };
    for (name, value) in members {
        match (name.as_str(), value) {
            ("serviceName", Json::String(service)) => {
                let path = ["grpc", "health-service"];
                translation.key(&path, Value::Text(service.clone()));
            }
            _ => translation.refuse(&format!("healthCheckConfig.{name}"), "unknown key"),
        }
    }
}

/// As it is written.
const KEY: &str = "grpc-service-config";
const ROUND_ROBIN: &str = "round_robin";

#[cfg(test)]
mod tests;
