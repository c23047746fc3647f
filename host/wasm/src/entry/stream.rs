//! Role `stream-handler`: messages in by `call.next`, messages out by `call.send`.
//!
//! The guest runs inside the reply's body: whoever polls the body runs the guest, so it goes no
//! faster than the caller reads. Dropping the body cancels it: a guest that waits for its caller is told,
//! and has a moment to end; one that does something else is dropped in the middle. One that holds its
//! instance while its caller does nothing is ended from outside (both in `stream_registry.rs`).

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::Stream;
use postern_core::{Body, BodySource, BodyStream, Call, Error, Headers, Reply};
use postern_system::clock;
use tokio::sync::mpsc;
use wasmtime::{AsContext, component::Func};

use crate::{
    bindings::{Failure, HandleStreamFunc, HandleStreamParams},
    capability::stream::{Outbound, StreamEnds},
    convert,
    exports::{self, Export, Functions},
    generation::WorkerShard,
    instance::{Instance, no_role},
    lease::Lease,
    offload::{self, Purpose},
    outcome::Outcome,
    progress::Progress,
    reply_draft::{Drafted, ReplyDraft},
    role::Role,
    state::{AmbientCall, CallContext},
    stream_registry::{RegisteredStream, Running},
    stream_role::StreamRole,
};

/// `stream-handler.handle-stream`.
pub(crate) struct HandleStream(HandleStreamFunc);

impl Functions for HandleStream {
    const ROLE: Role = Role::StreamHandler;
    const EXPORTS: &'static [Export] = &[Export::new::<
        HandleStreamParams<'static>,
        (Result<(), Failure>,),
    >("handle-stream")];

    fn find(funcs: &[Func], store: impl AsContext) -> wasmtime::Result<Self> {
        let [handle] = exports::functions(funcs)?;
        Ok(Self(HandleStreamFunc::new(handle, store)?))
    }
}

impl StreamRole for HandleStream {
    async fn enter(
        instance: &mut Instance,
        service: &str,
        method: &str,
        ends: StreamEnds,
    ) -> wasmtime::Result<Result<(), Failure>> {
        instance.state().slots.put(ends);
        let (store, handle) = instance.parts::<Self>();
        let Self(handle) = handle.ok_or_else(no_role::<Self>)?;
        let (answer,) = handle.typed().call_async(store, (service, method)).await?;
        Ok(answer)
    }
}

/// Messages that a guest may be ahead of its caller.
const AHEAD_MAX: usize = 8;

/// The messages of a guest that may still be running.
struct Messages {
    outbound: mpsc::Receiver<Outbound>,
    running: Arc<Running>,
    /// `None` once it has ended.
    registered: Option<RegisteredStream>,
    /// Taken by `call` after its first poll.
    first: Option<Bytes>,
    /// How the guest ended, told after its last message.
    end: Option<Result<Drafted, Error>>,
}

/// Answers `call` by the guest's role `R`. The reply is there with its first message.
pub(crate) async fn call<R: StreamRole>(
    shard: Arc<WorkerShard>,
    call: Box<Call>,
) -> Result<Reply, Error> {
    call_by::<R>(shard, call, None).await
}

/// As `call`; by the instance of `lease`, where there is one.
pub(crate) async fn call_by<R: StreamRole>(
    shard: Arc<WorkerShard>,
    call: Box<Call>,
    lease: Option<Lease>,
) -> Result<Reply, Error> {
    let (sender, outbound) = mpsc::channel(AHEAD_MAX);
    let progress = Arc::<Progress>::default();
    let purpose = Purpose::call(call.service.clone(), call.method.clone());
    let ends = (sender, Arc::clone(&progress));
    let entered = run::<R>(Arc::clone(&shard), call, ends, lease);
    let guest = offload::run(&shard.generation().guest, purpose, Err, Box::pin(entered));
    let (running, registered) = Running::register(&shard.generation().streams, guest, progress);
    drop(shard);
    let mut messages = Messages {
        outbound,
        running,
        registered: Some(registered),
        first: None,
        end: None,
    };
    match std::future::poll_fn(|cx| messages.poll_message(cx)).await {
        Some(Outbound { head, message }) => {
            messages.first = Some(message);
            let messages = BodyStream::from_source(messages);
            Ok(ReplyDraft::into_streamed(head, messages))
        }
        None => {
            let mut draft = messages.end.take().unwrap_or_else(|| Ok(None))?;
            let head = ReplyDraft::take_head(&mut draft);
            Ok(match ReplyDraft::trailers(draft) {
                Some(trailers) => ReplyDraft::into_streamed(head, BodyStream::trailing(trailers)),
                None => ReplyDraft::into_reply(head, Body::Empty),
            })
        }
    }
}

/// The guest's side: runs until it returns.
async fn run<R: StreamRole>(
    shard: Arc<WorkerShard>,
    mut call: Box<Call>,
    (outbound, progress): (mpsc::Sender<Outbound>, Arc<Progress>),
    lease: Option<Lease>,
) -> Result<Drafted, Error> {
    let deadline = call.context.deadline;
    let generation = shard.generation();
    let _permit = generation
        .streams
        .permit(&generation.guest, deadline)
        .await?;
    let mut lease = match lease {
        Some(lease) => lease,
        None => Lease::for_async(Arc::clone(&shard), deadline).await?,
    };
    if call.context.is_deadline_of_head {
        // Whoever bounds the call waits for its head. What the guest does behind that has no such end.
        call.context.deadline = None;
    }
    let (service, method) = (call.service.clone(), call.method.clone());
    let kind = call.body.kind();
    let inbound = match std::mem::take(&mut call.body) {
        Body::Empty => None,
        body @ (Body::One(_) | Body::Messages(_) | Body::Octets(_)) => Some(body.into_octets()),
    };
    let ambient = CallContext::new(AmbientCall::Owned(call));
    let instance = lease.begin(Some(ambient));
    instance.state().slots.put(Arc::clone(&progress));
    instance.state().begin_stream(clock::now());
    let ends = StreamEnds {
        inbound,
        outbound,
        progress: Arc::clone(&progress),
        kind,
        trailers: None,
        is_async: R::ROLE == Role::AsyncStreamHandler,
    };
    let result = R::enter(instance, &service, &method, ends).await;
    let answer = match instance.finish(result) {
        Ok(answer) => answer,
        Err(trapped) => return Err(lease.trap(trapped, R::ROLE)),
    };
    let draft = instance.end();
    // The caller sees the end of the messages when their sender is gone.
    drop(instance.state().slots.take::<StreamEnds>());
    // What a guest says to a caller that has left is nobody's answer.
    let outcome = |outcome| match progress.has_left() {
        true => Outcome::Cancelled,
        false => outcome,
    };
    match answer {
        Ok(()) => {
            lease.finish(outcome(Outcome::Ok));
            Ok(draft)
        }
        Err(failure) => {
            lease.finish(outcome(Outcome::Failed));
            Err(convert::to_failed(failure, draft))
        }
    }
}

impl Messages {
    /// The next message, running the guest as far as that takes. `None` when it has returned and all
    /// is told but how it ended.
    ///
    /// A guest that computes does so elsewhere (`offload.rs`), so both the channel and the guest are
    /// waited for. While the channel is full the guest is not polled: there is a message to take.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Outbound>> {
        if let Poll::Ready(Some(message)) = self.outbound.poll_recv(cx) {
            self.running.on_read();
            return Poll::Ready(Some(message));
        }
        if self.registered.is_some()
            && let Poll::Ready(end) = self.running.poll(cx)
        {
            self.registered = None;
            self.end = Some(end);
        }
        match self.outbound.poll_recv(cx) {
            Poll::Ready(Some(message)) => {
                self.running.on_read();
                Poll::Ready(Some(message))
            }
            // Its sender went with the guest.
            Poll::Ready(None) if self.registered.is_none() => Poll::Ready(None),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Messages {
    /// The caller has left, or has all that there is.
    fn drop(&mut self) {
        if let Some(registered) = self.registered.take() {
            self.outbound.close();
            Running::leave(&self.running, registered);
        }
    }
}

impl Stream for Messages {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        Poll::Ready(match ready!(self.poll_message(cx)) {
            Some(Outbound { message, .. }) => Some(Ok(message)),
            // What is left of a guest that ended well are its trailers.
            None => match self.end.take() {
                Some(Err(error)) => Some(Err(error)),
                end => {
                    self.end = end;
                    None
                }
            },
        })
    }
}

impl BodySource for Messages {
    fn trailers(mut self: Pin<&mut Self>) -> Option<Headers> {
        ReplyDraft::trailers(self.end.take()?.ok()?)
    }

    fn keep(self: Pin<&mut Self>, _: usize) -> Result<(), Error> {
        Ok(())
    }
}
