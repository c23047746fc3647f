//! Tables by name: listeners, issuers, rules. A new name begins with its defaults.

use std::collections::BTreeMap;

use super::{
    section::{Bounds, ConfigKey, Field, SectionReader, Shape, join},
    value::Node,
};

/// A table that there may be many of, each with a name of the user's choice.
pub(crate) trait Named: Field + Default {
    /// What a table of that name is when nothing is written in it.
    fn named(_name: &str) -> Self {
        Self::default()
    }
}

impl<T: Named> Field for BTreeMap<String, T> {
    fn merge(&mut self, node: &Node, path: &str, _: Bounds, reader: &mut SectionReader) {
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
                .or_insert_with(|| T::named(name))
                .merge(&entry.node, &path, None, reader);
        }
    }

    fn shape(&self, _: Bounds) -> Shape {
        let tables = self
            .iter()
            .map(|(name, table)| (name.clone(), keys(table)))
            .collect();
        Shape::Named {
            tables,
            template: keys(&T::default()),
        }
    }
}

fn keys(table: &impl Field) -> Vec<ConfigKey> {
    match table.shape(None) {
        Shape::Section(keys) => keys,
        Shape::Leaf { .. } | Shape::Named { .. } | Shape::Free => Vec::new(),
    }
}

/// Lower case without underscores, so that a name has one spelling as an environment variable.
fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(allowed)
}

const NAME_BYTES_MAX: usize = 64;
