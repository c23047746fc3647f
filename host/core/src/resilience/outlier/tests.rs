//! Ejection, sign by sign and edge by edge. Sets by chance: `simulation/ejection.rs`.

use super::*;
use crate::testing;

#[test]
fn the_fifth_error_in_a_row_ejects_at_once() {
    let (mut ejector, now) = ejector(3);
    for _ in 0..4 {
        assert_eq!(error(&mut ejector, 1, now), None);
    }
    assert_eq!(ejector.on_result(1, now, false, MILLISECOND), None);
    for _ in 0..4 {
        assert_eq!(
            error(&mut ejector, 1, now),
            None,
            "a success starts the count again"
        );
    }
    let until = now + SECOND * 30;
    let cause = Cause::ConsecutiveErrors;
    assert_eq!(
        error(&mut ejector, 1, now),
        Some(EjectionChange::Ejected {
            id: 1,
            cause,
            until
        })
    );
    assert!(ejector.is_ejected(1) && !ejector.is_ejected(0));
    assert_eq!(error(&mut ejector, 1, now), None, "it is out");
}

#[test]
fn comes_back_on_time_with_a_clean_record() {
    let (mut ejector, now) = ejector(3);
    fail(&mut ejector, 1, now);
    let back = now + SECOND * 30;
    assert_eq!(ejector.poll(back - NANOSECOND), []);
    assert_eq!(ejector.poll_timeout().map(|(at, _)| at), Some(back));
    assert_eq!(ejector.poll(back), [EjectionChange::Returned { id: 1 }]);
    assert_eq!(ejector.n_ejected(), 0);
    assert_eq!(error(&mut ejector, 1, back), None);
}

#[test]
fn is_out_longer_each_time_and_at_most_300_seconds() {
    let (mut ejector, mut now) = ejector(3);
    for seconds in [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300] {
        fail(&mut ejector, 1, now);
        let back = now + SECOND * seconds;
        assert_eq!(ejector.poll(back - NANOSECOND), [], "{seconds} s");
        assert_eq!(ejector.poll(back), [EjectionChange::Returned { id: 1 }]);
        now = back;
    }
}

#[test]
fn each_interval_without_ejection_forgives_one() {
    let (mut ejector, mut now) = ejector(3);
    for _ in 0..2 {
        fail(&mut ejector, 1, now);
        now += SECOND * 60;
        assert_eq!(ejector.poll(now), [EjectionChange::Returned { id: 1 }]);
    }
    // The interval in which it came back does not count; the one after it does.
    now += SECOND * 30;
    assert_eq!(ejector.poll(now), []);
    let until = now + SECOND * 60;
    let second = fail(&mut ejector, 1, now);
    assert_eq!(second, Some(until), "the second, not the third");
}

#[test]
fn a_set_of_one_is_never_emptied() {
    let (mut ejector, now) = ejector(1);
    for _ in 0..100 {
        assert_eq!(error(&mut ejector, 0, now), None);
    }
    assert_eq!(ejector.ejected_max(), 0);
}

#[test]
fn a_tenth_but_at_least_one_may_be_out() {
    for (n, most) in [
        (0, 0),
        (1, 0),
        (2, 1),
        (9, 1),
        (19, 1),
        (20, 2),
        (29, 2),
        (30, 3),
    ] {
        let (mut ejector, now) = ejector(n);
        for id in 0..n {
            fail(&mut ejector, id, now);
        }
        assert_eq!(
            (ejector.n_ejected(), ejector.ejected_max()),
            (most, most),
            "of {n}"
        );
    }
}

#[test]
fn a_hundred_percent_still_leaves_one() {
    let config = OutlierConfig {
        max_ejection_percent: 100,
        ..OutlierConfig::default()
    };
    let (mut ejector, now) = with(config, 4);
    for id in 0..4 {
        fail(&mut ejector, id, now);
    }
    assert_eq!(ejector.n_ejected(), 3);
    assert!(!ejector.is_ejected(3));
}

#[test]
fn no_percent_ejects_nobody() {
    let config = OutlierConfig {
        max_ejection_percent: 0,
        ..OutlierConfig::default()
    };
    let (mut ejector, now) = with(config, 4);
    fail(&mut ejector, 1, now);
    assert_eq!(ejector.n_ejected(), 0);
}

#[test]
fn who_could_not_be_ejected_is_when_there_is_room_again() {
    let (mut ejector, now) = ejector(3);
    fail(&mut ejector, 0, now);
    fail(&mut ejector, 1, now);
    assert!(ejector.is_ejected(0) && !ejector.is_ejected(1));
    let back = now + SECOND * 30;
    assert_eq!(ejector.poll(back), [EjectionChange::Returned { id: 0 }]);
    assert!(error(&mut ejector, 1, back).is_some());
}

#[test]
fn a_low_success_rate_ejects_after_the_interval() {
    // Four without errors and one with a share of them: it is 2 standard deviations below the mean
    // whatever the share, and five are needed for that.
    for (n_hosts, n_calls, is_out) in [(5, 100, true), (5, 99, false), (4, 100, false)] {
        let (mut ejector, now) = ejector(n_hosts);
        for id in 0..n_hosts {
            for at in 0..n_calls {
                let is_error = id == 0 && at % 4 == 0;
                assert_eq!(ejector.on_result(id, now, is_error, MILLISECOND), None);
            }
        }
        assert_eq!(ejector.poll(now + SECOND * 30 - NANOSECOND), []);
        let changes = ejector.poll(now + SECOND * 30);
        assert_eq!(
            changes.len(),
            usize::from(is_out),
            "{n_hosts} hosts, {n_calls} calls"
        );
        assert_eq!(ejector.is_ejected(0), is_out);
    }
}

#[test]
fn equal_rates_eject_nobody() {
    let (mut ejector, now) = ejector(10);
    for id in 0..10 {
        for at in 0..300 {
            assert_eq!(ejector.on_result(id, now, at % 3 == 0, MILLISECOND), None);
        }
    }
    assert_eq!(ejector.poll(now + SECOND * 30), []);
}

#[test]
fn five_points_below_the_mean_are_needed_beside_the_deviations() {
    // Ten instances: the mean is at nine tenths of the gap.
    for (n_errors, is_out) in [(11, false), (12, true)] {
        let (mut ejector, now) = ejector(10);
        for id in 0..10 {
            for at in 0..200 {
                let is_error = id == 0 && at % 2 == 0 && at < n_errors * 2;
                let _ = ejector.on_result(id, now, is_error, MILLISECOND);
            }
        }
        let changes = ejector.poll(now + SECOND * 30);
        assert_eq!(!changes.is_empty(), is_out, "{n_errors} of 200");
    }
}

#[test]
fn a_latency_over_three_times_the_median_ejects() {
    // Of the rest, one takes half of and one twice the median, 20 ms.
    for (millis, is_out) in [(60, false), (61, true)] {
        let (mut ejector, now) = ejector(4);
        for (id, millis) in [(0, millis), (1, 10), (2, 20), (3, 20)] {
            for _ in 0..100 {
                assert_eq!(
                    ejector.on_result(id, now, false, MILLISECOND * millis),
                    None
                );
            }
        }
        let changes = ejector.poll(now + SECOND * 30);
        let until = now + SECOND * 60;
        let cause = Cause::Latency;
        let expected = EjectionChange::Ejected {
            id: 0,
            cause,
            until,
        };
        assert_eq!(changes.first(), is_out.then_some(&expected), "{millis} ms");
    }
}

#[test]
fn short_latencies_are_not_compared_nor_those_of_two() {
    for (n_hosts, slow) in [(3, MILLISECOND * 10), (2, SECOND)] {
        let (mut ejector, now) = ejector(n_hosts);
        for id in 0..n_hosts {
            let latency = if id == 0 { slow } else { MILLISECOND / 10 };
            for _ in 0..100 {
                assert_eq!(ejector.on_result(id, now, false, latency), None);
            }
        }
        assert_eq!(ejector.poll(now + SECOND * 30), []);
    }
}

#[test]
fn an_interval_is_judged_by_itself() {
    let (mut ejector, now) = ejector(5);
    for round in 1..=4 {
        for id in 0..5 {
            for at in 0..60 {
                let _ = ejector.on_result(id, now, id == 0 && at % 4 == 0, MILLISECOND);
            }
        }
        assert_eq!(
            ejector.poll(now + SECOND * 30 * round),
            [],
            "60 calls are too few"
        );
    }
}

#[test]
fn who_leaves_is_forgotten_and_who_stays_is_not() {
    let (mut ejector, now) = ejector(4);
    fail(&mut ejector, 1, now);
    assert_eq!(ejector.set_members([1, 2, 5]), []);
    assert!(ejector.is_ejected(1));
    assert_eq!(ejector.set_members([2, 5]), []);
    assert_eq!(ejector.n_ejected(), 0);
    assert_eq!(ejector.set_members([1, 2, 5]), []);
    assert!(!ejector.is_ejected(1));
    assert_eq!(error(&mut ejector, 0, now), None, "no member");
}

#[test]
fn when_only_the_ejected_remain_they_return() {
    let (mut ejector, now) = ejector(4);
    fail(&mut ejector, 1, now);
    assert_eq!(
        ejector.set_members([1]),
        [EjectionChange::Returned { id: 1 }]
    );
    assert_eq!(ejector.n_ejected(), 0);
    assert_eq!(ejector.poll_timeout(), None);
}

#[test]
fn refuses_what_cannot_work_by_name() {
    use OutlierConfigError as Fault;
    check_config(|_| (), None);
    check_config(|good| good.consecutive_errors = 0, Some(Fault::NoErrors));
    check_config(
        |good| good.interval = Duration::ZERO,
        Some(Fault::NoInterval),
    );
    let long = DURATION_MAX + NANOSECOND;
    check_config(|good| good.interval = long, Some(Fault::TooLong(long)));
    check_config(|good| good.interval = DURATION_MAX, None);
    check_config(|good| good.latency_floor = long, Some(Fault::TooLong(long)));
    check_config(
        |good| good.max_ejection_time = long,
        Some(Fault::TooLong(long)),
    );
    check_config(
        |good| good.base_ejection_time = Duration::ZERO,
        Some(Fault::NoEjectionTime),
    );
    let (base, max) = (SECOND * 301, SECOND * 300);
    check_config(|good| good.base_ejection_time = max, None);
    let fault = Fault::EjectionTimeOrder { base, max };
    check_config(|good| good.base_ejection_time = base, Some(fault));
    check_config(|good| good.max_ejection_percent = 100, None);
    check_config(
        |good| good.max_ejection_percent = 101,
        Some(Fault::Percent(101)),
    );
    for factor in [0.0, 10.1] {
        check_config(
            |good| good.stdev_factor = Some(factor),
            Some(Fault::StdevFactor(factor)),
        );
    }
    check_config(|good| good.stdev_factor = None, None);
    for factor in [1.0, 100.1] {
        let fault = Fault::LatencyFactor(factor);
        check_config(|good| good.latency_factor = Some(factor), Some(fault));
    }
    check_config(|good| good.latency_factor = None, None);
    check_config(|good| good.minimum_hosts = 2, None);
    check_config(|good| good.minimum_hosts = 1, Some(Fault::MinimumHosts(1)));
    check_config(|good| good.request_volume = 0, Some(Fault::NoVolume));
}

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const NANOSECOND: Duration = Duration::from_nanos(1);

fn check_config(change: impl FnOnce(&mut OutlierConfig), fault: Option<OutlierConfigError>) {
    let mut config = OutlierConfig::default();
    change(&mut config);
    assert_eq!(Ejector::<u32>::new(config, testing::epoch()).err(), fault);
}

fn ejector(n: u32) -> (Ejector<u32>, Instant) {
    with(OutlierConfig::default(), n)
}

fn with(config: OutlierConfig, n: u32) -> (Ejector<u32>, Instant) {
    let now = testing::epoch();
    let mut ejector = Ejector::new(config, now).expect("it works");
    assert_eq!(ejector.set_members(0..n), []);
    (ejector, now)
}

fn error(ejector: &mut Ejector<u32>, id: u32, now: Instant) -> Option<EjectionChange<u32>> {
    ejector.on_result(id, now, true, MILLISECOND)
}

/// Fails as often as it takes; says until when it is out.
fn fail(ejector: &mut Ejector<u32>, id: u32, now: Instant) -> Option<Instant> {
    (0..5).find_map(|_| match error(ejector, id, now)? {
        EjectionChange::Ejected { until, .. } => Some(until),
        EjectionChange::Returned { .. } => None,
    })
}
