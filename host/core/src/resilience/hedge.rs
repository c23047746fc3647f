//! When to send a call a second time although the first has not failed: it takes longer than most
//! ("The Tail at Scale", Dean and Barroso, CACM 2013). The first answer wins, the others are
//! dropped. Only idempotent methods are hedged, and each hedge that is due is paid for with
//! `RetryBudget::try_withdraw`, like a retry: when the budget is spent, the call goes on with what it has.

use std::time::{Duration, Instant};

use super::{DURATION_MAX, latency::Latencies, retry::Safety};

/// When and how often to hedge.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HedgeConfig {
    pub delay: HedgeDelay,
    /// Further tries of one call beside the first. Default 1, at most 10.
    pub hedges_max: u32,
}

/// How long to wait after a try before the next is sent beside it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum HedgeDelay {
    Fixed(Duration),
    /// What this share of recent calls needs, at least a millisecond. Nothing is hedged before 100
    /// latencies are known. Default 0.95, so that one call in twenty is sent twice.
    Percentile(f64),
}

/// Why a configuration makes no hedger.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum HedgeConfigError {
    #[error("hedge delay 0: every call would be sent twice at once")]
    NoDelay,
    #[error("hedge delay {0:?} exceeds the limit of {DURATION_MAX:?}")]
    DelayTooLong(Duration),
    #[error("hedge percentile {0} is not a number from 0.5 to below 1")]
    Percentile(f64),
    #[error("{0} hedges of one call: from 1 to {HEDGES_MAX} make sense")]
    Hedges(u32),
}

/// Hedges the calls of one service.
#[derive(Debug, Clone)]
pub struct Hedger {
    config: HedgeConfig,
    latencies: Latencies,
    /// The delay by percentile, as last computed.
    estimate: Option<Duration>,
    n_until_estimate: u32,
}

impl Default for HedgeConfig {
    fn default() -> Self {
        Self {
            delay: HedgeDelay::Percentile(0.95),
            hedges_max: 1,
        }
    }
}

impl Hedger {
    /// # Errors
    /// Names the first value with which it could not work.
    pub fn new(config: HedgeConfig) -> Result<Self, HedgeConfigError> {
        use HedgeConfigError as Fault;
        match config.delay {
            HedgeDelay::Fixed(delay) if delay.is_zero() => return Err(Fault::NoDelay),
            HedgeDelay::Fixed(delay) if delay > DURATION_MAX => {
                return Err(Fault::DelayTooLong(delay));
            }
            HedgeDelay::Percentile(share) if !(0.5..1.0).contains(&share) => {
                return Err(Fault::Percentile(share));
            }
            HedgeDelay::Fixed(_) | HedgeDelay::Percentile(_) => {}
        }
        if !(1..=HEDGES_MAX).contains(&config.hedges_max) {
            return Err(Fault::Hedges(config.hedges_max));
        }
        Ok(Self {
            config,
            latencies: Latencies::new(),
            estimate: None,
            n_until_estimate: SAMPLES_MIN,
        })
    }

    /// A try was answered after `latency`, well or not. A try that was dropped because another won
    /// took at least as long as it was under way, and is told of with that.
    pub fn on_latency(&mut self, latency: Duration) {
        let HedgeDelay::Percentile(share) = self.config.delay else {
            return;
        };
        self.latencies.add(latency);
        self.n_until_estimate = self.n_until_estimate.saturating_sub(1);
        if self.n_until_estimate == 0 {
            self.n_until_estimate = SAMPLES_PER_ESTIMATE;
            self.estimate = self.latencies.percentile(share);
        }
    }

    /// When the next hedge is due for a call whose latest try was sent at `sent`, after `n_hedges`
    /// of them; `None` for never.
    #[must_use]
    pub fn poll_timeout(&self, sent: Instant, n_hedges: u32, safety: Safety) -> Option<Instant> {
        if n_hedges >= self.config.hedges_max || safety != Safety::Idempotent {
            return None;
        }
        sent.checked_add(self.delay()?)
    }

    /// How long a try may take before another is sent beside it; `None` until that is known.
    #[must_use]
    pub fn delay(&self) -> Option<Duration> {
        match self.config.delay {
            HedgeDelay::Fixed(delay) => Some(delay),
            HedgeDelay::Percentile(_) => self.estimate.map(|delay| delay.max(DELAY_MIN)),
        }
    }
}

/// More copies of one call help nobody.
const HEDGES_MAX: u32 = 10;
/// Below that a percentile of 0.99 rests on a single latency.
const SAMPLES_MIN: u32 = 100;
/// A percentile costs a walk through the histogram; it moves little in so few samples.
const SAMPLES_PER_ESTIMATE: u32 = 32;
/// Shorter waits measure the scheduler, not the service.
const DELAY_MIN: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn hedges_after_the_fixed_delay_as_often_as_allowed() {
        let hedger = hedger(HedgeDelay::Fixed(MILLISECOND * 10), 2);
        let sent = testing::epoch();
        let due = Some(sent + MILLISECOND * 10);
        assert_eq!(hedger.poll_timeout(sent, 0, Safety::Idempotent), due);
        assert_eq!(hedger.poll_timeout(sent, 1, Safety::Idempotent), due);
        assert_eq!(hedger.poll_timeout(sent, 2, Safety::Idempotent), None);
    }

    #[test]
    fn never_hedges_what_may_run_once() {
        let hedger = hedger(HedgeDelay::Fixed(MILLISECOND), 1);
        for safety in [Safety::Once, Safety::Unsent] {
            assert_eq!(hedger.poll_timeout(testing::epoch(), 0, safety), None);
        }
    }

    #[test]
    fn waits_for_a_hundred_latencies_before_it_hedges_by_percentile() {
        let mut hedger = hedger(HedgeDelay::Percentile(0.9), 1);
        (0..99).for_each(|_| hedger.on_latency(MILLISECOND * 50));
        assert_eq!(hedger.delay(), None);
        hedger.on_latency(MILLISECOND * 50);
        let delay = hedger.delay().expect("known");
        assert!(
            delay >= MILLISECOND * 50 && delay <= MILLISECOND * 57,
            "{delay:?}"
        );
    }

    #[test]
    fn follows_the_latencies_and_sends_the_slow_share_twice() {
        let mut hedger = hedger(HedgeDelay::Percentile(0.9), 1);
        let mut rng = testing::Rng::new(3);
        let mut n_hedged = 0;
        for round in 0..20_000 {
            // Uniform from 20 ms to 40 ms; 10 times that in the second half.
            let factor = if round < 10_000 { 1 } else { 10 };
            let latency = Duration::from_micros((20_000 + rng.below(20_000)) * factor);
            if round >= 15_000 && hedger.delay().is_some_and(|delay| latency > delay) {
                n_hedged += 1;
            }
            hedger.on_latency(latency);
        }
        // One in ten of 5,000, less what the bucket rounds up.
        assert!((100..=550).contains(&n_hedged), "{n_hedged}");
    }

    #[test]
    fn a_delay_by_percentile_is_at_least_a_millisecond() {
        let mut hedger = hedger(HedgeDelay::Percentile(0.9), 1);
        (0..100).for_each(|_| hedger.on_latency(Duration::from_micros(30)));
        assert_eq!(hedger.delay(), Some(MILLISECOND));
    }

    #[test]
    fn refuses_what_cannot_work_by_name() {
        use HedgeConfigError as Fault;
        let check = |delay, hedges_max, fault| {
            let config = HedgeConfig { delay, hedges_max };
            assert_eq!(Hedger::new(config).err(), fault);
        };
        let fixed = HedgeDelay::Fixed(DURATION_MAX);
        check(fixed, 1, None);
        check(fixed, 10, None);
        check(fixed, 0, Some(Fault::Hedges(0)));
        check(fixed, 11, Some(Fault::Hedges(11)));
        check(HedgeDelay::Fixed(Duration::ZERO), 1, Some(Fault::NoDelay));
        let long = DURATION_MAX + Duration::from_nanos(1);
        check(HedgeDelay::Fixed(long), 1, Some(Fault::DelayTooLong(long)));
        check(HedgeDelay::Percentile(0.5), 1, None);
        for share in [0.49, 1.0, f64::INFINITY] {
            check(
                HedgeDelay::Percentile(share),
                1,
                Some(Fault::Percentile(share)),
            );
        }
    }

    fn hedger(delay: HedgeDelay, hedges_max: u32) -> Hedger {
        Hedger::new(HedgeConfig { delay, hedges_max }).expect("it works")
    }
}
