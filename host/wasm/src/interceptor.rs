//! Role `interceptor`: sees calls on their way in, and what became of them on their way out.

use std::{sync::Arc, time::Instant};

use postern_core::{
    Body, Call, Error, Headers, Text,
    extension::{Asked, Flow, Interceptor, Outcome, Seen, Step},
};

use crate::{
    bindings::{
        Failure,
        extension::{Action, Nothing},
    },
    component::Role,
    convert,
    direct::{Intercept, Seats},
    generation::{Generation, Home},
    plugin::Plugin,
    state::{Current, State},
    stats::Outcome as CallOutcome,
    subject::{Exchange, Subject},
};

/// A plugin as an interceptor; every call goes to the generation in service.
pub(crate) struct PluginInterceptor(pub(crate) Arc<Plugin>);

/// A call taken apart: what a store gets, and what it does not need.
struct Parts {
    current: Current,
    exchange: Exchange,
    version: Option<Text>,
}

impl Interceptor for PluginInterceptor {
    fn on_request(&self, call: Call) -> Step<Flow> {
        let serving = self.0.serving();
        let Some(serving) = serving.as_ref() else {
            return Step::Done(Flow::Broken(call, self.0.unavailable()));
        };
        let generation = &serving.generation;
        if let Err(error) = generation.check_role(Role::Interceptor) {
            return Step::Done(Flow::Broken(call, error));
        }
        match generation
            .direct()
            .and_then(|direct| direct.interceptor.as_ref())
        {
            Some(seats) => Step::Done(request(generation, seats, call)),
            None => match serving.home() {
                Some(home) => Step::Later(Box::pin(pooled_request(home, call))),
                None => Step::Done(Flow::Broken(call, self.0.unavailable())),
            },
        }
    }

    fn on_response(&self, asked: &Asked, outcome: Outcome) -> Step<Seen> {
        let broken = |outcome, error| {
            Step::Done(Seen {
                outcome,
                broken: Some(error),
            })
        };
        let serving = self.0.serving();
        let Some(serving) = serving.as_ref() else {
            return broken(outcome, self.0.unavailable());
        };
        let generation = &serving.generation;
        if let Err(error) = generation.check_role(Role::Interceptor) {
            return broken(outcome, error);
        }
        match generation
            .direct()
            .and_then(|direct| direct.interceptor.as_ref())
        {
            Some(seats) => Step::Done(response(generation, seats, asked, outcome)),
            None => match serving.home() {
                Some(home) => Step::Later(Box::pin(pooled_response(home, asked.clone(), outcome))),
                None => broken(outcome, self.0.unavailable()),
            },
        }
    }

    fn watches_response(&self) -> bool {
        true
    }
}

fn request(generation: &Generation, seats: &Seats<Intercept>, call: Call) -> Flow {
    let now = Instant::now();
    let mut entry = match seats.take(now) {
        Ok(entry) => entry,
        Err(absent) => return Flow::Broken(call, seats.on_absent(absent)),
    };
    let Parts {
        current,
        exchange,
        version,
    } = Parts::of(call);
    let set = |state: &mut State| {
        state.current = Some(current);
        state.subject = Some(Subject::Exchange(exchange));
    };
    let result = entry.run(now, 1, set, |store, functions| {
        functions.on_request.call(store, ()).map(|(action,)| action)
    });
    let parts = entry
        .state()
        .and_then(|state| Parts::back(state.current.take(), state.subject.take(), version));
    drop(entry);
    let result = seats.settle(generation, now, result);
    match parts {
        Some(parts) => parts.flow(result),
        None => Flow::Refuse(lost()),
    }
}

fn response(
    generation: &Generation,
    seats: &Seats<Intercept>,
    asked: &Asked,
    outcome: Outcome,
) -> Seen {
    let now = Instant::now();
    let mut entry = match seats.take(now) {
        Ok(entry) => entry,
        Err(absent) => {
            return Seen {
                outcome,
                broken: Some(seats.on_absent(absent)),
            };
        }
    };
    let set = |state: &mut State| {
        state.current = Some(current(asked));
        state.subject = Some(Subject::Exchange(Exchange::response(outcome, asked.start)));
    };
    let result = entry.run(now, 1, set, |store, functions| {
        functions
            .on_response
            .call(store, ())
            .map(|(result,)| result)
    });
    let subject = entry.state().and_then(|state| {
        state.current = None;
        state.subject.take()
    });
    drop(entry);
    seen(seats.settle(generation, now, result), subject)
}

async fn pooled_request(home: Arc<Home>, call: Call) -> Flow {
    let mut lease = match home.lease_fiber(call.context.deadline).await {
        Ok(lease) => lease,
        Err(error) => return Flow::Broken(call, error),
    };
    let Parts {
        current,
        exchange,
        version,
    } = Parts::of(call);
    let instance = lease.begin(Some(current));
    let (store, beside) = instance.beside();
    store.data_mut().subject = Some(Subject::Exchange(exchange));
    let result = match &beside.intercept {
        Some((on_request, _)) => on_request.call_async(&mut *store, ()).await,
        None => Err(wasmtime::format_err!("it has no role `interceptor`")),
    };
    let state = store.data_mut();
    let (current, subject) = (state.current.take(), state.subject.take());
    let result = match instance.finish(result.map(|(action,)| action)) {
        Ok(action) => {
            lease.finish(outcome_of(&action));
            Ok(action)
        }
        Err(trapped) => Err(lease.trap(trapped)),
    };
    match Parts::back(current, subject, version) {
        Some(parts) => parts.flow(result),
        None => Flow::Refuse(lost()),
    }
}

async fn pooled_response(home: Arc<Home>, asked: Asked, outcome: Outcome) -> Seen {
    let mut lease = match home.lease_fiber(asked.context.deadline).await {
        Ok(lease) => lease,
        Err(error) => {
            return Seen {
                outcome,
                broken: Some(error),
            };
        }
    };
    let instance = lease.begin(Some(current(&asked)));
    let (store, beside) = instance.beside();
    store.data_mut().subject = Some(Subject::Exchange(Exchange::response(outcome, asked.start)));
    let result = match &beside.intercept {
        Some((_, on_response)) => on_response.call_async(&mut *store, ()).await,
        None => Err(wasmtime::format_err!("it has no role `interceptor`")),
    };
    let state = store.data_mut();
    let subject = state.subject.take();
    state.current = None;
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
        Err(error) => Seen {
            outcome: exchange.into_outcome(),
            broken: Some(error),
        },
    }
}

impl Parts {
    fn of(call: Call) -> Self {
        let Call {
            service,
            method,
            version,
            headers,
            body,
            context,
        } = call;
        let current = Current {
            service,
            method,
            headers,
            context,
            reply: None,
            streams: None,
        };
        Self {
            current,
            exchange: Exchange::request(body),
            version,
        }
    }

    /// What comes back out of a store; a store gives back what it was given.
    fn back(
        current: Option<Current>,
        subject: Option<Subject>,
        version: Option<Text>,
    ) -> Option<Self> {
        let (Some(current), Some(Subject::Exchange(exchange))) = (current, subject) else {
            return None;
        };
        Some(Self {
            current,
            exchange,
            version,
        })
    }

    fn flow(self, result: Result<Result<Action, Failure>, Error>) -> Flow {
        let Self {
            current,
            exchange,
            version,
        } = self;
        let Current {
            service,
            method,
            headers,
            context,
            ..
        } = current;
        let call = |headers: Headers, body: Body| Call {
            service,
            method,
            version,
            headers,
            body,
            context,
        };
        match result {
            Ok(Ok(Action::Proceed)) => {
                let (headers, body) = exchange.changed_request(headers);
                Flow::Proceed(call(headers, body))
            }
            Ok(Ok(Action::Answer)) => Flow::Answer(exchange.answer()),
            Ok(Err(failure)) => Flow::Refuse(convert::to_error(failure)),
            Err(error) => Flow::Broken(call(headers, exchange.into_body()), error),
        }
    }
}

/// The ambient call of those who see its outcome.
pub(crate) fn current(asked: &Asked) -> Current {
    Current {
        service: asked.service.clone(),
        method: asked.method.clone(),
        headers: asked.headers.clone(),
        context: asked.context.clone(),
        reply: None,
        streams: None,
    }
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
