//! Role `handler`: one message in, one message out. Chooses the path and the thread of such a call, and of
//! those of `text-handler`.

use std::{mem, sync::Arc, time::Duration};

use bytes::Bytes;
use postern_core::{Body, BoxFuture, Call, Error, Reply, Text};
use wasmtime::{AsContext, Store, component::Func};

use crate::{
    answering::Answering,
    bindings::{HandleFunc, HandleParams, HandleResult},
    call_path::{Bailout, CallPath},
    convert::{self, check_input},
    executor,
    exports::{self, Export, Functions},
    generation::WorkerShard,
    instance::{InlineError, no_role},
    lease::Lease,
    offload::{self, Purpose},
    outcome::Outcome,
    placement::{IN_PLACE_MAX, Placement},
    processor_time,
    reply_draft::ReplyDraft,
    role::Role,
    state::{AmbientCall, CallContext, Guest, StoreState},
    trap::Stop,
};

/// `handler.handle`.
pub(crate) struct Handle(HandleFunc);

impl Functions for Handle {
    const ROLE: Role = Role::Handler;
    const EXPORTS: &'static [Export] = &[Export::new::<HandleParams<'static>, (HandleResult,)>(
        "handle",
    )];

    fn find(funcs: &[Func], store: impl AsContext) -> wasmtime::Result<Self> {
        let [handle] = exports::functions(funcs)?;
        Ok(Self(HandleFunc::new(handle, store)?))
    }
}

impl Answering for Handle {
    type Body = Bytes;

    fn read(body: Bytes) -> Result<Bytes, Error> {
        Ok(body)
    }

    fn enter(
        &self,
        store: &mut Store<StoreState>,
        (service, method): (&str, &str),
        body: &Bytes,
    ) -> wasmtime::Result<HandleResult> {
        let (answer,) = self.0.typed().call(store, (service, method, &**body))?;
        Ok(answer)
    }

    async fn enter_async(
        &self,
        store: &mut Store<StoreState>,
        (service, method): (&str, &str),
        body: &Bytes,
    ) -> wasmtime::Result<HandleResult> {
        let params = (service, method, &**body);
        let (answer,) = self.0.typed().call_async(store, params).await?;
        Ok(answer)
    }
}

/// What goes into the guest.
struct Request<B> {
    service: Text,
    method: Text,
    body: B,
}

/// Answers `call` by the guest's `handle`, or `handle-text`.
///
/// With its message at hand and an instance idle, a call is handed to the instance at once: what the
/// future then holds is small, and a small future is a cheap one (every octet of it is copied when it
/// is boxed).
pub(crate) fn call<F: Answering>(
    shard: Arc<WorkerShard>,
    call: Box<Call>,
) -> BoxFuture<Result<Reply, Error>> {
    if call.body.is_stream() {
        let guest = Arc::clone(&shard.generation().guest);
        let gathered = Box::pin(gather::<F>(shard, call));
        return offload::run_at(
            Placement::InPlace,
            &guest,
            Purpose::role("gather").before_entry(),
            Err,
            gathered,
        );
    }
    let placement = shard
        .generation()
        .guest
        .placements
        .of(&call.service, &call.method);
    let path = path_of(&shard, placement);
    match Lease::try_new(shard, path) {
        Ok(lease) => begin::<F>(lease, call, placement),
        Err(shard) => Box::pin(wait::<F>(shard, call, placement)),
    }
}

/// The kind of instance that a call wants.
fn path_of(shard: &WorkerShard, placement: Placement) -> CallPath {
    match placement {
        Placement::InPlace | Placement::Measured => shard.generation().path(),
        Placement::Offloaded => CallPath::Async,
    }
}

/// Reads a stream that must hold one message, then goes on as ever.
async fn gather<F: Answering>(
    shard: Arc<WorkerShard>,
    mut call: Box<Call>,
) -> Result<Reply, Error> {
    let limit = shard.generation().guest.spec.limits.input_bytes_max;
    let stream = mem::take(&mut call.body);
    call.body = Body::One(stream.into_one(limit).await?);
    self::call::<F>(shard, call).await
}

/// Waits for an instance, then goes on as ever.
async fn wait<F: Answering>(
    shard: Arc<WorkerShard>,
    call: Box<Call>,
    placement: Placement,
) -> Result<Reply, Error> {
    let path = path_of(&shard, placement);
    let lease = Lease::new(shard, call.context.deadline, path).await?;
    // More may be known by now.
    let placement = lease.guest().placements.of(&call.service, &call.method);
    begin::<F>(lease, call, placement).await
}

/// Answers `call`, of which the message is at hand, by the instance of `lease`.
pub(crate) fn begin<F: Answering>(
    mut lease: Lease,
    mut call: Box<Call>,
    placement: Placement,
) -> BoxFuture<Result<Reply, Error>> {
    let body = match mem::take(&mut call.body) {
        Body::One(message) => message,
        Body::Empty | Body::Messages(_) | Body::Octets(_) => Bytes::new(),
    };
    let limit = lease.guest().spec.limits.input_bytes_max;
    let body = match check_input(body.len(), limit).and_then(|()| F::read(body)) {
        Ok(body) => body,
        Err(error) => {
            lease.hand_back();
            return Box::pin(std::future::ready(Err(error)));
        }
    };
    let request = Request {
        // Only log lines ask the store for the names, and those are written on fibers.
        service: mem::take(&mut call.service),
        method: mem::take(&mut call.method),
        body,
    };
    lease.begin(Some(CallContext::new(AmbientCall::Owned(call))));
    match (lease.path(), placement) {
        (CallPath::Inline, Placement::InPlace) => enter::<F>(lease, request, None),
        (CallPath::Inline, Placement::Measured) => {
            enter::<F>(lease, request, Some(executor::thread_time()))
        }
        (CallPath::Inline, Placement::Offloaded) | (CallPath::Async, _) => {
            suspend::<F>(lease, request, placement)
        }
    }
}

/// Runs the guest here and now. `before` is the processor time that this thread has used, where that
/// of the call is measured.
fn enter<F: Answering>(
    mut lease: Lease,
    request: Request<F::Body>,
    before: Option<Duration>,
) -> BoxFuture<Result<Reply, Error>> {
    let Request {
        service,
        method,
        body,
    } = &request;
    let computed = || before.map(|before| executor::thread_time().saturating_sub(before));
    let told = |guest: &Guest, took: Duration| {
        if took > IN_PLACE_MAX || before.is_some() {
            let (placements, computed) = (&guest.placements, computed());
            placements.on_in_place(service, method, took, computed);
            let counted = processor_time::of(took, computed);
            guest.stats.on_excess(took.saturating_sub(counted));
        }
    };
    let answered = match lease
        .instance()
        .enter_inline::<F, _>(|store, functions| functions.enter(store, (service, method), body))
    {
        Ok(answer) => finish::<F>(lease, (service, method), answer, told),
        Err(InlineError::Trapped(trapped)) => {
            told(lease.guest(), lease.time());
            Err(lease.trap(trapped.named(service, method), F::ROLE))
        }
        Err(InlineError::Bailout(bailout)) => {
            let computed = computed();
            let counted = processor_time::of(lease.time(), computed);
            lease.guest().stats.on_computed(counted);
            return bail_out::<F>(lease, request, bailout, computed);
        }
    };
    Box::pin(std::future::ready(answered))
}

/// Begins a call anew on the async path. It has `computed` for so long, where that was measured.
fn bail_out<F: Answering>(
    lease: Lease,
    request: Request<F::Body>,
    bailout: Bailout,
    computed: Option<Duration>,
) -> BoxFuture<Result<Reply, Error>> {
    lease.guest().stats.on_bailout(bailout);
    match bailout {
        // All calls of a component that asks once are likely to ask.
        Bailout::HostCall => {
            lease.shard().generation().close_inline_path();
            suspend::<F>(lease, request, Placement::InPlace)
        }
        Bailout::Overran => {
            let placements = &lease.guest().placements;
            placements.on_overrun(&request.service, &request.method, computed);
            suspend::<F>(lease, request, Placement::Offloaded)
        }
    }
}

/// Runs the guest on a fiber.
fn suspend<F: Answering>(
    lease: Lease,
    request: Request<F::Body>,
    placement: Placement,
) -> BoxFuture<Result<Reply, Error>> {
    let guest = Arc::clone(lease.guest());
    let purpose = Purpose::call(request.service.clone(), request.method.clone());
    offload::run_at(
        placement,
        &guest,
        purpose,
        Err,
        Box::pin(run::<F>(lease, request)),
    )
}

/// Runs the guest on a fiber, from the beginning.
async fn run<F: Answering>(mut lease: Lease, request: Request<F::Body>) -> Result<Reply, Error> {
    if !lease.is_async() {
        lease = lease.renew().await?;
    }
    let Request {
        service,
        method,
        body,
    } = &request;
    let instance = lease.instance();
    if let Some(CallContext {
        call: AmbientCall::Owned(call),
        ..
    }) = &mut instance.state().ambient
    {
        call.service = service.clone();
        call.method = method.clone();
    }
    let (store, functions) = instance.parts::<F>();
    let result = match functions {
        Some(functions) => functions.enter_async(store, (service, method), body).await,
        None => Err(no_role::<F>()),
    };
    match instance.finish(result) {
        Ok(answer) => finish::<F>(lease, (service, method), answer, |_, _| ()),
        Err(trapped) => Err(lease.trap(trapped, F::ROLE)),
    }
}

/// What the caller gets. `told` is told how long the instance was out for it.
fn finish<F: Answering>(
    mut lease: Lease,
    (service, method): (&str, &str),
    answer: HandleResult,
    told: impl FnOnce(&Guest, Duration),
) -> Result<Reply, Error> {
    match answer {
        Ok(octets) => {
            let (length, limit) = (octets.len(), lease.guest().spec.limits.output_bytes_max);
            if length > limit {
                told(lease.guest(), lease.time());
                let stopped = lease
                    .instance()
                    .state()
                    .stopped(Stop::Output { length, limit });
                return Err(lease.trap(stopped.named(service, method), F::ROLE));
            }
            let form = lease.guest().spec.form_of(service);
            let draft = lease.instance().end();
            lease.finish_told(Outcome::Ok, told);
            Ok(ReplyDraft::into_unary(draft, Bytes::from(octets), form))
        }
        Err(failure) => {
            let draft = lease.instance().end();
            lease.finish_told(Outcome::Failed, told);
            Err(convert::to_failed(failure, draft))
        }
    }
}
