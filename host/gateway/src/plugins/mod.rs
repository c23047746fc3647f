//! Plugins as files: the folder, its changes, what last worked.

pub(crate) mod deployer;
pub mod folder;
pub mod settle;
pub mod store;
pub mod watch;
