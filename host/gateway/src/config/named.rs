//! Tables by name: the listeners. A new name begins with its defaults.

use std::collections::BTreeMap;

use super::{
    section::{Bounds, Field, Reader, Shape, join},
    settings::Listener,
    value::Node,
};

impl Field for BTreeMap<String, Listener> {
    fn merge(&mut self, node: &Node, path: &str, _: Bounds, reader: &mut Reader) {
        for entry in reader.entries(node, path).unwrap_or_default() {
            let name = &entry.key;
            let path = join(path, name);
            if !is_name(name) {
                reader.fault(
                    &path,
                    &entry.key_place,
                    format!("{name:?} is not a name of 1 to {NAME_BYTES_MAX} octets"),
                    "write lower-case letters, digits and dashes",
                );
                continue;
            }
            // The header of a table is a better place than the table for what is missing in it.
            reader
                .tables
                .entry(path.clone())
                .or_insert_with(|| entry.key_place.clone());
            self.entry(name.clone())
                .or_insert_with(|| Listener::named(name))
                .merge(&entry.node, &path, None, reader);
        }
    }

    fn shape(&self, _: Bounds) -> Shape {
        let tables = self
            .iter()
            .map(|(name, listener)| (name.clone(), listener.keys()))
            .collect();
        Shape::Named {
            tables,
            template: Listener::default().keys(),
        }
    }
}

/// Lower case without underscores, so that a name has one spelling as an environment variable.
fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(allowed)
}

const NAME_BYTES_MAX: usize = 64;
