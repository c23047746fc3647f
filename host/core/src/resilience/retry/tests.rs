//! The table of `retry.rs`, line by line, and the back-off by property.

use proptest::prelude::*;

use super::*;

#[test]
fn the_last_try_is_the_last() {
    let error = refused();
    assert!(is_again(decide(&error, 2, Safety::Idempotent)));
    check(&error, 3, Safety::Idempotent, RetryReason::Attempts);
    check(&error, u32::MAX, Safety::Idempotent, RetryReason::Attempts);
}

#[test]
fn a_fault_of_the_client_is_never_tried_again() {
    for kind in Kind::ALL {
        for retry in RETRIES {
            let error = Error::new(kind, Blame::Client, "no").with_retry(retry);
            for safety in [Safety::Idempotent, Safety::Unsent, Safety::Once] {
                assert_eq!(
                    everything().decide(&error, 1, safety, None, 0),
                    Decision::Stop(RetryReason::Client)
                );
            }
        }
    }
}

#[test]
fn a_message_that_is_too_large_is_too_large_elsewhere() {
    let error = Error::too_long(9, 8, "calls.body-bytes-max", Blame::Upstream);
    for safety in [Safety::Idempotent, Safety::Unsent, Safety::Once] {
        check(&error, 1, safety, RetryReason::Never);
    }
}

#[test]
fn only_the_kinds_that_are_named() {
    for kind in Kind::ALL {
        let error = Error::new(kind, Blame::Upstream, "no");
        let named = [
            Kind::Unavailable,
            Kind::ResourceExhausted,
            Kind::DeadlineExceeded,
        ];
        if named.contains(&kind) {
            assert!(is_again(decide(&error, 1, Safety::Idempotent)), "{kind}");
        } else {
            check(&error, 1, Safety::Idempotent, RetryReason::Kind);
        }
        assert!(is_again(everything().decide(
            &error,
            1,
            Safety::Idempotent,
            None,
            0
        )));
    }
}

#[test]
fn what_was_refused_was_not_begun_whoever_refused_it() {
    for blame in [Blame::Gateway, Blame::Guest, Blame::Upstream] {
        for retry in [Retry::Elsewhere, Retry::After(SECOND)] {
            let error = Error::new(Kind::Unavailable, blame, "full").with_retry(retry);
            for safety in [Safety::Idempotent, Safety::Unsent, Safety::Once] {
                assert!(is_again(decide(&error, 1, safety)), "{blame:?} {retry:?}");
            }
        }
    }
}

#[test]
fn the_gateway_knows_when_nothing_helps() {
    for safety in [Safety::Idempotent, Safety::Unsent, Safety::Once] {
        let error = refused().with_retry(Retry::Never);
        check(&error, 1, safety, RetryReason::Never);
    }
}

#[test]
fn what_is_forbidden_is_not_tried_again_by_anybody() {
    for blame in [Blame::Gateway, Blame::Guest, Blame::Upstream] {
        let error = Error::new(Kind::Unavailable, blame, "no").with_retry(Retry::Forbidden);
        for safety in [Safety::Idempotent, Safety::Unsent, Safety::Once] {
            check(&error, 1, safety, RetryReason::Never);
        }
    }
}

#[test]
fn what_may_have_been_begun_is_repeated_only_where_safe() {
    let begun = [
        (Blame::Guest, Retry::Never),
        (Blame::Upstream, Retry::Never),
        (Blame::Gateway, Retry::IfIdempotent),
        (Blame::Guest, Retry::IfIdempotent),
        (Blame::Upstream, Retry::IfIdempotent),
    ];
    for (blame, retry) in begun {
        let error = Error::new(Kind::Unavailable, blame, "gone").with_retry(retry);
        assert!(is_again(decide(&error, 1, Safety::Idempotent)));
        assert!(is_again(decide(&error, 1, Safety::Unsent)));
        check(&error, 1, Safety::Once, RetryReason::Unsafe);
    }
}

#[test]
fn goes_elsewhere_unless_the_same_instance_said_when() {
    let error = Error::unavailable(Blame::Upstream, "gone");
    let decision = policy().decide(&error, 1, Safety::Idempotent, None, 0);
    let after = Duration::ZERO;
    assert_eq!(
        decision,
        Decision::Again {
            after,
            elsewhere: true
        }
    );
    let error = error.with_retry(Retry::After(SECOND));
    let decision = policy().decide(&error, 1, Safety::Idempotent, None, 0);
    assert_eq!(
        decision,
        Decision::Again {
            after: SECOND,
            elsewhere: false
        }
    );
}

#[test]
fn waits_as_long_as_asked_but_not_longer_than_the_policy_waits() {
    let most = Duration::from_secs(30);
    let error = refused().with_retry(Retry::After(most));
    let decision = decide(&error, 1, Safety::Once);
    assert_eq!(
        decision,
        Decision::Again {
            after: most,
            elsewhere: false
        }
    );
    let error = refused().with_retry(Retry::After(most + NANOSECOND));
    check(&error, 1, Safety::Once, RetryReason::Later);
}

#[test]
fn never_waits_to_the_deadline() {
    let error = refused().with_retry(Retry::After(SECOND));
    let decide = |remaining| policy().decide(&error, 1, Safety::Once, Some(remaining), 0);
    assert!(is_again(decide(SECOND + NANOSECOND)));
    assert_eq!(decide(SECOND), Decision::Stop(RetryReason::Deadline));
    assert_eq!(
        decide(Duration::ZERO),
        Decision::Stop(RetryReason::Deadline)
    );
}

#[test]
fn the_cap_doubles_from_25_milliseconds_to_30_seconds() {
    let caps = [
        25, 50, 100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000,
    ];
    for (tries, cap) in (1..).zip(caps) {
        assert_eq!(policy().backoff_cap(tries), Duration::from_millis(cap));
    }
    assert_eq!(policy().backoff_cap(u32::MAX), Duration::from_secs(30));
    assert_eq!(policy().backoff(1, 0), Duration::ZERO);
    assert_eq!(policy().backoff(1, u64::MAX), Duration::from_millis(25));
}

#[test]
fn a_minimum_of_zero_stays_zero() {
    let config = RetryPolicyConfig {
        backoff_min: Duration::ZERO,
        backoff_factor: 100.0,
        ..RetryPolicyConfig::default()
    };
    let policy = RetryPolicy::new(config).expect("it works");
    assert_eq!(policy.backoff_cap(u32::MAX), Duration::ZERO);
}

proptest! {
    #[test]
    fn a_backoff_stays_below_its_cap_and_caps_grow(
        min in 0_u64..10_000,
        more in 1_u64..100_000,
        factor in 1.0_f64..=100.0,
        tries in 1_u32..5000,
        random: u64,
    ) {
        let config = RetryPolicyConfig {
            backoff_min: Duration::from_millis(min),
            backoff_max: Duration::from_millis(min + more),
            backoff_factor: factor,
            ..RetryPolicyConfig::default()
        };
        let policy = RetryPolicy::new(config).expect("in bounds");
        let cap = policy.backoff_cap(tries);
        prop_assert!(policy.backoff(tries, random) <= cap);
        prop_assert!(cap <= policy.backoff_cap(tries + 1));
        prop_assert!(config.backoff_min <= cap && cap <= config.backoff_max);
    }
}

#[test]
fn a_backoff_is_uniform() {
    let mut rng = crate::testing::Rng::new(1);
    let mut n_in_tenth = [0_u32; 10];
    for _ in 0..100_000 {
        let wait = policy().backoff(1, rng.next_u64()).as_micros();
        n_in_tenth[usize::try_from(wait / 2500).expect("small").min(9)] += 1;
    }
    // 10,000 expected, standard deviation 95.
    assert!(
        n_in_tenth.iter().all(|n| (9_500..10_500).contains(n)),
        "{n_in_tenth:?}"
    );
}

#[test]
fn refuses_what_cannot_work_by_name() {
    use RetryPolicyConfigError as Fault;
    let zero = Duration::ZERO;
    check_config(|good| good.attempts_max = 1, None);
    check_config(|good| good.attempts_max = 0, Some(Fault::NoAttempts));
    let (min, max) = (SECOND * 30 + NANOSECOND, SECOND * 30);
    check_config(|good| good.backoff_min = max, None);
    check_config(
        |good| good.backoff_min = min,
        Some(Fault::BackoffOrder { min, max }),
    );
    check_config(|good| good.backoff_min = zero, None);
    check_config(|good| good.backoff_max = zero, Some(Fault::NoBackoff));
    let long = DURATION_MAX + NANOSECOND;
    check_config(|good| good.backoff_max = DURATION_MAX, None);
    check_config(
        |good| good.backoff_max = long,
        Some(Fault::BackoffTooLong(long)),
    );
    for factor in [1.0, 100.0] {
        check_config(|good| good.backoff_factor = factor, None);
    }
    for factor in [0.99, 100.1, f64::INFINITY] {
        check_config(
            |good| good.backoff_factor = factor,
            Some(Fault::BackoffFactor(factor)),
        );
    }
    check_config(
        |good| good.per_try_timeout = Some(zero),
        Some(Fault::NoPerTryTimeout),
    );
    check_config(|good| good.per_try_timeout = Some(DURATION_MAX), None);
    let fault = Fault::PerTryTimeoutTooLong(long);
    check_config(|good| good.per_try_timeout = Some(long), Some(fault));
}

const RETRIES: [Retry; 5] = [
    Retry::Never,
    Retry::Elsewhere,
    Retry::IfIdempotent,
    Retry::After(SECOND),
    Retry::Forbidden,
];
const SECOND: Duration = Duration::from_secs(1);
const NANOSECOND: Duration = Duration::from_nanos(1);

fn check_config(
    change: impl FnOnce(&mut RetryPolicyConfig),
    fault: Option<RetryPolicyConfigError>,
) {
    let mut config = RetryPolicyConfig::default();
    change(&mut config);
    assert_eq!(RetryPolicy::new(config).err(), fault);
}

fn policy() -> RetryPolicy {
    RetryPolicy::new(RetryPolicyConfig::default()).expect("the defaults work")
}

fn everything() -> RetryPolicy {
    let kinds = Kind::ALL.into_iter().collect();
    RetryPolicy::new(RetryPolicyConfig {
        kinds,
        ..RetryPolicyConfig::default()
    })
    .expect("it works")
}

/// As the gateway refuses what it did not begin.
fn refused() -> Error {
    Error::new(Kind::ResourceExhausted, Blame::Gateway, "full").with_retry(Retry::Elsewhere)
}

fn decide(error: &Error, tries: u32, safety: Safety) -> Decision {
    policy().decide(error, tries, safety, None, 0)
}

fn check(error: &Error, tries: u32, safety: Safety, reason: RetryReason) {
    assert_eq!(decide(error, tries, safety), Decision::Stop(reason));
}

const fn is_again(decision: Decision) -> bool {
    matches!(decision, Decision::Again { .. })
}
