//! Of import `call`: what HTTP says of the call, and the status of the reply.

use postern_core::HttpFacts;
use wasmtime::{StoreContextMut, component::Linker};

use crate::{
    bindings::{self, Http},
    state::StoreState,
    store_stats::HostImport,
};

type Store<'a> = StoreContextMut<'a, StoreState>;

pub(crate) fn link(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(bindings::CALL)?;
    interface.func_wrap("http", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call_of(HostImport::Call)?;
        let ambient = store.data().ambient.as_ref();
        let facts = ambient.and_then(|ambient| ambient.call.http());
        Ok((facts.map(Http::from),))
    })?;
    interface.func_wrap("set-status", |mut store: Store<'_>, (status,): (u16,)| {
        store.data_mut().on_host_call_of(HostImport::Call)?;
        let head = store.data_mut().reply_head("the status");
        Ok((head.and_then(|draft| Ok(draft.set_status(status)?)),))
    })
}

impl From<&HttpFacts> for Http {
    fn from(facts: &HttpFacts) -> Self {
        Self {
            method: facts.method.to_string(),
            scheme: facts.scheme.to_string(),
            authority: facts.authority.to_string(),
            path: facts.path.to_string(),
            query: facts.query.as_ref().map(ToString::to_string),
        }
    }
}
