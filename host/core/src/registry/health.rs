//! Whether an instance answers, by hysteresis, so that one lost packet takes nobody out and one
//! lucky probe brings nobody back.
//!
//! Probes and calls are counted apart while an instance is up: an instance that answers PING and
//! fails calls is down all the same. While it is down only probes count, for calls that began before
//! say nothing new. So whoever drives this **must probe what is down**, also where it probes
//! nothing else.
//!
//! # Flap damping
//!
//! The first time down ends when probes succeed. An instance that goes down again before it has been
//! up for `flap_window` stays down at least `hold` longer each time, up to `hold_max`. The figures
//! are those of Envoy's outlier detection (`base_ejection_time` times the number of ejections,
//! `max_ejection_time`).

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

/// Settings of the hysteresis. `check_interval` and `timeout` of the document belong to whoever
/// probes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthConfig {
    /// Failures in a row, of probes or of calls, that mark an instance down. Default 3.
    pub failure_threshold: u32,
    /// Successful probes in a row that mark it up. Default 2.
    pub recovery_threshold: u32,
    /// An instance that was up this long flaps no more. Default 300 s.
    pub flap_window: Duration,
    /// How much longer an instance stays down each time it flaps. Default 30 s.
    pub hold: Duration,
    /// Longest time that flapping keeps an instance down. Default 300 s.
    pub hold_max: Duration,
}

/// Whether an instance answers. An instance is up until it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    #[default]
    Up,
    Down,
}

/// Where an outcome was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthSource {
    /// An active check: PING, or the service's `health`.
    Probe,
    /// A call of somebody.
    Call,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthOutcome {
    Success,
    /// The instance's fault: no connection, no answer in time, `unavailable`, `internal`. What the
    /// caller did wrong is a success.
    Failure,
}

/// The health of one instance.
///
/// ```text
///        failure_threshold failures in a row of one source
///   Up ────────────────────────────────────────────────────▶ Down
///      ◀────────────────────────────────────────────────────
///        recovery_threshold probes in a row, and not held
/// ```
#[derive(Debug, Default)]
pub(super) struct Monitor {
    health: Health,
    failed_probes: u32,
    failed_calls: u32,
    /// Successful probes in a row while down.
    recovered: u32,
    /// Times down within a `flap_window` of each other.
    n_downs: u32,
    up_since: Option<Instant>,
    held_until: Option<Instant>,
}

impl HealthConfig {
    /// `hold` for the `n`th time down in a row.
    fn hold_of(&self, n_downs: u32) -> Duration {
        let hold = self.hold.checked_mul(n_downs.saturating_sub(1));
        hold.unwrap_or(self.hold_max).min(self.hold_max)
    }
}

impl Monitor {
    pub(super) const fn health(&self) -> Health {
        self.health
    }

    /// Counts `outcome`; whether the health changed.
    pub(super) fn on_outcome(
        &mut self,
        config: &HealthConfig,
        now: Instant,
        source: HealthSource,
        outcome: HealthOutcome,
    ) -> bool {
        match (self.health, source) {
            (Health::Up, _) => self.count_while_up(config, now, source, outcome),
            (Health::Down, HealthSource::Call) => false,
            (Health::Down, HealthSource::Probe) => match outcome {
                HealthOutcome::Failure => {
                    self.recovered = 0;
                    false
                }
                HealthOutcome::Success => {
                    self.recovered = self.recovered.saturating_add(1);
                    self.try_recover(config, now)
                }
            },
        }
    }

    /// A new life of the instance: what the old one failed says nothing, that it flaps does.
    /// Whether the health changed.
    pub(super) fn on_restart(&mut self, config: &HealthConfig, now: Instant) -> bool {
        (self.failed_probes, self.failed_calls) = (0, 0);
        match self.health {
            Health::Up => false,
            Health::Down => {
                self.recovered = config.recovery_threshold;
                self.try_recover(config, now)
            }
        }
    }

    /// When an instance that has recovered is no longer held down.
    pub(super) fn poll_timeout(&self, config: &HealthConfig) -> Option<Instant> {
        let is_ready = self.health == Health::Down && self.recovered >= config.recovery_threshold;
        self.held_until.filter(|_| is_ready)
    }

    /// Whether the health changed because a hold ended.
    pub(super) fn handle_timeout(&mut self, config: &HealthConfig, now: Instant) -> bool {
        self.health == Health::Down && self.try_recover(config, now)
    }

    fn count_while_up(
        &mut self,
        config: &HealthConfig,
        now: Instant,
        source: HealthSource,
        outcome: HealthOutcome,
    ) -> bool {
        let failed = match source {
            HealthSource::Probe => &mut self.failed_probes,
            HealthSource::Call => &mut self.failed_calls,
        };
        match outcome {
            HealthOutcome::Success => *failed = 0,
            HealthOutcome::Failure => *failed += 1,
        }
        if *failed < config.failure_threshold {
            return false;
        }
        self.go_down(config, now);
        true
    }

    fn go_down(&mut self, config: &HealthConfig, now: Instant) {
        let was_up = |since| now.saturating_duration_since(since);
        if (self.up_since).is_some_and(|since| was_up(since) >= config.flap_window) {
            self.n_downs = 0;
        }
        let n_downs = self.n_downs.saturating_add(1);
        *self = Self {
            health: Health::Down,
            n_downs,
            held_until: Some(now + config.hold_of(n_downs)),
            ..Self::default()
        };
    }

    fn try_recover(&mut self, config: &HealthConfig, now: Instant) -> bool {
        let is_held = self.held_until.is_some_and(|until| now < until);
        if is_held || self.recovered < config.recovery_threshold {
            return false;
        }
        *self = Self {
            n_downs: self.n_downs,
            up_since: Some(now),
            ..Self::default()
        };
        true
    }
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            failure_threshold: 3,
            recovery_threshold: 2,
            flap_window: Duration::from_secs(300),
            hold: Duration::from_secs(30),
            hold_max: Duration::from_secs(300),
        }
    }
}
