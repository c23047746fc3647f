//! One suite over every link. `each_link!` makes a module of tests per link; what a test needs of a
//! link is in `links.rs`, the handler in `service.rs`.

#![expect(
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test that meets what it does not expect must fail"
)]

mod addresses;
mod calls;
mod clients;
mod datagrams;
mod links;
#[path = "../server/mod.rs"]
mod server;
mod service;
mod sessions;
mod streams;
mod threads;
