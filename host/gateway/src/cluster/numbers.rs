//! What the clusters count, as plain data: for metrics and for `postern services info`.

use std::{collections::BTreeMap, sync::atomic::Ordering::Relaxed};

use postern_system::clock::now;
use serde::Serialize;

use super::{
    counts::Counts,
    snapshot::{Candidate, ClusterSnapshot},
};

/// One service at one moment. Counters are since the service is known.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ServiceNumbers {
    pub service: String,
    pub balancer: String,
    pub calls: u64,
    /// First tries, retries and hedges.
    pub tries: u64,
    pub retries: u64,
    /// Decisions failed tries were the last: by reason.
    pub retry_stops: BTreeMap<&'static str, u64>,
    /// Retries and hedges that the budget did not pay for.
    pub budget_refusals: u64,
    /// Retries and hedges that it would pay for.
    pub budget_left: f64,
    pub hedges_sent: u64,
    pub hedges_won: u64,
    /// Calls that were refused for want of room: by reason.
    pub sheds: BTreeMap<&'static str, u64>,
    /// Calls that had to wait to be admitted, since the service is known and at present.
    pub waited: u64,
    pub waiting: u64,
    /// Calls that were admitted and are under way, and how many may be. `None` without a limit.
    pub admitted: Option<u32>,
    pub limit: Option<u32>,
    pub fallbacks: u64,
    /// By who decided: `component`, `native`.
    pub picks: BTreeMap<&'static str, u64>,
    /// Picks that a component left to the native balancer.
    pub picks_left: u64,
    pub picks_in_panic: u64,
    pub picks_out_of_subset: u64,
    /// Picks of an ejected instance, as there was no other.
    pub picks_ejected: u64,
    /// Calls for which nobody could be picked.
    pub nobody: u64,
    /// Too few instances are up, so that all are used.
    pub panic: bool,
    /// Instances that the directory has; `instances` are those that take calls.
    pub known: usize,
    pub instances: Vec<InstanceNumbers>,
}

/// One instance at one moment. Counters are since the instance is known.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct InstanceNumbers {
    pub instance: String,
    /// Who answers for it: `plugin users`, `peer gw-2`.
    pub owner: String,
    pub version: Option<String>,
    pub zone: Option<String>,
    pub weight: u32,
    pub in_flight: u32,
    /// As the balancer believes it at present.
    pub latency_us: u64,
    pub tries: u64,
    pub successes: u64,
    pub failures: u64,
    pub timeouts: u64,
    /// Dropped, full, or the gateway's own fault.
    pub others: u64,
    /// `closed`, `open`, `half-open`; `None` without a breaker.
    pub breaker: Option<&'static str>,
    pub breaker_opened: u64,
    pub breaker_closed: u64,
    pub ejected: bool,
    /// By cause.
    pub ejections: BTreeMap<&'static str, u64>,
}

impl ServiceNumbers {
    pub(super) fn of(snapshot: &ClusterSnapshot, counts: &Counts) -> Self {
        let now = now();
        let policy_state = &snapshot.policy_state;
        if let Some(ejection) = &policy_state.ejection {
            ejection.poll(&snapshot.candidates, now);
        }
        let admission = policy_state
            .admission
            .as_ref()
            .map(|admission| admission.figures());
        let picks = [
            ("component", counts.picks_component.read()),
            ("native", counts.picks_native.read()),
        ];
        let candidates = snapshot.candidates.iter().enumerate();
        Self {
            service: snapshot.service.to_string(),
            balancer: snapshot.balancer_name.to_string(),
            calls: counts.calls.read(),
            tries: counts.tries.read(),
            retries: counts.retries.read(),
            retry_stops: counts.stops().collect(),
            budget_refusals: counts.budget_refusals.read(),
            budget_left: policy_state.retry_budget.balance(now),
            hedges_sent: counts.hedges_sent.read(),
            hedges_won: counts.hedges_won.read(),
            sheds: counts.sheds().collect(),
            waited: counts.waited.read(),
            waiting: admission.map_or(0, |(.., waiting)| waiting as u64),
            admitted: admission.map(|(_, admitted, _)| admitted),
            limit: admission.map(|(limit, ..)| limit),
            fallbacks: counts.fallbacks.read(),
            picks: picks.into(),
            picks_left: counts.picks_left.read(),
            picks_in_panic: counts.picks_in_panic.read(),
            picks_out_of_subset: counts.picks_out_of_subset.read(),
            picks_ejected: counts.picks_ejected.read(),
            nobody: counts.nobody.read(),
            panic: snapshot.is_panic,
            known: snapshot.n_known,
            instances: candidates
                .map(|(index, candidate)| InstanceNumbers::of(snapshot, index, candidate))
                .collect(),
        }
    }
}

impl InstanceNumbers {
    fn of(snapshot: &ClusterSnapshot, index: usize, candidate: &Candidate) -> Self {
        let now = now();
        let endpoint = &candidate.endpoint;
        let (entry, counts) = (&candidate.record.entry, &endpoint.counts);
        let (breaker_opened, breaker_closed) = endpoint.breaking.changes();
        let latency = endpoint.load.latency(now);
        Self {
            instance: endpoint.name().to_string(),
            owner: endpoint.key.owner.to_string(),
            version: entry.version.as_ref().map(ToString::to_string),
            zone: entry.zone.as_ref().map(ToString::to_string),
            weight: snapshot.set.get(index).map_or(0, |member| member.weight),
            in_flight: endpoint.load.in_flight(),
            latency_us: u64::try_from(latency.as_micros()).unwrap_or(u64::MAX),
            tries: counts.tries.load(Relaxed),
            successes: counts.successes.load(Relaxed),
            failures: counts.failures.load(Relaxed),
            timeouts: counts.timeouts.load(Relaxed),
            others: counts.others.load(Relaxed),
            breaker: endpoint.breaking.state(now).map(|state| state.name()),
            breaker_opened,
            breaker_closed,
            ejected: endpoint.is_ejected(),
            ejections: counts
                .ejections()
                .map(|(cause, n)| (cause.name(), n))
                .collect(),
        }
    }
}
