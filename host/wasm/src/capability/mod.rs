//! What a guest may import: one file per interface, linked into one linker per engine.

use wasmtime::{Engine, component::Linker};

use crate::state::State;

mod call;
pub(crate) mod client;
mod config;
pub(crate) mod kv;
pub(crate) mod log;
mod wait;
pub(crate) mod wasi;

/// Everything that this host offers.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    call::link(&mut linker)?;
    client::link(&mut linker)?;
    config::link(&mut linker)?;
    kv::link(&mut linker)?;
    log::link(&mut linker)?;
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    Ok(linker)
}
