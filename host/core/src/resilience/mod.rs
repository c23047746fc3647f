//! What happens to a call when things go wrong, decided by small machines. Each is a function of
//! (state, input, now); the one that drives them owns the clock, the lock and the sockets.
//!
//! ```text
//! admit:  deadline ─▶ bulkhead (limit, queue, shedding) ─▶ breaker ─▶ pick, without the ejected
//! finish: ejector, breaker, limit, latency are told ─▶ retry? within the budget, before the deadline
//! beside: hedge, within the same budget
//! ```
//!
//! Every machine is made by `new`, which refuses a configuration that makes no sense and names why.
//! All can be cloned, so that one is checked when the configuration is read and a fresh copy of it
//! serves each service or instance.

pub mod adaptive;
pub mod breaker;
pub mod budget;
pub mod bulkhead;
pub mod deadline;
pub mod hedge;
pub mod latency;
pub mod outlier;
pub mod queue;
pub mod retry;
#[cfg(test)]
mod simulation;

use std::time::Duration;

pub use adaptive::{Adaptive, AdaptiveConfig, AdaptiveConfigError};
pub use breaker::{Breaker, BreakerConfig, BreakerConfigError};
pub use budget::{RetryBudget, RetryBudgetConfig, RetryBudgetConfigError};
pub use bulkhead::{
    Bulkhead, BulkheadAdmission, BulkheadConfig, BulkheadConfigError, BulkheadLimit,
    BulkheadOutcome,
};
pub use deadline::Deadline;
pub use hedge::{HedgeConfig, HedgeConfigError, HedgeDelay, Hedger};
pub use outlier::{Ejector, OutlierConfig, OutlierConfigError};
pub use retry::{Decision, Kinds, RetryPolicy, RetryPolicyConfig, RetryPolicyConfigError, Safety};

/// No time in a configuration of this module may be longer: a day. What is longer was written in
/// the wrong unit, and sums with an `Instant` stay far from its end.
pub const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);
