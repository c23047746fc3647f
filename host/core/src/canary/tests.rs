//! Simulations in virtual time: looks once a second at calls that are drawn by chance.

use std::time::Duration;

use super::*;
use crate::simulation::for_each_seed;

/// One version as it is simulated.
#[derive(Clone, Copy)]
struct Quality {
    error_rate: f64,
    trap_rate: f64,
    /// Of calls that take 40 ms in the place of 4.
    slow_rate: f64,
}

const SOUND: Quality = Quality {
    error_rate: 0.0,
    trap_rate: 0.0,
    slow_rate: 0.0,
};

const RULES: CanaryRules = CanaryRules {
    promote_after: Duration::from_secs(60),
    calls_min: 1000,
    error_tolerance: 0.005,
    trap_tolerance: 0.0,
    p99_tolerance: 0.25,
    p99_slack: Duration::from_millis(1),
};

/// `SplitMix64`, as `postern_system::random` has it.
struct Chance(u64);

impl Chance {
    fn happens(&mut self, rate: f64) -> bool {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        float((mixed ^ (mixed >> 31)) >> 11) / float(1 << 53) < rate
    }

    fn count(&mut self, quality: Quality, counts: &mut VersionCounts) {
        let is_trap = self.happens(quality.trap_rate);
        counts.calls += 1;
        counts.traps += u64::from(is_trap);
        counts.failed += u64::from(is_trap || self.happens(quality.error_rate));
        let millis = if self.happens(quality.slow_rate) {
            40
        } else {
            4
        };
        counts.latencies.0[bucket_of(Duration::from_millis(millis))] += 1;
    }
}

/// How one canary ended: what was said, after how many calls of its own.
struct Ended {
    verdict: CanaryVerdict,
    canary_calls: u64,
}

/// `seconds` looks at most, with `calls` between two of them, of which the canary has `weight`.
fn run(
    seed: u64,
    [before, new]: [Quality; 2],
    weight: f64,
    (calls, seconds): (u64, u64),
    rules: CanaryRules,
) -> Ended {
    let mut chance = Chance(seed.wrapping_mul(0x2545_F491_4F6C_DD1D));
    let mut test = CanaryTest::new(rules);
    let (mut stable, mut canary) = (VersionCounts::default(), VersionCounts::default());
    let mut verdict = CanaryVerdict::Wait(WaitReason::Calls);
    for second in 1..=seconds {
        for _ in 0..calls {
            match chance.happens(weight) {
                true => chance.count(new, &mut canary),
                false => chance.count(before, &mut stable),
            }
        }
        test.observe(&stable, &canary);
        verdict = test.verdict(Duration::from_secs(second));
        if !matches!(verdict, CanaryVerdict::Wait(_)) {
            break;
        }
    }
    Ended {
        verdict,
        canary_calls: canary.calls,
    }
}

/// Every seed ends with `measure`, within so many calls of the canary.
#[track_caller]
fn check_rolled_back(qualities: [Quality; 2], weight: f64, measure: Measure, calls_max: u64) {
    let ended = for_each_seed("canary", 200, |seed| {
        run(seed, qualities, weight, (200, 3000), RULES)
    });
    let expected = CanaryVerdict::RollBack(measure);
    let wrong = ended.iter().filter(|ended| ended.verdict != expected);
    assert_eq!(wrong.count(), 0, "all of {} are rolled back", ended.len());
    let most = ended.iter().map(|ended| ended.canary_calls).max();
    assert!(
        most <= Some(calls_max),
        "within {calls_max} calls: {most:?}"
    );
}

fn failing(error_rate: f64) -> Quality {
    Quality {
        error_rate,
        ..SOUND
    }
}

#[test]
fn one_that_is_3_percent_worse_is_rolled_back_whatever_its_weight() {
    for (weight, calls_max) in [(0.05, 500), (0.2, 700), (0.5, 1100)] {
        check_rolled_back([SOUND, failing(0.03)], weight, Measure::Errors, calls_max);
    }
    for (weight, calls_max) in [(0.05, 1500), (0.2, 1800), (0.5, 2800)] {
        let qualities = [failing(0.01), failing(0.04)];
        check_rolled_back(qualities, weight, Measure::Errors, calls_max);
    }
}

#[test]
fn one_that_always_fails_is_rolled_back_within_fifty_calls() {
    check_rolled_back([SOUND, failing(1.0)], 0.05, Measure::Errors, 50);
}

/// Most looks find one call more, or none: that of one version alone.
#[test]
fn one_that_always_fails_is_rolled_back_also_where_looks_come_more_often_than_calls() {
    let ended = for_each_seed("canary", 200, |seed| {
        run(seed, [SOUND, failing(1.0)], 0.05, (1, 20_000), RULES)
    });
    let expected = CanaryVerdict::RollBack(Measure::Errors);
    let wrong = ended.iter().filter(|ended| ended.verdict != expected);
    assert_eq!(wrong.count(), 0, "all of {} are rolled back", ended.len());
    let most = ended.iter().map(|ended| ended.canary_calls).max();
    assert!(most <= Some(50), "within 50 calls: {most:?}");
}

#[test]
fn one_that_traps_is_rolled_back_though_its_callers_see_as_many_errors() {
    let trapping = Quality {
        trap_rate: 0.01,
        ..SOUND
    };
    check_rolled_back([failing(0.01), trapping], 0.2, Measure::Traps, 2500);
}

#[test]
fn one_whose_p99_is_longer_is_rolled_back() {
    let slow = Quality {
        slow_rate: 0.03,
        ..SOUND
    };
    check_rolled_back([SOUND, slow], 0.1, Measure::P99, 1000);
}

#[test]
fn the_first_calls_of_a_version_may_be_slow() {
    let mut test = CanaryTest::new(CanaryRules {
        calls_min: 100,
        promote_after: Duration::ZERO,
        ..RULES
    });
    let counts = |slow, fast| {
        let mut counts = VersionCounts {
            calls: slow + fast,
            ..VersionCounts::default()
        };
        counts.latencies.0[bucket_of(Duration::from_secs(1))] = slow;
        counts.latencies.0[bucket_of(Duration::from_millis(1))] = fast;
        counts
    };
    for (slow, fast) in [(0, 0), (100, 0), (100, 1000), (100, 20_000)] {
        test.observe(&counts(0, 1000 + fast), &counts(slow, fast));
        let verdict = test.verdict(Duration::ZERO);
        assert!(
            !matches!(verdict, CanaryVerdict::RollBack(_)),
            "{slow} {fast}"
        );
    }
    assert_eq!(test.verdict(Duration::ZERO), CanaryVerdict::Promote);
    test.observe(&counts(0, 30_000), &counts(1000, 20_000));
    let verdict = test.verdict(Duration::ZERO);
    assert_eq!(verdict, CanaryVerdict::RollBack(Measure::P99));
}

#[test]
fn one_that_is_equal_or_better_is_promoted() {
    let slow = Quality {
        slow_rate: 0.03,
        ..failing(0.02)
    };
    for qualities in [
        [SOUND, SOUND],
        [failing(0.01), failing(0.01)],
        [failing(0.05), failing(0.01)],
        [slow, SOUND],
        [slow, slow],
    ] {
        for weight in [0.05, 0.5] {
            let ended = for_each_seed("canary", 50, |seed| {
                run(seed, qualities, weight, (500, 4000), RULES)
            });
            let is_promoted = |ended: &&Ended| ended.verdict == CanaryVerdict::Promote;
            assert_eq!(ended.iter().filter(is_promoted).count(), ended.len());
            assert!(
                ended
                    .iter()
                    .all(|ended| ended.canary_calls >= RULES.calls_min)
            );
        }
    }
}

/// Looked at 200 times; without any tolerance, so that the evidence alone decides.
#[test]
fn one_that_is_equal_is_rolled_back_less_often_than_promised_however_long_it_is_watched() {
    let rules = CanaryRules {
        promote_after: Duration::MAX,
        error_tolerance: 0.0,
        trap_tolerance: 0.0,
        p99_tolerance: 0.0,
        p99_slack: Duration::ZERO,
        ..RULES
    };
    let alike = Quality {
        error_rate: 0.05,
        trap_rate: 0.02,
        slow_rate: 0.05,
    };
    let mut n_alarms = 0;
    let mut n_runs = 0;
    for weight in [0.05, 0.5] {
        let ended = for_each_seed("canary", 2000, |seed| {
            run(seed, [alike, alike], weight, (20, 200), rules)
        });
        let is_alarm = |ended: &&Ended| matches!(ended.verdict, CanaryVerdict::RollBack(_));
        n_alarms += ended.iter().filter(is_alarm).count();
        n_runs += ended.len();
    }
    // 4,000 runs: four are expected at most, more than twelve once in three thousand such tests.
    assert!(n_alarms <= 12, "{n_alarms} false alarms in {n_runs} runs");
}

#[test]
fn nothing_is_said_before_both_have_answered_enough() {
    let mut test = CanaryTest::new(CanaryRules {
        promote_after: Duration::ZERO,
        ..RULES
    });
    let calls = |calls| VersionCounts {
        calls,
        ..VersionCounts::default()
    };
    for (stable, canary, expected) in [
        (1000, 999, CanaryVerdict::Wait(WaitReason::Calls)),
        (1000, 1000, CanaryVerdict::Promote),
    ] {
        test.observe(&calls(stable), &calls(canary));
        assert_eq!(test.verdict(Duration::ZERO), expected);
    }
    let mut test = CanaryTest::new(RULES);
    test.observe(&calls(1000), &calls(1000));
    let young = Duration::from_secs(59);
    let waits = CanaryVerdict::Wait(WaitReason::Time);
    assert_eq!(test.verdict(young), waits);
    assert_eq!(test.verdict(RULES.promote_after), CanaryVerdict::Promote);
}

#[test]
fn a_difference_that_is_sure_and_within_the_tolerance_is_no_reason() {
    let mut test = CanaryTest::new(CanaryRules {
        error_tolerance: 0.05,
        ..RULES
    });
    let counts = |failed| VersionCounts {
        calls: 100_000,
        failed,
        ..VersionCounts::default()
    };
    test.observe(&counts(1000), &counts(5000));
    assert!(test.is_sure(Measure::Errors));
    assert_eq!(test.verdict(Duration::MAX), CanaryVerdict::Promote);
}

#[test]
fn what_only_one_of_them_answered_compares_nothing() {
    let mut test = CanaryTest::new(RULES);
    let failed = VersionCounts {
        calls: 5000,
        failed: 5000,
        ..VersionCounts::default()
    };
    test.observe(&VersionCounts::default(), &failed);
    assert_eq!(
        test.verdict(Duration::MAX),
        CanaryVerdict::Wait(WaitReason::Calls)
    );
}

#[test]
fn buckets_have_their_durations_in_order_and_an_edge_belongs_above() {
    let micros = [
        0,
        8,
        9,
        10,
        100,
        1000,
        5000,
        1_000_000,
        137_000_000,
        999_000_000,
    ];
    let buckets = micros.map(|micros| bucket_of(Duration::from_micros(micros)));
    assert!(buckets.is_sorted(), "{buckets:?}");
    assert_eq!((buckets[0], buckets[9]), (0, BUCKETS - 1));
    for bucket in 0..BUCKETS - 2 {
        let edge = {
            let mut counts = LatencyCounts::default();
            counts.0[bucket] = 1;
            counts.quantile(0.99).expect("one")
        };
        assert_eq!(bucket_of(edge), bucket + 1);
        assert_eq!(
            bucket_of(edge.saturating_sub(Duration::from_nanos(1))),
            bucket
        );
    }
}

#[test]
fn a_quantile_is_that_of_its_rank() {
    let mut counts = LatencyCounts::default();
    assert_eq!(counts.quantile(0.99), None);
    counts.0[bucket_of(Duration::from_millis(1))] = 99;
    counts.0[bucket_of(Duration::from_secs(1))] = 1;
    let p99 = counts.quantile(0.99).expect("100 of them");
    assert!(p99 < Duration::from_micros(1200), "{p99:?}");
    counts.0[bucket_of(Duration::from_secs(1))] = 2;
    assert!(counts.quantile(0.99).expect("101") >= Duration::from_secs(1));
}
