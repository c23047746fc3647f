//! Whether a failed call is tried again, when, and where. The budget is asked beside this
//! (`budget.rs`): a retry needs both.
//!
//! The first line that fits decides; `safety` says what the method allows:
//!
//! | the error | idempotent, unsent | once |
//! |---|---|---|
//! | of the last try that is allowed | stop: attempts | stop: attempts |
//! | blame client | stop: client | stop: client |
//! | a message that is too large, wherever it is sent | stop: never | stop: never |
//! | its kind is not in `kinds` | stop: kind | stop: kind |
//! | retry forbidden, by whoever answered | stop: never | stop: never |
//! | retry elsewhere or after, whoever says so: **nothing was begun** | again | again |
//! | blame gateway, retry never: it knows that another try cannot help | stop: never | stop: never |
//! | retry if idempotent: it may have been begun | again | stop: unsafe |
//! | blame guest or upstream, retry never: it gave no advice, and may have begun | again | stop: unsafe |
//! | asks for a wait longer than `backoff_max` | stop: later | stop: later |
//! | the wait would reach the deadline | stop: deadline | stop: deadline |
//!
//! Nothing was begun when a call was refused before anybody acted on it: a full queue, no instance
//! to be had, an open breaker, no session, a peer that says so. Whoever says `Retry::Elsewhere` or
//! `Retry::After` says that, and may use the two for nothing else. What was sent, or may have been,
//! is `Retry::IfIdempotent`: a session that ended before the answer; a try that exceeded
//! `per_try_timeout`, which is blamed on whom it was made to. Only the end of the whole call is the
//! gateway's `Never`.
//!
//! The wait is full jitter, uniform from 0 to a cap that grows from try to try ("Exponential
//! Backoff And Jitter", AWS Architecture Blog, 2015); `Retry::After` is the least that is waited.
//! `Retry::After` speaks of the same instance, all else is tried elsewhere where there is an
//! elsewhere.

use std::time::Duration;

use super::DURATION_MAX;
use crate::error::{Blame, Error, Kind, Retry};

/// When to try again. The published `RetryConfig` has `max_attempts`, `backoff_factor`,
/// `backoff_max` and `retryable_errors`; `TrafficPolicy` has `attempts` and `per_try_timeout`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicyConfig {
    /// Tries of one call, the first included. Default 3; 1 never retries.
    pub attempts_max: u32,
    /// The longest wait before the second try. Default 25 ms, as Envoy's `base_interval`.
    pub backoff_min: Duration,
    /// How much longer the longest wait is from try to try. Default 2, at least 1.
    pub backoff_factor: f64,
    /// No wait is longer. Default 30 s.
    pub backoff_max: Duration,
    /// What may be tried again. Default `Kinds::default()`.
    pub kinds: Kinds,
    /// How long one try may take. Default none: what is left of the call.
    pub per_try_timeout: Option<Duration>,
}

/// Why a configuration makes no policy.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum RetryPolicyConfigError {
    #[error("attempts 0: not even the first try would be made")]
    NoAttempts,
    #[error("back-off of at most 0: retries would follow at once")]
    NoBackoff,
    #[error("back-off of at least {min:?} exceeds that of at most {max:?}")]
    BackoffOrder { min: Duration, max: Duration },
    #[error("back-off of at most {0:?} exceeds the limit of {DURATION_MAX:?}")]
    BackoffTooLong(Duration),
    #[error("back-off factor {0} is not a number from 1 to {FACTOR_MAX}")]
    BackoffFactor(f64),
    #[error("per-try timeout 0: every try would fail")]
    NoPerTryTimeout,
    #[error("per-try timeout {0:?} exceeds the limit of {DURATION_MAX:?}")]
    PerTryTimeoutTooLong(Duration),
}

/// A set of kinds of error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds(u32);

/// A checked `RetryPolicyConfig`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    config: RetryPolicyConfig,
}

/// What a repetition of the request could do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Safety {
    /// The method may be repeated: its description or the manifest says so.
    Idempotent,
    /// The request never left this gateway, as when no connection was made.
    Unsent,
    /// A second execution may do harm; so is every method about which nothing is said.
    Once,
}

/// What follows a failed try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The caller is told of the error.
    Stop(RetryReason),
    /// Another try, `after` from now; `elsewhere`: not with an instance that was tried, if another
    /// is there.
    Again { after: Duration, elsewhere: bool },
}

/// Why there is no further try; see the table at the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RetryReason {
    Attempts,
    Client,
    Kind,
    Never,
    Unsafe,
    Later,
    Deadline,
}

impl Default for RetryPolicyConfig {
    fn default() -> Self {
        Self {
            attempts_max: 3,
            backoff_min: Duration::from_millis(25),
            backoff_factor: 2.0,
            backoff_max: Duration::from_secs(30),
            kinds: Kinds::default(),
            per_try_timeout: None,
        }
    }
}

impl Kinds {
    pub const NONE: Self = Self(0);

    #[must_use]
    pub const fn with(self, kind: Kind) -> Self {
        Self(self.0 | 1 << kind.grpc())
    }

    #[must_use]
    pub const fn contains(self, kind: Kind) -> bool {
        self.0 & 1 << kind.grpc() != 0
    }
}

/// What passes: `unavailable`, `resource-exhausted` and `deadline-exceeded`, which are the published
/// `connection_error` and `timeout`, and an instance that is full.
impl Default for Kinds {
    fn default() -> Self {
        let is_default = |kind: &Kind| kind.symptom().is_transient();
        Kind::ALL.into_iter().filter(is_default).collect()
    }
}

impl FromIterator<Kind> for Kinds {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        kinds.into_iter().fold(Self::NONE, Self::with)
    }
}

impl RetryPolicy {
    /// # Errors
    /// Names the first value with which the policy could not work.
    pub fn new(config: RetryPolicyConfig) -> Result<Self, RetryPolicyConfigError> {
        use RetryPolicyConfigError as Fault;
        let (min, max) = (config.backoff_min, config.backoff_max);
        if config.attempts_max == 0 {
            return Err(Fault::NoAttempts);
        }
        if max.is_zero() {
            return Err(Fault::NoBackoff);
        }
        if min > max {
            return Err(Fault::BackoffOrder { min, max });
        }
        if max > DURATION_MAX {
            return Err(Fault::BackoffTooLong(max));
        }
        if !(1.0..=FACTOR_MAX).contains(&config.backoff_factor) {
            return Err(Fault::BackoffFactor(config.backoff_factor));
        }
        match config.per_try_timeout {
            Some(timeout) if timeout.is_zero() => Err(Fault::NoPerTryTimeout),
            Some(timeout) if timeout > DURATION_MAX => Err(Fault::PerTryTimeoutTooLong(timeout)),
            Some(_) | None => Ok(Self { config }),
        }
    }

    #[must_use]
    pub const fn config(&self) -> &RetryPolicyConfig {
        &self.config
    }

    /// What follows `error`, the outcome of try number `tries` (1 is the first). `remaining` is what
    /// is left of the call's deadline; `random` is uniform over all of `u64`.
    #[must_use]
    pub fn decide(
        &self,
        error: &Error,
        tries: u32,
        safety: Safety,
        remaining: Option<Duration>,
        random: u64,
    ) -> Decision {
        if let Some(reason) = self.refusal(error, tries, safety) {
            return Decision::Stop(reason);
        }
        let (least, elsewhere) = match error.retry {
            Retry::After(least) => (least, false),
            Retry::Never | Retry::Elsewhere | Retry::IfIdempotent | Retry::Forbidden => {
                (Duration::ZERO, true)
            }
        };
        if least > self.config.backoff_max {
            return Decision::Stop(RetryReason::Later);
        }
        let after = self.backoff(tries, random).max(least);
        if remaining.is_some_and(|remaining| after >= remaining) {
            return Decision::Stop(RetryReason::Deadline);
        }
        Decision::Again { after, elsewhere }
    }

    /// The wait after try number `tries` (1 is the first): uniform from 0 to `backoff_cap`.
    #[must_use]
    pub fn backoff(&self, tries: u32, random: u64) -> Duration {
        let cap = self.backoff_cap(tries).as_nanos();
        // `cap` is below 2^47, a day, so the product fits and the result is at most `cap`.
        let nanos = (u128::from(random) * (cap + 1)) >> 64;
        u64::try_from(nanos).map_or(self.config.backoff_max, Duration::from_nanos)
    }

    /// The longest wait after try number `tries`: `backoff_min`, multiplied by `backoff_factor` for
    /// each try after the first, at most `backoff_max`.
    #[must_use]
    pub fn backoff_cap(&self, tries: u32) -> Duration {
        let exponent = i32::try_from(tries.saturating_sub(1)).unwrap_or(i32::MAX);
        let factor = self.config.backoff_factor.powi(exponent);
        let seconds = self.config.backoff_min.as_secs_f64() * factor;
        // Past what a `Duration` holds, infinity included, is past the maximum; 0 times infinity
        // stays at the minimum, which is 0.
        Duration::try_from_secs_f64(if seconds.is_nan() { 0.0 } else { seconds })
            .map_or(self.config.backoff_max, |cap| {
                cap.min(self.config.backoff_max)
            })
    }

    fn refusal(&self, error: &Error, tries: u32, safety: Safety) -> Option<RetryReason> {
        if tries >= self.config.attempts_max {
            return Some(RetryReason::Attempts);
        }
        if error.blame == Blame::Client {
            return Some(RetryReason::Client);
        }
        if error.is_too_large {
            return Some(RetryReason::Never);
        }
        if !self.config.kinds.contains(error.kind) {
            return Some(RetryReason::Kind);
        }
        match (error.retry, error.blame) {
            (Retry::Elsewhere | Retry::After(_), _) => None,
            (Retry::Forbidden, _) | (Retry::Never, Blame::Client | Blame::Gateway) => {
                Some(RetryReason::Never)
            }
            (Retry::Never | Retry::IfIdempotent, _) if safety == Safety::Once => {
                Some(RetryReason::Unsafe)
            }
            (Retry::Never | Retry::IfIdempotent, _) => None,
        }
    }
}

impl RetryReason {
    /// The name in metrics and in the access record.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Attempts => "attempts",
            Self::Client => "client",
            Self::Kind => "kind",
            Self::Never => "never",
            Self::Unsafe => "unsafe",
            Self::Later => "later",
            Self::Deadline => "deadline",
        }
    }
}

/// From one try to the next; more is a unit taken for another.
const FACTOR_MAX: f64 = 100.0;

#[cfg(test)]
mod tests;
