//! A plugin's table of the key/value store, and what keys, values and lists may be, whoever asks for them.

use std::sync::Arc;

use postern_core::Kind;

use crate::{bindings::Failure, convert::failure, store};

/// Longest key, in octets.
const KEY_BYTES_MAX: usize = 1024;
/// Largest value, in octets.
const VALUE_BYTES_MAX: usize = 1024 * 1024;
/// Most keys in one list.
pub(crate) const KEYS_MAX: usize = 1000;

/// A plugin's view of the store.
#[derive(Clone)]
pub(crate) struct Table {
    pub(crate) store: Arc<store::Store>,
    pub(crate) name: Arc<str>,
}

impl Table {
    /// The table of `plugin`, or the one that its manifest says it shares.
    pub(crate) fn new(store: Arc<store::Store>, plugin: &str, shared: Option<&str>) -> Self {
        let name = shared.map_or_else(
            || format!("plugin/{plugin}"),
            |name| format!("shared/{name}"),
        );
        Self {
            store,
            name: name.into(),
        }
    }
}

pub(crate) fn check_key(key: &str) -> Result<(), Failure> {
    let length = key.len();
    if (1..=KEY_BYTES_MAX).contains(&length) {
        return Ok(());
    }
    let message = format!("key of {length} octets is not within 1 to {KEY_BYTES_MAX}");
    Err(failure(Kind::InvalidArgument, message))
}

pub(crate) fn check_value(length: usize) -> Result<(), Failure> {
    if length <= VALUE_BYTES_MAX {
        return Ok(());
    }
    let message = format!("value of {length} octets exceeds the limit of {VALUE_BYTES_MAX}");
    Err(failure(Kind::InvalidArgument, message))
}

pub(crate) fn no_store() -> Failure {
    failure(Kind::Unavailable, "this gateway has no store")
}

pub(crate) fn invalid(message: String) -> Failure {
    failure(Kind::FailedPrecondition, message)
}
