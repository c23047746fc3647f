//! The way of a call where something stands in it: the guard, plugins, or both. A call that nothing
//! stands in the way of never comes here.
//!
//! ```text
//! identify ─▶ interceptors ─▶ require ─▶ routed? ─▶ authorize ─▶ admit ─▶ handler
//!                  ◀──────────────────────── outcome ◀───────────────────────┘
//! ```

use std::sync::Arc;

use postern_core::{
    Call, Error, Reply, Text,
    extension::{Asked, Outcome},
};

use super::{
    authentic::Remembered,
    chain::{Chain, Passage, Passed},
    route::Route,
};
use crate::{
    cluster::Trail,
    guard::{Guard, Identity, Moment},
};

/// One call's way, as it stood when the call began.
pub(super) struct Journey {
    pub guard: Option<Arc<Guard>>,
    pub chain: Arc<Chain>,
    pub remembered: Arc<Remembered>,
    pub listener: Option<Text>,
    pub route: Arc<Route>,
    pub trail: Trail,
    /// Whether the route takes the call. Told only to those who may know.
    pub routed: Result<(), Error>,
    pub now: Moment,
}

impl Journey {
    /// # Errors
    /// Whatever stands in the way says, or the handler.
    pub(super) async fn make(self, mut call: Call) -> Result<Reply, Error> {
        let Self {
            guard,
            chain,
            remembered,
            listener,
            route,
            trail,
            routed,
            now,
        } = self;
        if let Some(guard) = &guard {
            identify(guard, &mut call, now).await?;
        }
        let mut passage = chain.passage(&call, listener.as_deref(), now.instant);
        passage.check_missing()?;
        remembered.identify(&passage, &mut call).await?;
        let (outcome, n_links) = match passage.on_request(call).await {
            Passed::On(call) => {
                let outcome = serve(
                    guard.as_deref(),
                    &passage,
                    (&route, &trail),
                    routed,
                    call,
                    now,
                )
                .await;
                (outcome, passage.n_links())
            }
            Passed::Ended(outcome, n_links) => (outcome, n_links),
        };
        passage.on_response(n_links, outcome).await
    }
}

/// Says who calls; waits for an issuer's keys where they are on their way.
async fn identify(guard: &Guard, call: &mut Call, now: Moment) -> Result<(), Error> {
    match guard.identify(call, now)? {
        Identity::Settled => Ok(()),
        Identity::Waiting(waiting) => {
            waiting.answered().await;
            guard.identify_now(call, Moment::now())
        }
    }
}

async fn serve(
    guard: Option<&Guard>,
    passage: &Passage,
    (route, trail): (&Route, &Trail),
    routed: Result<(), Error>,
    mut call: Call,
    now: Moment,
) -> Outcome {
    if let Some(guard) = guard {
        guard.require(&call)?;
    }
    routed?;
    if let Some(guard) = guard {
        guard.authorize(&call)?;
    }
    if passage.is_judged() {
        let asked = Asked::of(&call, now.instant);
        passage.authorize(&asked).await?;
    }
    let mut edits = None;
    if let Some(guard) = guard {
        guard.admit(&call, now.instant)?;
        guard.edit_request(&mut call);
        edits = guard.reply_edits(&call);
    }
    let mut reply = route.target.call(call, trail)?.await?;
    if let Some(edits) = edits {
        edits.apply(&mut reply.headers);
    }
    Ok(reply)
}
