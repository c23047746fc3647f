//! The environment twin of every key: `listeners.vstp.idle-timeout` is
//! `POSTERN_LISTENERS_VSTP_IDLE_TIMEOUT`. What is set there wins over the file.

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    fault::suggest,
    section::{ConfigKey, Field, SectionReader, Shape, join},
    settings::Config,
    value::{Node, Provenance, TableEntry, Value},
};

/// Takes over every `POSTERN_` variable; one that belongs to no key is a fault, and so is a value
/// that is not UTF-8, which shows as a replacement character. Service links are left alone.
pub(crate) fn merge(
    environment: &BTreeMap<String, String>,
    config: &mut Config,
    reader: &mut SectionReader,
) {
    let mut paths = twins(&config.keys());
    let templates = templates(&config.keys(), "");
    for (variable, text) in environment {
        let Some(rest) = variable.strip_prefix(PREFIX) else {
            continue;
        };
        if COMMAND_LINE.contains(&rest) {
            continue;
        }
        if !paths.contains_key(variable) {
            if is_service_link(rest, text) {
                continue;
            }
            let Some(path) = new_table(rest, &templates) else {
                refuse(variable, &paths, reader);
                continue;
            };
            paths.insert(variable.clone(), path);
        }
        let Some(path) = paths.get(variable) else {
            continue;
        };
        let place = Provenance::Environment(variable.clone());
        if text.contains(char::REPLACEMENT_CHARACTER) {
            let remedy = "set it to text in UTF-8, or unset it";
            reader.fault(path, &place, "the value is not UTF-8", remedy);
            continue;
        }
        let node = Node {
            place: place.clone(),
            value: Value::Untyped(text.clone()),
        };
        config.merge(&nest(path, node), "", None, reader);
    }
}

/// The variable that is the twin of a key path.
pub(crate) fn variable(path: &str) -> String {
    format!("{PREFIX}{}", upper(path))
}

/// Every key's path by its variable.
fn twins(keys: &[ConfigKey]) -> BTreeMap<String, String> {
    leaf_paths(keys, "")
        .into_iter()
        .map(|path| (variable(&path), path))
        .collect()
}

/// The paths of all keys that hold one value, in the order of declaration.
pub(crate) fn leaf_paths(keys: &[ConfigKey], above: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for key in keys {
        let path = join(above, &key.name);
        match &key.shape {
            Shape::Leaf { .. } => paths.push(path),
            Shape::Section(keys) => paths.extend(leaf_paths(keys, &path)),
            Shape::Named { tables, .. } => {
                for (name, keys) in tables {
                    paths.extend(leaf_paths(keys, &join(&path, name)));
                }
            }
            Shape::Free => {}
        }
    }
    paths
}

/// What a new table may hold.
struct Template {
    /// Where tables of its kind stand: `listeners`, `auth.jwt`.
    path: String,
    /// Paths of its keys, below its name.
    keys: Vec<String>,
}

fn templates(keys: &[ConfigKey], above: &str) -> Vec<Template> {
    let mut found = Vec::new();
    for key in keys {
        let path = join(above, &key.name);
        match &key.shape {
            Shape::Section(keys) => found.extend(templates(keys, &path)),
            Shape::Named { template, .. } => {
                let keys = leaf_paths(template, "");
                found.push(Template { path, keys });
            }
            Shape::Leaf { .. } | Shape::Free => {}
        }
    }
    found
}

/// `LISTENERS_EDGE_TLS_ADDRESS` opens a listener `edge-tls` that the file does not know.
fn new_table(rest: &str, templates: &[Template]) -> Option<String> {
    let candidates = templates.iter().flat_map(|template| {
        let prefix = format!("{}_", upper(&template.path));
        let rest = rest.strip_prefix(&prefix).unwrap_or_default();
        template.keys.iter().filter_map(move |key| {
            let name = rest.strip_suffix(&format!("_{}", upper(key)))?;
            Some((name.len(), name, &template.path, key))
        })
    });
    // The longest key leaves the shortest name: `_UDP_RETRIES` before `_RETRIES`.
    let (_, name, path, key) = candidates
        .filter(|(length, ..)| *length > 0)
        .min_by_key(|(length, ..)| *length)?;
    let name = name.to_lowercase().replace('_', "-");
    Some(format!("{path}.{name}.{key}"))
}

fn upper(path: &str) -> String {
    path.replace(['.', '-'], "_").to_uppercase()
}

fn refuse(variable: &str, paths: &BTreeMap<String, String>, reader: &mut SectionReader) {
    let known: Vec<_> = paths.keys().map(String::as_str).collect();
    let remedy = match suggest_variable(variable, &known) {
        Some(similar) => format!("did you mean {similar}?"),
        None => "`postern config default` lists every key with its variable".to_owned(),
    };
    let place = Provenance::Environment(variable.to_owned());
    reader.fault("", &place, "no key has this variable", remedy);
}

/// `suggest` compares in lower case with dashes.
fn suggest_variable(variable: &str, known: &[&str]) -> Option<String> {
    let lower: Vec<_> = known
        .iter()
        .map(|name| name.to_lowercase().replace('_', "-"))
        .collect();
    let lower: Vec<_> = lower.iter().map(String::as_str).collect();
    suggest(variable, &lower).map(|name| name.to_uppercase().replace('-', "_"))
}

/// The variables of `environment` that are service links and no keys, in order.
pub(crate) fn service_links(environment: &BTreeMap<String, String>) -> Vec<&str> {
    let is_link = |(variable, text): &(&String, &String)| {
        let rest = variable.strip_prefix(PREFIX);
        rest.is_some_and(|rest| is_service_link(rest, text))
    };
    let links = environment.iter().filter(is_link);
    links.map(|(variable, _)| variable.as_str()).collect()
}

/// Whether name and value are what Kubernetes and Docker set for a service called `postern` or
/// `postern-NAME` in the same namespace
/// (<https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>):
///
/// ```text
/// ..SERVICE_HOST=10.0.0.1    ..SERVICE_PORT=9900    ..SERVICE_PORT_HTTP=9900
/// ..PORT=tcp://10.0.0.1:9900
/// ..PORT_9900_TCP=tcp://10.0.0.1:9900    ..PORT_9900_TCP_{PROTO=tcp, PORT=9900, ADDR=10.0.0.1}
/// ```
/// The value is looked at, too, so that a misspelt key is not taken for one.
fn is_service_link(rest: &str, text: &str) -> bool {
    let words: Vec<&str> = rest.split('_').collect();
    let is_number = |text: &str| text.parse::<u16>().is_ok();
    let is_protocol = |text: &str| PROTOCOLS.contains(&text.to_ascii_lowercase().as_str());
    let is_url = || {
        text.split_once("://")
            .is_some_and(|(scheme, _)| is_protocol(scheme))
    };
    let of_port = |number: &str, protocol: &str| is_number(number) && is_protocol(protocol);
    match words.as_slice() {
        [.., "SERVICE", "HOST"] => text.parse::<IpAddr>().is_ok(),
        [.., "PORT", number, protocol, "PROTO"] if of_port(number, protocol) => is_protocol(text),
        [.., "PORT", number, protocol, "PORT"] if of_port(number, protocol) => is_number(text),
        [.., "PORT", number, protocol, "ADDR"] if of_port(number, protocol) => {
            text.parse::<IpAddr>().is_ok()
        }
        [.., "PORT", number, protocol] if of_port(number, protocol) => is_url(),
        [.., "PORT"] if is_url() => true,
        words => {
            let mut pairs = words.windows(2);
            pairs.any(|pair| pair == ["SERVICE", "PORT"]) && is_number(text)
        }
    }
}

/// The tree that holds nothing but one value at `path`.
fn nest(path: &str, node: Node) -> Node {
    let place = node.place.clone();
    path.rsplit('.').fold(node, |node, key| Node {
        place: place.clone(),
        value: Value::Table(vec![TableEntry {
            key: key.to_owned(),
            key_place: place.clone(),
            node,
        }]),
    })
}

pub(super) const PREFIX: &str = "POSTERN_";
/// Variables of the command line itself.
const COMMAND_LINE: [&str; 6] = ["CONFIG", "OUTPUT", "ADMIN", "ADDRESS", "SDK", "TRANSPORT"];
/// Of the ports of a service.
const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];
