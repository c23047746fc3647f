//! Of import `call`: what HTTP says of the call, what its body is, and what a reply has beside headers
//! and messages.

use postern_core::{BodyKind as CoreKind, HttpFacts, Kind};
use wasmtime::{
    StoreContextMut,
    component::{LinkerInstance, WasmStr},
};

use crate::{
    bindings::{BodyKind, Failure, Http},
    convert::failure,
    reply_draft::ReplyDraft,
    state::{CallContext, State},
};

type Store<'a> = StoreContextMut<'a, State>;

pub(super) fn link(interface: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    link_request(interface)?;
    interface.func_wrap("set-status", |mut store: Store<'_>, (status,): (u16,)| {
        store.data_mut().on_host_call()?;
        let draft = head(store.data_mut(), "the status");
        Ok((draft.and_then(|draft| draft.set_status(status)),))
    })?;
    interface.func_wrap("set-octets", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call()?;
        let state = store.data_mut();
        let set = streaming(state).and_then(|()| head(state, "the kind of the reply"));
        Ok((set.map(ReplyDraft::set_octets),))
    })?;
    interface.func_wrap(
        "set-trailer",
        |mut store: Store<'_>, (name, value): (WasmStr, WasmStr)| {
            store.data_mut().on_host_call()?;
            let (name, value) = (
                name.to_str(&store)?.into_owned(),
                value.to_str(&store)?.into_owned(),
            );
            let state = store.data_mut();
            let set = streaming(state).and_then(|()| draft(state));
            Ok((set.and_then(|draft| draft.push_trailer(&name, &value)),))
        },
    )
}

fn link_request(interface: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    interface.func_wrap("http", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call()?;
        let ambient = store.data().ambient.as_ref();
        let facts = ambient.and_then(|ambient| ambient.call.http());
        Ok((facts.map(Http::from),))
    })?;
    interface.func_wrap("request-kind", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call()?;
        let ambient = store.data().ambient.as_ref();
        let streams = ambient.and_then(|ambient| ambient.streams.as_ref());
        Ok((streams.map_or(BodyKind::Message, |streams| streams.kind.into()),))
    })?;
    interface.func_wrap("trailers", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call()?;
        let ambient = store.data().ambient.as_ref();
        let streams = ambient.and_then(|ambient| ambient.streams.as_ref());
        let trailers = streams.and_then(|streams| streams.trailers.as_ref());
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let all = trailers.into_iter().flat_map(|trailers| trailers.iter());
        let all = all.map(|(name, value)| (text(name), value.into_owned()));
        Ok((all.collect::<Vec<(String, Vec<u8>)>>(),))
    })
}

/// What is set of the reply, before its first message. An interceptor has `response` for that.
pub(super) fn head<'s>(state: &'s mut State, what: &str) -> Result<&'s mut ReplyDraft, Failure> {
    let streams = state
        .ambient
        .as_ref()
        .and_then(|ambient| ambient.streams.as_ref());
    if streams.is_some_and(|streams| streams.started) {
        let message = format!("{what} comes after the first message of the reply");
        return Err(failure(Kind::FailedPrecondition, message));
    }
    draft(state)
}

fn draft(state: &mut State) -> Result<&mut ReplyDraft, Failure> {
    if state.subject.is_some() {
        let message = "a reply is changed by the interface `response` here";
        return Err(failure(Kind::FailedPrecondition, message));
    }
    let none = || failure(Kind::FailedPrecondition, "there is no call to reply to");
    let ambient: &mut CallContext = state.ambient.as_mut().ok_or_else(none)?;
    Ok(ambient.reply.get_or_insert_default())
}

/// Refuses what only the reply of `handle-stream` has.
fn streaming(state: &State) -> Result<(), Failure> {
    let ambient = state.ambient.as_ref();
    if ambient.is_some_and(|ambient| ambient.streams.is_some()) {
        return Ok(());
    }
    let message = "a unary call is answered by one message";
    Err(failure(Kind::FailedPrecondition, message))
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

impl From<CoreKind> for BodyKind {
    fn from(kind: CoreKind) -> Self {
        match kind {
            CoreKind::One => Self::Message,
            CoreKind::Messages => Self::Messages,
            CoreKind::Octets => Self::Octets,
        }
    }
}
