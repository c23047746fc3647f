//! Import `frame`: the frame in hand, for the role `frame-extension`.

use bytes::Bytes;
use postern_core::{Headers, Kind, wire::Frame};
use wasmtime::{
    StoreContextMut,
    component::{Linker, WasmList, WasmStr},
};

use crate::{
    bindings::{Failure, extension::FRAME},
    convert::{added_header, all_headers, check_output, failure, with_header, without_header},
    state::{StoreState, on_payload},
    store_stats::HostImport,
};

type Store<'a> = StoreContextMut<'a, StoreState>;

/// A frame, seen by a frame extension.
pub(crate) struct Framed {
    frame: Frame,
    /// What the guest has put in place of what was there.
    headers: Option<Headers>,
    payload: Option<Bytes>,
}

pub(crate) fn link(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(FRAME)?;
    interface.func_wrap("header", |mut store: Store<'_>, (name,): (WasmStr,)| {
        store.data_mut().on_host_call_of(HostImport::Frame)?;
        let name = name.to_str(&store)?;
        let value = framed(store.data()).and_then(|framed| framed.headers().get_str(&name));
        Ok((value.map(std::borrow::Cow::into_owned),))
    })?;
    interface.func_wrap("headers", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call_of(HostImport::Frame)?;
        let all = framed(store.data()).map(|framed| all_headers(framed.headers()));
        Ok((all.unwrap_or_default(),))
    })?;
    interface.func_wrap(
        "set-header",
        |mut store: Store<'_>, (name, value): (WasmStr, WasmStr)| {
            store.data_mut().on_host_call_of(HostImport::Frame)?;
            let (name, value) = (
                name.to_str(&store)?.into_owned(),
                value.to_str(&store)?.into_owned(),
            );
            let change = |headers: &Headers| with_header(headers, &name, &value);
            Ok((change_headers(store.data_mut(), change),))
        },
    )?;
    interface.func_wrap(
        "add-header",
        |mut store: Store<'_>, (name, value): (WasmStr, WasmStr)| {
            store.data_mut().on_host_call_of(HostImport::Frame)?;
            let (name, value) = (
                name.to_str(&store)?.into_owned(),
                value.to_str(&store)?.into_owned(),
            );
            let change = |headers: &Headers| added_header(headers, &name, &value);
            Ok((change_headers(store.data_mut(), change),))
        },
    )?;
    interface.func_wrap(
        "remove-header",
        |mut store: Store<'_>, (name,): (WasmStr,)| {
            store.data_mut().on_host_call_of(HostImport::Frame)?;
            let name = name.to_str(&store)?.into_owned();
            let change = |headers: &Headers| Ok(without_header(headers, &name));
            Ok((change_headers(store.data_mut(), change),))
        },
    )?;
    interface.func_wrap("payload", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call_of(HostImport::Frame)?;
        let payload = framed(store.data()).map(|framed| framed.payload().clone());
        let payload = payload.unwrap_or_default();
        on_payload(&mut store, payload.len())?;
        Ok((Vec::from(payload),))
    })?;
    interface.func_wrap(
        "set-payload",
        |mut store: Store<'_>, (payload,): (WasmList<u8>,)| {
            store.data_mut().on_host_call_of(HostImport::Frame)?;
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

impl Framed {
    pub(crate) fn new(frame: Frame) -> Self {
        Self {
            frame,
            headers: None,
            payload: None,
        }
    }

    pub(crate) fn headers(&self) -> &Headers {
        self.headers.as_ref().unwrap_or(&self.frame.headers)
    }

    pub(crate) fn set_headers(&mut self, headers: Headers) {
        self.headers = Some(headers);
    }

    pub(crate) fn payload(&self) -> &Bytes {
        self.payload.as_ref().unwrap_or(&self.frame.payload)
    }

    pub(crate) fn set_payload(&mut self, payload: Bytes) {
        self.payload = Some(payload);
    }

    /// The frame as it was given.
    pub(crate) fn into_given(self) -> Frame {
        self.frame
    }

    /// The frame with what was changed.
    pub(crate) fn into_changed(self) -> Frame {
        let Self {
            frame,
            headers,
            payload,
        } = self;
        Frame {
            headers: headers.unwrap_or(frame.headers),
            payload: payload.unwrap_or(frame.payload),
            ..frame
        }
    }
}

fn change_headers(
    state: &mut StoreState,
    change: impl FnOnce(&Headers) -> Result<Headers, Failure>,
) -> Result<(), Failure> {
    let framed = framed_mut(state)?;
    let changed = change(framed.headers())?;
    framed.set_headers(changed);
    Ok(())
}

fn framed(state: &StoreState) -> Option<&Framed> {
    state.slots.get()
}

fn framed_mut(state: &mut StoreState) -> Result<&mut Framed, Failure> {
    let none = || failure(Kind::FailedPrecondition, "no frame is being handled");
    state.slots.get_mut().ok_or_else(none)
}
