//! The budget at its edges, and against a model that remembers everything.

use std::collections::VecDeque;

use super::*;
use crate::testing::{self, Rng};

#[test]
fn allows_one_retry_for_five_calls() {
    let (mut budget, now) = budget(0);
    budget.deposit(now, 4);
    assert!(budget.try_withdraw(now).is_err());
    budget.deposit(now, 1);
    assert_eq!(budget.try_withdraw(now), Ok(()));
    let spent = Spent {
        n_retries: 1,
        n_first: 5,
    };
    assert_eq!(budget.try_withdraw(now), Err(spent));
}

#[test]
fn allows_the_minimum_without_any_traffic() {
    let (mut budget, now) = budget(1);
    for _ in 0..10 {
        assert_eq!(budget.try_withdraw(now), Ok(()), "one a second for 10 s");
    }
    assert!(budget.try_withdraw(now).is_err());
    assert!(budget.balance(now).abs() < f64::EPSILON);
}

#[test]
fn a_call_counts_for_a_window_and_no_longer() {
    let (mut budget, now) = budget(0);
    budget.deposit(now, 5);
    assert!(
        budget
            .clone()
            .try_withdraw(now + WINDOW - NANOSECOND)
            .is_ok()
    );
    assert!(budget.try_withdraw(now + WINDOW).is_err());
}

#[test]
fn spent_retries_come_back_after_a_window() {
    let (mut budget, now) = budget(1);
    while budget.try_withdraw(now).is_ok() {}
    assert!(budget.try_withdraw(now + WINDOW - NANOSECOND).is_err());
    assert!(budget.try_withdraw(now + WINDOW).is_ok());
}

#[test]
fn a_clock_reading_from_before_changes_nothing() {
    let (mut budget, now) = budget(0);
    budget.deposit(now + WINDOW * 3, 5);
    assert_eq!(budget.try_withdraw(now), Ok(()));
}

#[test]
fn never_gives_more_than_the_share_of_the_window() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let (mut budget, mut now) = budget(1);
        let mut first = VecDeque::new();
        let mut retries = VecDeque::new();
        for _ in 0..500 {
            now += Duration::from_millis(rng.below(400));
            if rng.chance(2) {
                now += WINDOW;
            }
            let n = rng.below(12);
            budget.deposit(now, n);
            first.extend((0..n).map(|_| now));
            while rng.chance(80) && budget.try_withdraw(now).is_ok() {
                retries.push_back(now);
                // A call counts for at most a window; a retry at least for all but a tenth of it.
                forget(&mut first, now, WINDOW);
                forget(&mut retries, now, WINDOW - WINDOW / 10);
                let allowed = 10.0 + 0.2 * first.len() as f64;
                let n_retries = retries.len();
                assert!(
                    n_retries as f64 <= allowed,
                    "seed {seed}: {n_retries} > {allowed}"
                );
            }
        }
    }
}

#[test]
fn refuses_what_cannot_work_by_name() {
    use RetryBudgetConfigError as Fault;
    let good = RetryBudgetConfig::default();
    let check = |config, fault| assert_eq!(RetryBudget::new(config, testing::epoch()).err(), fault);
    check(RetryBudgetConfig { ratio: 0.0, ..good }, None);
    check(
        RetryBudgetConfig {
            ratio: 10.0,
            ..good
        },
        None,
    );
    for ratio in [-0.1, 10.1, f64::INFINITY] {
        check(
            RetryBudgetConfig { ratio, ..good },
            Some(Fault::Ratio(ratio)),
        );
    }
    let nan = RetryBudgetConfig {
        ratio: f64::NAN,
        ..good
    };
    assert!(matches!(
        RetryBudget::new(nan, testing::epoch()),
        Err(Fault::Ratio(_))
    ));
    let window = WINDOW_MIN;
    check(RetryBudgetConfig { window, ..good }, None);
    let window = WINDOW_MIN - NANOSECOND;
    check(
        RetryBudgetConfig { window, ..good },
        Some(Fault::WindowTooShort(window)),
    );
    let window = DURATION_MAX + NANOSECOND;
    check(
        RetryBudgetConfig { window, ..good },
        Some(Fault::WindowTooLong(window)),
    );
}

const WINDOW: Duration = Duration::from_secs(10);
const NANOSECOND: Duration = Duration::from_nanos(1);

fn budget(min_per_second: u32) -> (RetryBudget, Instant) {
    let config = RetryBudgetConfig {
        min_per_second,
        ..RetryBudgetConfig::default()
    };
    let now = testing::epoch();
    (RetryBudget::new(config, now).expect("it works"), now)
}

fn forget(times: &mut VecDeque<Instant>, now: Instant, age: Duration) {
    while times
        .front()
        .is_some_and(|time| now.duration_since(*time) > age)
    {
        times.pop_front();
    }
}
