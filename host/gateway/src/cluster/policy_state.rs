//! The state of a service's policies that its calls share: admission, retry budget, ejection, hedging. Each is
//! kept from snapshot to snapshot as long as its configuration stays.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use postern_core::resilience::{
    Ejector, HedgeConfig, Hedger, OutlierConfig, RetryBudget, RetryBudgetConfig, Safety,
    outlier::EjectionChange,
};

use super::{admission::Admission, policy::ServicePolicy, snapshot::Candidate};

#[derive(Debug, Clone)]
pub(super) struct PolicyState {
    pub(super) admission: Option<Arc<Admission>>,
    pub(super) retry_budget: Arc<SharedRetryBudget>,
    pub(super) ejection: Option<Arc<Ejection>>,
    pub(super) hedging: Option<Arc<Hedging>>,
}

/// The retry budget. First tries are counted without its lock.
#[derive(Debug)]
pub(super) struct SharedRetryBudget {
    config: RetryBudgetConfig,
    budget: Option<Mutex<RetryBudget>>,
    n_first: AtomicU64,
    born: Instant,
    /// When the first tries are to be handed in, in milliseconds since it was born.
    due_ms: AtomicU64,
}

/// The outlier ejector over the endpoints of a service, by their numbers.
#[derive(Debug)]
pub(super) struct Ejection {
    config: OutlierConfig,
    ejector: Mutex<Ejector<u64>>,
    born: Instant,
    /// When it is to be asked what changes by time, in milliseconds since it was born.
    due_ms: AtomicU64,
}

#[derive(Debug)]
pub(super) struct Hedging {
    config: HedgeConfig,
    hedger: Mutex<Hedger>,
}

impl PolicyState {
    /// Those of `before` whose configuration is that of `policy`, and new ones for the rest.
    pub(super) fn next(before: Option<&Self>, policy: &ServicePolicy, now: Instant) -> Self {
        let admission = |config| {
            let kept = before.and_then(|before| before.admission.as_ref());
            let kept = kept.filter(|admission| admission.config == config).cloned();
            kept.or_else(|| Admission::new(config, now).map(Arc::new))
        };
        let ejection = |config| {
            let kept = before.and_then(|before| before.ejection.as_ref());
            let kept = kept.filter(|kept| kept.config == config).cloned();
            kept.or_else(|| Ejection::new(config, now).map(Arc::new))
        };
        let hedging = |config| {
            let kept = before.and_then(|before| before.hedging.as_ref());
            let kept = kept.filter(|kept| kept.config == config).cloned();
            kept.or_else(|| Hedging::new(config).map(Arc::new))
        };
        let retry_budget = before.map(|before| &before.retry_budget);
        let retry_budget = retry_budget
            .filter(|retry_budget| retry_budget.config == policy.budget)
            .cloned();
        Self {
            admission: policy.concurrency.and_then(admission),
            retry_budget: retry_budget
                .unwrap_or_else(|| Arc::new(SharedRetryBudget::new(policy.budget, now))),
            ejection: policy.outlier.and_then(ejection),
            hedging: policy.hedge.and_then(hedging),
        }
    }
}

impl SharedRetryBudget {
    fn new(config: RetryBudgetConfig, now: Instant) -> Self {
        Self {
            config,
            budget: RetryBudget::new(config, now).ok().map(Mutex::new),
            n_first: AtomicU64::new(0),
            born: now,
            due_ms: AtomicU64::new(0),
        }
    }

    /// A call is tried for the first time.
    pub(super) fn deposit(&self, now: Instant) {
        self.n_first.fetch_add(1, Relaxed);
        // A tenth of the window, as the budget asks for.
        let age_ms = millis(now, self.born);
        if age_ms >= self.due_ms.load(Relaxed) {
            let step = self.config.window.as_millis() / 10;
            let step = u64::try_from(step).unwrap_or(u64::MAX);
            self.due_ms.store(age_ms.saturating_add(step), Relaxed);
            if let Some(budget) = &self.budget {
                budget.lock().deposit(now, self.n_first.swap(0, Relaxed));
            }
        }
    }

    /// Pays for a retry or a hedge. False when there is nothing left.
    pub(super) fn try_withdraw(&self, now: Instant) -> bool {
        self.budget.as_ref().is_some_and(|budget| {
            let mut budget = budget.lock();
            budget.deposit(now, self.n_first.swap(0, Relaxed));
            budget.try_withdraw(now).is_ok()
        })
    }

    pub(super) fn balance(&self, now: Instant) -> f64 {
        let budget = self.budget.as_ref();
        budget.map_or(0.0, |budget| budget.lock().balance(now))
    }
}

impl Ejection {
    fn new(config: OutlierConfig, now: Instant) -> Option<Self> {
        Some(Self {
            config,
            ejector: Mutex::new(Ejector::new(config, now).ok()?),
            born: now,
            due_ms: AtomicU64::new(0),
        })
    }

    /// The set is `candidates` from here on.
    pub(super) fn set_candidates(&self, candidates: &[Candidate]) {
        let mut ejector = self.ejector.lock();
        ejector.set_members(candidates.iter().map(|candidate| candidate.endpoint.number));
        for candidate in candidates {
            let endpoint = &candidate.endpoint;
            endpoint.set_ejected(ejector.is_ejected(endpoint.number));
        }
        self.keep_due(&ejector);
    }

    /// A call to one of them ended after `latency`.
    pub(super) fn on_result(
        &self,
        candidates: &[Candidate],
        number: u64,
        now: Instant,
        is_error: bool,
        latency: Duration,
    ) {
        let mut ejector = self.ejector.lock();
        if let Some(change) = ejector.on_result(number, now, is_error, latency) {
            apply(candidates, &change);
            self.keep_due(&ejector);
        }
    }

    /// Lets time take its effect, without the lock when it has none.
    pub(super) fn poll(&self, candidates: &[Candidate], now: Instant) {
        if millis(now, self.born) < self.due_ms.load(Relaxed) {
            return;
        }
        let mut ejector = self.ejector.lock();
        for change in ejector.poll(now) {
            apply(candidates, &change);
        }
        self.keep_due(&ejector);
    }

    fn keep_due(&self, ejector: &Ejector<u64>) {
        let due = ejector.poll_timeout();
        // Rounded down: asked up to a millisecond early, the ejector changes nothing and is asked again.
        let due_ms = due.map_or(u64::MAX, |(at, _)| millis(at, self.born));
        self.due_ms.store(due_ms, Relaxed);
    }
}

impl Hedging {
    fn new(config: HedgeConfig) -> Option<Self> {
        Some(Self {
            config,
            hedger: Mutex::new(Hedger::new(config).ok()?),
        })
    }

    pub(super) fn on_latency(&self, latency: Duration) {
        self.hedger.lock().on_latency(latency);
    }

    /// When the next hedge of an idempotent call is due.
    pub(super) fn due(&self, sent: Instant, n_hedges: u32) -> Option<Instant> {
        let hedger = self.hedger.lock();
        hedger.poll_timeout(sent, n_hedges, Safety::Idempotent)
    }
}

fn apply(candidates: &[Candidate], change: &EjectionChange<u64>) {
    let (number, cause) = match change {
        EjectionChange::Ejected { id, cause, .. } => (*id, Some(*cause)),
        EjectionChange::Returned { id } => (*id, None),
    };
    let mut candidates = candidates.iter();
    if let Some(candidate) = candidates.find(|candidate| candidate.endpoint.number == number) {
        candidate.endpoint.set_ejected(cause.is_some());
        if let Some(cause) = cause {
            candidate.endpoint.counts.count_ejection(cause);
        }
    }
}

fn millis(at: Instant, born: Instant) -> u64 {
    let age = at.saturating_duration_since(born);
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}
