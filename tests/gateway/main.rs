//! The gateway from outside, by capability. Each test starts processes of its own.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking; clippy forgives that inside of `#[test]` only"
)]

mod acme;
mod agree;
mod annotations;
mod async_streams;
mod batches;
mod bridges;
mod browser;
mod call_streams;
mod certs;
mod channels;
mod check;
mod cli;
mod compression;
mod context;
mod deploy;
mod dev_certificates;
mod drain;
mod durable;
mod extensions;
mod first_party;
mod fleet;
mod full;
mod grants;
mod grpc;
mod guard;
mod guest_languages;
mod guest_roles;
mod h2spec;
mod hostile;
mod http;
mod inspect;
mod joint;
mod listeners;
mod log;
mod lossy;
mod manifests;
mod metrics;
mod misbehave;
mod mqtt;
mod neighbours;
mod one_handler;
mod passed;
mod peers;
mod plugin_metrics;
mod projects;
mod proxy;
mod quic;
mod record;
mod redis;
mod redis_front;
mod reload;
mod routes;
mod settings;
mod signals;
mod sources;
mod supply;
mod tls;
mod told;
mod traps;
mod unix;
mod upstreams;
mod velithon;
mod versions;
mod vyra;
mod web;
mod websocket;

use std::{io::Write as _, sync::OnceLock};

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Tests that measure take the machine for themselves; the others share it.
static MACHINE: OnceLock<RwLock<()>> = OnceLock::new();

async fn share() -> RwLockReadGuard<'static, ()> {
    MACHINE.get_or_init(RwLock::default).read().await
}

async fn own() -> RwLockWriteGuard<'static, ()> {
    MACHINE.get_or_init(RwLock::default).write().await
}

/// A figure for the summary of `tests/run`, shown whether the test passes or not.
fn figure(text: &str) {
    let mut out = std::io::stderr();
    // A figure that cannot be shown does not fail a test.
    let _ = writeln!(out, "figure: {text}");
}
