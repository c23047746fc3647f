//! A new member takes little at first: its caches are cold and its code is not compiled.
//!
//! ```text
//! share(age) = max(minimum, (max(age, 1 s) / window) ^ (1 / aggression))    while age < window
//! share(age) = 1                                                            from then on
//! ```
//!
//! That is Envoy's formula. Aggression 1 rises in a straight line, 2 as a square root (fast at
//! first), 0.5 as a square (slow at first). The share multiplies the member's weight.

use std::time::{Duration, Instant};

/// How a member's weight rises. Off unless a window is set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlowStart {
    /// From available to full weight. Default 0: off.
    pub window: Duration,
    /// Shape of the rise, default 1. What is not above 0 counts as 1.
    pub aggression: f64,
    /// Least share of the weight, in percent. Default 10, as in Envoy.
    pub minimum_percent: u8,
}

/// Weights are counted in parts of this many, so that shares of them stay whole numbers.
pub(super) const WHOLE: u64 = 1024;

impl SlowStart {
    /// A straight rise over `window`.
    #[must_use]
    pub fn over(window: Duration) -> Self {
        Self {
            window,
            ..Self::default()
        }
    }

    /// When a member that is available since `since` has its full weight. `None` when it has it at
    /// once, or when that is beyond what the clock can say.
    pub(super) fn ends(&self, since: Instant) -> Option<Instant> {
        if self.window.is_zero() {
            return None;
        }
        since.checked_add(self.window)
    }

    /// The share at `age`, in parts of `WHOLE`; never 0.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the share lies between 0 and 1"
    )]
    pub(super) fn parts(&self, age: Duration) -> u64 {
        if age >= self.window {
            return WHOLE;
        }
        let age = age.max(Duration::from_secs(1));
        let line = (age.as_secs_f64() / self.window.as_secs_f64()).min(1.0);
        let share = if self.aggression > 0.0 && self.aggression != 1.0 {
            line.powf(1.0 / self.aggression)
        } else {
            line
        };
        let minimum = f64::from(self.minimum_percent.min(100)) / 100.0;
        let parts = share.max(minimum) * WHOLE as f64;
        (parts.round() as u64).clamp(1, WHOLE)
    }
}

impl Default for SlowStart {
    fn default() -> Self {
        Self {
            window: Duration::ZERO,
            aggression: 1.0,
            minimum_percent: 10,
        }
    }
}

#[cfg(test)]
mod tests;
