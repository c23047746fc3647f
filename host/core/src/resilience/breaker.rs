//! Stops calling what keeps failing, and asks with a few probes whether it is well again.
//! Options and defaults are those of the published `CircuitBreaker`: `failure_threshold`,
//! `timeout_duration`, `half_open_requests`, `success_threshold`.

use std::{
    num::NonZeroU64,
    time::{Duration, Instant},
};

use super::DURATION_MAX;

/// When a breaker opens, and when it closes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Failures in a row that open it. Default 5.
    pub failure_threshold: u32,
    /// How long it stays open before it lets probes through. Default 60 s, at most a day.
    pub timeout: Duration,
    /// Probes under way at one time while half-open. Default 3.
    pub half_open_requests: u32,
    /// Successful probes in a row that close it. Default 2; may be more than
    /// `half_open_requests`, as a finished probe makes room for the next.
    pub success_threshold: u32,
}

/// Why a configuration makes no breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BreakerConfigError {
    #[error("failure threshold 0: the breaker would open before anything failed")]
    NoFailureThreshold,
    #[error("success threshold 0: the breaker would close before anything succeeded")]
    NoSuccessThreshold,
    #[error("half-open requests 0: the breaker would never close again")]
    NoHalfOpenRequests,
    #[error("timeout 0: the breaker would never be open")]
    NoTimeout,
    #[error("timeout {0:?} exceeds the limit of {DURATION_MAX:?}")]
    TimeoutTooLong(Duration),
}

/// One breaker, for one service or one instance.
#[derive(Debug, Clone)]
pub struct Breaker {
    config: BreakerConfig,
    phase: Phase,
    /// Counts the changes of phase, so that what was admitted in one is not judged in another.
    era: NonZeroU64,
}

/// The right to one call. It must be handed back by exactly one of `on_success`, `on_failure` and
/// `on_cancel`; whoever holds it does so in its `Drop` where nothing else happened.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "what is admitted must be finished"]
pub struct Ticket {
    era: NonZeroU64,
}

/// The call may not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the circuit breaker is open, retry after {retry_after:?}")]
pub struct Open {
    /// When probes begin; while they are under way, a second (or the timeout, where it is shorter).
    pub retry_after: Duration,
}

/// What a breaker does with calls.
///
/// ```text
///            failure_threshold failures in a row
///  closed ──────────────────────────────────────────▶ open ◀──┐
///    ▲                                                 │      │ a probe fails
///    │                                         timeout │      │
///    │ success_threshold probes succeed                ▼      │
///    └──────────────────────────────────────────── half-open ─┘
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BreakerState {
    /// All calls pass.
    Closed,
    /// None passes.
    Open,
    /// At most `half_open_requests` pass at one time.
    HalfOpen,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Closed { n_failures: u32 },
    Open { until: Instant },
    HalfOpen { n_probes: u32, n_successes: u32 },
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            failure_threshold: 5,
            timeout: Duration::from_secs(60),
            half_open_requests: 3,
            success_threshold: 2,
        }
    }
}

impl Breaker {
    /// A closed breaker.
    ///
    /// # Errors
    /// Names the first value with which it could not work.
    pub fn new(config: BreakerConfig) -> Result<Self, BreakerConfigError> {
        use BreakerConfigError as Fault;
        if config.failure_threshold == 0 {
            return Err(Fault::NoFailureThreshold);
        }
        if config.success_threshold == 0 {
            return Err(Fault::NoSuccessThreshold);
        }
        if config.half_open_requests == 0 {
            return Err(Fault::NoHalfOpenRequests);
        }
        if config.timeout.is_zero() {
            return Err(Fault::NoTimeout);
        }
        if config.timeout > DURATION_MAX {
            return Err(Fault::TimeoutTooLong(config.timeout));
        }
        Ok(Self {
            config,
            phase: Phase::Closed { n_failures: 0 },
            era: NonZeroU64::MIN,
        })
    }

    /// Asks for one call.
    ///
    /// # Errors
    /// `Open` while the timeout runs, and while all probes are under way.
    pub fn try_admit(&mut self, now: Instant) -> Result<Ticket, Open> {
        if let Phase::Open { until } = self.phase {
            let retry_after = until.saturating_duration_since(now);
            if !retry_after.is_zero() {
                return Err(Open { retry_after });
            }
            self.enter(Phase::HalfOpen {
                n_probes: 0,
                n_successes: 0,
            });
        }
        if let Phase::HalfOpen { n_probes, .. } = &mut self.phase {
            if *n_probes >= self.config.half_open_requests {
                let retry_after = PROBE_WAIT.min(self.config.timeout);
                return Err(Open { retry_after });
            }
            *n_probes += 1;
        }
        Ok(Ticket { era: self.era })
    }

    /// The call was answered. Returns the state that the breaker changed to, if it did.
    pub fn on_success(&mut self, ticket: Ticket) -> Option<BreakerState> {
        if !self.is_current(ticket) {
            return None;
        }
        match &mut self.phase {
            Phase::Closed { n_failures } => *n_failures = 0,
            Phase::Open { .. } => {}
            Phase::HalfOpen {
                n_probes,
                n_successes,
            } => {
                *n_probes = n_probes.saturating_sub(1);
                *n_successes += 1;
                if *n_successes >= self.config.success_threshold {
                    self.enter(Phase::Closed { n_failures: 0 });
                    return Some(BreakerState::Closed);
                }
            }
        }
        None
    }

    /// The call failed through the fault of whom it was made to. Returns the state that the breaker
    /// changed to, if it did.
    pub fn on_failure(&mut self, ticket: Ticket, now: Instant) -> Option<BreakerState> {
        if !self.is_current(ticket) {
            return None;
        }
        if let Phase::Closed { n_failures } = &mut self.phase {
            *n_failures += 1;
            if *n_failures < self.config.failure_threshold {
                return None;
            }
        }
        self.enter(Phase::Open {
            until: now + self.config.timeout,
        });
        Some(BreakerState::Open)
    }

    /// The call came to no verdict: it was dropped, or failed by its caller's fault. A probe gives
    /// its place back.
    pub fn on_cancel(&mut self, ticket: Ticket) {
        if self.is_current(ticket)
            && let Phase::HalfOpen { n_probes, .. } = &mut self.phase
        {
            *n_probes = n_probes.saturating_sub(1);
        }
    }

    /// What the breaker would do with a call at `now`.
    #[must_use]
    pub fn state(&self, now: Instant) -> BreakerState {
        match self.phase {
            Phase::Closed { .. } => BreakerState::Closed,
            Phase::Open { until } if now < until => BreakerState::Open,
            Phase::Open { .. } | Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Closed, and no failure is counted: a success would change nothing.
    #[must_use]
    pub const fn is_calm(&self) -> bool {
        matches!(self.phase, Phase::Closed { n_failures: 0 })
    }

    /// The era, while the breaker is calm. A caller that keeps it in an atomic beside its lock (0
    /// for none, written whenever the lock is held) admits with `Ticket::calm` and drops the ticket
    /// of a success, both without the lock, as long as the atomic still holds the era.
    #[must_use]
    pub const fn calm_era(&self) -> Option<NonZeroU64> {
        if self.is_calm() { Some(self.era) } else { None }
    }

    /// A ticket of an earlier era says nothing about this one.
    fn is_current(&self, ticket: Ticket) -> bool {
        ticket.era == self.era
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.era = self.era.saturating_add(1);
    }
}

impl Ticket {
    /// The ticket of a breaker that was calm in `era`.
    pub const fn calm(era: NonZeroU64) -> Self {
        Self { era }
    }
}

impl BreakerState {
    /// The name in metrics and in the admin interface.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

/// What to tell a caller while probes are under way: HTTP's `retry-after` counts in seconds.
const PROBE_WAIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
