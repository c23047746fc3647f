//! Import `call`, what a streaming call needs of it: `next` and `send`.

use std::sync::Arc;

use bytes::Bytes;
use postern_core::{BodyKind, BodyStream, Headers, Kind};
use tokio::sync::mpsc;
use wasmtime::{
    StoreContextMut,
    component::{Linker, WasmList},
};

use super::wait;
use crate::{
    bindings::{self, Failure},
    call_path::link_bailout,
    convert::{self, check_input, failure},
    progress::Progress,
    reply_draft::{Drafted, ReplyDraft},
    state::{ReplyState, StoreState},
    trap::{Stop, waiting},
};

type Store<'a> = StoreContextMut<'a, StoreState>;

/// The two ends of the streaming call that is answered. A unary call has its message and its answer in
/// `handle` itself.
pub(crate) struct StreamEnds {
    /// `None` at its end, and while `next` waits for it.
    pub(crate) inbound: Option<BodyStream>,
    pub(crate) outbound: mpsc::Sender<Outbound>,
    pub(crate) progress: Arc<Progress>,
    /// What the body of the request is.
    pub(crate) kind: BodyKind,
    /// What follows it, once it is over.
    pub(crate) trailers: Option<Headers>,
}

/// What a streaming guest sends; the first carries the head of the reply.
pub(crate) struct Outbound {
    pub(crate) head: Drafted,
    pub(crate) message: Bytes,
}

pub(crate) fn link_async(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(bindings::CALL)?;
    interface.func_wrap_async("next", |store: Store<'_>, (): ()| {
        Box::new(async move { Ok((next(store).await?,)) })
    })?;
    interface.func_wrap_async("send", |store: Store<'_>, (message,): (WasmList<u8>,)| {
        Box::new(async move { Ok((send(store, message).await?,)) })
    })
}

/// A call of one message may import them without using them.
pub(crate) fn link_inline(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(bindings::CALL)?;
    link_bailout(&mut interface, "next")?;
    link_bailout(&mut interface, "send")
}

pub(crate) fn link_direct(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(bindings::CALL)?;
    interface.func_new("next", |_, _, _, _| {
        Err(waiting("postern:gateway/call.next"))
    })?;
    interface.func_new("send", |_, _, _, _| {
        Err(waiting("postern:gateway/call.send"))
    })
}

/// The next message of a streaming call. A unary call's one message went to `handle`.
async fn next(mut store: Store<'_>) -> Result<Result<Option<Vec<u8>>, Failure>, Stop> {
    let state = store.data_mut();
    let deadline = state.deadline;
    let Some(streams) = state.slots.get_mut::<StreamEnds>() else {
        return Ok(Ok(None));
    };
    let Some(mut inbound) = streams.inbound.take() else {
        return Ok(Ok(None));
    };
    let progress = Arc::clone(&streams.progress);
    let waiting = progress.begin_wait();
    let (message, waited) = wait::until(deadline, Stop::Deadline, inbound.next()).await?;
    drop(waiting);
    state.give_back(waited);
    let message = match message {
        None => {
            if let Some(streams) = state.slots.get_mut::<StreamEnds>() {
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
    if let Some(streams) = state.slots.get_mut::<StreamEnds>() {
        streams.inbound = Some(inbound);
    }
    Ok(Ok(Some(message.into())))
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
    let deadline = state.deadline;
    let Some(ambient) = &mut state.ambient else {
        return Ok(Err(failure(
            Kind::FailedPrecondition,
            "there is no call to reply to",
        )));
    };
    let Some(streams) = state.slots.get_mut::<StreamEnds>() else {
        let message = "a unary call is answered by returning, not by `send`";
        return Ok(Err(failure(Kind::FailedPrecondition, message)));
    };
    let head = match ambient.reply_state {
        ReplyState::Begun => None,
        ReplyState::Open | ReplyState::Watched => ReplyDraft::take_head(&mut ambient.reply),
    };
    ambient.reply_state = ReplyState::Begun;
    let sent = streams.outbound.send(Outbound { head, message });
    let waiting = streams.progress.begin_wait();
    let (sent, waited) = wait::until(deadline, Stop::Deadline, sent).await?;
    drop(waiting);
    state.give_back(waited);
    Ok(sent.map_err(|_| failure(Kind::Cancelled, "the caller has gone away")))
}
