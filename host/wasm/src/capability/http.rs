//! Of import `call`: what HTTP says of the call, what its body is, and what a reply has beside headers
//! and messages.

use postern_core::{BodyKind as CoreKind, HttpFacts, Kind};
use wasmtime::{
    StoreContextMut,
    component::{Linker, LinkerInstance, WasmStr},
};

use super::stream::StreamEnds;
use crate::{
    bindings::{self, BodyKind, Failure, Http},
    convert::{all_headers, failure},
    reply_draft::ReplyDraft,
    state::{CallContext, ReplyState, StoreState},
};

type Store<'a> = StoreContextMut<'a, StoreState>;

pub(crate) fn link(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(bindings::CALL)?;
    let interface = &mut interface;
    link_request(interface)?;
    interface.func_wrap("set-status", |mut store: Store<'_>, (status,): (u16,)| {
        store.data_mut().on_host_call()?;
        let draft = head(store.data_mut().ambient.as_mut(), "the status");
        Ok((draft.and_then(|draft| draft.set_status(status)),))
    })?;
    interface.func_wrap("set-octets", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call()?;
        let state = store.data_mut();
        let set =
            streaming(state).and_then(|()| head(state.ambient.as_mut(), "the kind of the reply"));
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
            let set = streaming(state).and_then(|()| draft(state.ambient.as_mut()));
            Ok((set.and_then(|draft| draft.push_trailer(&name, &value)),))
        },
    )
}

fn link_request(interface: &mut LinkerInstance<'_, StoreState>) -> wasmtime::Result<()> {
    interface.func_wrap("http", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call()?;
        let ambient = store.data().ambient.as_ref();
        let facts = ambient.and_then(|ambient| ambient.call.http());
        Ok((facts.map(Http::from),))
    })?;
    interface.func_wrap("request-kind", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call()?;
        let streams = store.data_mut().slots.get_mut::<StreamEnds>();
        Ok((streams.map_or(BodyKind::Message, |streams| streams.kind.into()),))
    })?;
    interface.func_wrap("trailers", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call()?;
        let streams = store.data_mut().slots.get_mut::<StreamEnds>();
        let trailers = streams.and_then(|streams| streams.trailers.as_ref());
        Ok((trailers.map(all_headers).unwrap_or_default(),))
    })
}

/// What is set of the reply, before its first message.
pub(super) fn head<'s>(
    ambient: Option<&'s mut CallContext>,
    what: &str,
) -> Result<&'s mut ReplyDraft, Failure> {
    if ambient
        .as_ref()
        .is_some_and(|ambient| ambient.reply_state == ReplyState::Begun)
    {
        let message = format!("{what} comes after the first message of the reply");
        return Err(failure(Kind::FailedPrecondition, message));
    }
    draft(ambient)
}

fn draft(ambient: Option<&mut CallContext>) -> Result<&mut ReplyDraft, Failure> {
    let none = || failure(Kind::FailedPrecondition, "there is no call to reply to");
    let ambient = ambient.ok_or_else(none)?;
    if ambient.reply_state == ReplyState::Watched {
        let message = "a reply is changed by the interface `response` here";
        return Err(failure(Kind::FailedPrecondition, message));
    }
    Ok(ambient.reply.get_or_insert_default())
}

/// Refuses what only the reply of `handle-stream` has.
fn streaming(state: &mut StoreState) -> Result<(), Failure> {
    if state.slots.get_mut::<StreamEnds>().is_some() {
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
