//! A whole gateway in this process: dropped files, real sockets, the operators' listener.

mod acme;
mod admin;
mod authority;
mod deploy;
mod deployments;
mod fixture;
pub(crate) mod guest;
mod quic;
mod readiness;
mod refusals;
mod reload;
mod settings;
mod tls;
mod tls_changes;
mod unix;
mod versions;
