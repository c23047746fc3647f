//! What a service configuration becomes: keys of a service, and refusals of what would mean something else.

use crate::config::value::{Node, Provenance, TableEntry, Value};

/// What is wrong with a part of the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// `methodConfig[0].timeout`.
    pub(super) part: String,
    pub(super) message: String,
}

/// Collects keys and refusals.
pub(super) struct Translation<'a> {
    pub(super) service: &'a str,
    /// Of the key that the document is written at.
    pub(super) place: &'a Provenance,
    pub(super) keys: Vec<TableEntry>,
    pub(super) refusals: Vec<Refusal>,
}

impl Translation<'_> {
    /// Sets the key at `path`, which has at most two parts.
    pub(super) fn key(&mut self, path: &[&str], value: Value) {
        let node = Node {
            place: self.place.clone(),
            value,
        };
        let entry = |key: &str, node| TableEntry {
            key: key.to_owned(),
            key_place: self.place.clone(),
            node,
        };
        let made = match path {
            [table, key] => {
                let place = self.place.clone();
                let value = Value::Table(vec![entry(key, node)]);
                entry(table, Node { place, value })
            }
            path => entry(&path.concat(), node),
        };
        self.keys.push(made);
    }

    pub(super) fn refuse(&mut self, part: &str, message: impl Into<String>) {
        self.refusals.push(Refusal {
            part: part.to_owned(),
            message: message.into(),
        });
    }
}
