//! Calls in whose way nothing stands: handed to their handler one by one, or in one batch where they
//! arrived together and go to the same one.

use std::{mem, sync::Arc};

use postern_core::{BoxFuture, Call, Error, Handler, Reply, bounded::start_batch};

use super::{
    answer::{CallBounds, CallFuture},
    record::CallRecord,
    route::{Route, RouteTarget},
};

/// What the pipeline keeps of a call that has come in.
pub(super) struct BatchEntry {
    pub bounds: CallBounds,
    pub record: CallRecord,
    /// Why the route does not take the call, if so.
    pub refusal: Option<Box<Error>>,
}

/// A call that has come in, or the answer of one that cannot end well.
pub(super) type Entered = Result<BatchEntry, BoxFuture<Result<Reply, Error>>>;

/// Hands each of `calls` to its handler; `entries` is what was kept of them, in the same order.
pub(super) fn handle(
    mut calls: Vec<Call>,
    entries: Vec<Entered>,
) -> Vec<BoxFuture<Result<Reply, Error>>> {
    let mut answers = Vec::with_capacity(calls.len());
    let mut entries = entries.into_iter();
    while !calls.is_empty() {
        let rest = calls.split_off(run_length(entries.as_slice()));
        let run = mem::replace(&mut calls, rest);
        if let Some((_, handler)) = entries.as_slice().first().and_then(live) {
            let answering = start_batch(&**handler, run).into_iter();
            answers.extend(answering.zip(entries.by_ref()).map(|(answering, entered)| {
                entered.map_or_else(|refused| refused, |entry| entry.answer(answering))
            }));
        } else {
            answers.extend(
                run.into_iter()
                    .zip(entries.by_ref())
                    .map(|(call, entered)| {
                        entered.map_or_else(|refused| refused, |entry| entry.handle(call))
                    }),
            );
        }
    }
    answers
}

/// How many calls, from the first on, go to the handler of the first. At least one.
fn run_length(entries: &[Entered]) -> usize {
    let Some((route, _)) = entries.first().and_then(live) else {
        return 1;
    };
    let is_same =
        |entered: &&Entered| live(entered).is_some_and(|(other, _)| Arc::ptr_eq(other, route));
    entries.iter().take_while(is_same).count()
}

/// The route of a call and its handler, where there is one and no choice between several.
fn live(entered: &Entered) -> Option<(&Arc<Route>, &Arc<dyn Handler>)> {
    let entry = entered.as_ref().ok()?;
    let route = entry.record.route();
    match &route.target {
        RouteTarget::Live(handler) if entry.refusal.is_none() => Some((route, handler)),
        RouteTarget::Live(_)
        | RouteTarget::Cluster(_)
        | RouteTarget::Down(_)
        | RouteTarget::Loading => None,
    }
}

impl BatchEntry {
    /// Hands the call to its handler.
    #[inline(always)]
    pub(super) fn handle(mut self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        let record = &self.record;
        let answering = match self.refusal.take() {
            Some(error) => Err(*error),
            None => record.route().target.call(call, record.decision_log()),
        };
        match answering {
            Ok(answering) => self.answer(answering),
            Err(error) => self.record.refuse(error),
        }
    }

    /// Waits for what the handler answers.
    #[inline]
    fn answer(self, answering: BoxFuture<Result<Reply, Error>>) -> BoxFuture<Result<Reply, Error>> {
        Box::pin(CallFuture::new(answering, self.bounds, self.record))
    }
}
