//! The way of a call where something stands in it: the guard, plugins, or both. A call that nothing
//! stands in the way of never comes here.
//!
//! ```text
//! identify ─▶ interceptors ─▶ require ─▶ routed? ─▶ authorize ─▶ admit ─▶ handler
//!                  ◀──────────────────────── outcome ◀───────────────────────┘
//! ```
//!
//! Its future is allocated once per call, so it is kept small: what is seldom waited for has an
//! allocation of its own.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use postern_core::{
    Blame, Call, Error, Reply,
    bounded::late,
    extension::{Asked, CallOutcome},
};
use postern_system::clock::now;

use super::{
    chain::{ActiveChain, Intercepted},
    route::Route,
};
use crate::{
    cluster::DecisionLog,
    guard::{Failures, Guard, Identified, Moment, Recognition, Sender},
};

/// One call's way, as it stood when the call began.
pub(super) struct InterceptorRun {
    pub guard: Option<CallGuard>,
    /// Counts what plugins refuse, where there is no guard to do it.
    pub failures: Option<Arc<Failures>>,
    /// Who handed the call on, once the guard has said so.
    pub sender: Sender,
    pub chain: ActiveChain,
    /// None of a forwarded request.
    pub deadline: Option<Instant>,
    pub route: Arc<Route>,
    pub decision_log: DecisionLog,
    /// Why the route does not take the call, if so. Told only to those who may know.
    pub refusal: Option<Box<Error>>,
}

/// A guard at the time of the call.
pub(super) struct CallGuard {
    pub guard: Arc<Guard>,
    pub now: Moment,
}

impl InterceptorRun {
    /// # Errors
    /// Whatever stands in the way says, or the handler.
    pub(super) async fn make(mut self, mut call: Box<Call>) -> Result<Reply, Error> {
        let deadline = self.deadline;
        if let Some(watch) = &self.guard {
            self.sender = in_time(deadline, pin!(watch.identify(&mut call))).await?;
        }
        if self.sender == Sender::Caller {
            super::bound_priority(&mut call);
        }
        self.chain.check_missing()?;
        if let Some(remembered) = self.chain.remembered() {
            let identifying = Box::pin(remembered.identify(&self.chain, &mut call));
            let identified = in_time(deadline, pin!(identifying)).await;
            identified.map_err(|error| self.refuse(&call, error))?;
        }
        let passed = in_time(deadline, pin!(self.chain.pass(call))).await;
        let (outcome, n_links) = match passed? {
            Intercepted::On(call) => (self.serve(call).await, self.chain.n_links()),
            Intercepted::Ended(outcome, n_links) => (outcome, n_links),
        };
        in_time(deadline, pin!(self.chain.on_response(n_links, outcome))).await
    }

    /// What a call is told whose credentials a plugin has refused.
    fn refuse(&self, call: &Call, error: Error) -> Error {
        match (&self.guard, &self.failures) {
            (Some(CallGuard { guard, now }), _) => guard.refuse(call, error, now.instant),
            (None, Some(failures)) => {
                failures.refuse(&call.context.peer, error, self.chain.start())
            }
            (None, None) => error,
        }
    }

    async fn serve(&mut self, mut call: Box<Call>) -> CallOutcome {
        if let Some(watch) = &self.guard {
            watch.guard.require(&call)?;
        }
        if let Some(error) = self.refusal.take() {
            return Err(*error);
        }
        if let Some(watch) = &self.guard {
            watch.guard.authorize(&call)?;
        }
        if self.chain.is_judged() {
            let asked = Asked::of(&call, self.chain.start());
            in_time(self.deadline, pin!(self.chain.authorize(&asked))).await?;
        }
        let mut edits = None;
        if let Some(CallGuard { guard, now }) = &self.guard {
            guard.admit(&call, self.sender, now.instant)?;
            guard.edit_request(&mut call);
            edits = guard.reply_edits(&call).map(Box::new);
        }
        let mut outcome = self.route.target.call(*call, &self.decision_log)?.await;
        if let Some(edits) = edits {
            match &mut outcome {
                Ok(reply) => edits.apply(&mut reply.headers),
                // What a failure has none of is not added to it.
                Err(error) => {
                    if let Some(headers) = &mut error.headers {
                        edits.apply(headers);
                    }
                }
            }
        }
        outcome
    }
}

impl CallGuard {
    /// Says who calls, and who handed the call on; waits for an issuer's keys where they are on their
    /// way.
    pub(super) async fn identify(&self, call: &mut Call) -> Result<Sender, Error> {
        let sender = match self.guard.recognise(call, self.now)? {
            Recognition::Settled(sender) => sender,
            Recognition::Waiting(waiting) => {
                Box::pin(waiting.answered()).await;
                self.guard.recognise_now(call, Moment::now())?
            }
        };
        match self.guard.identify(call, self.now)? {
            Identified::Settled => {}
            Identified::Waiting(waiting) => {
                Box::pin(waiting.answered()).await;
                self.guard.identify_now(call, Moment::now())?;
            }
        }
        Ok(sender)
    }
}

/// What a part of the way comes to that stands before the handler or behind it. When it has waited and
/// the call's time is over, that is no fault of the handler, and nothing else begins.
async fn in_time<T>(
    deadline: Option<Instant>,
    mut part: Pin<&mut impl Future<Output = Result<T, Error>>>,
) -> Result<T, Error> {
    let mut has_waited = false;
    let poll = |cx: &mut Context<'_>| {
        let polled = part.as_mut().poll(cx);
        if has_waited && deadline.is_some_and(|deadline| now() >= deadline) {
            return Poll::Ready(Err(late(Blame::Gateway)));
        }
        has_waited = true;
        polled
    };
    std::future::poll_fn(poll).await
}
