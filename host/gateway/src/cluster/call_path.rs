//! The path of one call through its service.
//!
//! ```text
//! admission ─▶ ┌ pick ─▶ breaker ─▶ try ─▶ verdict ┐ ─▶ reply
//!              └ wait ◀── budget ◀── retry? ◀──────┘ ─▶ fallback
//! ```
//!
//! A body that is a stream can be read once: such a call is tried again only while nothing of it was
//! read, and has no service to fall back to. A forwarded request is tried again by the status of its
//! response, too; the last response is the client's.
//! A streamed reply holds its try and its permit to its end; its head ends the
//! time of the try. The instance is given the deadline of the call and not that of the try, which
//! would cut such a stream: a try that is too slow is dropped here, which cancels it there. The deadline
//! of the call itself is armed in front of the pipeline, where a call is polled once more when it comes.

use std::{sync::Arc, time::Instant};

use postern_core::{
    Blame, BodyStream, BoxFuture, Call, Error, Handler, Reply,
    balance::Subset,
    registry::Range,
    resilience::{BulkheadOutcome, Deadline, Decision},
};
use postern_system::{clock::now, random};

use super::{
    admission::{AdmissionOutcome, AdmissionPermit},
    decision_log::{DecisionLog, Note},
    ongoing::{Answered, OngoingCall},
    policy::Fallback,
    race, refusal,
    replies::Replies,
    service::Cluster,
    snapshot::{ClusterSnapshot, Wish},
    verdict::{is_fault, load_of},
};

/// Whether the fallback may still be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FallbackUse {
    Allowed,
    Taken,
}

impl Cluster {
    /// Answers `call` by the policy in force, and notes in `decision_log` why so. Dropping the future
    /// cancels the call at every instance that it was sent to, and gives every permit back.
    pub(crate) fn call(
        self: &Arc<Self>,
        call: Call,
        decision_log: &DecisionLog,
    ) -> BoxFuture<Result<Reply, Error>> {
        Box::pin(go(
            Arc::clone(self),
            call,
            decision_log.clone(),
            FallbackUse::Allowed,
        ))
    }
}

/// As `Cluster::call`, noting nothing.
impl Handler for Cluster {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        match self.handle() {
            Some(me) => Self::call(&me, call, &DecisionLog::off()),
            None => {
                let message = format!("service {} is gone", self.name());
                let error = Error::unavailable(Blame::Gateway, message);
                Box::pin(std::future::ready(Err(error)))
            }
        }
    }
}

/// Answers `call`.
async fn go(
    cluster: Arc<Cluster>,
    mut call: Call,
    decision_log: DecisionLog,
    falls: FallbackUse,
) -> Result<Reply, Error> {
    let snapshot = cluster.snapshot();
    cluster.counts.calls.add();
    let own = snapshot
        .policy
        .timeout
        .and_then(|t| Deadline::after(now(), t).0);
    let deadline = &mut call.context.deadline;
    *deadline = [*deadline, own].into_iter().flatten().min();
    let fallback = snapshot
        .policy
        .fallback
        .clone()
        .filter(|_| falls == FallbackUse::Allowed);
    let spare = fallback.as_ref().and_then(|_| call.try_clone());
    let error = match answer(&cluster, snapshot, call, own, decision_log.clone()).await {
        Err(error) if error.blame != Blame::Client && is_fault(error.kind) => error,
        outcome => return outcome,
    };
    match fallback {
        Some(fallback) => fall_back(&cluster, fallback, spare, error, decision_log).await,
        None => Err(error),
    }
}

/// As `go`, without fallback. `own` is the deadline that the policy sets.
async fn answer(
    cluster: &Arc<Cluster>,
    snapshot: Arc<ClusterSnapshot>,
    call: Call,
    own: Option<Instant>,
    decision_log: DecisionLog,
) -> Result<Reply, Error> {
    let urgency = (call.context.priority, call.context.deadline);
    let permit = enter(cluster, &snapshot, urgency, &decision_log).await?;
    let mut ongoing = OngoingCall {
        cluster: Arc::clone(cluster),
        wish: wish(&snapshot, &call)?,
        has_own_deadline: own.is_some() && own == call.context.deadline,
        snapshot,
        decision_log,
        call,
        tried: Vec::new(),
        lent: None,
    };
    match Box::pin(ongoing.tries()).await {
        Ok(won) => Ok(won.hand_on(permit)),
        Err(error) => {
            if let Some(permit) = permit {
                permit.finish(load_of(&error));
            }
            Err(error)
        }
    }
}

impl OngoingCall {
    async fn tries(&mut self) -> Result<Answered, Error> {
        self.snapshot.policy_state.retry_budget.deposit(now());
        let mut n_rounds = 0;
        loop {
            n_rounds += 1;
            match race::run(self).await {
                Ok(won) => {
                    let fault = won.attempt.fault();
                    if !self.may_try_again(fault, n_rounds).await {
                        return Ok(won);
                    }
                    won.give_up();
                }
                Err(lost) => {
                    if !lost.is_sent || !self.reclaim() {
                        return Err(refusal::tell_tries(lost.error, &self.tried, None));
                    }
                    if let Err(stopped) = self.wait_for_next(&lost.error, n_rounds).await {
                        return Err(refusal::tell_tries(lost.error, &self.tried, Some(stopped)));
                    }
                }
            }
            self.cluster.counts.retries.add();
            self.snapshot = self.cluster.snapshot();
        }
    }

    /// Whether a response whose status says that it is a failure is given up for another try, which may
    /// begin then.
    async fn may_try_again(&mut self, fault: Option<Error>, n_rounds: u32) -> bool {
        let Some(error) = fault else {
            return false;
        };
        self.reclaim() && self.wait_for_next(&error, n_rounds).await.is_ok()
    }

    /// Waits until the next round may begin.
    ///
    /// # Errors
    /// Decisions there is none.
    async fn wait_for_next(&mut self, error: &Error, n_rounds: u32) -> Result<(), &'static str> {
        let now = now();
        let remaining = self.call.context.remaining(now);
        let retry = &self.snapshot.policy.retry;
        let decision = retry.decide(error, n_rounds, self.safety(), remaining, random::even());
        let stopped = match decision {
            Decision::Stop(reason) => {
                self.cluster.counts.count_stop(reason);
                reason.name()
            }
            Decision::Again { after, elsewhere } => {
                if self.snapshot.policy_state.retry_budget.try_withdraw(now) {
                    self.wish.elsewhere = elsewhere;
                    if !after.is_zero() {
                        tokio::time::sleep(after).await;
                    }
                    return Ok(());
                }
                self.cluster.counts.budget_refusals.add();
                BUDGET
            }
        };
        self.decision_log.note(|| Note::Stopped(stopped));
        Err(stopped)
    }
}

impl Answered {
    /// Ends its try by what its status says.
    fn give_up(self) {
        let latency = now().saturating_duration_since(self.attempt.sent());
        self.attempt.finish_stream(None, latency);
    }

    /// The reply for the caller. A stream keeps try and permit; otherwise both are over.
    fn hand_on(self, permit: Option<AdmissionPermit>) -> Reply {
        let latency = now().saturating_duration_since(self.attempt.sent());
        let Self { reply, attempt } = self;
        if reply.body.is_stream() {
            let body = reply.body.map_stream(|stream| {
                BodyStream::from_source(Replies::new(stream, attempt, permit, latency))
            });
            return Reply { body, ..reply };
        }
        if let Some(permit) = permit {
            permit.finish(BulkheadOutcome::Served);
        }
        reply
    }
}

/// Waits to be admitted, if the policy bounds how many calls are.
async fn enter(
    cluster: &Cluster,
    snapshot: &ClusterSnapshot,
    (priority, deadline): (u8, Option<Instant>),
    decision_log: &DecisionLog,
) -> Result<Option<AdmissionPermit>, Error> {
    let Some(admission) = &snapshot.policy_state.admission else {
        return Ok(None);
    };
    let shed = match admission.enter(priority, deadline) {
        AdmissionOutcome::Go(permit) => return Ok(Some(permit)),
        AdmissionOutcome::Shed(shed) => shed,
        AdmissionOutcome::Wait(permit, told) => {
            cluster.counts.waited.add();
            decision_log.note(|| Note::Waited);
            match permit.wait(told, deadline).await {
                Ok(permit) => return Ok(Some(permit)),
                Err(shed) => shed,
            }
        }
    };
    cluster.counts.count_shed(shed.reason);
    decision_log.note(|| Note::Shed(shed.reason.name()));
    Err(refusal::shed(&snapshot.service, shed))
}

/// What the call wants of an instance.
fn wish(snapshot: &ClusterSnapshot, call: &Call) -> Result<Wish, Error> {
    let policy = &snapshot.policy;
    let version = call.version.as_ref().map(|text| Range::parse(text));
    let version = version
        .transpose()
        .map_err(|error| Error::invalid_argument(error.to_string()))?;
    let wanted = policy.subset.headers.iter().filter_map(|(key, header)| {
        let value = call.headers.get_str(header)?;
        Some((key.clone(), value.as_ref().into()))
    });
    let subset = Subset {
        metadata: wanted.collect(),
        version: None,
    };
    let key = policy.is_by_key().then(|| policy.hash_on.key(call));
    Ok(Wish {
        key: key.flatten(),
        version,
        subset: (!subset.metadata.is_empty()).then_some(subset),
        ..Wish::default()
    })
}

/// Answers in the service's stead. What fails too is told as it failed there.
async fn fall_back(
    cluster: &Arc<Cluster>,
    fallback: Fallback,
    spare: Option<Call>,
    error: Error,
    decision_log: DecisionLog,
) -> Result<Reply, Error> {
    match fallback {
        Fallback::Reply(reply) => {
            cluster.counts.fallbacks.add();
            decision_log.note(|| Note::Fallback("reply".into()));
            Ok(Reply::one(reply))
        }
        Fallback::Service(name) => {
            let (Some(other), Some(mut call)) = (cluster.sibling(&name), spare) else {
                return Err(error);
            };
            cluster.counts.fallbacks.add();
            decision_log.note(|| Note::Fallback(name.clone()));
            call.service = name;
            // The version is one of the service that failed.
            call.version = None;
            Box::pin(go(other, call, decision_log, FallbackUse::Taken)).await
        }
    }
}

const BUDGET: &str = "budget";
