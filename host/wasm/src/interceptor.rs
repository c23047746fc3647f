//! Roles `request-interceptor` and `response-interceptor`: see calls on their way in, and what became
//! of them on their way out.

use std::sync::Arc;

use postern_core::{
    Call, Error,
    extension::{Asked, Flow, Outcome, RequestInterceptor, ResponseInterceptor, Seen, Step},
};

use crate::{
    bindings::{
        Failure,
        extension::{Action, Nothing},
    },
    component::Role,
    convert,
    direct::{RequestIntercept, ResponseIntercept, WorkerLocal},
    generation::Generation,
    offload::{self, Purpose},
    plugin::Plugin,
    serving::WorkerShard,
    state::{AmbientCall, CallContext, State},
    stats::Outcome as CallOutcome,
    subject::{Exchange, Subject},
};

/// A plugin as an interceptor of requests; every call goes to the generation in service.
pub(crate) struct PluginRequests(pub(crate) Arc<Plugin>);

/// A plugin as an interceptor of responses; every outcome goes to the generation in service.
pub(crate) struct PluginResponses(pub(crate) Arc<Plugin>);

impl RequestInterceptor for PluginRequests {
    fn on_request(&self, call: Box<Call>) -> Step<Flow> {
        let serving = self.0.serving();
        let Some(serving) = serving.as_ref() else {
            return Step::Done(Flow::Broken(call, self.0.unavailable().into()));
        };
        let generation = &serving.generation;
        if generation.sees_only(Role::ResponseInterceptor, Role::RequestInterceptor) {
            return Step::Done(Flow::Proceed(call));
        }
        if let Err(error) = generation.check_role(Role::RequestInterceptor) {
            return Step::Done(Flow::Broken(call, error.into()));
        }
        let direct = generation.direct();
        match direct.and_then(|direct| direct.request_interceptor.as_ref()) {
            Some(local) => Step::Done(request(generation, local, call)),
            None => match serving.shard() {
                Some(shard) => {
                    let entered = Box::pin(pooled_request(Arc::clone(&shard), call));
                    // The call went with the guest.
                    let refuse = |error: Error| Flow::Refuse(error.into());
                    let purpose = Purpose::role("on-request");
                    Step::Later(offload::run(&shard, purpose, refuse, entered))
                }
                None => Step::Done(Flow::Broken(call, self.0.unavailable().into())),
            },
        }
    }
}

impl ResponseInterceptor for PluginResponses {
    fn on_response(&self, asked: &Arc<Asked>, outcome: Outcome) -> Step<Seen> {
        let serving = self.0.serving();
        let Some(serving) = serving.as_ref() else {
            return Step::Done(broken(outcome, self.0.unavailable()));
        };
        let generation = &serving.generation;
        if generation.sees_only(Role::RequestInterceptor, Role::ResponseInterceptor) {
            return Step::Done(Seen::from(outcome));
        }
        if let Err(error) = generation.check_role(Role::ResponseInterceptor) {
            return Step::Done(broken(outcome, error));
        }
        let direct = generation.direct();
        match direct.and_then(|direct| direct.response_interceptor.as_ref()) {
            Some(local) => Step::Done(response(generation, local, asked, outcome)),
            None => match serving.shard() {
                Some(shard) => {
                    let entered = pooled_response(Arc::clone(&shard), Arc::clone(asked), outcome);
                    // The outcome went with the guest.
                    let lost = |error| Seen::from(Err(error));
                    let purpose = Purpose::role("on-response");
                    Step::Later(offload::run(&shard, purpose, lost, Box::pin(entered)))
                }
                None => Step::Done(broken(outcome, self.0.unavailable())),
            },
        }
    }
}

fn request(
    generation: &Generation,
    local: &WorkerLocal<RequestIntercept>,
    call: Box<Call>,
) -> Flow {
    let mut entry = match local.take() {
        Ok(entry) => entry,
        Err(absent) => return Flow::Broken(call, local.on_absent(absent).into()),
    };
    let set = |state: &mut State| {
        state.ambient = Some(CallContext::new(AmbientCall::Owned(call)));
        state.subject = Some(Subject::Exchange(Exchange::default()));
    };
    let result = entry.run(1, set, |store, functions| {
        functions.on_request.call(store, ()).map(|(action,)| action)
    });
    let given = entry.state().and_then(take);
    let time = entry.time();
    drop(entry);
    flow(given, local.settle(generation, time, result))
}

fn response(
    generation: &Generation,
    local: &WorkerLocal<ResponseIntercept>,
    asked: &Arc<Asked>,
    outcome: Outcome,
) -> Seen {
    let mut entry = match local.take() {
        Ok(entry) => entry,
        Err(absent) => return broken(outcome, local.on_absent(absent)),
    };
    let set = |state: &mut State| {
        state.ambient = Some(ambient(asked));
        state.subject = Some(Subject::Exchange(Exchange::ended(outcome)));
    };
    let result = entry.run(1, set, |store, functions| {
        functions
            .on_response
            .call(store, ())
            .map(|(result,)| result)
    });
    let subject = entry.state().and_then(|state| {
        state.ambient = None;
        state.subject.take()
    });
    let time = entry.time();
    drop(entry);
    seen(local.settle(generation, time, result), subject)
}

async fn pooled_request(shard: Arc<WorkerShard>, call: Box<Call>) -> Flow {
    let mut lease = match shard.lease_async(call.context.deadline).await {
        Ok(lease) => lease,
        Err(error) => return Flow::Broken(call, error.into()),
    };
    let instance = lease.begin(Some(CallContext::new(AmbientCall::Owned(call))));
    let (store, beside) = instance.beside();
    store.data_mut().subject = Some(Subject::Exchange(Exchange::default()));
    let result = match &beside.on_request {
        Some(on_request) => on_request.call_async(&mut *store, ()).await,
        None => Err(wasmtime::format_err!(
            "it has no role `request-interceptor`"
        )),
    };
    let given = take(store.data_mut());
    let result = match instance.finish(result.map(|(action,)| action)) {
        Ok(action) => {
            lease.finish(outcome_of(&action));
            Ok(action)
        }
        Err(trapped) => Err(lease.trap(trapped)),
    };
    flow(given, result)
}

async fn pooled_response(shard: Arc<WorkerShard>, asked: Arc<Asked>, outcome: Outcome) -> Seen {
    let mut lease = match shard.lease_async(asked.context.deadline).await {
        Ok(lease) => lease,
        Err(error) => return broken(outcome, error),
    };
    let instance = lease.begin(Some(ambient(&asked)));
    let (store, beside) = instance.beside();
    store.data_mut().subject = Some(Subject::Exchange(Exchange::ended(outcome)));
    let result = match &beside.on_response {
        Some(on_response) => on_response.call_async(&mut *store, ()).await,
        None => Err(wasmtime::format_err!(
            "it has no role `response-interceptor`"
        )),
    };
    let state = store.data_mut();
    let subject = state.subject.take();
    state.ambient = None;
    let result = match instance.finish(result.map(|(result,)| result)) {
        Ok(result) => {
            lease.finish(outcome_of(&result));
            Ok(result)
        }
        Err(trapped) => Err(lease.trap(trapped)),
    };
    seen(result, subject)
}

/// What the guest made of an outcome; the outcome as it was given if the guest is broken.
fn seen(result: Result<Nothing, Error>, subject: Option<Subject>) -> Seen {
    let Some(Subject::Exchange(exchange)) = subject else {
        return Seen::from(Err(lost()));
    };
    match result {
        Ok(Ok(())) => Seen::from(exchange.changed_outcome()),
        Ok(Err(failure)) => Seen::from(Err(convert::to_error(failure))),
        Err(error) => broken(exchange.into_outcome(), error),
    }
}

/// An outcome as it was given to an interceptor that is broken.
fn broken(outcome: Outcome, error: Error) -> Seen {
    Seen {
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
fn take(state: &mut State) -> Option<(Box<Call>, Exchange)> {
    match (state.ambient.take()?.call, state.subject.take()?) {
        (AmbientCall::Owned(call), Subject::Exchange(exchange)) => Some((call, exchange)),
        (AmbientCall::Owned(_) | AmbientCall::Shared(_), _) => None,
    }
}

/// The ambient call of those who see its outcome.
pub(crate) fn ambient(asked: &Arc<Asked>) -> CallContext {
    CallContext::new(AmbientCall::Shared(Arc::clone(asked)))
}

/// How an entry through the pool ended that did not trap.
pub(crate) const fn outcome_of<T>(answer: &Result<T, Failure>) -> CallOutcome {
    match answer {
        Ok(_) => CallOutcome::Ok,
        Err(_) => CallOutcome::Failed,
    }
}

fn lost() -> Error {
    Error::internal("an interceptor's store has lost its call")
}
