//! The environment twin of every key: `listeners.vstp.idle-timeout` is
//! `POSTERN_LISTENERS_VSTP_IDLE_TIMEOUT`. What is set there wins over the file.

use std::collections::BTreeMap;

use super::{
    fault::suggest,
    section::{Field, Key, Reader, Shape, join},
    settings::Config,
    value::{Entry, Node, Place, Value},
};

/// Takes over every `POSTERN_` variable; one that belongs to no key is a fault.
pub(crate) fn merge(
    environment: &BTreeMap<String, String>,
    config: &mut Config,
    reader: &mut Reader,
) {
    let mut paths = twins(&config.keys());
    let templates = [
        (
            "listeners",
            leaf_paths(&super::Listener::default().keys(), ""),
        ),
        (
            "services",
            leaf_paths(&super::Service::default().keys(), ""),
        ),
    ];
    for (variable, text) in environment {
        let Some(rest) = variable.strip_prefix(PREFIX) else {
            continue;
        };
        if is_foreign(rest) {
            continue;
        }
        if !paths.contains_key(variable) {
            let Some(path) = new_table(rest, &templates) else {
                refuse(variable, &paths, reader);
                continue;
            };
            paths.insert(variable.clone(), path);
        }
        let Some(path) = paths.get(variable) else {
            continue;
        };
        let place = Place::Environment(variable.clone());
        let node = Node {
            place: place.clone(),
            value: Value::Untyped(text.clone()),
        };
        config.merge(&nest(path, node), "", None, reader);
    }
}

/// The variable that is the twin of a key path.
pub(crate) fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.replace(['.', '-'], "_").to_uppercase())
}

/// Every key's path by its variable.
fn twins(keys: &[Key]) -> BTreeMap<String, String> {
    leaf_paths(keys, "")
        .into_iter()
        .map(|path| (variable(&path), path))
        .collect()
}

/// The paths of all keys that hold one value, in the order of declaration.
pub(crate) fn leaf_paths(keys: &[Key], above: &str) -> Vec<String> {
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

/// `LISTENERS_EDGE_TLS_ADDRESS` opens a listener `edge-tls` that the file does not know;
/// `SERVICES_USERS_TIMEOUT` is of a service `users`.
fn new_table(rest: &str, templates: &[(&str, Vec<String>)]) -> Option<String> {
    let below = |name: &str| rest.strip_prefix(&format!("{}_", name.to_uppercase()));
    let mut found = templates.iter();
    let (above, rest, template) =
        found.find_map(|(name, template)| Some((name, below(name)?, template)))?;
    let suffixes = template.iter().filter_map(|key| {
        let suffix = format!("_{}", key.replace(['.', '-'], "_").to_uppercase());
        let name = rest.strip_suffix(suffix.as_str())?;
        Some((name.len(), name, key))
    });
    // The longest key leaves the shortest name: `_UDP_RETRIES` before `_RETRIES`.
    let (_, name, key) = suffixes.min()?;
    Some(format!(
        "{above}.{}.{key}",
        name.to_lowercase().replace('_', "-")
    ))
}

fn refuse(variable: &str, paths: &BTreeMap<String, String>, reader: &mut Reader) {
    let known: Vec<_> = paths.keys().map(String::as_str).collect();
    let remedy = match suggest_variable(variable, &known) {
        Some(similar) => format!("did you mean {similar}?"),
        None => "`postern config default` lists every key with its variable".to_owned(),
    };
    let place = Place::Environment(variable.to_owned());
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

/// Variables of the command line itself, and those that container platforms set for a service that
/// is called `postern`.
fn is_foreign(rest: &str) -> bool {
    COMMAND_LINE.contains(&rest) || rest == "PORT" || FOREIGN.iter().any(|p| rest.starts_with(p))
}

/// The tree that holds nothing but one value at `path`.
fn nest(path: &str, node: Node) -> Node {
    let place = node.place.clone();
    path.rsplit('.').fold(node, |node, key| Node {
        place: place.clone(),
        value: Value::Table(vec![Entry {
            key: key.to_owned(),
            key_place: place.clone(),
            node,
        }]),
    })
}

const PREFIX: &str = "POSTERN_";
const COMMAND_LINE: [&str; 6] = ["CONFIG", "OUTPUT", "ADMIN", "ADDRESS", "SDK", "TRANSPORT"];
const FOREIGN: [&str; 2] = ["SERVICE_", "PORT_"];
