//! Imports `request` and `response`: a call on its way, for the role `interceptor`.

use bytes::Bytes;
use postern_core::{Headers, Kind};
use postern_system::clock;
use wasmtime::{
    StoreContextMut,
    component::{Linker, LinkerInstance, WasmList, WasmStr},
};

use crate::{
    bindings::{
        Failure,
        extension::{REQUEST, RESPONSE},
    },
    convert::{
        self, added_header, all_headers, check_input, check_output, failure, text_of, with_header,
        without_header,
    },
    exchange::{Exchange, Half},
    state::{AmbientCall, CallContext, StoreState, on_payload},
    store_stats::HostImport,
};

type Store<'a> = StoreContextMut<'a, StoreState>;

pub(crate) fn link(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    let mut request = linker.instance(REQUEST)?;
    request.func_wrap("service", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call_of(HostImport::Exchange)?;
        let ambient = store.data().ambient.as_ref();
        Ok((ambient.map_or_else(String::new, |ambient| ambient.call.service().to_string()),))
    })?;
    request.func_wrap("method", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call_of(HostImport::Exchange)?;
        let ambient = store.data().ambient.as_ref();
        Ok((ambient.map_or_else(String::new, |ambient| ambient.call.method().to_string()),))
    })?;
    link_half(&mut request, Half::Request)?;
    let mut response = linker.instance(RESPONSE)?;
    response.func_wrap("failed", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call_of(HostImport::Exchange)?;
        Ok((exchange(store.data()).ok().and_then(Exchange::failure),))
    })?;
    response.func_wrap("elapsed-micros", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call_of(HostImport::Exchange)?;
        let elapsed = match store.data().ambient.as_ref().map(|ambient| &ambient.call) {
            Some(AmbientCall::Shared(asked)) => clock::since(asked.start).as_micros(),
            Some(AmbientCall::Owned(_)) | None => 0,
        };
        Ok((u64::try_from(elapsed).unwrap_or(u64::MAX),))
    })?;
    link_half(&mut response, Half::Response)
}

fn link_half(interface: &mut LinkerInstance<'_, StoreState>, half: Half) -> wasmtime::Result<()> {
    interface.func_wrap(
        "header",
        move |mut store: Store<'_>, (name,): (WasmStr,)| {
            store.data_mut().on_host_call_of(HostImport::Exchange)?;
            let name = name.to_str(&store)?;
            let value = headers(store.data(), half).and_then(|headers| headers.get_str(&name));
            Ok((value.map(std::borrow::Cow::into_owned),))
        },
    )?;
    interface.func_wrap("headers", move |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call_of(HostImport::Exchange)?;
        Ok((headers(store.data(), half)
            .map(all_headers)
            .unwrap_or_default(),))
    })?;
    interface.func_wrap(
        "set-header",
        move |mut store: Store<'_>, (name, value): (WasmStr, WasmStr)| {
            store.data_mut().on_host_call_of(HostImport::Exchange)?;
            let (name, value) = (
                name.to_str(&store)?.into_owned(),
                value.to_str(&store)?.into_owned(),
            );
            let change = |headers: &Headers| with_header(headers, &name, &value);
            Ok((change_headers(store.data_mut(), half, change),))
        },
    )?;
    interface.func_wrap(
        "add-header",
        move |mut store: Store<'_>, (name, value): (WasmStr, WasmStr)| {
            store.data_mut().on_host_call_of(HostImport::Exchange)?;
            let (name, value) = (
                name.to_str(&store)?.into_owned(),
                value.to_str(&store)?.into_owned(),
            );
            let change = |headers: &Headers| added_header(headers, &name, &value);
            Ok((change_headers(store.data_mut(), half, change),))
        },
    )?;
    interface.func_wrap(
        "remove-header",
        move |mut store: Store<'_>, (name,): (WasmStr,)| {
            store.data_mut().on_host_call_of(HostImport::Exchange)?;
            let name = name.to_str(&store)?.into_owned();
            let change = |headers: &Headers| Ok(without_header(headers, &name));
            Ok((change_headers(store.data_mut(), half, change),))
        },
    )?;
    link_payload(interface, half)
}

fn link_payload(
    interface: &mut LinkerInstance<'_, StoreState>,
    half: Half,
) -> wasmtime::Result<()> {
    interface.func_wrap("payload", move |store: Store<'_>, (): ()| {
        Ok((ask_payload(store, half)?.map(Vec::from),))
    })?;
    interface.func_wrap("payload-text", move |store: Store<'_>, (): ()| {
        let payload = ask_payload(store, half)?;
        let kind = match half {
            Half::Request => Kind::InvalidArgument,
            Half::Response => Kind::FailedPrecondition,
        };
        Ok((payload.and_then(|payload| text_of(payload.into(), kind, "payload")),))
    })?;
    interface.func_wrap(
        "set-payload",
        move |mut store: Store<'_>, (payload,): (WasmList<u8>,)| {
            store.data_mut().on_host_call_of(HostImport::Exchange)?;
            let limit = store.data().guest.spec.limits.output_bytes_max;
            if let Err(refused) = check_output(payload.len(), limit) {
                return Ok((Err(refused),));
            }
            let payload = Bytes::copy_from_slice(payload.as_le_slice(&store));
            Ok((set_payload(store.data_mut(), half, payload),))
        },
    )?;
    interface.func_wrap(
        "set-payload-text",
        move |mut store: Store<'_>, (payload,): (WasmStr,)| {
            store.data_mut().on_host_call_of(HostImport::Exchange)?;
            let limit = store.data().guest.spec.limits.output_bytes_max;
            let payload = {
                let text = payload.to_str(&store)?;
                let checked = check_output(text.len(), limit);
                checked.map(|()| Bytes::copy_from_slice(text.as_bytes()))
            };
            let state = store.data_mut();
            Ok((payload.and_then(|payload| set_payload(state, half, payload)),))
        },
    )
}

/// The payload, which counts against the time of the entry.
fn ask_payload(mut store: Store<'_>, half: Half) -> wasmtime::Result<Result<Bytes, Failure>> {
    store.data_mut().on_host_call_of(HostImport::Exchange)?;
    let payload = payload(store.data(), half);
    if let Ok(payload) = &payload {
        on_payload(&mut store, payload.len())?;
    }
    Ok(payload)
}

fn payload(state: &StoreState, half: Half) -> Result<Bytes, Failure> {
    let given = state.ambient.as_ref().and_then(CallContext::body);
    let payload = exchange(state)?.payload(half, given)?;
    let limit = state.guest.spec.limits.input_bytes_max;
    check_input(payload.len(), limit).map_err(convert::to_failure)?;
    Ok(payload)
}

fn set_payload(state: &mut StoreState, half: Half, payload: Bytes) -> Result<(), Failure> {
    let given = state.ambient.as_ref().and_then(CallContext::body);
    match state.slots.get_mut::<Exchange>() {
        Some(exchange) => exchange.set_payload(half, payload, given),
        None => Err(no_exchange()),
    }
}

fn headers(state: &StoreState, half: Half) -> Option<&Headers> {
    let given = state.ambient.as_ref()?.call.headers();
    exchange(state).ok()?.headers(half, given)
}

fn change_headers(
    state: &mut StoreState,
    half: Half,
    change: impl FnOnce(&Headers) -> Result<Headers, Failure>,
) -> Result<(), Failure> {
    let none = Headers::new();
    let changed = change(headers(state, half).unwrap_or(&none))?;
    exchange_mut(state)?.set_headers(half, changed)
}

fn exchange(state: &StoreState) -> Result<&Exchange, Failure> {
    state.slots.get::<Exchange>().ok_or_else(no_exchange)
}

fn exchange_mut(state: &mut StoreState) -> Result<&mut Exchange, Failure> {
    state.slots.get_mut::<Exchange>().ok_or_else(no_exchange)
}

fn no_exchange() -> Failure {
    failure(Kind::FailedPrecondition, "no call is being intercepted")
}
