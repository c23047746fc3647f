//! WebSocket on the HTTP listener, from raw frames: the rules of RFC 6455, compression, calls as JSON.

#![expect(
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect must fail"
)]

mod compression;
mod endings;
mod events;
mod handshake;
mod http2;
mod json;
mod listener;
mod raw;
mod rules;
