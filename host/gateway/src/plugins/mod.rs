//! Plugins as files: the folder, its changes, what last worked.

pub(crate) mod deployer;
pub mod folder;
mod presence;
pub mod store;
pub mod watch;
