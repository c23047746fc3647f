//! How many calls a service can take at a time, found from its latency alone.
//!
//! The rule, window by window (at least 100 ms and 50 latencies):
//!
//! ```text
//! gradient = tolerance · baseline / mean latency of the window, within 0.5 and 1
//! target   = limit · gradient + √limit
//! limit    = limit + smoothing · (target − limit)
//! ```
//!
//! The gradient with room for √limit is that of Envoy's adaptive concurrency filter and of
//! Netflix's `concurrency-limits` (Gradient2, whose tolerance and smoothing these are). The
//! *baseline* is the latency without queueing in the service. A busy window can only lower it, by a
//! tenth of the difference, so that a service that is always overloaded does not pass for a slow
//! one. It rises only from windows that never had more than a third of the limit under way: those
//! of a quiet service, and those of a *probe*, for which the limit is divided by three (Envoy's
//! `minRTT` window allows three calls, which costs too much throughput). A half would not do: with
//! the room of √limit a limit of 16 would confirm itself for a service that does 4 at a time; with
//! a third that ends at a limit of 4. Probes come every 30 s; when the limit has fallen by a quarter
//! since the last, which may have let too many through, as in an overloaded start; and when latency
//! stood at three times the baseline for five windows, as the service is then slower for good.
//!
//! A window in which one call in twenty was refused by the service or timed out takes a tenth off
//! the limit instead (AIMD). A window that left half of the limit unused proves nothing about it.

use std::time::{Duration, Instant};

use super::DURATION_MAX;

/// How a limit is found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdaptiveConfig {
    /// Before anything is measured. Default 20, as Netflix.
    pub limit_initial: u32,
    /// Never fewer. Default 2.
    pub limit_min: u32,
    /// Never more. Default 1000.
    pub limit_max: u32,
    /// How many times the baseline a latency may be before the limit shrinks. Default 1.5.
    pub tolerance: f64,
    /// What part of the way to its target the limit goes in one window. Default 0.2.
    pub smoothing: f64,
    /// The shortest window. Default 100 ms, Envoy's `concurrency_update_interval`.
    pub window: Duration,
    /// The fewest latencies of a window. Default 50, Envoy's `request_count`.
    pub samples_min: u32,
    /// From one probe to the next. Default 30 s.
    pub probe_interval: Duration,
}

/// Why a configuration finds no limit.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum AdaptiveConfigError {
    #[error("minimum limit 0: nothing would pass, and nothing would be learned")]
    NoMinimum,
    #[error("limits from {min} to {max} do not contain the initial {initial}")]
    Order { min: u32, initial: u32, max: u32 },
    #[error("tolerance {0} is not a number from 1 to 10")]
    Tolerance(f64),
    #[error("smoothing {0} is not a number above 0 and up to 1")]
    Smoothing(f64),
    #[error("window 0: a limit cannot follow each call")]
    NoWindow,
    #[error("samples 0: a window of none says nothing")]
    NoSamples,
    #[error("probe interval {interval:?} is not longer than ten windows of {window:?}")]
    ProbesTooOften {
        interval: Duration,
        window: Duration,
    },
    #[error("probe interval {0:?} exceeds the limit of {DURATION_MAX:?}")]
    ProbeIntervalTooLong(Duration),
}

/// What a finished call says about the load of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// It was served in this time.
    Served(Duration),
    /// It was refused as too much, or timed out.
    Overloaded,
    /// It was dropped, or failed for another reason; that took no telling time.
    Nothing,
}

/// The limit of one service.
#[derive(Debug, Clone)]
pub struct Adaptive {
    config: AdaptiveConfig,
    limit: f64,
    /// Mean latency without queueing, in seconds.
    baseline: Option<f64>,
    window: Window,
    phase: Phase,
    next_probe: Instant,
    /// The limit of which the last probe was a part.
    probed_limit: f64,
    /// Windows in a row in which the gradient was as low as it gets.
    n_steep: u32,
}

/// ```text
///  steady ──interval, fallen limit, steep windows──▶ draining ──▶ probing ──▶ steady
///                          (calls from before the probe end)   (one window)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Steady,
    /// Calls that began under the full limit still run: their latencies say nothing.
    Draining {
        n_left: u32,
    },
    Probing,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    began: Instant,
    n_served: u32,
    /// Of all that were served.
    seconds: f64,
    n_overloaded: u32,
    in_flight_max: u32,
}

impl Default for AdaptiveConfig {
    fn default() -> Self {
        Self {
            limit_initial: 20,
            limit_min: 2,
            limit_max: 1000,
            tolerance: 1.5,
            smoothing: 0.2,
            window: Duration::from_millis(100),
            samples_min: 50,
            probe_interval: Duration::from_secs(30),
        }
    }
}

impl Adaptive {
    /// # Errors
    /// Names the first value with which it could not work.
    pub fn new(config: AdaptiveConfig, now: Instant) -> Result<Self, AdaptiveConfigError> {
        check(&config)?;
        Ok(Self {
            limit: f64::from(config.limit_initial),
            baseline: None,
            window: Window::new(now),
            phase: Phase::Steady,
            // The first busy window may have been an overloaded one.
            next_probe: now,
            probed_limit: 0.0,
            n_steep: 0,
            config,
        })
    }

    /// How many calls may be under way; a third of what was found while a probe runs.
    #[must_use]
    pub fn limit(&self) -> u32 {
        let limit = match self.phase {
            Phase::Steady => self.limit,
            Phase::Draining { .. } | Phase::Probing => self.limit * PROBE_SHARE,
        };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "at most `limit_max`, and a part of a call is none"
        )]
        let whole = limit as u32;
        whole.max(1)
    }

    /// The latency that counts as unloaded, once anything was measured.
    #[must_use]
    pub fn baseline(&self) -> Option<Duration> {
        self.baseline
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    }

    /// A call ended; `in_flight` were under way with it.
    pub fn on_sample(&mut self, now: Instant, sample: Sample, in_flight: u32) {
        if let Phase::Draining { n_left } = &mut self.phase {
            *n_left = n_left.saturating_sub(1);
            if *n_left == 0 {
                self.phase = Phase::Probing;
                self.window = Window::new(now);
            }
            return;
        }
        let window = &mut self.window;
        window.in_flight_max = window.in_flight_max.max(in_flight);
        match sample {
            Sample::Served(latency) => {
                window.n_served += 1;
                window.seconds += latency.as_secs_f64();
            }
            Sample::Overloaded => window.n_overloaded += 1,
            Sample::Nothing => {}
        }
        let n_samples = window.n_served + window.n_overloaded;
        let elapsed = now.saturating_duration_since(window.began);
        if elapsed >= self.config.window && n_samples >= self.config.samples_min {
            self.on_window(now, in_flight);
        }
    }

    fn on_window(&mut self, now: Instant, in_flight: u32) {
        let window = std::mem::replace(&mut self.window, Window::new(now));
        let was_probe = std::mem::replace(&mut self.phase, Phase::Steady) == Phase::Probing;
        let in_flight_max = f64::from(window.in_flight_max);
        let is_used = was_probe || in_flight_max * 2.0 > self.limit;
        if window.n_overloaded * OVERLOADED_ONE_IN >= window.n_served + window.n_overloaded {
            if is_used {
                self.limit = self.bounded(self.limit * OVERLOADED_FACTOR);
            }
            return;
        }
        let mean = window.seconds / f64::from(window.n_served);
        if was_probe || in_flight_max <= self.limit * PROBE_SHARE {
            self.on_quiet_window(now, mean);
        } else if is_used {
            self.on_busy_window(now, mean, in_flight);
        }
    }

    fn on_quiet_window(&mut self, now: Instant, mean: f64) {
        let before = self.baseline.unwrap_or(mean);
        let is_much_lower = mean < before * MUCH_LOWER;
        let weight = if is_much_lower { 1.0 } else { QUIET_WEIGHT };
        self.baseline = Some(before + (mean - before) * weight);
        self.next_probe = now + self.config.probe_interval;
        self.probed_limit = self.limit;
        self.n_steep = 0;
    }

    fn on_busy_window(&mut self, now: Instant, mean: f64, in_flight: u32) {
        let before = self.baseline.unwrap_or(mean);
        let baseline = before + (mean - before).min(0.0) * BUSY_WEIGHT;
        self.baseline = Some(baseline);
        let gradient = if mean > 0.0 {
            (self.config.tolerance * baseline / mean).clamp(GRADIENT_MIN, 1.0)
        } else {
            1.0
        };
        let target = self.limit * gradient + self.limit.sqrt();
        self.limit = self.bounded(self.limit + (target - self.limit) * self.config.smoothing);
        let is_steep = gradient <= GRADIENT_MIN;
        self.n_steep = if is_steep { self.n_steep + 1 } else { 0 };
        let has_fallen = self.limit <= self.probed_limit * PROBE_AGAIN_SHARE;
        if now >= self.next_probe || has_fallen || self.n_steep >= STEEP_MAX {
            self.phase = Phase::Draining {
                n_left: in_flight.max(1),
            };
        }
    }

    fn bounded(&self, limit: f64) -> f64 {
        let (min, max) = (self.config.limit_min, self.config.limit_max);
        limit.clamp(f64::from(min), f64::from(max))
    }
}

impl Window {
    const fn new(now: Instant) -> Self {
        Self {
            began: now,
            n_served: 0,
            seconds: 0.0,
            n_overloaded: 0,
            in_flight_max: 0,
        }
    }
}

fn check(config: &AdaptiveConfig) -> Result<(), AdaptiveConfigError> {
    use AdaptiveConfigError as Fault;
    let (min, initial, max) = (config.limit_min, config.limit_initial, config.limit_max);
    let (interval, window) = (config.probe_interval, config.window);
    if min == 0 {
        return Err(Fault::NoMinimum);
    }
    if !(min..=max).contains(&initial) {
        return Err(Fault::Order { min, initial, max });
    }
    if !(1.0..=10.0).contains(&config.tolerance) {
        return Err(Fault::Tolerance(config.tolerance));
    }
    if !(config.smoothing > 0.0 && config.smoothing <= 1.0) {
        return Err(Fault::Smoothing(config.smoothing));
    }
    if window.is_zero() {
        return Err(Fault::NoWindow);
    }
    if config.samples_min == 0 {
        return Err(Fault::NoSamples);
    }
    if interval > DURATION_MAX {
        return Err(Fault::ProbeIntervalTooLong(interval));
    }
    if interval <= window.saturating_mul(10) {
        return Err(Fault::ProbesTooOften { interval, window });
    }
    Ok(())
}

/// What a probe leaves of the limit.
const PROBE_SHARE: f64 = 1.0 / 3.0;
const PROBE_AGAIN_SHARE: f64 = 0.75;
/// A quiet window that measures less than this part of the baseline is believed at once: the mean
/// of 50 latencies is not so low by chance.
const MUCH_LOWER: f64 = 0.85;
/// Netflix and Envoy: no window takes more than half.
const GRADIENT_MIN: f64 = 0.5;
/// Envoy measures anew after five windows at its minimum.
const STEEP_MAX: u32 = 5;
/// Netflix's AIMD `backoffRatio`.
const OVERLOADED_FACTOR: f64 = 0.9;
const OVERLOADED_ONE_IN: u32 = 20;
/// How far a quiet window moves the baseline: a step is followed within few of them.
const QUIET_WEIGHT: f64 = 0.5;
/// How far a busy window can lower it: chance makes a mean of 50 latencies low at times.
const BUSY_WEIGHT: f64 = 0.1;

#[cfg(test)]
mod tests;
