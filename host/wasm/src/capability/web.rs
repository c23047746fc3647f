//! Imports of `wasi:http`: the types of requests and responses, for components that answer or send them.

use wasmtime::component::Linker;
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView, p2, p3};

use super::wasi::http_view;
use crate::state::StoreState;

/// What waits for the answer of a server, which stores that cannot wait do not have.
pub(crate) const OUTGOING_HANDLER: &str = "wasi:http/outgoing-handler";

impl WasiHttpView for StoreState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        http_view(self)
    }
}

pub(crate) fn link_async(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    p2::add_only_http_to_linker_async(linker)
}

/// For stores that cannot wait, where what would wait is replaced afterwards.
pub(crate) fn link_sync(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    p2::add_only_http_to_linker_sync(linker)
}

/// WASI 0.3, for components with asynchronous functions: what the host offers of 0.2 as well.
pub(crate) fn link_concurrent(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p3::add_to_linker(linker)?;
    p3::add_to_linker(linker)
}
