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
    Blame, Body, BodyStream, Call, Error, Reply,
    balance::Subset,
    registry::Range,
    resilience::{BulkheadOutcome, Deadline, Decision, Safety},
};
use postern_system::{clock::now, random};

use super::{
    attempt::{Attempt, TryLimit},
    gate::{Entry, Permit},
    picture::{Chosen, Picture, Place, Wish},
    policy::Fallback,
    race,
    refusal::{self, Tried},
    replies::Replies,
    service::Cluster,
    trail::{Note, Trail},
    verdict::is_fault,
};

/// A call under way.
pub(super) struct Way {
    pub(super) cluster: Arc<Cluster>,
    pub(super) picture: Arc<Picture>,
    pub(super) trail: Trail,
    pub(super) call: Call,
    pub(super) wish: Wish,
    pub(super) tried: Vec<Tried>,
    /// The deadline is the policy's, and not the caller's.
    has_own_deadline: bool,
}

/// A reply, with its try where that is not over.
pub(super) struct Won {
    pub(super) reply: Reply,
    pub(super) attempt: Attempt,
}

/// Why there is no reply.
pub(super) struct Lost {
    pub(super) error: Error,
    /// Somebody was tried.
    pub(super) is_sent: bool,
}

/// Whether the fallback may still be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Falls {
    May,
    Has,
}

/// Answers `call`.
pub(super) async fn go(
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

    /// Picks an instance and begins a try there. Gives the try, and the call for it.
    ///
    /// # Errors
    /// When nobody can be picked, or no time is left.
    pub(super) fn begin(&mut self) -> Result<(Attempt, Call), Lost> {
        let now = now();
        let unsent = |error| Lost {
            error,
            is_sent: false,
        };
        let limit = self.limit(now).map_err(unsent)?;
        let chosen = match self.picture.choose(&self.call, &self.wish, now) {
            Ok(chosen) => chosen,
            Err(why) => {
                self.cluster.counts.nobody.add();
                self.trail.note(|| Note::Nobody(why.name()));
                return Err(unsent(refusal::nobody(&self.picture, &self.wish, &why)));
            }
        };
        self.note(&chosen);
        let attempt = Attempt::begin(&self.cluster, &self.picture, chosen, limit, now);
        let gone = || unsent(Error::internal("the picked instance is not there"));
        let attempt = attempt.ok_or_else(gone)?;
        if let Some(place) = attempt.place() {
            self.wish.tried.push(place.endpoint.number);
        }
        Ok((attempt, take(&mut self.call)))
    }

    /// A try has failed: notes it.
    pub(super) fn on_failed(&mut self, place: Option<&Place>, error: &Error) {
        let instance = place.map(|place| place.endpoint.name().clone());
        let instance = instance.unwrap_or_default();
        let kind = error.kind;
        self.trail.note(|| Note::Failed(instance.clone(), kind));
        if self.tried.len() < TRIED_MAX {
            self.tried.push(Tried {
                instance,
                error: error.to_string(),
            });
        }
    }

    pub(super) fn safety(&self) -> Safety {
        if self.picture.is_idempotent(&self.call.method) {
            Safety::Idempotent
        } else {
            Safety::Once
        }
    }

    fn limit(&self, now: Instant) -> Result<TryLimit, Error> {
        let config = self.picture.policy.retry.config();
        let call = Deadline(self.call.context.deadline);
        let per_try = call
            .per_try(now, config.per_try_timeout)
            .map_err(|passed| Error::deadline_exceeded(Blame::Gateway, passed.to_string()))?;
        let is_whole_call = per_try == call;
        Ok(TryLimit {
            at: per_try.0,
            is_own: !is_whole_call || self.has_own_deadline,
            is_whole_call,
        })
    }

    fn note(&self, chosen: &Chosen) {
        let counts = &self.cluster.counts;
        counts.tries.add();
        match chosen.by_component {
            true => counts.picks_component.add(),
            false => counts.picks_native.add(),
        }
        let notes = [
            (chosen.left_to_native, &counts.picks_left, Note::NativePick),
            (
                chosen.is_out_of_subset,
                &counts.picks_out_of_subset,
                Note::OutOfSubset,
            ),
            (self.picture.is_panic, &counts.picks_in_panic, Note::Panic),
            (chosen.is_ejected, &counts.picks_ejected, Note::EjectedPick),
        ];
        for (_, count, note) in notes.into_iter().filter(|(holds, ..)| *holds) {
            count.add();
            self.trail.note(|| note);
        }
        let place = self.picture.places.get(chosen.index);
        self.trail.update(|why| {
            why.balancer = Some(self.picture.balancer_name.clone());
            why.instance = place.map(|place| place.endpoint.name().clone());
            why.zone = place.and_then(|place| place.record.entry.zone.clone());
            why.n_tries += 1;
        });
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

/// What the end of a call says about the room at the gate.
pub(super) fn load_of(error: &Error) -> BulkheadOutcome {
    if error.blame == Blame::Client || error.is_too_large || !is_fault(error.kind) {
        BulkheadOutcome::Served
    } else if error.kind.symptom().is_transient() {
        BulkheadOutcome::Overloaded
    } else {
        BulkheadOutcome::Failed
    }
}

/// The call for one try. A body that can be read once goes with the first.
fn take(call: &mut Call) -> Call {
    if let Some(copy) = call.try_clone() {
        return copy;
    }
    // What is left says still that it was a stream.
    let spent = Body::Messages(BodyStream::empty());
    let body = std::mem::replace(&mut call.body, spent);
    call.with_body(body)
}

const BUDGET: &str = "budget";
/// Tries that a caller is told of.
const TRIED_MAX: usize = 16;
