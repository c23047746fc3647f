//! One call under way: what it wants of an instance, who was tried, and what is noted of it.

use std::{sync::Arc, time::Instant};

use postern_core::{
    Blame, Call, Error, Reply,
    resilience::{Deadline, Safety},
};
use postern_system::clock::now;

use super::{
    attempt::{Attempt, TryLimit},
    decision_log::{DecisionLog, Note},
    lent::{self, Lent},
    refusal::{self, Tried},
    service::Cluster,
    snapshot::{Candidate, Chosen, ClusterSnapshot, Wish},
};

/// A call under way.
pub(super) struct OngoingCall {
    pub(super) cluster: Arc<Cluster>,
    pub(super) snapshot: Arc<ClusterSnapshot>,
    pub(super) decision_log: DecisionLog,
    pub(super) call: Call,
    pub(super) wish: Wish,
    pub(super) tried: Vec<Tried>,
    /// The deadline is the policy's, and not the caller's.
    pub(super) has_own_deadline: bool,
    /// The body that the last try was given, where it can be read once only.
    pub(super) lent: Option<Lent>,
}

/// A reply, with its try where that is not over.
pub(super) struct Answered {
    pub(super) reply: Reply,
    pub(super) attempt: Attempt,
}

/// Decisions there is no reply.
pub(super) struct Unanswered {
    pub(super) error: Error,
    /// Somebody was tried.
    pub(super) is_sent: bool,
}

impl OngoingCall {
    /// Picks an instance and begins a try there. Gives the try, and the call for it.
    ///
    /// # Errors
    /// When nobody can be picked, or no time is left.
    pub(super) fn begin(&mut self) -> Result<(Attempt, Call), Unanswered> {
        let now = now();
        let unsent = |error| Unanswered {
            error,
            is_sent: false,
        };
        let limit = self.limit(now).map_err(unsent)?;
        let chosen = match self.snapshot.choose(&self.call, &self.wish, now) {
            Ok(chosen) => chosen,
            Err(why) => {
                self.cluster.counts.nobody.add();
                self.decision_log.note(|| Note::Nobody(why.name()));
                return Err(unsent(refusal::nobody(&self.snapshot, &self.wish, &why)));
            }
        };
        self.note(&chosen);
        let attempt = Attempt::begin(&self.cluster, &self.snapshot, chosen, limit, now);
        let gone = || unsent(Error::internal("the picked instance is not there"));
        let attempt = attempt.ok_or_else(gone)?;
        if let Some(candidate) = attempt.candidate() {
            self.wish.tried.push(candidate.endpoint.number);
        }
        Ok((attempt, self.take()))
    }

    /// A try has failed: notes it.
    pub(super) fn on_failed(&mut self, candidate: Option<&Candidate>, error: &Error) {
        let instance = candidate.map(|candidate| candidate.endpoint.name().clone());
        let instance = instance.unwrap_or_default();
        let kind = error.kind;
        self.decision_log
            .note(|| Note::Failed(instance.clone(), kind));
        if self.tried.len() < TRIED_MAX {
            self.tried.push(Tried {
                instance,
                error: error.to_string(),
            });
        }
    }

    /// The call for one try. A body that can be read once is lent.
    fn take(&mut self) -> Call {
        if let Some(copy) = self.call.try_clone() {
            return copy;
        }
        let body = std::mem::take(&mut self.call.body);
        let (body, lent) = lent::lend(body);
        self.lent = lent;
        self.call.with_body(body)
    }

    /// Whether the call can be made once more: its body is there, or is again as no try has begun to read
    /// it.
    pub(super) fn reclaim(&mut self) -> bool {
        match self.lent.take().map(Lent::give_back) {
            Some(Some(body)) => {
                self.call.body = body;
                true
            }
            Some(None) => false,
            None => true,
        }
    }

    pub(super) fn safety(&self) -> Safety {
        let http = self.call.http.as_ref().filter(|http| http.is_forwarded);
        let is_of_http = http.is_some_and(|http| IDEMPOTENT.contains(&http.method.as_str()));
        if is_of_http || self.snapshot.is_idempotent(&self.call.method) {
            Safety::Idempotent
        } else {
            Safety::Once
        }
    }

    fn limit(&self, now: Instant) -> Result<TryLimit, Error> {
        let config = self.snapshot.policy.retry.config();
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
            (self.snapshot.is_panic, &counts.picks_in_panic, Note::Panic),
            (chosen.is_ejected, &counts.picks_ejected, Note::EjectedPick),
        ];
        for (_, count, note) in notes.into_iter().filter(|(holds, ..)| *holds) {
            count.add();
            self.decision_log.note(|| note);
        }
        let candidate = self.snapshot.candidates.get(chosen.index);
        self.decision_log.update(|decisions| {
            decisions.balancer = Some(self.snapshot.balancer_name.clone());
            decisions.instance = candidate.map(|candidate| candidate.endpoint.name().clone());
            decisions.zone = candidate.and_then(|candidate| candidate.record.entry.zone.clone());
            decisions.n_tries += 1;
        });
    }
}

/// Methods of HTTP that may be carried out twice: RFC 9110 section 9.2.2.
const IDEMPOTENT: [&str; 6] = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"];
/// Tries that a caller is told of.
const TRIED_MAX: usize = 16;
