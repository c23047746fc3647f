//! One word for one thing: no two public types of one name, and the field's words for all of them.

use std::collections::BTreeMap;

use crate::{
    Source, assert_none, figure,
    items::{self, Items},
    sources,
};

const CRATES: [&str; 5] = [
    "host/core",
    "host/system",
    "host/net",
    "host/wasm",
    "host/gateway",
];

/// A figure of speech where the field has a word.
struct Metaphor {
    said: &'static str,
    instead: &'static str,
    /// Files in whose names it means what it should not; elsewhere it is the field's word.
    scope: &'static str,
    /// A common word of running text, refused only as a name.
    is_name_only: bool,
}

const fn metaphor(said: &'static str, instead: &'static str) -> Metaphor {
    Metaphor {
        said,
        instead,
        scope: "",
        is_name_only: false,
    }
}

const fn name(said: &'static str, instead: &'static str, scope: &'static str) -> Metaphor {
    Metaphor {
        said,
        instead,
        scope,
        is_name_only: true,
    }
}

const METAPHORS: [Metaphor; 39] = [
    name("way", "call path", ""),
    name("plain", "inline", "host/wasm/"),
    name("fiber", "async", "host/wasm/"),
    metaphor("departure", "bailout"),
    metaphor("halt", "bailout"),
    name("home", "per-worker shard", "host/wasm/"),
    name("pace", "batch statistics", ""),
    name("current", "call context", "host/wasm/"),
    name("head", "call context", "wasm/src/state"),
    metaphor("seat", "worker-local instance"),
    name("place", "permit", ""),
    name("turn", "waiter", ""),
    name("turns", "waiters", ""),
    metaphor("sweep", "maintenance"),
    metaphor("door", "listener"),
    metaphor("doors", "listeners"),
    name("inside", "listener dependencies", ""),
    metaphor("entrance", "listener handler"),
    metaphor("picture", "snapshot"),
    metaphor("journey", "interceptor run"),
    metaphor("passage", "active chain"),
    metaphor("trail", "decision log"),
    metaphor("purse", "retry budget"),
    name("gate", "admission", ""),
    name("machines", "policies", ""),
    metaphor("desk", "stream registry"),
    metaphor("roster", "peer table"),
    name("worth", "eviction priority", ""),
    metaphor("ledger", "store, accounting"),
    metaphor("shelf", "bounded map"),
    name("cast", "serving plugins", "host/gateway/"),
    name("carrier", "transport", ""),
    name("house", "fixture", "tests/"),
    name("stage", "fixture", "tests/"),
    name("muster", "scenario", "tests/"),
    name("crowd", "scenario", "tests/"),
    name("beside", "baseline", "benches/"),
    name("twin", "baseline", "benches/"),
    name("alone", "baseline", "benches/"),
];

#[test]
fn no_two_public_types_have_one_name() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in files() {
        for name in public_types(&items::scan(&source.text)) {
            places.entry(name).or_default().push(source.path.clone());
        }
    }
    places.retain(|_, paths| paths.len() > 1);
    figure(&format!(
        "names that several public types have: {}",
        places.len()
    ));
    let faults = places.iter();
    let faults = faults.map(|(name, paths)| format!("`{name}` is in {}", paths.join(", ")));
    assert_none(&faults.collect::<Vec<_>>());
}

fn files() -> Vec<Source> {
    let all = CRATES
        .iter()
        .map(|krate| sources(&format!("{krate}/src"), &[".rs"]));
    let is_left_out = |source: &Source| {
        let path = &source.path;
        // Shapes of the interface with guests have the interface's words.
        path.contains("tests") || path.contains("/simulation") || path.contains("/bindings")
    };
    all.flatten()
        .filter(|source| !is_left_out(source))
        .collect()
}

fn public_types(items: &Items) -> Vec<String> {
    let types = items
        .definitions
        .iter()
        .filter(|d| d.is_type() && d.is_public);
    let own = types.map(|definition| definition.name.clone());
    let inline = items
        .children
        .iter()
        .filter_map(|child| child.content.as_ref());
    own.chain(inline.flat_map(public_types)).collect()
}

#[test]
fn types_modules_and_log_lines_say_the_fields_words() {
    let mut faults = Vec::new();
    for source in spoken() {
        let items = items::scan(&source.text);
        let module = source.path.rsplit('/').find(|part| *part != "mod.rs");
        let module = module.map(|name| name.trim_end_matches(".rs"));
        let named = module.into_iter().chain(names(&items));
        let named = named.flat_map(|name| said(name, &source.path, true));
        let logged = items.log_lines.iter();
        let logged = logged.flat_map(|line| said(line, &source.path, false));
        faults.extend(named.chain(logged));
    }
    figure(&format!(
        "figures of speech in types, modules and log lines: {}",
        faults.len()
    ));
    assert_none(&faults);
}

/// Everything that is compiled, but for the rules themselves.
fn spoken() -> Vec<Source> {
    let all = ["host", "tests/gateway", "tests/harness", "tests/benches"];
    all.iter()
        .flat_map(|folder| sources(folder, &[".rs"]))
        .collect()
}

/// Types, and modules that stand inline.
fn names(items: &Items) -> Vec<&str> {
    let types = items.definitions.iter().filter(|d| d.is_type());
    let types = types.map(|definition| definition.name.as_str());
    let inline = items.children.iter().filter_map(|child| {
        let content = child.content.as_ref()?;
        Some(std::iter::once(child.name.as_str()).chain(names(content)))
    });
    types.chain(inline.flatten()).collect()
}

/// The figures of speech in a name or a line of text, each as a fault.
fn said(text: &str, path: &str, is_name: bool) -> Vec<String> {
    let words = words(text);
    let refused = METAPHORS.iter().filter(|metaphor| {
        path.contains(metaphor.scope)
            && (is_name || !metaphor.is_name_only)
            && words.iter().any(|word| word == metaphor.said)
    });
    refused
        .map(|metaphor| {
            format!(
                "{path}: {text} says {}, write {}",
                metaphor.said, metaphor.instead
            )
        })
        .collect()
}

/// The words of `CamelCase`, of `snake_case` and of running text, in lower case.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in text.chars() {
        if !c.is_alphanumeric() || c.is_uppercase() {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_in_every_kind_of_name() {
        let check = |text: &str, path: &str, is_name: bool, n_faults: usize| {
            assert_eq!(
                said(text, path, is_name).len(),
                n_faults,
                "{text} in {path}"
            );
        };
        check("DoorHandler", "host/gateway/src/a.rs", true, 1);
        check("listen_door", "host/gateway/src/a.rs", true, 1);
        check("a door is open", "host/gateway/src/a.rs", false, 1);
        check("outdoors", "host/gateway/src/a.rs", true, 0);
        // The field's word in HTTP.
        check("Head", "host/net/src/http/head.rs", true, 0);
        check("Head", "host/wasm/src/state.rs", true, 1);
        check("in the first place", "host/net/src/a.rs", false, 0);
    }

    #[test]
    fn what_is_public_is_known_beyond_its_folder() {
        let text = "pub struct A; pub(crate) enum B {} pub(super) type C = u8; trait D {}
            #[cfg(test)] pub struct E; mod inner { pub struct F; }";
        assert_eq!(public_types(&items::scan(text)), ["A", "B", "F"]);
    }
}
