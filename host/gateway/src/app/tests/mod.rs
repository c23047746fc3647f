//! A whole gateway in this process: dropped files, real sockets, the operators' door.

mod admin;
mod deploy;
mod deployments;
pub(crate) mod guest;
mod readiness;
mod refusals;
mod reload;
mod settings;
mod stage;
