//! Import `async-call`: what a stream of octets cannot say of the call that `handle-async` answers.

use wasmtime::{StoreContextMut, component::Linker};

use crate::{
    bindings::{self, Failure},
    state::StoreState,
};

type Store<'a> = StoreContextMut<'a, StoreState>;

/// How the two bodies of the call have ended, as far as they have not ended well.
#[derive(Debug, Default)]
pub(crate) struct AsyncCall {
    /// What the guest says of the reply.
    pub(crate) reply_failure: Option<Failure>,
    /// What the guest is told of the request.
    pub(crate) request_failure: Option<Failure>,
}

/// Neither waits nor has an effect outside of its store.
pub(crate) fn link(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(bindings::ASYNC_CALL)?;
    interface.func_wrap("fail", |mut store: Store<'_>, (failure,): (Failure,)| {
        store.data_mut().on_host_call()?;
        if let Some(call) = store.data_mut().slots.get_mut::<AsyncCall>() {
            call.reply_failure = Some(failure);
        }
        Ok(())
    })?;
    interface.func_wrap("request-failure", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call()?;
        let call = store.data_mut().slots.get::<AsyncCall>();
        Ok((call.and_then(|call| call.request_failure.clone()),))
    })
}
