//! Roles `request-interceptor` and `response-interceptor`: see calls on their way in, and what became
//! of them on their way out.

use std::{sync::Arc, time::Duration};

use postern_core::{
    Call, Error,
    extension::{
        Asked, CallOutcome, Flow, RequestInterceptor, ResponseInterceptor, SeenOutcome, Step,
    },
};
use wasmtime::{AsContext, component::Func};

use crate::{
    bindings::{
        Failure,
        extension::{self as shape, Action, Nothing},
    },
    convert::{self, outcome_of},
    exchange::Exchange,
    exports::{self, Export, Functions},
    generation::WorkerShard,
    instance::no_role,
    lease::Lease,
    offload::{self, Purpose},
    role::Role,
    serving::InService,
    spec::Budgets,
    state::{AmbientCall, CallContext, StoreState},
    worker_local::{DirectFunctions, WorkerLocal},
};

/// `request-interceptor.on-request`.
pub(crate) struct OnRequest(shape::OnRequest);

/// `response-interceptor.on-response`.
pub(crate) struct OnResponse(shape::OnResponse);

impl Functions for OnRequest {
    const ROLE: Role = Role::RequestInterceptor;
    const EXPORTS: &'static [Export] = &[Export::new::<(), shape::OnRequestResult>("on-request")];

    fn find(funcs: &[Func], store: impl AsContext) -> wasmtime::Result<Self> {
        let [on_request] = exports::functions(funcs)?;
        Ok(Self(on_request.typed(store)?))
    }
}

impl DirectFunctions for OnRequest {
    fn budget(budgets: &Budgets) -> Duration {
        budgets.interceptor
    }
}

impl Functions for OnResponse {
    const ROLE: Role = Role::ResponseInterceptor;
    const EXPORTS: &'static [Export] = &[Export::new::<(), (Nothing,)>("on-response")];

    fn find(funcs: &[Func], store: impl AsContext) -> wasmtime::Result<Self> {
        let [on_response] = exports::functions(funcs)?;
        Ok(Self(on_response.typed(store)?))
    }
}

impl DirectFunctions for OnResponse {
    fn budget(budgets: &Budgets) -> Duration {
        budgets.interceptor
    }
}

/// A plugin as an interceptor of requests; every call goes to the generation in service.
pub(crate) struct PluginRequests(pub(crate) Arc<InService>);

/// A plugin as an interceptor of responses; every outcome goes to the generation in service.
pub(crate) struct PluginResponses(pub(crate) Arc<InService>);

impl RequestInterceptor for PluginRequests {
    fn on_request(&self, call: Box<Call>) -> Step<Flow> {
        let serving = self.0.load();
        let Some(serving) = serving.as_ref() else {
            return Step::Done(Flow::Broken(call, self.0.unavailable().into()));
        };
        let generation = &serving.generation;
        if generation.has_only(Role::ResponseInterceptor, Role::RequestInterceptor) {
            return Step::Done(Flow::Proceed(call));
        }
        if let Err(error) = generation.check_role(Role::RequestInterceptor) {
            return Step::Done(Flow::Broken(call, error.into()));
        }
        match generation.local() {
            Some(local) => Step::Done(request(local, call)),
            None => {
                let shard = serving.shard();
                let entered = Box::pin(pooled_request(shard, call));
                // The call went with the guest.
                let refuse = |error: Error| Flow::Refuse(error.into());
                let purpose = Purpose::role("on-request");
                Step::Later(offload::run(&generation.guest, purpose, refuse, entered))
            }
        }
    }
}

impl ResponseInterceptor for PluginResponses {
    fn on_response(&self, asked: &Arc<Asked>, outcome: CallOutcome) -> Step<SeenOutcome> {
        let serving = self.0.load();
        let Some(serving) = serving.as_ref() else {
            return Step::Done(broken(outcome, self.0.unavailable()));
        };
        let generation = &serving.generation;
        if generation.has_only(Role::RequestInterceptor, Role::ResponseInterceptor) {
            return Step::Done(SeenOutcome::from(outcome));
        }
        if let Err(error) = generation.check_role(Role::ResponseInterceptor) {
            return Step::Done(broken(outcome, error));
        }
        match generation.local() {
            Some(local) => Step::Done(response(local, asked, outcome)),
            None => {
                let shard = serving.shard();
                let entered = pooled_response(shard, Arc::clone(asked), outcome);
                // The outcome went with the guest.
                let lost = |error| SeenOutcome::from(Err(error));
                let purpose = Purpose::role("on-response");
                Step::Later(offload::run(
                    &generation.guest,
                    purpose,
                    lost,
                    Box::pin(entered),
                ))
            }
        }
    }
}

fn request(local: &WorkerLocal<OnRequest>, call: Box<Call>) -> Flow {
    let mut entry = match local.take() {
        Ok(entry) => entry,
        Err(absent) => return Flow::Broken(call, local.on_absent(absent).into()),
    };
    let set = |state: &mut StoreState| {
        state.set_ambient(Some(CallContext::watched(AmbientCall::Owned(call))));
        state.slots.put(Exchange::default());
    };
    let result = entry.run(1, set, |store, functions| {
        functions.0.call(store, ()).map(|(action,)| action)
    });
    let given = entry.state().and_then(take);
    let time = entry.time();
    drop(entry);
    flow(given, local.settle(time, result))
}

fn response(
    local: &WorkerLocal<OnResponse>,
    asked: &Arc<Asked>,
    outcome: CallOutcome,
) -> SeenOutcome {
    let mut entry = match local.take() {
        Ok(entry) => entry,
        Err(absent) => return broken(outcome, local.on_absent(absent)),
    };
    let set = |state: &mut StoreState| {
        state.set_ambient(Some(watched(asked)));
        state.slots.put(Exchange::ended(outcome));
    };
    let result = entry.run(1, set, |store, functions| {
        functions.0.call(store, ()).map(|(result,)| result)
    });
    let exchange = entry.state().and_then(take_exchange);
    let time = entry.time();
    drop(entry);
    seen(local.settle(time, result), exchange)
}

async fn pooled_request(shard: Arc<WorkerShard>, call: Box<Call>) -> Flow {
    let mut lease = match Lease::for_async(shard, call.context.deadline).await {
        Ok(lease) => lease,
        Err(error) => return Flow::Broken(call, error.into()),
    };
    let instance = lease.begin(Some(CallContext::watched(AmbientCall::Owned(call))));
    instance.state().slots.put(Exchange::default());
    let (store, on_request) = instance.parts::<OnRequest>();
    let result = match on_request {
        Some(OnRequest(on_request)) => on_request.call_async(store, ()).await,
        None => Err(no_role::<OnRequest>()),
    };
    let given = take(instance.state());
    let result = match instance.finish(result.map(|(action,)| action)) {
        Ok(action) => {
            lease.finish(outcome_of(&action));
            Ok(action)
        }
        Err(trapped) => Err(lease.trap(trapped)),
    };
    flow(given, result)
}

async fn pooled_response(
    shard: Arc<WorkerShard>,
    asked: Arc<Asked>,
    outcome: CallOutcome,
) -> SeenOutcome {
    let mut lease = match Lease::for_async(shard, asked.context.deadline).await {
        Ok(lease) => lease,
        Err(error) => return broken(outcome, error),
    };
    let instance = lease.begin(Some(watched(&asked)));
    instance.state().slots.put(Exchange::ended(outcome));
    let (store, on_response) = instance.parts::<OnResponse>();
    let result = match on_response {
        Some(OnResponse(on_response)) => on_response.call_async(store, ()).await,
        None => Err(no_role::<OnResponse>()),
    };
    let exchange = take_exchange(instance.state());
    let result = match instance.finish(result.map(|(result,)| result)) {
        Ok(result) => {
            lease.finish(outcome_of(&result));
            Ok(result)
        }
        Err(trapped) => Err(lease.trap(trapped)),
    };
    seen(result, exchange)
}

/// What the guest made of an outcome; the outcome as it was given if the guest is broken.
fn seen(result: Result<Nothing, Error>, exchange: Option<Exchange>) -> SeenOutcome {
    let Some(exchange) = exchange else {
        return SeenOutcome::from(Err(lost()));
    };
    match result {
        Ok(Ok(())) => SeenOutcome::from(exchange.changed_outcome()),
        Ok(Err(failure)) => SeenOutcome::from(Err(convert::to_error(failure))),
        Err(error) => broken(exchange.into_outcome(), error),
    }
}

/// An outcome as it was given to an interceptor that is broken.
fn broken(outcome: CallOutcome, error: Error) -> SeenOutcome {
    SeenOutcome {
        outcome,
        broken: Some(Box::new(error)),
    }
}

/// What becomes of a call; as it was given if the guest is broken.
fn flow(
    given: Option<(Box<Call>, Exchange)>,
    result: Result<Result<Action, Failure>, Error>,
) -> Flow {
    let Some((mut call, exchange)) = given else {
        return Flow::Refuse(lost().into());
    };
    match result {
        Ok(Ok(Action::Proceed)) => {
            exchange.change_request(&mut call);
            Flow::Proceed(call)
        }
        Ok(Ok(Action::Answer)) => Flow::Answer(exchange.answer().into()),
        Ok(Err(failure)) => Flow::Refuse(convert::to_error(failure).into()),
        Err(error) => Flow::Broken(call, error.into()),
    }
}

/// What a store was given for `on-request`; it gives that back.
fn take(state: &mut StoreState) -> Option<(Box<Call>, Exchange)> {
    match state.ambient.take()?.call {
        AmbientCall::Owned(call) => Some((call, state.slots.take()?)),
        AmbientCall::Shared(_) => None,
    }
}

/// What a store was given for `on-response`; it gives that back.
fn take_exchange(state: &mut StoreState) -> Option<Exchange> {
    state.ambient = None;
    state.slots.take()
}

/// The ambient call of those who see its outcome.
fn watched(asked: &Arc<Asked>) -> CallContext {
    CallContext::watched(AmbientCall::Shared(Arc::clone(asked)))
}

fn lost() -> Error {
    Error::internal("an interceptor's store has lost its call")
}
