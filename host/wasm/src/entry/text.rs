//! Role `text-handler`: as `handler`, with text for octets. Who sends what is no UTF-8 is refused before the
//! guest is entered.

use bytes::Bytes;
use postern_core::{Error, Text};
use wasmtime::{AsContext, Store, component::Func};

use crate::{
    answering::Answering,
    bindings::{HandleResult, HandleTextFunc, HandleTextParams, HandleTextResult},
    exports::{self, Export, Functions},
    role::Role,
    state::StoreState,
};

/// `text-handler.handle-text`.
pub(crate) struct HandleText(HandleTextFunc);

impl Functions for HandleText {
    const ROLE: Role = Role::TextHandler;
    const EXPORTS: &'static [Export] =
        &[Export::new::<HandleTextParams<'static>, (HandleTextResult,)>("handle-text")];

    fn find(funcs: &[Func], store: impl AsContext) -> wasmtime::Result<Self> {
        let [handle] = exports::functions(funcs)?;
        Ok(Self(HandleTextFunc::new(handle, store)?))
    }
}

impl Answering for HandleText {
    type Body = Text;

    fn read(body: Bytes) -> Result<Text, Error> {
        let length = body.len();
        Text::from_utf8(body).map_err(|_| {
            let message = format!("message of {length} octets is not UTF-8, as this method takes");
            Error::invalid_argument(message)
        })
    }

    fn enter(
        &self,
        store: &mut Store<StoreState>,
        (service, method): (&str, &str),
        body: &Text,
    ) -> wasmtime::Result<HandleResult> {
        let (answer,) = self.0.typed().call(store, (service, method, &**body))?;
        Ok(answer.map(String::into_bytes))
    }

    async fn enter_async(
        &self,
        store: &mut Store<StoreState>,
        (service, method): (&str, &str),
        body: &Text,
    ) -> wasmtime::Result<HandleResult> {
        let params = (service, method, &**body);
        let (answer,) = self.0.typed().call_async(store, params).await?;
        Ok(answer.map(String::into_bytes))
    }
}
