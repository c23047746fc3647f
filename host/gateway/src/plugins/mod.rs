//! Plugins as files: the folder, its changes, what last worked.

pub(crate) mod asks;
pub(crate) mod claimed;
pub(crate) mod deployer;
pub(crate) mod folder;
pub(crate) mod gone;
pub(crate) mod label;
pub(crate) mod origin;
mod presence;
pub(crate) mod reuse;
pub(crate) mod signature;
pub(crate) mod store;
pub(crate) mod trust;
pub(crate) mod watch;
