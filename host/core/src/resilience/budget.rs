//! Retries and hedges as a share of traffic, so that they cannot multiply a failure.
//!
//! Within the window they may be `ratio` of the first tries, and `min_per_second` beside that, so
//! that a service with few calls can retry at all. Defaults are those of Finagle's `RetryBudget`
//! (20 %, 10 a second, 10 s), which linkerd and tower took over.

use std::time::{Duration, Instant};

use super::DURATION_MAX;

/// How much may be tried again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryBudgetConfig {
    /// Retries and hedges for each first try of the window. Default 0.2; 0 leaves the minimum only.
    pub ratio: f64,
    /// Retries and hedges a second that are allowed at any traffic. Default 10.
    pub min_per_second: u32,
    /// How long a first try counts. Default 10 s. It moves on in tenths of itself.
    pub window: Duration,
}

/// Why a configuration makes no budget.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum RetryBudgetConfigError {
    #[error("ratio {0} is not a number from 0 to {RATIO_MAX}")]
    Ratio(f64),
    #[error("window {0:?} is below the limit of {WINDOW_MIN:?}")]
    WindowTooShort(Duration),
    #[error("window {0:?} exceeds the limit of {DURATION_MAX:?}")]
    WindowTooLong(Duration),
}

/// The budget of one service. Memory and work are the same however much passes.
#[derive(Debug, Clone)]
pub struct RetryBudget {
    ratio: f64,
    /// What `min_per_second` gives for a whole window.
    reserve: f64,
    slot_length: Duration,
    slots: [Slot; N_SLOTS],
    /// The sum of `slots`.
    total: Slot,
    /// Where in `slots` the present is.
    slot_idx: usize,
    slot_began: Instant,
}

/// No retry is left in the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the retry budget is spent: {n_retries} retries of {n_first} calls in the window")]
pub struct Spent {
    pub n_retries: u64,
    pub n_first: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    n_first: u64,
    n_retries: u64,
}

impl Default for RetryBudgetConfig {
    fn default() -> Self {
        Self {
            ratio: 0.2,
            min_per_second: 10,
            window: Duration::from_secs(10),
        }
    }
}

impl RetryBudget {
    /// A budget without past: the minimum of one window may be spent at once.
    ///
    /// # Errors
    /// Names the first value with which it could not work.
    pub fn new(config: RetryBudgetConfig, now: Instant) -> Result<Self, RetryBudgetConfigError> {
        let RetryBudgetConfig { ratio, window, .. } = config;
        if !(0.0..=RATIO_MAX).contains(&ratio) {
            return Err(RetryBudgetConfigError::Ratio(ratio));
        }
        if window < WINDOW_MIN {
            return Err(RetryBudgetConfigError::WindowTooShort(window));
        }
        if window > DURATION_MAX {
            return Err(RetryBudgetConfigError::WindowTooLong(window));
        }
        Ok(Self {
            ratio,
            reserve: f64::from(config.min_per_second) * window.as_secs_f64(),
            slot_length: window / 10,
            slots: [Slot::default(); N_SLOTS],
            total: Slot::default(),
            slot_idx: 0,
            slot_began: now,
        })
    }

    /// `n` calls were tried for the first time. A caller may count them in an atomic and hand them
    /// in together, at least once in a tenth of the window and before each `try_withdraw`.
    pub fn deposit(&mut self, now: Instant, n: u64) {
        self.advance(now);
        if let Some(slot) = self.slots.get_mut(self.slot_idx) {
            slot.n_first += n;
            self.total.n_first += n;
        }
    }

    /// Asks for one retry or hedge.
    ///
    /// # Errors
    /// `Spent` when it would be one too many for the window.
    pub fn try_withdraw(&mut self, now: Instant) -> Result<(), Spent> {
        self.advance(now);
        let Slot { n_first, n_retries } = self.total;
        if (n_retries + 1) as f64 > self.allowed() {
            return Err(Spent { n_retries, n_first });
        }
        if let Some(slot) = self.slots.get_mut(self.slot_idx) {
            slot.n_retries += 1;
            self.total.n_retries += 1;
        }
        Ok(())
    }

    /// How many retries are left at `now`, for metrics.
    #[must_use]
    pub fn balance(&mut self, now: Instant) -> f64 {
        self.advance(now);
        (self.allowed() - self.total.n_retries as f64).max(0.0)
    }

    fn allowed(&self) -> f64 {
        self.reserve + self.ratio * self.total.n_first as f64
    }

    /// Forgets what is older than the window.
    fn advance(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.slot_began);
        if elapsed < self.slot_length {
            return;
        }
        if elapsed >= self.slot_length * 10 {
            self.slots = [Slot::default(); N_SLOTS];
            self.total = Slot::default();
            self.slot_began = now;
            return;
        }
        while now.saturating_duration_since(self.slot_began) >= self.slot_length {
            self.slot_began += self.slot_length;
            self.slot_idx = (self.slot_idx + 1) % N_SLOTS;
            if let Some(slot) = self.slots.get_mut(self.slot_idx) {
                self.total.n_first -= slot.n_first;
                self.total.n_retries -= slot.n_retries;
                *slot = Slot::default();
            }
        }
    }
}

/// The parts in which a window is forgotten, as in tower.
const N_SLOTS: usize = 10;
/// More than ten retries for each call is no budget.
const RATIO_MAX: f64 = 10.0;
/// Below that its parts are shorter than a timer is exact.
const WINDOW_MIN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
