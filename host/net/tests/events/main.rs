//! Events over every link: pushed to sessions that subscribed, taken from peers that publish.

#![expect(
    clippy::disallowed_methods,
    reason = "a test measures by the clock that it chooses"
)]
#![expect(
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect must fail"
)]

mod bench;
mod delivery;
mod limits;
mod quic;
#[path = "../server/relay.rs"]
mod relay;
#[path = "../server/mod.rs"]
mod server;
