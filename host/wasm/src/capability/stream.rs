//! Import `call`, what a streaming call needs of it: `next` and `send`, the kind of both bodies, and what
//! follows their last messages.

use std::{future::poll_fn, pin::Pin, sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use futures_util::Stream as _;
use postern_core::{BodyKind as CoreKind, BodyStream, Headers, Kind};
use postern_system::wait;
use tokio::sync::mpsc;
use wasmtime::{
    StoreContextMut,
    component::{Linker, WasmList, WasmStr},
};

use crate::{
    bindings::{self, BodyKind, Failure},
    call_path::link_bailout,
    convert::{self, all_headers, check_input, failure},
    progress::Progress,
    reply_draft::{Drafted, ReplyDraft, ReplyState},
    state::{CallContext, StoreState},
    store_stats::HostImport,
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
    pub(crate) kind: CoreKind,
    /// What follows it, once it is over.
    pub(crate) trailers: Option<Headers>,
    /// Whether the messages cross as streams of octets, and not by `next` and `send`.
    pub(crate) is_async: bool,
}

/// What a streaming guest sends; the first carries the head of the reply.
pub(crate) struct Outbound {
    pub(crate) head: Drafted,
    pub(crate) message: Bytes,
}

/// What neither waits nor has an effect. A unary call may ask for it too.
pub(crate) fn link(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(bindings::CALL)?;
    interface.func_wrap("request-kind", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call_of(HostImport::Call)?;
        let streams = store.data_mut().slots.get_mut::<StreamEnds>();
        Ok((streams.map_or(BodyKind::Message, |streams| streams.kind.into()),))
    })?;
    interface.func_wrap("trailers", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call_of(HostImport::Call)?;
        let streams = store.data_mut().slots.get_mut::<StreamEnds>();
        let trailers = streams.and_then(|streams| streams.trailers.as_ref());
        Ok((trailers.map(all_headers).unwrap_or_default(),))
    })?;
    interface.func_wrap("set-octets", |mut store: Store<'_>, (): ()| {
        store.data_mut().on_host_call_of(HostImport::Call)?;
        let state = store.data_mut();
        let head = check_streaming(state).and_then(|()| state.reply_head("the kind of the reply"));
        Ok((head.map(ReplyDraft::set_octets),))
    })
}

/// What may wait.
const WAITING: [&str; 4] = ["next", "next-text", "send", "send-text"];

pub(crate) fn link_async(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(bindings::CALL)?;
    interface.func_wrap_async("next", |store: Store<'_>, (): ()| {
        Box::new(async move { Ok((next(store).await?,)) })
    })?;
    interface.func_wrap_async("next-text", |store: Store<'_>, (): ()| {
        Box::new(async move {
            let message = next(store).await?;
            Ok((message.and_then(|message| message.map(convert::to_text).transpose()),))
        })
    })?;
    interface.func_wrap_async("send", |store: Store<'_>, (message,): (WasmList<u8>,)| {
        Box::new(async move {
            check_length(&store, message.len())?;
            let message = Bytes::copy_from_slice(message.as_le_slice(&store));
            Ok((send(store, message).await?,))
        })
    })?;
    interface.func_wrap_async("send-text", |store: Store<'_>, (message,): (WasmStr,)| {
        Box::new(async move {
            let message = {
                let text = message.to_str(&store)?;
                check_length(&store, text.len())?;
                Bytes::copy_from_slice(text.as_bytes())
            };
            Ok((send(store, message).await?,))
        })
    })
}

/// A call of one message may import them without using them.
pub(crate) fn link_inline(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(bindings::CALL)?;
    for name in WAITING {
        link_bailout(&mut interface, name)?;
    }
    Ok(())
}

pub(crate) fn link_direct(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(bindings::CALL)?;
    for name in WAITING {
        interface.func_new(name, move |_, _, _, _| {
            Err(waiting(&format!("postern:gateway/call.{name}")))
        })?;
    }
    Ok(())
}

/// The next message of a streaming call. A unary call's one message went to `handle`.
async fn next(mut store: Store<'_>) -> Result<Result<Option<Vec<u8>>, Failure>, Stop> {
    let state = store.data_mut();
    let deadline = state.deadline;
    let Some(streams) = state.slots.get_mut::<StreamEnds>() else {
        return Ok(Ok(None));
    };
    if streams.is_async {
        return Ok(Err(not_by("next")));
    }
    let Some(mut inbound) = streams.inbound.take() else {
        return Ok(Ok(None));
    };
    let progress = Arc::clone(&streams.progress);
    let waiting = progress.begin_wait();
    let next = poll_fn(|cx| match Pin::new(&mut inbound).poll_next(cx) {
        Poll::Pending => progress.poll_left(cx).map(|()| Err(left())),
        Poll::Ready(message) => Poll::Ready(Ok(message)),
    });
    let came = wait::before(deadline, next).await;
    let (message, waited) = came.ok_or(Stop::Deadline)?;
    drop(waiting);
    on_waited(state, waited);
    let message = match message {
        Err(left) => return Ok(Err(left)),
        Ok(message) => message,
    };
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
    state.on_message();
    Ok(Ok(Some(message.into())))
}

/// Stops a guest that sends a message over its limit.
fn check_length(store: &Store<'_>, length: usize) -> Result<(), Stop> {
    let limit = store.data().guest.spec.limits.output_bytes_max;
    if length > limit {
        return Err(Stop::Output { length, limit });
    }
    Ok(())
}

async fn send(mut store: Store<'_>, message: Bytes) -> Result<Result<(), Failure>, Stop> {
    let state = store.data_mut();
    let deadline = state.deadline;
    if let Err(none) = state.replying() {
        return Ok(Err(none));
    }
    let Some(streams) = state.slots.get_mut::<StreamEnds>() else {
        let message = "a unary call is answered by returning, not by `send`";
        return Ok(Err(failure(Kind::FailedPrecondition, message)));
    };
    if streams.is_async {
        return Ok(Err(not_by("send")));
    }
    let head = state.ambient.as_mut().and_then(take_head);
    let sent = streams.outbound.send(Outbound { head, message });
    let waiting = streams.progress.begin_wait();
    let sent = wait::before(deadline, sent).await;
    let (sent, waited) = sent.ok_or(Stop::Deadline)?;
    drop(waiting);
    on_waited(state, waited);
    if sent.is_ok() {
        state.on_message();
    }
    Ok(sent.map_err(|_| left()))
}

/// What a guest is told whose caller has left.
pub(crate) fn left() -> Failure {
    failure(Kind::Cancelled, "the caller has gone away")
}

/// What a guest is told that answers by streams of octets.
fn not_by(function: &str) -> Failure {
    let message = format!("`handle-async` has its messages in streams, not by `{function}`");
    failure(Kind::FailedPrecondition, message)
}

/// The guest has waited for the other end.
fn on_waited(state: &mut StoreState, waited: Duration) {
    let stats = state.host_calls.stats();
    stats.on_call(HostImport::Call);
    stats.on_wait(HostImport::Call, waited);
    state.give_back(waited);
}

/// What goes out with the first message.
pub(crate) fn take_head(ambient: &mut CallContext) -> Drafted {
    match std::mem::replace(&mut ambient.reply_state, ReplyState::Begun) {
        ReplyState::Begun => None,
        ReplyState::Open | ReplyState::Watched => ReplyDraft::take_head(&mut ambient.reply),
    }
}

/// Refuses what only the reply of `handle-stream` has.
fn check_streaming(state: &mut StoreState) -> Result<(), Failure> {
    if state.slots.get_mut::<StreamEnds>().is_some() {
        return Ok(());
    }
    let message = "a unary call is answered by one message";
    Err(failure(Kind::FailedPrecondition, message))
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
