//! Import `frame`: the frame in hand, for the role `frame-extension`.

use bytes::Bytes;
use postern_core::{Headers, Kind};
use wasmtime::{
    StoreContextMut,
    component::{Linker, WasmList, WasmStr},
};

use super::{exchange::check_output, fuel, text};
use crate::{
    bindings::{Failure, extension::FRAME},
    convert::failure,
    state::State,
    subject::{Framed, Subject, with_header, without_header},
};

type Store<'a> = StoreContextMut<'a, State>;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(FRAME)?;
    interface.func_wrap("header", |mut store: Store<'_>, (name,): (WasmStr,)| {
        store.data_mut().on_host_call()?;
        let name = name.to_str(&store)?;
        let value = framed(store.data()).and_then(|framed| framed.headers().get_str(&name));
        Ok((value.map(std::borrow::Cow::into_owned),))
    })?;
    interface.func_wrap("headers", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call()?;
        let all = framed(store.data()).map(|framed| text::all(framed.headers()));
        Ok((all.unwrap_or_default(),))
    })?;
    interface.func_wrap(
        "set-header",
        |mut store: Store<'_>, (name, value): (WasmStr, WasmStr)| {
            store.data_mut().on_host_call()?;
            let (name, value) = (
                name.to_str(&store)?.into_owned(),
                value.to_str(&store)?.into_owned(),
            );
            let change = |headers: &Headers| with_header(headers, &name, &value);
            Ok((change_headers(store.data_mut(), change),))
        },
    )?;
    interface.func_wrap(
        "remove-header",
        |mut store: Store<'_>, (name,): (WasmStr,)| {
            store.data_mut().on_host_call()?;
            let name = name.to_str(&store)?.into_owned();
            let change = |headers: &Headers| Ok(without_header(headers, &name));
            Ok((change_headers(store.data_mut(), change),))
        },
    )?;
    interface.func_wrap("payload", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call()?;
        let payload = framed(store.data()).map(|framed| framed.payload().clone());
        let payload = payload.unwrap_or_default();
        fuel::on_payload(&mut store, payload.len())?;
        Ok((Vec::from(payload),))
    })?;
    interface.func_wrap(
        "set-payload",
        |mut store: Store<'_>, (payload,): (WasmList<u8>,)| {
            store.data_mut().on_host_call()?;
            let limit = store.data().guest.spec.limits.output_bytes_max;
            if let Err(refused) = check_output(payload.len(), limit) {
                return Ok((Err(refused),));
            }
            let payload = Bytes::copy_from_slice(payload.as_le_slice(&store));
            let framed = framed_mut(store.data_mut());
            Ok((framed.map(|framed| framed.set_payload(payload)),))
        },
    )
}

fn change_headers(
    state: &mut State,
    change: impl FnOnce(&Headers) -> Result<Headers, Failure>,
) -> Result<(), Failure> {
    let framed = framed_mut(state)?;
    let changed = change(framed.headers())?;
    framed.set_headers(changed);
    Ok(())
}

fn framed(state: &State) -> Option<&Framed> {
    match &state.subject {
        Some(Subject::Frame(framed)) => Some(framed),
        Some(Subject::Exchange(_) | Subject::Candidates(_)) | None => None,
    }
}

fn framed_mut(state: &mut State) -> Result<&mut Framed, Failure> {
    match &mut state.subject {
        Some(Subject::Frame(framed)) => Ok(framed),
        Some(Subject::Exchange(_) | Subject::Candidates(_)) | None => Err(failure(
            Kind::FailedPrecondition,
            "no frame is being handled",
        )),
    }
}
