//! Role `async-stream-handler`: both bodies are streams of octets, and the guest works on the event loop of
//! its store (`concurrent.rs`).
//!
//! What stands around it is that of `stream-handler`: the loop runs inside the reply's body, and what becomes
//! of it when that is dropped is the same.

use std::{future::poll_fn, sync::Arc, task::ready};

use postern_core::Kind;
use wasmtime::{
    AsContext,
    component::{Accessor, Func, StreamReader},
};

use crate::{
    bindings::{self, Failure},
    capability::{async_call::AsyncCall, stream::StreamEnds},
    concurrent::{self, LoopBounds},
    convert::failure,
    exports::{self, Export, Functions},
    instance::{Instance, no_role},
    octet_streams::{OctetStreams, ReplyOctets, RequestOctets},
    role::Role,
    state::StoreState,
    stream_role::StreamRole,
};

/// `async-stream-handler.handle-async`.
pub(crate) struct HandleAsync(bindings::HandleAsync);

impl Functions for HandleAsync {
    const ROLE: Role = Role::AsyncStreamHandler;
    const EXPORTS: &'static [Export] = &[Export::new::<
        (String, String, StreamReader<u8>),
        (Result<StreamReader<u8>, Failure>,),
    >("handle-async")];

    fn find(funcs: &[Func], store: impl AsContext) -> wasmtime::Result<Self> {
        let [handle] = exports::functions(funcs)?;
        Ok(Self(handle.typed(store)?))
    }
}

impl StreamRole for HandleAsync {
    async fn enter(
        instance: &mut Instance,
        service: &str,
        method: &str,
        mut ends: StreamEnds,
    ) -> wasmtime::Result<Result<(), Failure>> {
        let progress = Arc::clone(&ends.progress);
        let (streams, request, reply) = OctetStreams::new(&mut ends);
        let state = instance.state();
        let bounds = LoopBounds {
            deadline: state.deadline,
            time_max: state.guest.spec.limits.time_max,
        };
        state.slots.put(AsyncCall::default());
        state.slots.put(ends);
        let (store, handle) = instance.parts::<Self>();
        let Self(handle) = handle.ok_or_else(no_role::<Self>)?;
        let answering = Answering {
            handle: *handle,
            names: (service.to_owned(), method.to_owned()),
            streams: Arc::clone(&streams),
            request,
            reply,
        };
        let event_loop = async {
            store
                .run_concurrent(async |accessor| answering.run(accessor).await)
                .await?
        };
        let answer = concurrent::drive(event_loop, &streams.waits, &progress, bounds).await;
        streams.end();
        if let Err(failure) = answer? {
            return Ok(Err(failure));
        }
        let call = instance.state().slots.take::<AsyncCall>();
        if let Some(failure) = call.and_then(|call| call.reply_failure) {
            return Ok(Err(failure));
        }
        if streams.is_within_message() {
            let message = "the reply has ended within a message";
            return Ok(Err(failure(Kind::Internal, message)));
        }
        Ok(Ok(()))
    }
}

/// A call of `handle-async`.
struct Answering {
    handle: bindings::HandleAsync,
    /// Of the service and the method.
    names: (String, String),
    streams: Arc<OctetStreams>,
    request: RequestOctets,
    reply: ReplyOctets,
}

impl Answering {
    /// From the call to the end of the reply: its stream is closed, and the guest has nothing left to do.
    async fn run(self, accessor: &Accessor<StoreState>) -> wasmtime::Result<Result<(), Failure>> {
        let Self {
            handle,
            names: (service, method),
            streams,
            request,
            reply,
        } = self;
        let waits = &streams.waits;
        let request = accessor.with(|access| StreamReader::new(access, request))?;
        let called = handle.call_concurrent(accessor, (service, method, request));
        let (answer,) = concurrent::within(accessor, waits, called).await?;
        let ended = match answer {
            Ok(stream) => {
                accessor.with(|access| stream.pipe(access, reply))?;
                Ok(())
            }
            Err(failure) => {
                drop(reply);
                Err(failure)
            }
        };
        let end = poll_fn(|cx| {
            ready!(streams.poll_closed(cx));
            accessor.poll_no_interesting_tasks(cx)
        });
        concurrent::within(accessor, waits, end).await;
        Ok(ended)
    }
}
