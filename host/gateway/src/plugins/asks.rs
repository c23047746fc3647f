//! What a plugin asks for: the imports of its component, and what its manifest writes of grants, limits
//! and its place in the way of calls. Two of them are compared as they are written, so that a grant that
//! this file does not know is compared like every other. Pure.
//!
//! | part | more is |
//! | --- | --- |
//! | imports | an interface that was not imported, of those that reach beyond the plugin |
//! | `[grants]`, `topics` | an item of a list that no item before covers; a key that was not written; another value |
//! | `grants.env` | a name that was not written: its values are the manifest's own text |
//! | `[limits]`, `[instances]`, `[budgets]` | a quantity that is larger, by what holds where nothing is written |
//! | `[extension]` | taking part, or seeing calls that were not seen |

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use postern_wasm::HttpGrant;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use wasmparser::{Parser, Payload};

use crate::{config::quantity, printed};

/// What one version asks for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Asks {
    /// Interfaces without their versions, those that reach nothing left out.
    pub imports: BTreeSet<String>,
    /// Tables of the manifest, as they are written.
    pub tables: Map<String, Json>,
}

/// Something that one version asks for beyond another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Growth {
    /// `grants.services`, `limits.memory`, `imports`.
    pub key: String,
    /// What is asked for, and what was before where that says more.
    pub asked: String,
}

impl Asks {
    /// Of a component and the text of its manifest. What is no component or no TOML asks for nothing;
    /// whoever deploys it refuses it.
    #[must_use]
    pub(crate) fn of(component: &[u8], manifest: Option<&str>) -> Self {
        let written = manifest.and_then(|text| toml::from_str::<toml::Table>(text).ok());
        let written = written.and_then(|table| serde_json::to_value(table).ok());
        let mut tables = match written {
            Some(Json::Object(tables)) => tables,
            _ => Map::new(),
        };
        tables.retain(|name, _| TABLES.contains(&name.as_str()));
        Self {
            imports: imports(component),
            tables,
        }
    }

    /// What this asks for beyond `before`. `quantities` are those that hold where nothing is written, by
    /// key path.
    #[must_use]
    pub(crate) fn beyond(&self, before: &Self, quantities: &BTreeMap<String, Json>) -> Vec<Growth> {
        let imports = self.imports.difference(&before.imports);
        let mut growth: Vec<_> = imports
            .map(|import| Growth::new("imports", import))
            .collect();
        for name in REACH {
            if let Some(after) = self.tables.get(name) {
                reach(name, before.tables.get(name), after, &mut growth);
            }
        }
        self.extension(before, &mut growth);
        let mut keys: BTreeSet<_> = quantities.keys().cloned().collect();
        keys.extend(self.quantities());
        keys.extend(before.quantities());
        for key in keys {
            let default = quantities.get(&key);
            let was = before.written(&key).or(default);
            let is = self.written(&key).or(default);
            if let Some(asked) = raised(was, is) {
                growth.push(Growth::new(&key, asked));
            }
        }
        bounded(growth)
    }

    /// Whether it begins to stand in the way of calls, or of more of them.
    fn extension(&self, before: &Self, growth: &mut Vec<Growth>) {
        let all = json!(["*/*"]);
        let calls = |asks: &Self| {
            let is_in_the_way = asks.written("extension.enabled") == Some(&Json::Bool(true));
            is_in_the_way.then(|| asks.written("extension.calls").unwrap_or(&all).clone())
        };
        match (calls(before), calls(self)) {
            (_, None) => {}
            (None, Some(_)) => growth.push(Growth::new("extension.enabled", "true")),
            (Some(was), Some(is)) => {
                reach("extension.calls", Some(&was), &is, growth);
                // None named is all of them.
                let listeners = |asks: &Self| {
                    asks.written(LISTENERS)
                        .cloned()
                        .unwrap_or_else(|| json!([]))
                };
                match (listeners(before), listeners(self)) {
                    (was, _) if was == json!([]) => {}
                    (_, is) if is == json!([]) => growth.push(Growth::new(LISTENERS, "all")),
                    (was, is) => reach(LISTENERS, Some(&was), &is, growth),
                }
            }
        }
    }

    /// Key paths of the quantities that are written.
    fn quantities(&self) -> Vec<String> {
        let mut paths = Vec::new();
        for table in QUANTITIES {
            if let Some(written) = self.tables.get(table) {
                leaves(table, written, &mut paths);
            }
        }
        paths
    }

    fn written(&self, path: &str) -> Option<&Json> {
        let (table, rest) = path.split_once('.')?;
        let mut value = self.tables.get(table)?;
        for key in rest.split('.') {
            value = value.get(key)?;
        }
        Some(value)
    }
}

/// Sorted; how many more there are than are kept is the last.
pub(super) fn bounded(mut growth: Vec<Growth>) -> Vec<Growth> {
    growth.sort();
    let more = growth.len().saturating_sub(GROWTH_MAX);
    if more > 0 {
        growth.truncate(GROWTH_MAX);
        growth.push(Growth::new("more", format!("{more} things")));
    }
    growth
}

impl Growth {
    pub(super) fn new(key: &str, asked: impl Into<String>) -> Self {
        Self {
            // Names and values are of whoever wrote the manifest.
            key: printed::shortened(key, SHOWN_CHARS_MAX),
            asked: printed::shortened(&asked.into(), SHOWN_CHARS_MAX),
        }
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.asked)
    }
}

fn leaves(path: &str, value: &Json, paths: &mut Vec<String>) {
    match value {
        Json::Object(fields) => {
            for (key, value) in fields {
                leaves(&format!("{path}.{key}"), value, paths);
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => {
            paths.push(path.to_owned());
        }
    }
}

/// How a quantity has grown. One that is written no more, and for which nothing else holds, has no bound.
fn raised(was: Option<&Json>, is: Option<&Json>) -> Option<String> {
    let before = was.and_then(quantity);
    let Some(is) = is else {
        let was = was.filter(|_| before.is_some())?;
        return Some(format!("no bound instead of {}", shown(was)));
    };
    let is_more = match (before, quantity(is)) {
        (Some(before), Some(after)) => after > before,
        (None, Some(_)) => true,
        // Words such as the mode of instances say nothing of more or less.
        (_, None) => false,
    };
    is_more.then(|| match was {
        Some(was) => format!("{} instead of {}", shown(is), shown(was)),
        None => shown(is),
    })
}

/// Adds what `after` reaches beyond `before`, both below the key `path`.
fn reach(path: &str, before: Option<&Json>, after: &Json, growth: &mut Vec<Growth>) {
    match after {
        Json::Array(items) => {
            let known = before.and_then(Json::as_array);
            let known: Vec<_> = known.into_iter().flatten().collect();
            let is_new = |item: &&Json| !known.iter().any(|known| covers(path, known, item));
            let new = items.iter().filter(is_new);
            growth.extend(new.map(|item| Growth::new(path, shown(item))));
        }
        Json::Object(fields) => {
            for (key, value) in fields {
                let known = before.and_then(|before| before.get(key));
                if path == ENVIRONMENT && known.is_some() {
                    continue;
                }
                reach(&format!("{path}.{key}"), known, value, growth);
            }
        }
        // Not to be granted something is what holds anyway.
        Json::Null | Json::Bool(false) if before.is_none() => {}
        Json::Number(_) if before.is_some() => {
            growth.extend(raised(before, Some(after)).map(|asked| Growth::new(path, asked)));
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {
            if before != Some(after) {
                growth.push(Growth::new(path, shown(after)));
            }
        }
    }
}

/// Whether who had the item `before` of a list had `after`, too.
fn covers(path: &str, before: &Json, after: &Json) -> bool {
    match (before, after) {
        (Json::String(before), Json::String(after)) => text_covers(path, before, after),
        (Json::Object(_), Json::Object(_)) => {
            let mut more = Vec::new();
            reach(path, Some(before), after, &mut more);
            more.is_empty()
        }
        (before, after) => before == after,
    }
}

fn text_covers(path: &str, before: &str, after: &str) -> bool {
    let is_writable = path == FILES && before.strip_suffix(":rw") == Some(after);
    let is_all = matches!(path, SERVICES | DIRECTORY) && before == "*";
    let has_pattern = match path {
        // A star in the name of a folder is that star.
        FILES => false,
        // No star stands for a server that is named as one of this machine or of its network.
        HTTP => HttpGrant::parse(after).is_ok_and(|grant| grant.is_of_names()),
        _ => true,
    };
    before == after || is_writable || is_all || has_pattern && pattern_covers(before, after)
}

/// Segment by segment: `*` covers any one, and `>` at the end whatever follows. What is no pattern
/// covers itself. A pattern that reaches further than that is not believed: at worst an operator is asked
/// once too often.
fn pattern_covers(before: &str, after: &str) -> bool {
    let is_end = |c: char| matches!(c, '.' | '/' | ':');
    let mut before = before.split_inclusive(is_end);
    let mut after = after.split_inclusive(is_end).peekable();
    loop {
        match (before.next(), after.peek()) {
            (None, None) => return true,
            (Some(">"), Some(_)) => return true,
            (Some(known), Some(asked)) => {
                let (known_end, asked_end) = (known.find(is_end), asked.find(is_end));
                let ends_alike = known_end.and_then(|at| known.get(at..))
                    == asked_end.and_then(|at| asked.get(at..));
                let is_any = known.trim_end_matches(is_end) == "*" && ends_alike;
                let reaches_on = matches!(asked.trim_end_matches(is_end), ">" | "**" | "");
                if known != *asked && (!is_any || reaches_on) {
                    return false;
                }
                after.next();
            }
            (None, Some(_)) | (Some(_), None) => return false,
        }
    }
}

fn shown(value: &Json) -> String {
    value.to_string()
}

/// The interfaces that a component imports, those of components within it left out.
fn imports(component: &[u8]) -> BTreeSet<String> {
    let (mut found, mut depth) = (BTreeSet::new(), 0_usize);
    for payload in Parser::new(0).parse_all(component) {
        match payload {
            Ok(Payload::ModuleSection { .. } | Payload::ComponentSection { .. }) => depth += 1,
            Ok(Payload::End(_)) => depth = depth.saturating_sub(1),
            Ok(Payload::ComponentImportSection(section)) if depth == 0 => {
                let names = section.into_iter().flatten();
                found.extend(names.map(|import| interface(import.name.name)));
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    found.retain(|name| !reaches_nothing(name));
    found
}

/// `wasi:io/streams@0.2.9` without its version.
fn interface(name: &str) -> String {
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    name.to_owned()
}

/// Whether every plugin may import it, because it tells or changes nothing beyond the plugin's own call.
fn reaches_nothing(interface: &str) -> bool {
    const PACKAGES: [&str; 4] = ["wasi:cli/", "wasi:clocks/", "wasi:io/", "wasi:random/"];
    const OURS: [&str; 5] = ["types", "call", "config", "log", "metrics"];
    let of_ours = interface.strip_prefix("postern:gateway/");
    of_ours.is_some_and(|name| OURS.contains(&name))
        || PACKAGES
            .iter()
            .any(|package| interface.starts_with(package))
}

/// Tables of a manifest, and what is written in none, that are compared.
const TABLES: [&str; 6] = [
    "grants",
    "topics",
    "extension",
    "limits",
    "instances",
    "budgets",
];
const REACH: [&str; 2] = ["grants", "topics"];
const QUANTITIES: [&str; 3] = ["limits", "instances", "budgets"];
const ENVIRONMENT: &str = "grants.env";
const FILES: &str = "grants.files";
const HTTP: &str = "grants.http";
const SERVICES: &str = "grants.services";
const LISTENERS: &str = "extension.listeners";
const DIRECTORY: &str = "grants.directory";

/// Differences that are kept; how many more there are is the last.
const GROWTH_MAX: usize = 64;
const SHOWN_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests;
