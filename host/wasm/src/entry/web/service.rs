//! `wasi:http/handler` 0.3: the guest returns its response and goes on writing the body. An instance
//! answers one request at a time.

use std::future::poll_fn;

use wasmtime::{
    AsContext, AsContextMut as _, Store,
    component::{Func, Resource, TypedFunc},
};
use wasmtime_wasi_http::{
    WasiHttpView,
    p3::{Request, Response, bindings::http::types::ErrorCode},
};

use super::{Answering, request::WebRequest};
use crate::{
    exports::{self, Export, Functions},
    role::Role,
    state::StoreState,
};

/// `handler.handle`.
pub(crate) struct HandleRequest(TypedFunc<Params, Returned>);

type Params = (Resource<Request>,);
type Returned = (Result<Resource<Response>, ErrorCode>,);

impl Functions for HandleRequest {
    const ROLE: Role = Role::HttpHandler;
    const EXPORTS: &'static [Export] = &[Export::of_imported("handle")];

    fn find(funcs: &[Func], store: impl AsContext) -> wasmtime::Result<Self> {
        let [handle] = exports::functions(funcs)?;
        Ok(Self(handle.typed(store)?))
    }
}

impl HandleRequest {
    pub(super) async fn enter(
        &self,
        store: &mut Store<StoreState>,
        request: WebRequest,
        answering: Answering,
    ) -> wasmtime::Result<()> {
        let Answering {
            answer,
            said,
            was_read,
        } = answering;
        let handle = self.0;
        let (request, sent) = {
            let view = store.data_mut().http();
            let (request, sent) = Request::from_http(view.hooks, request.request);
            (view.table.push(request)?, sent)
        };
        let entered = store.run_concurrent(async move |accessor| -> wasmtime::Result<()> {
            let (returned,) = handle.call_concurrent(accessor, (request,)).await?;
            let response = match returned {
                Ok(response) => response,
                Err(code) => {
                    Answering::say(answer, &said, Err(code.to_string()));
                    poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
                    return Ok(());
                }
            };
            let response = accessor.with(|mut store| {
                let response = store.data_mut().http().table.delete(response)?;
                response.into_http(store.as_context_mut(), sent)
            })?;
            Answering::say(answer, &said, Ok(response));
            // What the guest writes passes through its store.
            let _ = was_read.await;
            poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
            Ok(())
        });
        entered.await?
    }
}
