//! The way of one call through its service.
//!
//! ```text
//! gate ─▶ ┌ pick ─▶ breaker ─▶ try ─▶ verdict ┐ ─▶ reply
//!         └ wait ◀── budget ◀── retry? ◀──────┘ ─▶ fallback
//! ```
//!
//! A body of many messages can be read once: such a call is tried once, and has no service to fall
//! back to. A streamed reply holds its try and its place at the gate to its end; its head ends the
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
    call::{Way, Won},
    gate::{Entry, Permit},
    picture::{Picture, Wish},
    policy::Fallback,
    race, refusal,
    replies::Replies,
    service::Cluster,
    trail::{Note, Trail},
    verdict::{is_fault, load_of},
};

/// Whether the fallback may still be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Falls {
    May,
    Has,
}

impl Cluster {
    /// Answers `call` by the policy in force, and notes in `trail` why so. Dropping the future
    /// cancels the call at every instance that it was sent to, and gives every place back.
    pub(crate) fn call(
        self: &Arc<Self>,
        call: Call,
        trail: &Trail,
    ) -> BoxFuture<Result<Reply, Error>> {
        Box::pin(go(Arc::clone(self), call, trail.clone(), Falls::May))
    }
}

/// As `Cluster::call`, noting nothing.
impl Handler for Cluster {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        match self.handle() {
            Some(me) => Self::call(&me, call, &Trail::off()),
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
    trail: Trail,
    falls: Falls,
) -> Result<Reply, Error> {
    let picture = cluster.picture();
    cluster.counts.calls.add();
    let own = picture
        .policy
        .timeout
        .and_then(|t| Deadline::after(now(), t).0);
    let deadline = &mut call.context.deadline;
    *deadline = [*deadline, own].into_iter().flatten().min();
    let fallback = picture
        .policy
        .fallback
        .clone()
        .filter(|_| falls == Falls::May);
    let spare = fallback.as_ref().and_then(|_| call.try_clone());
    let error = match answer(&cluster, picture, call, own, trail.clone()).await {
        Err(error) if error.blame != Blame::Client && is_fault(error.kind) => error,
        outcome => return outcome,
    };
    match fallback {
        Some(fallback) => fall_back(&cluster, fallback, spare, error, trail).await,
        None => Err(error),
    }
}

/// As `go`, without fallback. `own` is the deadline that the policy sets.
async fn answer(
    cluster: &Arc<Cluster>,
    picture: Arc<Picture>,
    call: Call,
    own: Option<Instant>,
    trail: Trail,
) -> Result<Reply, Error> {
    let urgency = (call.context.priority, call.context.deadline);
    let permit = enter(cluster, &picture, urgency, &trail).await?;
    let mut way = Way {
        cluster: Arc::clone(cluster),
        wish: wish(&picture, &call)?,
        has_own_deadline: own.is_some() && own == call.context.deadline,
        picture,
        trail,
        call,
        tried: Vec::new(),
    };
    match Box::pin(way.tries()).await {
        Ok(won) => Ok(won.hand_on(permit)),
        Err(error) => {
            if let Some(permit) = permit {
                permit.finish(load_of(&error));
            }
            Err(error)
        }
    }
}

impl Way {
    async fn tries(&mut self) -> Result<Won, Error> {
        self.picture.machines.purse.deposit(now());
        let mut n_rounds = 0;
        loop {
            n_rounds += 1;
            let lost = match race::run(self).await {
                Ok(won) => return Ok(won),
                Err(lost) => lost,
            };
            if !lost.is_sent || self.call.body.is_stream() {
                return Err(refusal::tell_tries(lost.error, &self.tried, None));
            }
            if let Err(stopped) = self.wait_for_next(&lost.error, n_rounds).await {
                return Err(refusal::tell_tries(lost.error, &self.tried, Some(stopped)));
            }
            self.cluster.counts.retries.add();
            self.picture = self.cluster.picture();
        }
    }

    /// Waits until the next round may begin.
    ///
    /// # Errors
    /// Why there is none.
    async fn wait_for_next(&mut self, error: &Error, n_rounds: u32) -> Result<(), &'static str> {
        let now = now();
        let remaining = self.call.context.remaining(now);
        let retry = &self.picture.policy.retry;
        let decision = retry.decide(error, n_rounds, self.safety(), remaining, random::even());
        let stopped = match decision {
            Decision::Stop(reason) => {
                self.cluster.counts.count_stop(reason);
                reason.name()
            }
            Decision::Again { after, elsewhere } => {
                if self.picture.machines.purse.try_withdraw(now) {
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
        self.trail.note(|| Note::Stopped(stopped));
        Err(stopped)
    }
}

impl Won {
    /// The reply for the caller. A stream keeps try and place; otherwise both are over.
    fn hand_on(self, permit: Option<Permit>) -> Reply {
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

/// Gets a place at the gate, if there is a gate.
async fn enter(
    cluster: &Cluster,
    picture: &Picture,
    (priority, deadline): (u8, Option<Instant>),
    trail: &Trail,
) -> Result<Option<Permit>, Error> {
    let Some(gate) = &picture.machines.gate else {
        return Ok(None);
    };
    let shed = match gate.enter(priority, deadline) {
        Entry::Go(permit) => return Ok(Some(permit)),
        Entry::Shed(shed) => shed,
        Entry::Wait(permit, told) => {
            cluster.counts.waited.add();
            trail.note(|| Note::Waited);
            match permit.wait(told, deadline).await {
                Ok(permit) => return Ok(Some(permit)),
                Err(shed) => shed,
            }
        }
    };
    cluster.counts.count_shed(shed.reason);
    trail.note(|| Note::Shed(shed.reason.name()));
    Err(refusal::shed(&picture.service, shed))
}

/// What the call wants of an instance.
fn wish(picture: &Picture, call: &Call) -> Result<Wish, Error> {
    let policy = &picture.policy;
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
    trail: Trail,
) -> Result<Reply, Error> {
    match fallback {
        Fallback::Reply(reply) => {
            cluster.counts.fallbacks.add();
            trail.note(|| Note::Fallback("reply".into()));
            Ok(Reply::one(reply))
        }
        Fallback::Service(name) => {
            let (Some(other), Some(mut call)) = (cluster.sibling(&name), spare) else {
                return Err(error);
            };
            cluster.counts.fallbacks.add();
            trail.note(|| Note::Fallback(name.clone()));
            call.service = name;
            // The version is one of the service that failed.
            call.version = None;
            Box::pin(go(other, call, trail, Falls::Has)).await
        }
    }
}

const BUDGET: &str = "budget";
