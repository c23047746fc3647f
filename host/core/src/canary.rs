//! Whether a new version of something is worse than the version before it, from counts of the calls that
//! both answered in the same time. Pure: nobody is asked for the time or for chance.
//!
//! | what is compared | counted as hits |
//! |---|---|
//! | errors | calls that failed and not by their caller's fault |
//! | traps | instances that were stopped |
//! | p99 | calls that took longer than the bound below |
//!
//! # The test
//! A sequential likelihood-ratio test of where hits fall (Wald 1945), mixed over `RATIOS` (Robbins 1970). Of `n`
//! hits in an interval `x` fell to the new version, which answered the share `w` of the calls. Where both
//! versions are alike, each call is as likely to be a hit as any other, so that `x` is hypergeometric. That a
//! call of the new version is `r` times as likely to be a hit multiplies the evidence by
//! `r^x / (1 + (r - 1) w)^n`. This is convex in `x`, so its mean is at most that of a binomial `x` (Hoeffding
//! 1963, theorem 4), which is 1; where the new version is better it is less. The product over intervals is
//! hence a supermartingale, and so is the mean over ratios: by Ville's inequality it ever reaches `1 / a` with
//! probability `a` at most, however often it is looked at and whenever one stops looking.
//!
//! An interval goes on over several looks until both together have answered `INTERVAL_CALLS`. So a service
//! with few calls is compared as one with many is: looks that come more often than calls would find one
//! version alone in each interval, which compares nothing. Where an interval ends depends on how many calls
//! there were and not on who answered them, so that `x` stays hypergeometric.
//!
//! `FALSE_ALARM` is divided over the three. A version counts as worse when the evidence says so and, beyond
//! that, what was counted differs by more than the tolerance: a difference that is sure but of no weight is
//! none.
//!
//! # p99
//! The bound is the p99 of the version before, from all its calls so far, and the tolerance. It is fixed before
//! an interval for that interval. Where both are alike the same share of both lies above any bound. Only what
//! comes after the first `CALLS_WARM` calls of each counts: the first calls make instances.

mod latency;
#[cfg(test)]
mod tests;

use std::{fmt, time::Duration};

pub use self::latency::{BUCKETS, LatencyCounts, bucket_of};

/// What is asked of a new version before it takes the place of the one before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CanaryRules {
    /// How long it is watched at least.
    pub promote_after: Duration,
    /// Calls that each of the two has answered at least.
    pub calls_min: u64,
    /// By how much its share of failed calls may be larger, 0 to 1.
    pub error_tolerance: f64,
    /// By how much its traps per call may be more.
    pub trap_tolerance: f64,
    /// By how much its p99 may be longer, as a part of the p99 before.
    pub p99_tolerance: f64,
    /// By how much more it may be longer in any case.
    pub p99_slack: Duration,
}

/// Counts of one version, from whenever on; they only grow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VersionCounts {
    /// Calls that ended and were not given up by their callers.
    pub calls: u64,
    /// Of them, those that failed and not by their caller's fault.
    pub failed: u64,
    pub traps: u64,
    pub latencies: LatencyCounts,
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    Errors,
    Traps,
    P99,
}

/// What is to be done about a new version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CanaryVerdict {
    Promote,
    /// It is worse, and by what.
    RollBack(Measure),
    Wait(WaitReason),
}

/// Why neither is said yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitReason {
    /// One of the two has answered too few calls.
    Calls,
    Time,
    /// It looks worse, and that may be chance.
    Unsure(Measure),
}

/// A comparison under way.
#[derive(Debug, Clone)]
pub struct CanaryTest {
    rules: CanaryRules,
    stable: VersionCounts,
    canary: VersionCounts,
    evidence: [Evidence; Measure::ALL.len()],
    /// What both had counted when the interval began: the one before, and the new one.
    from: Box<[VersionCounts; 2]>,
    /// The first bucket of calls that count as slow; none while the p99 before is not known.
    slow_from: Option<usize>,
    /// What both had counted when they were warm: the one before, and the new one.
    warm: Option<Box<[VersionCounts; 2]>>,
}

/// How likely what was seen is where the new version has more hits, compared with where it has not.
#[derive(Debug, Clone, Copy, Default)]
struct Evidence {
    /// Natural logarithms, one for each of `RATIOS`.
    logs: [f64; RATIOS.len()],
}

/// What fell to each version.
#[derive(Debug, Clone, Copy)]
struct Pair {
    stable: u64,
    canary: u64,
}

impl CanaryTest {
    #[must_use]
    pub fn new(rules: CanaryRules) -> Self {
        Self {
            rules,
            stable: VersionCounts::default(),
            canary: VersionCounts::default(),
            evidence: [Evidence::default(); _],
            from: Box::default(),
            slow_from: None,
            warm: None,
        }
    }

    /// Takes what both have counted so far.
    pub fn observe(&mut self, stable: &VersionCounts, canary: &VersionCounts) {
        self.stable.clone_from(stable);
        self.canary.clone_from(canary);
        let [stable_from, canary_from] = &*self.from;
        let calls = Pair {
            stable: stable.calls.saturating_sub(stable_from.calls),
            canary: canary.calls.saturating_sub(canary_from.calls),
        };
        if calls.stable.saturating_add(calls.canary) >= INTERVAL_CALLS {
            self.end_interval(calls);
        }
    }

    /// Takes the evidence of an interval, in which there were `calls`, and begins another.
    fn end_interval(&mut self, calls: Pair) {
        let (stable, canary) = (&self.stable, &self.canary);
        let [stable_from, canary_from] = &*self.from;
        let slow_from = self.slow_from.filter(|_| self.warm.is_some());
        for (measure, evidence) in Measure::ALL.into_iter().zip(&mut self.evidence) {
            let hits = |counts: &VersionCounts| hits(measure, counts, slow_from);
            let (Some(stable_hits), Some(canary_hits)) = (hits(stable), hits(canary)) else {
                continue;
            };
            let hits = Pair {
                stable: stable_hits.saturating_sub(hits(stable_from).unwrap_or(0)),
                canary: canary_hits.saturating_sub(hits(canary_from).unwrap_or(0)),
            };
            evidence.add(calls, hits);
        }
        *self.from = [stable.clone(), canary.clone()];
        if self.warm.is_none() && stable.calls.min(canary.calls) >= CALLS_WARM {
            self.warm = Some(self.from.clone());
        }
        self.slow_from = self.next_bound();
    }

    /// What is to be done after `age`.
    #[must_use]
    pub fn verdict(&self, age: Duration) -> CanaryVerdict {
        let looks_worse = |measure: &Measure| self.looks_worse(*measure);
        let mut worse = Measure::ALL.into_iter().filter(looks_worse);
        let is_sure = |measure: &Measure| self.is_sure(*measure);
        if let Some(measure) = worse.clone().find(is_sure) {
            return CanaryVerdict::RollBack(measure);
        }
        let fewest = self.stable.calls.min(self.canary.calls);
        CanaryVerdict::Wait(if fewest < self.rules.calls_min.max(1) {
            WaitReason::Calls
        } else if let Some(measure) = worse.next() {
            WaitReason::Unsure(measure)
        } else if age < self.rules.promote_after {
            WaitReason::Time
        } else {
            return CanaryVerdict::Promote;
        })
    }

    /// What was counted: of the version before, and of the new one.
    #[must_use]
    pub const fn counts(&self) -> (&VersionCounts, &VersionCounts) {
        (&self.stable, &self.canary)
    }

    fn is_sure(&self, measure: Measure) -> bool {
        let evidence = self.evidence.get(measure as usize);
        evidence.is_some_and(Evidence::is_sure)
    }

    /// Whether what was counted differs by more than the tolerance, be it by chance.
    fn looks_worse(&self, measure: Measure) -> bool {
        let rate = |counts: &VersionCounts| {
            let hits = hits(measure, counts, None)?;
            (counts.calls > 0).then(|| share(hits, counts.calls))
        };
        let more = |tolerance: f64| {
            let both = rate(&self.stable).zip(rate(&self.canary));
            both.is_some_and(|(stable, canary)| canary > stable + tolerance)
        };
        match measure {
            Measure::Errors => more(self.rules.error_tolerance),
            Measure::Traps => more(self.rules.trap_tolerance),
            Measure::P99 => self.is_p99_above(),
        }
    }

    /// Whether more than one in a hundred calls of the new version took longer than the bound.
    fn is_p99_above(&self) -> bool {
        let (Some(slow_from), Some(warm)) = (self.slow_from, &self.warm) else {
            return false;
        };
        let [_, before] = &**warm;
        let slow = |counts: &VersionCounts| counts.latencies.count_from(slow_from);
        let calls = self.canary.calls.saturating_sub(before.calls);
        let n_slow = slow(&self.canary).saturating_sub(slow(before));
        calls > 0 && share(n_slow, calls) > TAIL
    }

    fn next_bound(&self) -> Option<usize> {
        let p99 = self.stable.latencies.quantile(1.0 - TAIL)?;
        if self.stable.latencies.count() < CALLS_WARM {
            return None;
        }
        let longer = p99.mul_f64(1.0 + self.rules.p99_tolerance);
        let bound = longer.max(p99.saturating_add(self.rules.p99_slack));
        Some(bucket_of(bound) + 1)
    }
}

impl Evidence {
    /// Adds an interval. One in which either has answered nothing compares nothing.
    fn add(&mut self, calls: Pair, hits: Pair) {
        if calls.stable == 0 || calls.canary == 0 {
            return;
        }
        // Traps may be more than calls: an instance may end beside a call.
        let hits = Pair {
            stable: hits.stable.min(calls.stable),
            canary: hits.canary.min(calls.canary),
        };
        let weight = share(calls.canary, calls.canary.saturating_add(calls.stable));
        let (canary, all) = (float(hits.canary), float(hits.canary + hits.stable));
        for (log, ratio) in self.logs.iter_mut().zip(RATIOS) {
            *log += canary.mul_add(ratio.ln(), -(all * ((ratio - 1.0) * weight).ln_1p()));
        }
    }

    fn is_sure(&self) -> bool {
        let largest = self.logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let scaled: f64 = self.logs.iter().map(|log| (log - largest).exp()).sum();
        let mean = largest + (scaled / float(RATIOS.len() as u64)).ln();
        mean >= (float(Measure::ALL.len() as u64) / FALSE_ALARM).ln()
    }
}

impl Measure {
    pub const ALL: [Self; 3] = [Self::Errors, Self::Traps, Self::P99];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Traps => "traps",
            Self::P99 => "p99",
        }
    }
}

impl VersionCounts {
    /// Failed calls of all, 0 to 1.
    #[must_use]
    pub fn error_rate(&self) -> f64 {
        if self.calls == 0 {
            return 0.0;
        }
        share(self.failed, self.calls)
    }

    /// The longest that 99 of 100 calls took; `None` before any.
    #[must_use]
    pub fn p99(&self) -> Option<Duration> {
        self.latencies.quantile(1.0 - TAIL)
    }
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Calls => f.write_str("too few calls yet"),
            Self::Time => f.write_str("its time is not over"),
            Self::Unsure(measure) => {
                write!(f, "{} look worse, which may be chance", measure.name())
            }
        }
    }
}

/// `None` where nobody can say which calls are slow.
fn hits(measure: Measure, counts: &VersionCounts, slow_from: Option<usize>) -> Option<u64> {
    match measure {
        Measure::Errors => Some(counts.failed),
        Measure::Traps => Some(counts.traps),
        Measure::P99 => Some(counts.latencies.count_from(slow_from?)),
    }
}

fn share(part: u64, whole: u64) -> f64 {
    float(part) / float(whole)
}

#[expect(clippy::cast_precision_loss, reason = "2^53 calls take centuries")]
fn float(count: u64) -> f64 {
    count as f64
}

/// A version that is as good as the one before is said to be worse with at most this probability, over all
/// measures and for ever.
pub const FALSE_ALARM: f64 = 0.001;

/// How many times as likely a hit may be. From what takes many calls to show to a version that always fails.
const RATIOS: [f64; 6] = [1.25, 1.5, 2.0, 4.0, 16.0, 256.0];

/// Calls that may be slow.
const TAIL: f64 = 0.01;

/// Calls of both together in an interval at least. Of a version that gets 5 % of them, 92 of 100 such intervals
/// have a call.
const INTERVAL_CALLS: u64 = 50;

/// Before so many calls nothing is said of a p99: it would be that of the slowest call alone.
const CALLS_WARM: u64 = 100;
