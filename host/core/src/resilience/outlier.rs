//! Takes instances out of a set that do worse than the rest, for a while.
//!
//! Three signs, as in Envoy's outlier detection, whose defaults these are unless said otherwise:
//!
//! | sign | seen | default |
//! |---|---|---|
//! | consecutive errors | at once | 5 (also the published `consecutive_errors`) |
//! | success rate `stdev_factor` standard deviations below the mean | each interval | 1.9 |
//! | mean latency over `latency_factor` times the median of the set | each interval | 3; ours |
//!
//! A success rate must also be five points below the mean: of instances that all do well, one
//! always does worst. The last two compare instances that answered at least `request_volume` calls
//! in the interval, and need `minimum_hosts` (for latency three: a median of two says nothing) of
//! them. Two bad ones of fewer than ten are not 1.9 deviations below the mean; what finds them is
//! errors in a row.
//!
//! An ejected instance comes back after the base time, multiplied by how often it was ejected; that
//! count falls by one with each interval in which it was not out. At most a share of the set is out
//! at one time, rounded down, but at least one may be, and never the last one that is in: an instance
//! that is bad beside nobody is better than none.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::DURATION_MAX;

/// When an instance is ejected, and for how long. The published `TrafficPolicy` has
/// `consecutive_errors`, `interval` and `base_ejection_time`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutlierConfig {
    /// Errors in a row. Default 5.
    pub consecutive_errors: u32,
    /// From one comparison to the next. Default 30 s, as the documents; Envoy has 10 s.
    pub interval: Duration,
    /// Default 30 s.
    pub base_ejection_time: Duration,
    /// No ejection is longer. Default 300 s.
    pub max_ejection_time: Duration,
    /// How much of the set may be out, in percent. Default 10, but at least one instance.
    pub max_ejection_percent: u32,
    /// Standard deviations below the mean success rate; `None` does not compare. Default 1.9.
    pub stdev_factor: Option<f64>,
    /// Times the median latency; `None` does not compare. Default 3.
    pub latency_factor: Option<f64>,
    /// A mean latency up to this is never too much, so that microseconds are not compared.
    /// Default 10 ms.
    pub latency_floor: Duration,
    /// Comparable instances that a comparison of success rates needs. Default 5.
    pub minimum_hosts: u32,
    /// Calls in an interval that make an instance comparable. Default 100.
    pub request_volume: u32,
}

/// Why a configuration ejects nobody rightly.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum OutlierConfigError {
    #[error("consecutive errors 0: an instance would be ejected before it failed")]
    NoErrors,
    #[error("interval 0: there would be nothing to compare")]
    NoInterval,
    #[error("base ejection time 0: nobody would be out")]
    NoEjectionTime,
    #[error("base ejection time {base:?} exceeds the longest of {max:?}")]
    EjectionTimeOrder { base: Duration, max: Duration },
    #[error("{0:?} exceeds the limit of {DURATION_MAX:?}")]
    TooLong(Duration),
    #[error("ejection of at most {0} percent: 0 to 100 make sense")]
    Percent(u32),
    #[error("standard deviation factor {0} is not a number above 0 and up to 10")]
    StdevFactor(f64),
    #[error("latency factor {0} is not a number above 1 and up to 100")]
    LatencyFactor(f64),
    #[error("minimum hosts {0}: fewer than 2 cannot be compared")]
    MinimumHosts(u32),
    #[error("request volume 0: a rate of nothing says nothing")]
    NoVolume,
}

/// Watches one set of instances, named by whatever the caller names them by.
#[derive(Debug, Clone)]
pub struct Ejector<Id> {
    config: OutlierConfig,
    members: BTreeMap<Id, Member>,
    n_ejected: usize,
    next_interval: Instant,
}

/// What became of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EjectionChange<Id> {
    Ejected {
        id: Id,
        cause: Cause,
        until: Instant,
    },
    Returned {
        id: Id,
    },
}

/// Why an instance was ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    ConsecutiveErrors,
    SuccessRate,
    Latency,
}

/// ```text
///   in ──a sign, and the share allows it──▶ out until t ──t──▶ in
/// ```
#[derive(Debug, Clone, Default)]
struct Member {
    out_until: Option<Instant>,
    /// Ejections that still count.
    n_ejections: u32,
    /// In a row, whatever the interval.
    n_errors_in_row: u32,
    /// In this interval.
    n_calls: u32,
    n_errors: u32,
    latency: Duration,
    /// Out for a part of this interval.
    was_out: bool,
}

impl Default for OutlierConfig {
    fn default() -> Self {
        Self {
            consecutive_errors: 5,
            interval: Duration::from_secs(30),
            base_ejection_time: Duration::from_secs(30),
            max_ejection_time: Duration::from_secs(300),
            max_ejection_percent: 10,
            stdev_factor: Some(1.9),
            latency_factor: Some(3.0),
            latency_floor: Duration::from_millis(10),
            minimum_hosts: 5,
            request_volume: 100,
        }
    }
}

impl<Id: Copy + Ord> Ejector<Id> {
    /// A set without members.
    ///
    /// # Errors
    /// Names the first value with which it could not work.
    pub fn new(config: OutlierConfig, now: Instant) -> Result<Self, OutlierConfigError> {
        check(&config)?;
        Ok(Self {
            config,
            members: BTreeMap::new(),
            n_ejected: 0,
            next_interval: now + config.interval,
        })
    }

    /// The set is `ids` from now on. Who stays keeps its record; who comes new, or again, begins
    /// without one. If so many leave that too much of what remains is out, those come back on time
    /// and not before, except that the last ones never are all out.
    pub fn set_members(&mut self, ids: impl IntoIterator<Item = Id>) -> Vec<EjectionChange<Id>> {
        let mut before = std::mem::take(&mut self.members);
        self.members = ids
            .into_iter()
            .map(|id| (id, before.remove(&id).unwrap_or_default()))
            .collect();
        let is_out = |member: &&Member| member.out_until.is_some();
        self.n_ejected = self.members.values().filter(is_out).count();
        if self.n_ejected < self.members.len() {
            return Vec::new();
        }
        let all: Vec<Id> = self.members.keys().copied().collect();
        all.into_iter()
            .filter_map(|id| self.give_back(id))
            .collect()
    }

    /// A call to `id` came back after `latency`; `is_error` when it failed through the fault of the
    /// instance. What an instance that is out still answers is not counted.
    pub fn on_result(
        &mut self,
        id: Id,
        now: Instant,
        is_error: bool,
        latency: Duration,
    ) -> Option<EjectionChange<Id>> {
        let member = self.members.get_mut(&id)?;
        if member.out_until.is_some() {
            return None;
        }
        member.n_calls = member.n_calls.saturating_add(1);
        member.latency = member.latency.saturating_add(latency);
        if !is_error {
            member.n_errors_in_row = 0;
            return None;
        }
        member.n_errors += 1;
        member.n_errors_in_row = member.n_errors_in_row.saturating_add(1);
        if member.n_errors_in_row < self.config.consecutive_errors {
            return None;
        }
        self.eject(id, now, Cause::ConsecutiveErrors)
    }

    /// Lets back in who was out long enough, and compares when the interval is over.
    pub fn poll(&mut self, now: Instant) -> Vec<EjectionChange<Id>> {
        let is_due = |member: &Member| member.out_until.is_some_and(|until| until <= now);
        let due: Vec<Id> = self
            .members
            .iter()
            .filter_map(|(id, member)| is_due(member).then_some(*id))
            .collect();
        let mut changes: Vec<_> = due
            .into_iter()
            .filter_map(|id| self.give_back(id))
            .collect();
        if now >= self.next_interval {
            self.next_interval = now + self.config.interval;
            for (id, cause) in self.outliers() {
                changes.extend(self.eject(id, now, cause));
            }
            self.members.values_mut().for_each(Member::begin_interval);
        }
        changes
    }

    /// When to call `poll`, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let returns = self.members.values().filter_map(|member| member.out_until);
        let returns = returns.map(|at| (at, "an ejected instance returns"));
        let compares = (self.members.len() > 1)
            .then_some((self.next_interval, "the instances of a set are compared"));
        returns.chain(compares).min_by_key(|(at, _)| *at)
    }

    #[must_use]
    pub fn is_ejected(&self, id: Id) -> bool {
        let member = self.members.get(&id);
        member.is_some_and(|member| member.out_until.is_some())
    }

    #[must_use]
    pub const fn n_ejected(&self) -> usize {
        self.n_ejected
    }

    /// How many of the set may be out at one time.
    #[must_use]
    pub fn ejected_max(&self) -> usize {
        let n = self.members.len();
        if self.config.max_ejection_percent == 0 {
            return 0;
        }
        let percent = usize::try_from(self.config.max_ejection_percent).unwrap_or(100);
        (n * percent / 100).max(1).min(n.saturating_sub(1))
    }

    fn eject(&mut self, id: Id, now: Instant, cause: Cause) -> Option<EjectionChange<Id>> {
        if self.n_ejected >= self.ejected_max() {
            return None;
        }
        let OutlierConfig {
            base_ejection_time: base,
            max_ejection_time: max,
            ..
        } = self.config;
        let member = self.members.get_mut(&id)?;
        if member.out_until.is_some() {
            return None;
        }
        member.n_ejections = member.n_ejections.saturating_add(1);
        let until = now + base.saturating_mul(member.n_ejections).min(max);
        member.out_until = Some(until);
        member.was_out = true;
        self.n_ejected += 1;
        Some(EjectionChange::Ejected { id, cause, until })
    }

    /// The record starts anew, but for how often it was out.
    fn give_back(&mut self, id: Id) -> Option<EjectionChange<Id>> {
        let member = self.members.get_mut(&id)?;
        member.out_until.take()?;
        *member = Member {
            n_ejections: member.n_ejections,
            was_out: true,
            ..Member::default()
        };
        self.n_ejected = self.n_ejected.saturating_sub(1);
        Some(EjectionChange::Returned { id })
    }

    /// Who did worse than the rest in this interval, the worst first, as not all may be ejected.
    fn outliers(&self) -> Vec<(Id, Cause)> {
        let volume = self.config.request_volume;
        let comparable: Vec<(Id, &Member)> = self
            .members
            .iter()
            .filter(|(_, member)| member.out_until.is_none() && member.n_calls >= volume)
            .map(|(id, member)| (*id, member))
            .collect();
        let mut outliers = Vec::new();
        if comparable.len() >= as_usize(self.config.minimum_hosts)
            && let Some(factor) = self.config.stdev_factor
        {
            let rates = comparable
                .iter()
                .map(|(id, member)| (*id, member.success_rate()));
            outliers.extend(low_rates(rates.collect(), factor).map(|id| (id, Cause::SuccessRate)));
        }
        if comparable.len() >= HOSTS_FOR_MEDIAN
            && let Some(factor) = self.config.latency_factor
        {
            let means = comparable
                .iter()
                .map(|(id, member)| (*id, member.mean_seconds()));
            let floor = self.config.latency_floor.as_secs_f64();
            let slow = high_means(means.collect(), factor, floor);
            outliers.extend(slow.map(|id| (id, Cause::Latency)));
        }
        outliers
    }
}

impl Member {
    fn success_rate(&self) -> f64 {
        1.0 - f64::from(self.n_errors) / f64::from(self.n_calls.max(1))
    }

    fn mean_seconds(&self) -> f64 {
        (self.latency / self.n_calls.max(1)).as_secs_f64()
    }

    fn begin_interval(&mut self) {
        if !self.was_out {
            self.n_ejections = self.n_ejections.saturating_sub(1);
        }
        self.was_out = self.out_until.is_some();
        (self.n_calls, self.n_errors, self.latency) = (0, 0, Duration::ZERO);
    }
}

impl Cause {
    /// The name in metrics and in the admin interface.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConsecutiveErrors => "consecutive-errors",
            Self::SuccessRate => "success-rate",
            Self::Latency => "latency",
        }
    }
}

/// Whose rate is below the mean by `factor` standard deviations, the lowest first.
fn low_rates<Id>(mut rates: Vec<(Id, f64)>, factor: f64) -> impl Iterator<Item = Id> {
    let n = rates.len() as f64;
    let mean = rates.iter().map(|(_, rate)| rate).sum::<f64>() / n;
    let squares = rates.iter().map(|(_, rate)| (rate - mean).powi(2));
    let gap = factor * (squares.sum::<f64>() / n).sqrt();
    let least = mean - gap.max(RATE_GAP_MIN);
    rates.sort_by(|(_, a), (_, b)| a.total_cmp(b));
    let is_low = move |rate: f64| rate < least;
    rates
        .into_iter()
        .filter_map(move |(id, rate)| is_low(rate).then_some(id))
}

/// Whose mean is above `factor` times the median and above `floor`, the highest first.
fn high_means<Id>(mut means: Vec<(Id, f64)>, factor: f64, floor: f64) -> impl Iterator<Item = Id> {
    means.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    // Of an even number the lower middle, so that one slow instance of two pairs does not hide.
    let median = means.get(means.len() / 2).map_or(0.0, |(_, mean)| *mean);
    let most = (median * factor).max(floor);
    means
        .into_iter()
        .filter_map(move |(id, mean)| (mean > most).then_some(id))
}

fn check(config: &OutlierConfig) -> Result<(), OutlierConfigError> {
    use OutlierConfigError as Fault;
    let (base, max) = (config.base_ejection_time, config.max_ejection_time);
    if config.consecutive_errors == 0 {
        return Err(Fault::NoErrors);
    }
    if config.interval.is_zero() {
        return Err(Fault::NoInterval);
    }
    if base.is_zero() {
        return Err(Fault::NoEjectionTime);
    }
    if base > max {
        return Err(Fault::EjectionTimeOrder { base, max });
    }
    for time in [config.interval, max, config.latency_floor] {
        if time > DURATION_MAX {
            return Err(Fault::TooLong(time));
        }
    }
    if config.max_ejection_percent > 100 {
        return Err(Fault::Percent(config.max_ejection_percent));
    }
    match config.stdev_factor {
        Some(factor) if !(factor > 0.0 && factor <= 10.0) => {
            return Err(Fault::StdevFactor(factor));
        }
        Some(_) | None => {}
    }
    match config.latency_factor {
        Some(factor) if !(factor > 1.0 && factor <= 100.0) => {
            return Err(Fault::LatencyFactor(factor));
        }
        Some(_) | None => {}
    }
    if config.minimum_hosts < 2 {
        return Err(Fault::MinimumHosts(config.minimum_hosts));
    }
    if config.request_volume == 0 {
        return Err(Fault::NoVolume);
    }
    Ok(())
}

fn as_usize(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

const HOSTS_FOR_MEDIAN: usize = 3;
const RATE_GAP_MIN: f64 = 0.05;

#[cfg(test)]
mod tests;
