//! `wasi:http/incoming-handler` 0.2: the guest sets its response while it runs, and writes the body into a
//! stream of the host.

use std::sync::Arc;

use wasmtime::{
    AsContext, Store,
    component::{Func, Resource, TypedFunc},
};
use wasmtime_wasi_http::{
    WasiHttpView,
    p2::{
        bindings::http::types::Scheme,
        types::{HostIncomingRequest, HostResponseOutparam},
    },
};

use super::{Answering, request::WebRequest};
use crate::{
    exports::{self, Export, Functions},
    role::Role,
    state::StoreState,
};

/// `incoming-handler.handle`.
pub(crate) struct HandleIncoming(TypedFunc<Params, ()>);

type Params = (
    Resource<HostIncomingRequest>,
    Resource<HostResponseOutparam>,
);

impl Functions for HandleIncoming {
    const ROLE: Role = Role::IncomingHandler;
    const EXPORTS: &'static [Export] = &[Export::of_imported("handle")];

    fn find(funcs: &[Func], store: impl AsContext) -> wasmtime::Result<Self> {
        let [handle] = exports::functions(funcs)?;
        Ok(Self(handle.typed(store)?))
    }
}

impl HandleIncoming {
    pub(super) async fn enter(
        &self,
        store: &mut Store<StoreState>,
        request: WebRequest,
        answering: Answering,
    ) -> wasmtime::Result<()> {
        let Answering { answer, said, .. } = answering;
        let said = Arc::clone(&said);
        let scheme = match request.is_secure {
            true => Scheme::Https,
            false => Scheme::Http,
        };
        let mut view = store.data_mut().http();
        let request = view.new_incoming_request(scheme, request.request)?;
        let out = view.new_response_outparam_from_callback(move |response| {
            let response = response.map_err(|code| code.to_string());
            Answering::say(answer, &said, response);
        })?;
        self.0.call_async(store, (request, out)).await
    }
}
