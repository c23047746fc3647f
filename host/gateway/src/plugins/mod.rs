//! Plugins as files: the folder, its changes, what last worked.

pub mod folder;
pub mod settle;
pub mod store;
pub mod watch;
