//! One try at one instance, from its pass to its verdict. Dropped on its way it gives everything
//! back: the breaker's pass, the place among the calls in flight.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use postern_core::{Call, Error, Reply, balance::InFlight};
use postern_system::{clock::now, wait};

use super::{
    breaking::{End, Pass},
    refusal,
    service::Cluster,
    snapshot::{Balancer, Candidate, Chosen, ClusterSnapshot},
    verdict::{Verdict, error_of, fault_of},
};

#[must_use = "what is admitted must be finished"]
pub(super) struct Attempt {
    cluster: Arc<Cluster>,
    snapshot: Arc<ClusterSnapshot>,
    index: usize,
    /// `None` once it has ended.
    open: Option<Open>,
    sent: Instant,
    limit: TryLimit,
    by_component: bool,
    /// What its status says of a forwarded request's response.
    fault: Option<u16>,
}

struct Open {
    pass: Pass,
    in_flight: InFlight,
}

/// How long a try may take to its reply's head.
#[derive(Debug, Clone, Copy)]
pub(super) struct TryLimit {
    pub(super) at: Option<Instant>,
    /// It is the policy's, and not the caller's.
    pub(super) is_own: bool,
    /// Nothing of the call is left when it comes.
    pub(super) is_whole_call: bool,
}

impl Attempt {
    /// `None` when the candidate is not there, which a pick never says.
    pub(super) fn begin(
        cluster: &Arc<Cluster>,
        snapshot: &Arc<ClusterSnapshot>,
        chosen: Chosen,
        limit: TryLimit,
        sent: Instant,
    ) -> Option<Self> {
        let endpoint = &snapshot.candidates.get(chosen.index)?.endpoint;
        endpoint.counts.tries.fetch_add(1, Relaxed);
        Some(Self {
            cluster: Arc::clone(cluster),
            snapshot: Arc::clone(snapshot),
            index: chosen.index,
            open: Some(Open {
                pass: chosen.pass,
                in_flight: endpoint.load.begin(),
            }),
            sent,
            limit,
            by_component: chosen.by_component,
            fault: None,
        })
    }

    pub(super) const fn sent(&self) -> Instant {
        self.sent
    }

    pub(super) fn candidate(&self) -> Option<&Candidate> {
        self.snapshot.candidates.get(self.index)
    }

    /// Makes the call. The attempt stays open where the reply goes on as a stream.
    pub(super) async fn make(mut self, call: Call) -> (Self, Result<Reply, Error>) {
        let Some(candidate) = self.candidate() else {
            return (self, Err(Error::internal("a try has no instance")));
        };
        let is_forwarded = call.is_forwarded();
        let answering = candidate.handler.call(call);
        let answered = match self.limit.at {
            Some(at) if self.limit.is_own => {
                tokio::time::timeout_at(at.into(), answering).await.ok()
            }
            // Whoever bounds the call asks at its deadline.
            at => wait::before(at, answering)
                .await
                .map(|(outcome, _)| outcome),
        };
        let result = answered.unwrap_or_else(|| Err(self.silent()));
        // The head has come: what is left is the stream's time.
        let now = now();
        let had = now.saturating_duration_since(self.sent);
        self.limit.at = None;
        self.fault = result
            .as_ref()
            .ok()
            .filter(|_| is_forwarded)
            .and_then(fault_of);
        match &result {
            Ok(reply) if reply.body.is_stream() => {}
            Ok(_) => self.end(self.verdict_of(None, had), now, had),
            Err(error) => self.end(Verdict::of(error, had, self.limit.is_own), now, had),
        }
        (self, result)
    }

    /// The stream of its reply has ended, `latency` being the time to its head.
    pub(super) fn finish_stream(mut self, error: Option<&Error>, latency: Duration) {
        let now = now();
        let had = now.saturating_duration_since(self.sent);
        self.end(self.verdict_of(error, had), now, latency);
    }

    /// The error that the response is, by its status.
    pub(super) fn fault(&self) -> Option<Error> {
        self.fault.map(error_of)
    }

    fn verdict_of(&self, error: Option<&Error>, had: Duration) -> Verdict {
        let fault = self.fault();
        let error = error.or(fault.as_ref());
        error.map_or(Verdict::Success, |error| Verdict::of(error, had, false))
    }

    fn silent(&self) -> Error {
        let name = self
            .candidate()
            .map(|candidate| candidate.endpoint.name().clone());
        let is_local = self.candidate().is_some_and(Candidate::is_local);
        let after_ms = now().saturating_duration_since(self.sent).as_millis();
        let is_whole_call = self.limit.is_whole_call;
        refusal::silent(is_local, &name.unwrap_or_default(), is_whole_call, after_ms)
    }

    fn end(&mut self, verdict: Verdict, now: Instant, latency: Duration) {
        let (Some(open), Some(candidate)) =
            (self.open.take(), self.snapshot.candidates.get(self.index))
        else {
            return;
        };
        let endpoint = &candidate.endpoint;
        let end = match verdict {
            Verdict::Success => End::Success,
            Verdict::Failure | Verdict::Timeout => End::Failure,
            Verdict::CallerFault | Verdict::Full | Verdict::Nothing => End::Cancel,
        };
        endpoint.breaking.on_end(open.pass, end, now);
        endpoint.counts.count(verdict);
        let is_failure = verdict.is_failure();
        if verdict != Verdict::Nothing {
            let is_error = is_failure || verdict == Verdict::Full;
            open.in_flight.finish(now, latency, is_error);
            self.tell_component(verdict, latency);
        }
        if verdict.is_answer() || is_failure {
            let policy_state = &self.snapshot.policy_state;
            if let Some(ejection) = &policy_state.ejection {
                let candidates = &self.snapshot.candidates;
                ejection.on_result(candidates, endpoint.number, now, is_failure, latency);
            }
            if let Some(hedging) = &policy_state.hedging {
                hedging.on_latency(latency);
            }
        }
        if let (Some(outcome), Some(witness)) = (endpoint.news(verdict), self.cluster.witness()) {
            witness.on_outcome(&endpoint.key, outcome);
        }
    }

    fn tell_component(&self, verdict: Verdict, latency: Duration) {
        if let (true, Balancer::Placed(balancer)) = (self.by_component, &self.snapshot.balancer) {
            let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
            balancer.done(self.index, verdict, micros);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.open.is_none() {
            return;
        }
        let now = now();
        let had = now.saturating_duration_since(self.sent);
        // Whoever waits for the call may have looked at the clock a moment before this did.
        let verdict = match self.limit.at {
            Some(at) if at <= now => Verdict::of_silence(had, self.limit.is_own),
            Some(_) | None => Verdict::Nothing,
        };
        self.end(verdict, now, had);
    }
}
