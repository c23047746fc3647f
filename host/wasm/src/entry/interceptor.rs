//! Roles `request-interceptor` and `response-interceptor`: see calls on their way in, and what became
//! of them on their way out.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use postern_core::{
    Call, Error,
    extension::{
        Asked, CallOutcome, Flow, RequestInterceptor, ResponseInterceptor, SeenOutcome, Step,
    },
};
use wasmtime::{AsContext, Store, component::Func};

use crate::{
    bindings::extension::{self as shape, Action, Nothing},
    convert,
    exchange::Exchange,
    exports::{self, Export, Functions},
    lease,
    question::{Question, Said},
    role::Role,
    serving::InService,
    spec::Budgets,
    state::{AmbientCall, CallContext, StoreState},
    worker_local::DirectFunctions,
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
    const BUDGET_KEY: &'static str = "budgets.interceptor";

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
    const BUDGET_KEY: &'static str = "budgets.interceptor";

    fn budget(budgets: &Budgets) -> Duration {
        budgets.interceptor
    }
}

/// A plugin as an interceptor of requests; every call goes to the generation in service.
pub(crate) struct PluginRequests(pub(crate) Arc<InService>);

/// A plugin as an interceptor of responses; every outcome goes to the generation in service.
pub(crate) struct PluginResponses(pub(crate) Arc<InService>);

/// What becomes of a call on its way in.
struct Request(Box<Call>);

/// What becomes of the outcome of a call.
struct Response {
    asked: Arc<Asked>,
    outcome: CallOutcome,
}

impl RequestInterceptor for PluginRequests {
    fn on_request(&self, call: Box<Call>) -> Step<Flow> {
        self.0.with(|serving| match serving {
            Ok(serving)
                if serving
                    .generation
                    .has_only(Role::ResponseInterceptor, Role::RequestInterceptor) =>
            {
                Step::Done(Flow::Proceed(call))
            }
            serving => lease::ask(serving, Request(call)),
        })
    }
}

impl ResponseInterceptor for PluginResponses {
    fn on_response(&self, asked: &Arc<Asked>, outcome: CallOutcome) -> Step<SeenOutcome> {
        self.0.with(|serving| match serving {
            Ok(serving)
                if serving
                    .generation
                    .has_only(Role::RequestInterceptor, Role::ResponseInterceptor) =>
            {
                Step::Done(SeenOutcome::from(outcome))
            }
            serving => {
                let asked = Arc::clone(asked);
                lease::ask(serving, Response { asked, outcome })
            }
        })
    }
}

impl Question for Request {
    type Functions = OnRequest;
    type Params = ();
    type Said = Action;
    type Kept = Option<(Box<Call>, Exchange)>;
    type Answer = Flow;

    const NAME: &'static str = "on-request";

    fn deadline(&self) -> Option<Instant> {
        self.0.context.deadline
    }

    fn begin(self, state: &mut StoreState) {
        state.set_ambient(Some(CallContext::watched(AmbientCall::Owned(self.0))));
        state.slots.put(Exchange::default());
    }

    fn enter(
        OnRequest(on_request): &OnRequest,
        store: &mut Store<StoreState>,
        (): (),
    ) -> wasmtime::Result<Said<Self>> {
        let (said,) = on_request.call(store, ())?;
        Ok(said)
    }

    async fn enter_async(
        OnRequest(on_request): &OnRequest,
        store: &mut Store<StoreState>,
        (): (),
    ) -> wasmtime::Result<Said<Self>> {
        let (said,) = on_request.call_async(store, ()).await?;
        Ok(said)
    }

    fn end(state: &mut StoreState) -> Self::Kept {
        match state.ambient.take()?.call {
            AmbientCall::Owned(call) => Some((call, state.slots.take()?)),
            AmbientCall::Shared(_) => None,
        }
    }

    /// A call as it was given if the guest is broken.
    fn answer(kept: Self::Kept, said: Result<Said<Self>, Error>, _: &str) -> Flow {
        let Some((mut call, exchange)) = kept else {
            return Self::lose(without_call());
        };
        match said {
            Ok(Ok(Action::Proceed)) => {
                exchange.change_request(&mut call);
                Flow::Proceed(call)
            }
            Ok(Ok(Action::Answer)) => Flow::Answer(exchange.answer().into()),
            Ok(Err(failure)) => Flow::Refuse(convert::to_error(failure).into()),
            Err(error) => Flow::Broken(call, error.into()),
        }
    }

    fn refuse(self, error: Error) -> Flow {
        Flow::Broken(self.0, error.into())
    }

    fn lose(error: Error) -> Flow {
        Flow::Refuse(error.into())
    }
}

impl Question for Response {
    type Functions = OnResponse;
    type Params = ();
    type Said = ();
    type Kept = Option<Exchange>;
    type Answer = SeenOutcome;

    const NAME: &'static str = "on-response";

    fn deadline(&self) -> Option<Instant> {
        self.asked.context.deadline
    }

    fn begin(self, state: &mut StoreState) {
        state.set_ambient(Some(CallContext::watched(AmbientCall::Shared(self.asked))));
        state.slots.put(Exchange::ended(self.outcome));
    }

    fn enter(
        OnResponse(on_response): &OnResponse,
        store: &mut Store<StoreState>,
        (): (),
    ) -> wasmtime::Result<Said<Self>> {
        let (said,) = on_response.call(store, ())?;
        Ok(said)
    }

    async fn enter_async(
        OnResponse(on_response): &OnResponse,
        store: &mut Store<StoreState>,
        (): (),
    ) -> wasmtime::Result<Said<Self>> {
        let (said,) = on_response.call_async(store, ()).await?;
        Ok(said)
    }

    fn end(state: &mut StoreState) -> Self::Kept {
        state.ambient = None;
        state.slots.take()
    }

    /// The outcome as it was given if the guest is broken.
    fn answer(kept: Self::Kept, said: Result<Said<Self>, Error>, _: &str) -> SeenOutcome {
        let Some(exchange) = kept else {
            return Self::lose(without_call());
        };
        match said {
            Ok(Ok(())) => SeenOutcome::from(exchange.changed_outcome()),
            Ok(Err(failure)) => SeenOutcome::from(Err(convert::to_error(failure))),
            Err(error) => broken(exchange.into_outcome(), error),
        }
    }

    fn refuse(self, error: Error) -> SeenOutcome {
        broken(self.outcome, error)
    }

    fn lose(error: Error) -> SeenOutcome {
        SeenOutcome::from(Err(error))
    }
}

/// An outcome as it was given to an interceptor that is broken.
fn broken(outcome: CallOutcome, error: Error) -> SeenOutcome {
    SeenOutcome {
        outcome,
        broken: Some(Box::new(error)),
    }
}

fn without_call() -> Error {
    Error::internal("an interceptor's store has lost its call")
}
