//! Routes of a plugin that answers requests of HTTP itself (`wasi:http`): `routes = ["/shop/*"]`, and what
//! holds where a manifest names none.

use std::collections::BTreeMap;

use super::{
    leaf::Leaf as _,
    route_words::RoutePath,
    routes::RouteSettings,
    value::{Node, TableEntry, Value},
};

/// What takes the rest of a path.
const REST: &str = "{path*}";

/// A manifest whose list of paths, where it has one, is written as tables.
pub(super) fn as_tables(mut root: Node) -> Node {
    if let Value::Table(entries) = &mut root.value {
        for entry in entries.iter_mut().filter(|entry| entry.key == "routes") {
            if let Value::List(paths) = &entry.node.value {
                let tables = paths
                    .iter()
                    .enumerate()
                    .flat_map(|(index, path)| tables_of(index, path));
                entry.node.value = Value::Table(tables.collect());
            }
        }
    }
    root
}

/// The tables of one path of the list.
fn tables_of(index: usize, written: &Node) -> Vec<TableEntry> {
    let paths = match written.value.as_text() {
        Some(text) => paths_of(text).into_iter().map(Value::Text).collect(),
        // Whoever reads it as a path says what is wrong.
        None => vec![written.value.clone()],
    };
    let table = |(place, path): (usize, Value)| {
        let node = |value| Node {
            place: written.place.clone(),
            value,
        };
        let entry = |key: String, value| TableEntry {
            key,
            key_place: written.place.clone(),
            node: node(value),
        };
        let name = match place {
            0 => format!("path-{}", index + 1),
            _ => format!("path-{}-root", index + 1),
        };
        entry(name, Value::Table(vec![entry("path".to_owned(), path)]))
    };
    paths.into_iter().enumerate().map(table).collect()
}

/// `/shop/*` as everything below `/shop`, and `/shop` itself; any other path as it is.
fn paths_of(text: &str) -> Vec<String> {
    match text.strip_suffix("/*") {
        Some("") => vec![format!("/{REST}")],
        Some(prefix) => vec![format!("{prefix}/{REST}"), prefix.to_owned()],
        None => vec![text.to_owned()],
    }
}

/// The routes of a plugin that names none: everything below its own name.
///
/// # Errors
/// Why its name is no part of a path.
pub(crate) fn of_name(plugin: &str) -> Result<BTreeMap<String, RouteSettings>, String> {
    let paths = paths_of(&format!("/{plugin}/*")).into_iter().enumerate();
    let routes = paths.map(|(place, path)| -> Result<_, String> {
        let settings = RouteSettings {
            path: Some(RoutePath::read(&Value::Text(path))?),
            ..RouteSettings::default()
        };
        Ok((format!("name-{}", place + 1), settings))
    });
    routes.collect()
}

impl RouteSettings {
    /// Whether it says itself where it leads. In a manifest it leads to the component otherwise.
    pub(crate) const fn names_end(&self) -> bool {
        self.service.is_some()
            || self.method.is_some()
            || self.upstream.is_some()
            || self.redirect.to.is_some()
            || self.fixed.status.is_some()
            || self.files.folder.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Manifest};

    fn paths(text: &str) -> Result<Vec<String>, String> {
        let manifest = Manifest::parse("shop.toml", text, &Config::default());
        let manifest = manifest.map_err(|faults| faults.faults[0].to_string())?;
        let paths = manifest
            .routes
            .values()
            .filter_map(|route| route.path.as_ref());
        Ok(paths.map(|path| path.0.text().to_string()).collect())
    }

    #[test]
    fn a_list_of_paths_is_tables_that_lead_to_the_component() {
        let found = paths("routes = [\"/shop/*\", \"/cart/{id}\"]").expect("valid");
        assert_eq!(found, ["/shop/{path*}", "/shop", "/cart/{id}"]);
        assert_eq!(paths("routes = [\"/*\"]").expect("valid"), ["/{path*}"]);
        let table = "[routes.all]\npath = \"/a/{p*}\"\nstrip-prefix = \"/a\"\n";
        assert_eq!(paths(table).expect("valid"), ["/a/{p*}"]);
    }

    #[test]
    fn a_path_that_is_none_is_told_where_it_stands() {
        let told = paths("routes = [\"/a\", 7]").expect_err("a number");
        assert!(told.starts_with("routes.path-2.path: "), "{told}");
        let told = paths("routes = [\"/a/*/b\"]").expect_err("a star within");
        assert!(told.contains("segment \"*\" is no wildcard"), "{told}");
    }

    #[test]
    fn a_plugin_that_names_none_has_its_name() {
        let routes = of_name("shop").expect("a path");
        let paths: Vec<_> = routes
            .values()
            .filter_map(|route| route.path.as_ref())
            .collect();
        let paths: Vec<_> = paths.iter().map(|path| path.0.text().to_string()).collect();
        assert_eq!(paths, ["/shop/{path*}", "/shop"]);
        assert!(of_name("a{b").is_err());
    }
}
