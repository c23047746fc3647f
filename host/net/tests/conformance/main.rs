//! One suite over every link. `each_link!` makes a module of tests per link; what a test needs of a
//! link is in `links.rs`, the handler in `service.rs`.

#![expect(
    clippy::disallowed_methods,
    reason = "a test measures by the clock that it chooses"
)]
#![expect(
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test that meets what it does not expect must fail"
)]

mod addresses;
mod backpressure;
mod calls;
mod clients;
mod datagrams;
mod held;
mod links;
mod quic;
#[path = "../server/relay.rs"]
mod relay;
#[path = "../server/mod.rs"]
mod server;
mod service;
mod sessions;
mod streams;
mod table;
mod threads;
mod websocket;

use std::io::Write as _;

/// A figure for the summary of `tests/run`, shown whether the test passes or not.
fn figure(text: &str) {
    let mut out = std::io::stderr();
    // A figure that cannot be shown does not fail a test.
    let _ = writeln!(out, "figure: {text}");
}
