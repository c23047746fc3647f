//! The shape of the rise and its edges.

use super::*;

fn check(slow_start: SlowStart, age_ms: u64, percent: u64) {
    let parts = slow_start.parts(Duration::from_millis(age_ms));
    assert_eq!(parts, (percent * WHOLE + 50) / 100, "at {age_ms} ms");
}

const TEN: Duration = Duration::from_secs(10);

#[test]
fn off_by_default() {
    check(SlowStart::default(), 0, 100);
    assert_eq!(SlowStart::default().ends(crate::testing::epoch()), None);
}

#[test]
fn rises_in_a_straight_line_from_the_minimum_to_the_end_of_the_window() {
    let straight = SlowStart::over(TEN);
    for (age_ms, percent) in [(0, 10), (1000, 10), (2000, 20), (5000, 50), (7500, 75)] {
        check(straight, age_ms, percent);
    }
    assert!(straight.parts(TEN - Duration::from_millis(20)) < WHOLE);
    check(straight, 10_000, 100);
    check(straight, 10_001, 100);
}

#[test]
fn aggression_bends_the_line() {
    let bent = |aggression| SlowStart {
        aggression,
        ..SlowStart::over(TEN)
    };
    check(bent(2.0), 2500, 50);
    check(bent(0.5), 5000, 25);
    check(bent(0.0), 5000, 50);
    check(bent(f64::NAN), 5000, 50);
}

#[test]
fn the_first_second_counts_as_one_and_nothing_is_ever_without_weight() {
    let none = SlowStart {
        minimum_percent: 0,
        ..SlowStart::over(TEN)
    };
    check(none, 0, 10);
    check(none, 999, 10);
    let steep = SlowStart {
        aggression: 0.01,
        ..none
    };
    assert_eq!(steep.parts(Duration::ZERO), 1);
}

#[test]
fn a_window_under_a_second_starts_full() {
    check(SlowStart::over(Duration::from_millis(900)), 0, 100);
}
