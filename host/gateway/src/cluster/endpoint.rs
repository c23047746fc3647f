//! One life of an instance as the calls of a service know it. It outlives every snapshot that it is
//! in: what was learned of it is kept as long as the directory has it under the same incarnation.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use parking_lot::Mutex;
use postern_core::{
    Text,
    balance::Load,
    registry::{EntryKey, HealthOutcome},
    resilience::outlier::Cause,
};

use super::{breaking::Breaking, verdict::Verdict};

#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) key: EntryKey,
    /// Names it in the ejector and among what a call tried; never given twice.
    pub(super) number: u64,
    pub(super) load: Arc<Load>,
    pub(super) breaking: Breaking,
    pub(super) counts: EndpointCounts,
    /// Since when it takes calls without a break, for slow start; `None` while it takes none.
    available: Mutex<Option<Instant>>,
    /// As the ejector has it.
    is_ejected: AtomicBool,
    /// Whether the directory heard of a failure last.
    is_failing: AtomicBool,
}

/// What happened at one instance since it is known.
#[derive(Debug, Default)]
pub(super) struct EndpointCounts {
    pub(super) tries: AtomicU64,
    pub(super) successes: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) timeouts: AtomicU64,
    /// Came to no verdict: dropped, full, or the gateway's own fault.
    pub(super) others: AtomicU64,
    ejections: [AtomicU64; CAUSES.len()],
}

/// In the order of `EndpointCounts::ejections`.
pub(super) const CAUSES: [Cause; 3] =
    [Cause::ConsecutiveErrors, Cause::SuccessRate, Cause::Latency];

impl Endpoint {
    pub(super) fn new(key: EntryKey, number: u64, now: Instant) -> Self {
        Self {
            key,
            number,
            load: Arc::new(Load::new(now)),
            breaking: Breaking::new(),
            counts: EndpointCounts::default(),
            available: Mutex::new(None),
            is_ejected: AtomicBool::new(false),
            is_failing: AtomicBool::new(false),
        }
    }

    /// The name that its owner gave it.
    pub(super) fn name(&self) -> &Text {
        &self.key.instance.0
    }

    pub(super) fn is_ejected(&self) -> bool {
        self.is_ejected.load(Relaxed)
    }

    pub(super) fn set_ejected(&self, is_ejected: bool) {
        self.is_ejected.store(is_ejected, Relaxed);
    }

    /// It takes calls, from `now` on if it took none before. Says since when.
    pub(super) fn set_available(&self, now: Instant) -> Instant {
        *self.available.lock().get_or_insert(now)
    }

    pub(super) fn set_unavailable(&self) {
        *self.available.lock() = None;
    }

    /// What the directory should hear of a try: every failure, and the first success after one.
    pub(super) fn news(&self, verdict: Verdict) -> Option<HealthOutcome> {
        if verdict.is_failure() {
            self.is_failing.store(true, Relaxed);
            return Some(HealthOutcome::Failure);
        }
        let is_news = verdict.is_answer()
            && self.is_failing.load(Relaxed)
            && self.is_failing.swap(false, Relaxed);
        is_news.then_some(HealthOutcome::Success)
    }
}

impl EndpointCounts {
    pub(super) fn count(&self, verdict: Verdict) {
        let counter = match verdict {
            Verdict::Success | Verdict::CallerFault => &self.successes,
            Verdict::Failure => &self.failures,
            Verdict::Timeout => &self.timeouts,
            Verdict::Full | Verdict::Nothing => &self.others,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(super) fn count_ejection(&self, cause: Cause) {
        let index = CAUSES.iter().position(|known| *known == cause);
        if let Some(counter) = index.and_then(|index| self.ejections.get(index)) {
            counter.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn ejections(&self) -> impl Iterator<Item = (Cause, u64)> {
        let counts = self.ejections.iter().map(|count| count.load(Relaxed));
        CAUSES.into_iter().zip(counts)
    }
}
