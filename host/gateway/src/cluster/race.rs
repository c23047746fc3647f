//! One round of a call: a single try, or several side by side where the policy hedges.

use std::{future::poll_fn, sync::Arc, task::Poll, time::Instant};

use futures_util::FutureExt;
use postern_core::{Blame, BoxFuture, Error, Reply, Retry, resilience::Safety};
use postern_system::clock::now;

use super::{
    attempt::Attempt,
    decision_log::Note,
    ongoing::{Answered, OngoingCall, Unanswered},
    policy_state::Hedging,
    verdict::is_fault,
};

/// # Errors
/// When all tries of the round failed, or none could begin.
pub(super) async fn run(ongoing: &mut OngoingCall) -> Result<Answered, Unanswered> {
    if let Some(hedging) = hedging(ongoing) {
        return Box::pin(hedged(ongoing, &hedging)).await;
    }
    let (attempt, call) = ongoing.begin()?;
    let (attempt, result) = attempt.make(call).await;
    settle(ongoing, attempt, result)
}

/// Hedging, where the call allows it and there is a second instance to ask.
fn hedging(ongoing: &OngoingCall) -> Option<Arc<Hedging>> {
    let hedging = ongoing.snapshot.policy_state.hedging.as_ref()?;
    let is_possible = ongoing.snapshot.candidates.len() > 1
        && !ongoing.call.body.is_stream()
        && ongoing.safety() == Safety::Idempotent;
    is_possible.then(|| Arc::clone(hedging))
}

type Ended = (Attempt, Result<Reply, Error>);
/// All are polled whenever one is: a try that is late says so when it is asked.
type Running = Vec<BoxFuture<Ended>>;

async fn hedged(ongoing: &mut OngoingCall, hedging: &Hedging) -> Result<Answered, Unanswered> {
    let mut running = Running::new();
    let (attempt, call) = ongoing.begin()?;
    let first = attempt.sent();
    // When each try under way was sent.
    let mut starts = vec![first];
    running.push(Box::pin(attempt.make(call)));
    let mut n_hedges = 0;
    let mut due = hedging.due(first, n_hedges);
    loop {
        let ended = tokio::select! {
            biased;
            ended = next(&mut running) => ended,
            () = sleep_until(due) => {
                n_hedges += 1;
                due = hedge(ongoing, &mut running, &mut starts)
                    .and_then(|sent| hedging.due(sent, n_hedges));
                continue;
            }
        };
        let Some((attempt, result)) = ended else {
            let error = Error::internal("a round has no try");
            return Err(Unanswered {
                error,
                is_sent: true,
            });
        };
        let sent = attempt.sent();
        starts.retain(|start| *start != sent);
        let is_answer = result.as_ref().map_or_else(is_answer, |_| true);
        if is_answer || running.is_empty() {
            if is_answer {
                on_answer(ongoing, hedging, sent > first, &starts);
            }
            return settle(ongoing, attempt, result);
        }
        // Another is under way; this one is told of only.
        if let Err(error) = &result {
            ongoing.on_failed(attempt.candidate(), error);
            // What it says of another try is said of hedges, too (gRPC proposal A6).
            due = match error.retry {
                Retry::Forbidden => None,
                Retry::After(delay) => due.map(|due| due.max(now() + delay)),
                Retry::Never | Retry::Elsewhere | Retry::IfIdempotent => due,
            };
        }
    }
}

/// Sends a hedge beside the tries under way, if it is paid for. Says when it was sent.
fn hedge(
    ongoing: &mut OngoingCall,
    running: &mut Running,
    starts: &mut Vec<Instant>,
) -> Option<Instant> {
    if !ongoing
        .snapshot
        .policy_state
        .retry_budget
        .try_withdraw(now())
    {
        ongoing.cluster.counts.budget_refusals.add();
        return None;
    }
    ongoing.wish.elsewhere = true;
    let (attempt, call) = ongoing.begin().ok()?;
    ongoing.cluster.counts.hedges_sent.add();
    ongoing.decision_log.note(|| Note::Hedged);
    let sent = attempt.sent();
    starts.push(sent);
    running.push(Box::pin(attempt.make(call)));
    Some(sent)
}

/// The first answer is there; `others` were sent when the tries that are dropped were.
fn on_answer(ongoing: &OngoingCall, hedging: &Hedging, is_of_hedge: bool, others: &[Instant]) {
    let now = now();
    for start in others {
        // It takes at least as long as it was under way.
        hedging.on_latency(now.saturating_duration_since(*start));
    }
    if is_of_hedge {
        ongoing.cluster.counts.hedges_won.add();
        ongoing.decision_log.note(|| Note::HedgeWon);
    }
}

fn settle(
    ongoing: &mut OngoingCall,
    attempt: Attempt,
    result: Result<Reply, Error>,
) -> Result<Answered, Unanswered> {
    match result {
        Ok(reply) => Ok(Answered { reply, attempt }),
        Err(error) => {
            ongoing.on_failed(attempt.candidate(), &error);
            Err(Unanswered {
                error,
                is_sent: true,
            })
        }
    }
}

/// Whether an error is the service's answer, which another instance would give as well.
fn is_answer(error: &Error) -> bool {
    error.blame == Blame::Client || !is_fault(error.kind)
}

/// The first that ends; `None` when there is none.
async fn next(running: &mut Running) -> Option<Ended> {
    poll_fn(|cx| {
        let polled = running.iter_mut().enumerate().find_map(|(idx, running)| {
            match running.poll_unpin(cx) {
                Poll::Ready(ended) => Some((idx, ended)),
                Poll::Pending => None,
            }
        });
        match polled {
            Some((idx, ended)) => {
                drop(running.swap_remove(idx));
                Poll::Ready(Some(ended))
            }
            None if running.is_empty() => Poll::Ready(None),
            None => Poll::Pending,
        }
    })
    .await
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
