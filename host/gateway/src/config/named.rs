//! Tables by name: listeners, peers, instances. A new name begins with its defaults.

use std::collections::BTreeMap;

use super::{
    directory::{InstanceSettings, PeerSettings},
    section::{Bounds, Field, Key, Reader, Shape, join},
    settings::Listener,
    value::Node,
};

/// A table of which there are several.
pub(crate) trait Named: Field + Default {
    /// What a table of that name holds when nothing is written in it.
    fn named(_name: &str) -> Self {
        Self::default()
    }

    fn keys(&self) -> Vec<Key>;
}

impl Named for Listener {
    fn named(name: &str) -> Self {
        Self::named(name)
    }

    fn keys(&self) -> Vec<Key> {
        self.keys()
    }
}

impl Named for PeerSettings {
    fn keys(&self) -> Vec<Key> {
        self.keys()
    }
}

impl Named for InstanceSettings {
    fn keys(&self) -> Vec<Key> {
        self.keys()
    }
}

impl<T: Named> Field for BTreeMap<String, T> {
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
                .or_insert_with(|| T::named(name))
                .merge(&entry.node, &path, None, reader);
        }
    }

    fn shape(&self, _: Bounds) -> Shape {
        let tables = self
            .iter()
            .map(|(name, table)| (name.clone(), table.keys()))
            .collect();
        Shape::Named {
            tables,
            template: T::default().keys(),
        }
    }
}

/// Lower case without underscores, so that a name has one spelling as an environment variable.
fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(allowed)
}

const NAME_BYTES_MAX: usize = 64;
