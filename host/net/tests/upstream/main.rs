//! Upstreams over real sockets and over networks in memory: limits, waiting, failure and return,
//! health checks, streams. What is decided without a socket is claimed beside the pool's accounting.

#![expect(
    clippy::panic,
    reason = "a test that meets what it does not expect must fail"
)]

mod bench;
mod calls;
mod failure;
mod probes;
#[path = "../server/mod.rs"]
mod server;
mod waiting;
