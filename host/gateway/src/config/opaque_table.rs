//! A table whose keys mean nothing to the gateway: they are handed on as they were written.

use std::collections::BTreeMap;

use super::{
    section::{Bounds, Field, SectionReader, Shape},
    value::Node,
};

/// Keys of somebody else's choosing, their values as text or JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct OpaqueTable(pub BTreeMap<String, String>);

impl Field for OpaqueTable {
    fn merge(&mut self, node: &Node, path: &str, _: Bounds, reader: &mut SectionReader) {
        for entry in reader.entries(node, path).unwrap_or_default() {
            let text = match entry.node.value.as_text() {
                Some(text) => text.to_owned(),
                None => entry.node.value.to_json().to_string(),
            };
            self.0.insert(entry.key.clone(), text);
        }
    }

    fn shape(&self, _: Bounds) -> Shape {
        Shape::Free
    }
}
