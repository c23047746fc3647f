//! Averages in virtual time, calls in flight.

use super::*;
use crate::testing::epoch;

const HALF_LIFE: Duration = Duration::from_secs(7);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn load() -> Arc<Load> {
    Arc::new(Load::new(epoch()))
}

/// The load answers at `at` after the epoch.
fn answer(load: &Arc<Load>, at: Duration, latency: Duration) {
    load.begin().finish(epoch() + at, latency, false);
}

fn check(load: &Load, at: Duration, expected: Duration) {
    let found = load.latency(epoch() + at).as_secs_f64() * 1e3;
    let expected = expected.as_secs_f64() * 1e3;
    assert!(
        (found - expected).abs() <= expected / 1000.0,
        "{found} ms, not {expected} ms"
    );
}

#[test]
fn counts_what_is_in_flight_and_forgets_what_is_dropped() {
    let load = load();
    let (first, second) = (load.begin(), load.begin());
    assert_eq!(load.in_flight(), 2);
    drop(first);
    assert_eq!(load.in_flight(), 1);
    check(&load, ms(0), ms(30));
    second.finish(epoch(), ms(4), false);
    assert_eq!(load.in_flight(), 0);
    check(&load, ms(0), ms(4));
}

#[test]
fn what_is_unknown_starts_at_the_default_and_is_halved_by_the_half_life() {
    let load = load();
    check(&load, ms(0), ms(30));
    check(&load, HALF_LIFE, ms(15));
    check(&load, HALF_LIFE * 2, Duration::from_micros(7500));
}

#[test]
fn the_first_answer_replaces_the_default() {
    let load = load();
    answer(&load, ms(1), ms(2));
    check(&load, ms(1), ms(2));
}

#[test]
fn a_slower_answer_is_believed_at_once_and_a_faster_one_little_by_little() {
    let load = load();
    answer(&load, ms(0), ms(10));
    answer(&load, ms(0), ms(100));
    check(&load, ms(0), ms(100));
    answer(&load, HALF_LIFE, ms(10));
    check(&load, HALF_LIFE, ms(55));
    answer(&load, HALF_LIFE * 2, ms(10));
    check(&load, HALF_LIFE * 2, Duration::from_micros(32_500));
}

#[test]
fn of_answers_within_a_millisecond_the_slowest_counts() {
    let load = load();
    for latency in [5, 9, 1, 2] {
        answer(&load, ms(3), ms(latency));
    }
    check(&load, ms(3), ms(9));
}

#[test]
fn who_fails_fast_does_not_look_fast() {
    let load = load();
    answer(&load, ms(0), ms(10));
    for second in 1..=30 {
        load.begin()
            .finish(epoch() + ms(second * 1000), ms(1), true);
    }
    // 30 s of nothing but errors: 5 s * (1 - 2^(-30/7)).
    let found = load.latency(epoch() + ms(30_000));
    assert!(found > ms(4700) && found < ms(5000), "{found:?}");
}

#[test]
fn a_few_errors_cost_their_share() {
    let load = load();
    for tick in 0..60_000 {
        let is_error = tick % 100 == 50;
        load.begin().finish(epoch() + ms(tick), ms(10), is_error);
    }
    let found = load.latency(epoch() + ms(60_000));
    println!("balance load: 10 ms and 1 % errors look like {found:?}");
    assert!(found > ms(55) && found < ms(65), "{found:?}");
}

#[test]
fn an_answer_reported_late_does_not_set_the_clock_back() {
    let load = load();
    answer(&load, HALF_LIFE, ms(10));
    answer(&load, ms(0), ms(1));
    check(&load, HALF_LIFE, ms(10));
    check(&load, HALF_LIFE * 2, ms(5));
}

#[test]
fn the_clock_may_pass_its_end() {
    let load = load();
    let end = ms(1 << 32);
    answer(&load, end - ms(1), ms(10));
    check(&load, end - ms(1) + HALF_LIFE, ms(5));
    answer(&load, end + ms(1), ms(20));
    check(&load, end + ms(1), ms(20));
}
