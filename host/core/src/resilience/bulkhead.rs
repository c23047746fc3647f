//! How many calls of one service are under way, who waits for a place, and who is refused.
//!
//! ```text
//! admit ─▶ a place is free ──────────────────────────────▶ Go ──▶ on_finish ─▶ who goes next
//!   └────▶ it cannot be served before its deadline ──────▶ Shed
//!   └────▶ the queue has room ───────────────────────────▶ Wait ─▶ poll: waited in vain
//!   └────▶ full, and somebody less urgent waits ─────────▶ Wait, and that one is shed
//!   └────▶ full ─────────────────────────────────────────▶ Shed
//! ```
//!
//! The expected wait of a newcomer is (waiters that go before it + 1) · mean time of a call / limit,
//! Little's law. What is left of a call after its wait must suffice for the call itself: for the mean
//! time and three mean deviations, which about one in twenty exceeds. Waiting longer is in vain: the
//! work would be done, and nobody would take the answer. A refusal says when to come again: when
//! the queue as it is will have drained. Nobody waits while a place is free.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use smallvec::SmallVec;

use super::{
    DURATION_MAX,
    adaptive::{Adaptive, AdaptiveConfig, AdaptiveConfigError, Sample},
    queue::WaitQueue,
};

/// How a service is kept from drowning.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BulkheadConfig {
    /// Calls under way at one time. Default adaptive.
    pub limit: BulkheadLimit,
    /// Calls that wait for a place. Default 1000; 0 refuses what cannot go at once.
    pub queue_max: u32,
    /// How long a call waits at most; its own deadline may be sooner. Default 1 s.
    pub wait_max: Duration,
}

/// How many calls may be under way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum BulkheadLimit {
    Fixed(u32),
    Adaptive(AdaptiveConfig),
}

/// Why a configuration makes no bulkhead.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum BulkheadConfigError {
    #[error("limit 0: nothing would pass")]
    NoLimit,
    #[error("adaptive limit: {0}")]
    Adaptive(#[from] AdaptiveConfigError),
    #[error("longest wait 0 with a queue of {queue_max}: nobody could wait in it")]
    NoWait { queue_max: u32 },
    #[error("longest wait {0:?} exceeds the limit of {DURATION_MAX:?}")]
    WaitTooLong(Duration),
}

/// The bulkhead of one service. Calls are named by numbers that the caller never uses twice.
#[derive(Debug, Clone)]
pub struct Bulkhead {
    config: BulkheadConfig,
    adaptive: Option<Adaptive>,
    /// When each call under way began.
    running: HashMap<u64, Instant>,
    queue: WaitQueue,
    /// Waited in vain, and not told yet.
    late: VecDeque<u64>,
    /// Mean time that a place is taken, in seconds: a moving average over about 20 calls.
    mean_seconds: Option<f64>,
    /// How far from that a call is on average (the estimator of RFC 6298 section 2).
    deviation_seconds: f64,
}

/// What happens to a new call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "what is admitted must be finished"]
pub enum BulkheadAdmission {
    /// It has a place, until `on_finish` or `on_cancel`.
    Go,
    /// It waits until `on_finish` or `on_cancel` of another names it, `poll` refuses it, or it is
    /// displaced. If `displaced` is there, that waiter is refused in its favour.
    Wait { displaced: Option<BulkheadRefused> },
    /// It is refused.
    Shed {
        retry_after: Duration,
        reason: ShedReason,
    },
}

/// A waiter that will not go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BulkheadRefused {
    pub id: u64,
    pub retry_after: Duration,
    pub reason: ShedReason,
}

/// Why a call was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ShedReason {
    /// All who wait are at least as urgent.
    QueueFull,
    /// The expected wait leaves too little of the call's deadline for the call itself.
    WaitTooLong,
    /// Somebody more urgent took its place in the full queue.
    Displaced,
    /// It waited in vain.
    Expired,
}

/// How a call under way ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkheadOutcome {
    /// Answered, by a reply or by an error that took as long as a reply would.
    Served,
    /// Refused as too much (`resource-exhausted`, `unavailable`) or timed out: there is less room
    /// than was thought.
    Overloaded,
    /// Failed otherwise; its time says nothing about the room.
    Failed,
}

/// Waiters that have a place from now on.
pub type BulkheadReady = SmallVec<[u64; 2]>;

impl Default for BulkheadConfig {
    fn default() -> Self {
        Self {
            limit: BulkheadLimit::Adaptive(AdaptiveConfig::default()),
            queue_max: 1000,
            wait_max: Duration::from_secs(1),
        }
    }
}

impl Bulkhead {
    /// # Errors
    /// Names the first value with which it could not work.
    pub fn new(config: BulkheadConfig, now: Instant) -> Result<Self, BulkheadConfigError> {
        let BulkheadConfig {
            queue_max,
            wait_max,
            ..
        } = config;
        if wait_max.is_zero() && queue_max > 0 {
            return Err(BulkheadConfigError::NoWait { queue_max });
        }
        if wait_max > DURATION_MAX {
            return Err(BulkheadConfigError::WaitTooLong(wait_max));
        }
        let adaptive = match config.limit {
            BulkheadLimit::Fixed(0) => return Err(BulkheadConfigError::NoLimit),
            BulkheadLimit::Fixed(_) => None,
            BulkheadLimit::Adaptive(adaptive) => Some(Adaptive::new(adaptive, now)?),
        };
        Ok(Self {
            config,
            adaptive,
            running: HashMap::new(),
            queue: WaitQueue::default(),
            late: VecDeque::new(),
            mean_seconds: None,
            deviation_seconds: 0.0,
        })
    }

    /// Call `id` asks for a place. `priority` 255 is the most urgent; `deadline` is when its caller
    /// stops waiting.
    pub fn admit(
        &mut self,
        now: Instant,
        priority: u8,
        deadline: Option<Instant>,
        id: u64,
    ) -> BulkheadAdmission {
        if self.has_place() {
            self.running.insert(id, now);
            return BulkheadAdmission::Go;
        }
        self.retire(now);
        let n_ahead = self.queue.n_ahead(priority);
        let mut until = now + self.config.wait_max;
        if let Some(deadline) = deadline {
            let left = deadline.saturating_duration_since(now);
            let for_waiting = left.saturating_sub(self.ample());
            if for_waiting < self.expected_wait(n_ahead) {
                return self.shed(ShedReason::WaitTooLong);
            }
            until = until.min(now + for_waiting);
        }
        let mut displaced = None;
        if self.queue.len() >= as_usize(self.config.queue_max) {
            let is_more_urgent = self.queue.priority_min().is_some_and(|min| min < priority);
            let Some(id) = is_more_urgent.then(|| self.queue.pop_last()).flatten() else {
                return self.shed(ShedReason::QueueFull);
            };
            displaced = Some(BulkheadRefused {
                id,
                retry_after: self.retry_after(),
                reason: ShedReason::Displaced,
            });
        }
        self.queue.push(id, priority, until);
        BulkheadAdmission::Wait { displaced }
    }

    /// Call `id` gives its place back; says who goes in its stead. A second `on_finish` of the same
    /// call changes nothing.
    pub fn on_finish(&mut self, now: Instant, id: u64, outcome: BulkheadOutcome) -> BulkheadReady {
        self.leave(now, id, |taken| match outcome {
            BulkheadOutcome::Served => Sample::Served(taken),
            BulkheadOutcome::Overloaded => Sample::Overloaded,
            BulkheadOutcome::Failed => Sample::Nothing,
        })
    }

    /// The caller of `id` went away, while it waited or while it was under way; says who goes in its
    /// stead. Of a call that was refused it changes nothing.
    pub fn on_cancel(&mut self, now: Instant, id: u64) -> BulkheadReady {
        if self.queue.remove(id) {
            return BulkheadReady::new();
        }
        self.late.retain(|late| *late != id);
        self.leave(now, id, |_| Sample::Nothing)
    }

    /// Takes one waiter that waited in vain; to be asked until there is none, at `poll_timeout` and
    /// after every other call.
    pub fn poll(&mut self, now: Instant) -> Option<BulkheadRefused> {
        self.retire(now);
        let id = self.late.pop_front()?;
        Some(BulkheadRefused {
            id,
            retry_after: self.retry_after(),
            reason: ShedReason::Expired,
        })
    }

    /// When to call `poll`, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.queue
            .next_deadline()
            .map(|deadline| (deadline, "a waiting call is too late"))
    }

    /// How many calls may be under way.
    #[must_use]
    pub fn limit(&self) -> u32 {
        match (&self.adaptive, self.config.limit) {
            (Some(adaptive), _) => adaptive.limit(),
            (None, BulkheadLimit::Fixed(limit)) => limit,
            (None, BulkheadLimit::Adaptive(config)) => config.limit_initial,
        }
    }

    #[must_use]
    pub fn in_flight(&self) -> u32 {
        u32::try_from(self.running.len()).unwrap_or(u32::MAX)
    }

    #[must_use]
    pub fn n_waiting(&self) -> usize {
        self.queue.len()
    }

    fn has_place(&self) -> bool {
        self.in_flight() < self.limit()
    }

    fn leave(
        &mut self,
        now: Instant,
        id: u64,
        sample: impl FnOnce(Duration) -> Sample,
    ) -> BulkheadReady {
        let in_flight = self.in_flight();
        let Some(began) = self.running.remove(&id) else {
            return BulkheadReady::new();
        };
        let taken = now.saturating_duration_since(began);
        let seconds = taken.as_secs_f64();
        let mean = self.mean_seconds.get_or_insert(seconds);
        let off = (seconds - *mean).abs();
        self.deviation_seconds += (off - self.deviation_seconds) * MEAN_WEIGHT;
        *mean += (seconds - *mean) * MEAN_WEIGHT;
        if let Some(adaptive) = &mut self.adaptive {
            adaptive.on_sample(now, sample(taken), in_flight);
        }
        self.fill(now)
    }

    /// Gives the free places to those who wait, but not to who waited in vain.
    fn fill(&mut self, now: Instant) -> BulkheadReady {
        self.retire(now);
        let mut ready = BulkheadReady::new();
        while self.has_place() {
            let Some(id) = self.queue.pop_first() else {
                break;
            };
            self.running.insert(id, now);
            ready.push(id);
        }
        ready
    }

    /// Takes who waited in vain out of the queue.
    fn retire(&mut self, now: Instant) {
        while let Some(id) = self.queue.pop_late(now) {
            self.late.push_back(id);
        }
    }

    fn shed(&self, reason: ShedReason) -> BulkheadAdmission {
        BulkheadAdmission::Shed {
            retry_after: self.retry_after(),
            reason,
        }
    }

    /// When the queue as it is will have drained, within bounds; a second while nothing is known.
    fn retry_after(&self) -> Duration {
        if self.mean_seconds.is_none() {
            return RETRY_AFTER_UNKNOWN;
        }
        self.expected_wait(self.queue.len())
            .clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX)
    }

    /// How long one waits behind `n_ahead` others.
    fn expected_wait(&self, n_ahead: usize) -> Duration {
        let turns = u32::try_from(n_ahead + 1).unwrap_or(u32::MAX);
        let mean = self.mean_seconds.unwrap_or_default();
        let seconds = mean * f64::from(turns) / f64::from(self.limit());
        Duration::try_from_secs_f64(seconds).unwrap_or(DURATION_MAX)
    }

    /// The time that suffices for a call; zero until one has ended, so that nobody is refused on a
    /// guess.
    fn ample(&self) -> Duration {
        let mean = self.mean_seconds.unwrap_or_default();
        let seconds = mean + self.deviation_seconds * DEVIATIONS;
        Duration::try_from_secs_f64(seconds).unwrap_or(DURATION_MAX)
    }
}

impl ShedReason {
    /// The name in metrics and in the access record.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue-full",
            Self::WaitTooLong => "wait-too-long",
            Self::Displaced => "displaced",
            Self::Expired => "expired",
        }
    }
}

fn as_usize(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

const MEAN_WEIGHT: f64 = 0.1;
const DEVIATIONS: f64 = 3.0;
const RETRY_AFTER_UNKNOWN: Duration = Duration::from_secs(1);
/// Sooner, callers would come again with the same crowd.
const RETRY_AFTER_MIN: Duration = Duration::from_millis(100);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
