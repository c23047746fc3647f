//! Import `call`: the call that the instance is answering.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use postern_core::{Context, Kind, Origin};
use wasmtime::{
    StoreContextMut,
    component::{Linker, LinkerInstance, WasmList, WasmStr},
};

use super::{http, wait};
use crate::{
    bindings::{self, Failure, Peer, Principal},
    call_path::link_bailout,
    convert::{self, Stop, failure},
    handler::check_input,
    reply_draft::ReplyDraft,
    state::{Outbound, State},
    stream_registry::Progress,
};

type Store<'a> = StoreContextMut<'a, State>;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(bindings::CALL)?;
    interface.func_wrap("turn", |mut store: Store<'_>, (index,): (u32,)| {
        Ok(store.data_mut().turn(index)?)
    })?;
    link_headers(&mut interface)?;
    http::link(&mut interface)?;
    link_context(&mut interface)
}

/// `next` and `send`, for which a guest may have to wait.
pub(super) fn link_waiting(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(bindings::CALL)?;
    interface.func_wrap_async("next", |store: Store<'_>, (): ()| {
        Box::new(async move { Ok((next(store).await?,)) })
    })?;
    interface.func_wrap_async("send", |store: Store<'_>, (message,): (WasmList<u8>,)| {
        Box::new(async move { Ok((send(store, message).await?,)) })
    })
}

/// `next` and `send` where a guest cannot wait.
pub(super) fn link_inline(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(bindings::CALL)?;
    link_bailout(&mut interface, "next")?;
    link_bailout(&mut interface, "send")
}

fn link_headers(interface: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    interface.func_wrap("header", |mut store: Store<'_>, (name,): (WasmStr,)| {
        store.data_mut().on_host_call()?;
        let name = name.to_str(&store)?;
        let ambient = store.data().ambient.as_ref();
        let value = ambient.and_then(|ambient| ambient.call.headers().get_str(&name));
        Ok((value.map(std::borrow::Cow::into_owned),))
    })?;
    interface.func_wrap("headers", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call()?;
        let headers = store
            .data()
            .ambient
            .iter()
            .flat_map(|ambient| ambient.call.headers().iter());
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let all = headers.map(|(name, value)| (text(name), value.into_owned()));
        Ok((all.collect::<Vec<(String, Vec<u8>)>>(),))
    })?;
    interface.func_wrap(
        "set-header",
        |mut store: Store<'_>, (name, value): (WasmStr, WasmStr)| {
            store.data_mut().on_host_call()?;
            let (name, value) = (
                name.to_str(&store)?.into_owned(),
                value.to_str(&store)?.into_owned(),
            );
            let draft = http::head(store.data_mut(), "a header");
            Ok((draft.and_then(|draft| draft.push_header(&name, &value)),))
        },
    )
}

fn link_context(interface: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    interface.func_wrap("peer", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call()?;
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
        store.data_mut().on_host_call()?;
        let principal = context(&store).and_then(|context| context.principal.as_deref());
        Ok((principal.map(|principal| Principal {
            name: principal.name.to_string(),
            roles: principal.roles.iter().map(ToString::to_string).collect(),
        }),))
    })?;
    interface.func_wrap("claim", |mut store: Store<'_>, (name,): (WasmStr,)| {
        store.data_mut().on_host_call()?;
        let name = name.to_str(&store)?;
        let principal = context(&store).and_then(|context| context.principal.as_deref());
        let claims = principal.map_or(&[][..], |principal| &principal.claims);
        let claim = claims.iter().find(|(known, _)| *known == *name);
        Ok((claim.map(|(_, value)| value.to_string()),))
    })?;
    interface.func_wrap("remaining-ms", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call()?;
        let left = store.data().end().saturating_duration_since(Instant::now());
        Ok((u64::try_from(left.as_millis()).unwrap_or(u64::MAX),))
    })?;
    interface.func_wrap("correlation-id", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call()?;
        let id = context(&store).map(|context| context.correlation.to_string());
        Ok((id.unwrap_or_default(),))
    })?;
    interface.func_wrap("traceparent", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call()?;
        let trace = context(&store).and_then(|context| context.trace.as_ref());
        Ok((trace.map(ToString::to_string),))
    })
}

fn context<'a>(store: &'a Store<'_>) -> Option<&'a Context> {
    Some(store.data().ambient.as_ref()?.call.context())
}

/// The next message of a streaming call. A unary call's one message went to `handle`.
async fn next(mut store: Store<'_>) -> Result<Result<Option<Vec<u8>>, Failure>, Stop> {
    let state = store.data_mut();
    let deadline = state.deadline();
    let streams = state
        .ambient
        .as_mut()
        .and_then(|ambient| ambient.streams.as_mut());
    let Some(mut inbound) = streams.and_then(|streams| streams.inbound.take()) else {
        return Ok(Ok(None));
    };
    let progress = progress(state);
    let waiting = progress.as_ref().map(|progress| progress.begin_wait());
    let (message, waited) = wait::until(deadline, Stop::Deadline, inbound.next()).await?;
    drop(waiting);
    state.give_back(waited);
    let message = match message {
        None => {
            if let Some(streams) = state.ambient.as_mut().and_then(|it| it.streams.as_mut()) {
                streams.trailers = inbound.trailers();
            }
            return Ok(Ok(None));
        }
        Some(Err(error)) => return Ok(Err(convert::to_failure(error))),
        Some(Ok(message)) => message,
    };
    if let Err(error) = check_input(message.len(), state.guest.spec.limits.input_bytes_max) {
        return Ok(Err(convert::to_failure(error)));
    }
    if let Some(streams) = state
        .ambient
        .as_mut()
        .and_then(|ambient| ambient.streams.as_mut())
    {
        streams.inbound = Some(inbound);
    }
    Ok(Ok(Some(message.into())))
}

/// What the stream that is answered has moved.
fn progress(state: &State) -> Option<Arc<Progress>> {
    let streams = state.ambient.as_ref()?.streams.as_ref()?;
    Some(Arc::clone(&streams.progress))
}

async fn send(mut store: Store<'_>, message: WasmList<u8>) -> Result<Result<(), Failure>, Stop> {
    let (length, limit) = (
        message.len(),
        store.data().guest.spec.limits.output_bytes_max,
    );
    if length > limit {
        return Err(Stop::Output { length, limit });
    }
    let message = Bytes::copy_from_slice(message.as_le_slice(&store));
    let state = store.data_mut();
    let deadline = state.deadline();
    let Some(ambient) = &mut state.ambient else {
        return Ok(Err(failure(
            Kind::FailedPrecondition,
            "there is no call to reply to",
        )));
    };
    let Some(streams) = &mut ambient.streams else {
        let message = "a unary call is answered by returning, not by `send`";
        return Ok(Err(failure(Kind::FailedPrecondition, message)));
    };
    let head = match streams.started {
        true => None,
        false => ReplyDraft::take_head(&mut ambient.reply),
    };
    streams.started = true;
    let sent = streams.outbound.send(Outbound { head, message });
    let waiting = streams.progress.begin_wait();
    let (sent, waited) = wait::until(deadline, Stop::Deadline, sent).await?;
    drop(waiting);
    state.give_back(waited);
    Ok(sent.map_err(|_| failure(Kind::Cancelled, "the caller has gone away")))
}
