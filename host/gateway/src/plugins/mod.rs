//! Plugins as files: the folder, its changes, what last worked.

pub(crate) mod deployer;
pub(crate) mod folder;
pub(crate) mod label;
mod presence;
pub(crate) mod store;
pub(crate) mod watch;
