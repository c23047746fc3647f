//! A whole gateway in this process: dropped files, real sockets, the operators' listener.

mod admin;
mod deploy;
mod deployments;
mod fixture;
pub(crate) mod guest;
mod readiness;
mod refusals;
mod reload;
mod settings;
mod tls;
