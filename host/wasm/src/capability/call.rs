//! Import `call`: the call that the instance is answering.

use postern_core::{Context, Origin};
use postern_system::clock;
use wasmtime::{
    StoreContextMut,
    component::{Linker, LinkerInstance, WasmList, WasmStr},
};

use crate::{
    bindings::{self, Failure, Peer, Principal},
    convert::all_headers,
    journal::{self, HostQuestion},
    state::StoreState,
    store_stats::HostImport,
};

type Store<'a> = StoreContextMut<'a, StoreState>;

pub(crate) fn link(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(bindings::CALL)?;
    link_headers(&mut interface)?;
    link_reply(&mut interface)?;
    link_context(&mut interface)
}

fn link_headers(interface: &mut LinkerInstance<'_, StoreState>) -> wasmtime::Result<()> {
    interface.func_wrap("header", |mut store: Store<'_>, (name,): (WasmStr,)| {
        store.data_mut().on_host_call_of(HostImport::Call)?;
        let name = name.to_str(&store)?;
        let ambient = store.data().ambient.as_ref();
        let value = ambient.and_then(|ambient| ambient.call.headers().get_str(&name));
        Ok((value.map(std::borrow::Cow::into_owned),))
    })?;
    interface.func_wrap("headers", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call_of(HostImport::Call)?;
        let ambient = store.data().ambient.as_ref();
        let all = ambient.map(|ambient| all_headers(ambient.call.headers()));
        Ok((all.unwrap_or_default(),))
    })
}

type Pair = (WasmStr, WasmStr);
type BinaryPair = (WasmStr, WasmList<u8>);
type Added = wasmtime::Result<(Result<(), Failure>,)>;

/// What adds to the reply. `set-` are earlier names.
fn link_reply(interface: &mut LinkerInstance<'_, StoreState>) -> wasmtime::Result<()> {
    for name in ["add-header", "set-header"] {
        interface.func_wrap(name, |store: Store<'_>, (name, value): Pair| -> Added {
            let value = value.to_str(&store)?.into_owned();
            add_header(store, name, value.as_bytes())
        })?;
    }
    for name in ["add-trailer", "set-trailer"] {
        interface.func_wrap(name, |store: Store<'_>, (name, value): Pair| -> Added {
            let value = value.to_str(&store)?.into_owned();
            add_trailer(store, name, value.as_bytes())
        })?;
    }
    interface.func_wrap(
        "add-binary-header",
        |store: Store<'_>, (name, value): BinaryPair| -> Added {
            let value = value.as_le_slice(&store).to_vec();
            add_header(store, name, &value)
        },
    )?;
    interface.func_wrap(
        "add-binary-trailer",
        |store: Store<'_>, (name, value): BinaryPair| -> Added {
            let value = value.as_le_slice(&store).to_vec();
            add_trailer(store, name, &value)
        },
    )
}

fn add_header(mut store: Store<'_>, name: WasmStr, value: &[u8]) -> Added {
    store.data_mut().on_host_call_of(HostImport::Call)?;
    let name = name.to_str(&store)?.into_owned();
    let head = store.data_mut().reply_head("a header");
    let added = head.and_then(|draft| Ok(draft.push_header(&name, value)?));
    Ok((added,))
}

fn add_trailer(mut store: Store<'_>, name: WasmStr, value: &[u8]) -> Added {
    store.data_mut().on_host_call_of(HostImport::Call)?;
    let name = name.to_str(&store)?.into_owned();
    let draft = store.data_mut().reply_draft();
    let added = draft.and_then(|draft| Ok(draft.push_trailer(&name, value)?));
    Ok((added,))
}

fn link_context(interface: &mut LinkerInstance<'_, StoreState>) -> wasmtime::Result<()> {
    interface.func_wrap("peer", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call_of(HostImport::Call)?;
        let peer = context(&store).map(|context| Peer {
            transport: context.peer.transport.name(),
            address: match &context.peer.origin {
                Origin::Local => None,
                origin @ (Origin::Ip(_) | Origin::Unix(_)) => Some(origin.to_string()),
            },
        });
        Ok((peer.unwrap_or(Peer {
            transport: "memory",
            address: None,
        }),))
    })?;
    interface.func_wrap("principal", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call_of(HostImport::Call)?;
        let principal = context(&store).and_then(|context| context.principal.as_deref());
        Ok((principal.map(|principal| Principal {
            name: principal.name.to_string(),
            roles: principal.roles.iter().map(ToString::to_string).collect(),
        }),))
    })?;
    interface.func_wrap("claim", |mut store: Store<'_>, (name,): (WasmStr,)| {
        store.data_mut().on_host_call_of(HostImport::Call)?;
        let name = name.to_str(&store)?;
        let principal = context(&store).and_then(|context| context.principal.as_deref());
        let claims = principal.map_or(&[][..], |principal| &principal.claims);
        let claim = claims.iter().find(|(known, _)| *known == *name);
        Ok((claim.map(|(_, value)| value.to_string()),))
    })?;
    interface.func_wrap("remaining-ms", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call_of(HostImport::Call)?;
        let state = store.data();
        let asking = journal::asking(state.journal.as_ref(), |_| {
            HostQuestion::read("call.remaining-ms")
        });
        let left = || {
            let left = state.end().saturating_duration_since(clock::now());
            u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
        };
        journal::told(asking, || Ok(left())).map(|left| (left,))
    })?;
    interface.func_wrap("correlation-id", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call_of(HostImport::Call)?;
        let id = context(&store).map(|context| context.correlation.to_string());
        Ok((id.unwrap_or_default(),))
    })?;
    interface.func_wrap("traceparent", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call_of(HostImport::Call)?;
        let trace = context(&store).and_then(|context| context.trace.as_ref());
        Ok((trace.map(ToString::to_string),))
    })
}

fn context<'a>(store: &'a Store<'_>) -> Option<&'a Context> {
    Some(store.data().ambient.as_ref()?.call.context())
}
