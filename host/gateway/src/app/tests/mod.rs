//! A whole gateway in this process: dropped files, real sockets, the operators' door.

mod admin;
mod deploy;
pub(crate) mod guest;
mod reload;
mod settings;
mod stage;
