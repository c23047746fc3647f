//! What a guest may import: one file per interface. Each links its functions for the kinds of store, and
//! keeps what it needs in a slot of its own.

pub(crate) mod async_call;
pub(crate) mod batch;
pub(crate) mod call;
pub(crate) mod candidates;
pub(crate) mod client;
pub(crate) mod config;
pub(crate) mod directory;
pub(crate) mod events;
pub(crate) mod exchange;
pub(crate) mod frame;
pub(crate) mod http;
pub(crate) mod io;
pub(crate) mod keyvalue;
pub(crate) mod kv;
pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod outgoing;
pub(crate) mod poll;
pub(crate) mod sockets;
pub(crate) mod stream;
pub(crate) mod wasi;
pub(crate) mod wasi_config;
