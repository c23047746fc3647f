//! The breaker, edge by edge. Sequences by chance: `simulation/breaker.rs`.

use super::*;
use crate::testing;

#[test]
fn opens_after_exactly_the_threshold_of_failures_in_a_row() {
    let (mut breaker, now) = closed();
    for _ in 0..4 {
        assert_eq!(fail(&mut breaker, now), None);
    }
    assert_eq!(succeed(&mut breaker, now), None);
    for _ in 0..4 {
        assert_eq!(
            fail(&mut breaker, now),
            None,
            "a success starts the count again"
        );
    }
    assert_eq!(fail(&mut breaker, now), Some(BreakerState::Open));
    assert_eq!(breaker.state(now), BreakerState::Open);
}

#[test]
fn says_when_probes_begin_and_lets_them_through_on_time() {
    let (mut breaker, now) = open();
    let refused = |retry_after| Err(Open { retry_after });
    assert_eq!(breaker.try_admit(now), refused(MINUTE));
    let nearly = now + MINUTE - NANOSECOND;
    assert_eq!(breaker.try_admit(nearly), refused(NANOSECOND));
    assert_eq!(breaker.state(nearly), BreakerState::Open);
    assert_eq!(breaker.state(now + MINUTE), BreakerState::HalfOpen);
    let _probe = breaker.try_admit(now + MINUTE).expect("a probe");
}

#[test]
fn lets_three_probes_through_at_a_time() {
    let (mut breaker, opened) = open();
    let now = opened + MINUTE;
    let mut probes: Vec<Ticket> = (0..3)
        .map(|_| breaker.try_admit(now).expect("a probe"))
        .collect();
    let retry_after = Duration::from_secs(1);
    assert_eq!(breaker.try_admit(now), Err(Open { retry_after }));
    breaker.on_cancel(probes.pop().expect("three"));
    let _probe = breaker
        .try_admit(now)
        .expect("the place of the cancelled one");
    assert_eq!(breaker.try_admit(now), Err(Open { retry_after }));
}

#[test]
fn closes_after_exactly_two_successful_probes() {
    let (mut breaker, opened) = open();
    let now = opened + MINUTE;
    assert_eq!(succeed(&mut breaker, now), None);
    assert_eq!(breaker.state(now), BreakerState::HalfOpen);
    assert_eq!(succeed(&mut breaker, now), Some(BreakerState::Closed));
    assert!(breaker.is_calm());
}

#[test]
fn one_failed_probe_opens_it_for_the_whole_timeout() {
    let (mut breaker, opened) = open();
    let now = opened + MINUTE;
    assert_eq!(succeed(&mut breaker, now), None);
    assert_eq!(fail(&mut breaker, now), Some(BreakerState::Open));
    let retry_after = MINUTE;
    assert_eq!(breaker.try_admit(now), Err(Open { retry_after }));
}

#[test]
fn a_straggler_of_an_earlier_era_is_not_judged() {
    let (mut breaker, now) = closed();
    let stragglers: Vec<Ticket> = (0..3)
        .map(|_| breaker.try_admit(now).expect("closed"))
        .collect();
    fail_five_times(&mut breaker, now);
    let now = now + MINUTE;
    let _probe = breaker.try_admit(now).expect("a probe");
    let [success, failure, cancelled] = stragglers.try_into().expect("three");
    assert_eq!(breaker.on_success(success), None);
    assert_eq!(breaker.on_failure(failure, now), None);
    breaker.on_cancel(cancelled);
    assert_eq!(breaker.state(now), BreakerState::HalfOpen);
    let _second = breaker.try_admit(now).expect("a second probe");
    let _third = breaker.try_admit(now).expect("a third probe");
    assert!(breaker.try_admit(now).is_err(), "no place was given back");
}

#[test]
fn is_calm_while_a_success_would_change_nothing() {
    let (mut breaker, now) = closed();
    let era = breaker.calm_era().expect("calm");
    assert_eq!(fail(&mut breaker, now), None);
    assert_eq!(breaker.calm_era(), None);
    assert_eq!(breaker.on_success(Ticket::calm(era)), None);
    assert_eq!(breaker.calm_era(), Some(era));
    for _ in 0..4 {
        assert_eq!(breaker.on_failure(Ticket::calm(era), now), None);
    }
    assert_eq!(
        breaker.on_failure(Ticket::calm(era), now),
        Some(BreakerState::Open)
    );
    assert_eq!(breaker.on_failure(Ticket::calm(era), now), None);
    assert!(!breaker.is_calm());
}

#[test]
fn refuses_what_cannot_work_by_name() {
    use BreakerConfigError as Fault;
    let good = BreakerConfig::default();
    let check = |config, fault| assert_eq!(Breaker::new(config).err(), fault);
    check(good, None);
    let failure_threshold = 0;
    check(
        BreakerConfig {
            failure_threshold,
            ..good
        },
        Some(Fault::NoFailureThreshold),
    );
    let success_threshold = 0;
    check(
        BreakerConfig {
            success_threshold,
            ..good
        },
        Some(Fault::NoSuccessThreshold),
    );
    let half_open_requests = 0;
    check(
        BreakerConfig {
            half_open_requests,
            ..good
        },
        Some(Fault::NoHalfOpenRequests),
    );
    let timeout = Duration::ZERO;
    check(BreakerConfig { timeout, ..good }, Some(Fault::NoTimeout));
    let timeout = DURATION_MAX;
    check(BreakerConfig { timeout, ..good }, None);
    let timeout = DURATION_MAX + NANOSECOND;
    check(
        BreakerConfig { timeout, ..good },
        Some(Fault::TimeoutTooLong(timeout)),
    );
}

const MINUTE: Duration = Duration::from_secs(60);
const NANOSECOND: Duration = Duration::from_nanos(1);

fn closed() -> (Breaker, Instant) {
    let breaker = Breaker::new(BreakerConfig::default()).expect("the defaults work");
    (breaker, testing::epoch())
}

fn open() -> (Breaker, Instant) {
    let (mut breaker, now) = closed();
    fail_five_times(&mut breaker, now);
    (breaker, now)
}

fn succeed(breaker: &mut Breaker, now: Instant) -> Option<BreakerState> {
    let ticket = breaker.try_admit(now).expect("admitted");
    breaker.on_success(ticket)
}

fn fail(breaker: &mut Breaker, now: Instant) -> Option<BreakerState> {
    let ticket = breaker.try_admit(now).expect("admitted");
    breaker.on_failure(ticket, now)
}

fn fail_five_times(breaker: &mut Breaker, now: Instant) {
    for _ in 0..4 {
        assert_eq!(fail(breaker, now), None);
    }
    assert_eq!(fail(breaker, now), Some(BreakerState::Open));
}
