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

use std::sync::Arc;

use postern_core::{
    Call, Error, Reply,
    extension::{Asked, Outcome},
};

use super::{
    authentic::Remembered,
    chain::{Passage, Passed},
    route::Route,
};
use crate::{
    cluster::Trail,
    guard::{Guard, Identity, Moment},
};

/// One call's way, as it stood when the call began.
pub(super) struct Journey {
    pub guard: Option<Watch>,
    pub passage: Passage,
    /// What plugins have said of credentials, where some are asked.
    pub remembered: Option<Arc<Remembered>>,
    pub route: Arc<Route>,
    pub trail: Trail,
    /// Why the route does not take the call, if so. Told only to those who may know.
    pub refusal: Option<Box<Error>>,
}

/// A guard at the time of the call.
pub(super) struct Watch {
    pub guard: Arc<Guard>,
    pub now: Moment,
}

impl Journey {
    /// # Errors
    /// Whatever stands in the way says, or the handler.
    pub(super) async fn make(mut self, mut call: Box<Call>) -> Result<Reply, Error> {
        if let Some(watch) = &self.guard {
            watch.identify(&mut call).await?;
        }
        self.passage.check_missing()?;
        if let Some(remembered) = &self.remembered
            && self.passage.authenticators().next().is_some()
        {
            Box::pin(remembered.identify(&self.passage, &mut call)).await?;
        }
        let (outcome, n_links) = match self.passage.on_request(call).await {
            Passed::On(call) => (self.serve(call).await, self.passage.n_links()),
            Passed::Ended(outcome, n_links) => (outcome, n_links),
        };
        self.passage.on_response(n_links, outcome).await
    }

    async fn serve(&mut self, mut call: Box<Call>) -> Outcome {
        if let Some(watch) = &self.guard {
            watch.guard.require(&call)?;
        }
        if let Some(error) = self.refusal.take() {
            return Err(*error);
        }
        if let Some(watch) = &self.guard {
            watch.guard.authorize(&call)?;
        }
        if self.passage.is_judged() {
            let asked = Asked::of(&call, self.passage.start());
            self.passage.authorize(&asked).await?;
        }
        let mut edits = None;
        if let Some(Watch { guard, now }) = &self.guard {
            guard.admit(&call, now.instant)?;
            guard.edit_request(&mut call);
            edits = guard.reply_edits(&call).map(Box::new);
        }
        let mut reply = self.route.target.call(*call, &self.trail)?.await?;
        if let Some(edits) = edits {
            edits.apply(&mut reply.headers);
        }
        Ok(reply)
    }
}

impl Watch {
    /// Says who calls; waits for an issuer's keys where they are on their way.
    async fn identify(&self, call: &mut Call) -> Result<(), Error> {
        match self.guard.identify(call, self.now)? {
            Identity::Settled => Ok(()),
            Identity::Waiting(waiting) => {
                Box::pin(waiting.answered()).await;
                self.guard.identify_now(call, Moment::now())
            }
        }
    }
}
