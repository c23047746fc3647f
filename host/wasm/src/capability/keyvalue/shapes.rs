//! What all functions of `wasi:keyvalue` speak of.

use wasmtime::component::{ComponentType, Lift, Lower, Resource};

use crate::bindings::Failure;

/// `store.error`.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(variant)]
pub(super) enum KeyValueError {
    #[component(name = "no-such-store")]
    NoSuchStore,
    #[component(name = "access-denied")]
    AccessDenied,
    #[component(name = "other")]
    Other(String),
}

/// `atomics.cas`: what a key had when it was made (`operations.rs`).
pub(super) struct Cas;

/// `atomics.cas-error`.
#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
pub(super) enum CasError {
    #[component(name = "store-error")]
    Store(KeyValueError),
    #[component(name = "cas-failed")]
    Failed(Resource<Cas>),
}

/// `store.key-response` of the first draft.
#[derive(Debug, Clone, ComponentType, Lift, Lower)]
#[component(record)]
pub(super) struct NumberedKeys {
    pub(super) keys: Vec<String>,
    pub(super) cursor: Option<u64>,
}

pub(super) fn told(failure: Failure) -> KeyValueError {
    KeyValueError::Other(failure.message)
}
