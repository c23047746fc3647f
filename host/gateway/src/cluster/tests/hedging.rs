//! A second try beside one that takes long.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use postern_core::{
    Kind, Retry,
    resilience::{HedgeConfig, HedgeDelay, RetryBudgetConfig},
};
use postern_system::clock;

use super::{
    super::{Pattern, ServicePolicy},
    fixture::{Does, Fixture, SECOND, text},
};

fn hedged(service: &mut ServicePolicy) {
    service.idempotent = vec![Pattern::new("Get*")];
    service.hedge = Some(HedgeConfig {
        delay: HedgeDelay::Fixed(Duration::from_millis(20)),
        hedges_max: 1,
    });
}

fn fixture(change: impl FnOnce(&mut ServicePolicy)) -> Fixture {
    let fixture = Fixture::new(&["a", "b"], |service| {
        hedged(service);
        change(service);
    });
    fixture.tell("a", Does::AnswerAfter(SECOND * 5));
    fixture
}

#[tokio::test(start_paused = true)]
async fn the_first_answer_wins_and_the_other_is_dropped() {
    let fixture = fixture(|_| {});
    let began = clock::now();
    assert_eq!(text(fixture.call("GetUser").await), "b");
    assert_eq!(clock::since(began), Duration::from_millis(20));
    let numbers = fixture.numbers();
    let hedges = (numbers.hedges_sent, numbers.hedges_won, numbers.tries);
    assert_eq!(hedges, (1, 1, 2));
    assert_eq!(fixture.double("a").n_dropped.load(Relaxed), 1);
    fixture.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn what_may_run_once_is_not_hedged() {
    let fixture = fixture(|_| {});
    fixture.calls("CreateUser", 2).await;
    assert_eq!(fixture.numbers().hedges_sent, 0);
}

#[tokio::test(start_paused = true)]
async fn a_hedge_is_paid_for() {
    let fixture = fixture(|service| {
        service.budget = RetryBudgetConfig {
            ratio: 0.0,
            min_per_second: 0,
            ..RetryBudgetConfig::default()
        };
    });
    assert_eq!(fixture.calls("GetUser", 2).await, 0);
    let numbers = fixture.numbers();
    assert_eq!((numbers.hedges_sent, numbers.budget_refusals), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_fails_leaves_the_first_try_alone() {
    let fixture = fixture(|_| {});
    fixture.tell("b", Does::Cut);
    fixture.tell("a", Does::AnswerAfter(SECOND));
    assert_eq!(fixture.calls("GetUser", 4).await, 0);
    assert!(fixture.numbers().hedges_sent >= 1);
    fixture.tell("b", Does::Refuse(Kind::NotFound));
    fixture.assert_idle();
}

/// The first try is slow, and the hedge beside it is pushed back as `retry` says: when a call is answered, by
/// whom, and by how many tries.
async fn pushed_back(retry: Retry) -> (Duration, String, u64) {
    let fixture = Fixture::new(&["a", "b", "c"], |service| {
        hedged(service);
        service.hedge = Some(HedgeConfig {
            delay: HedgeDelay::Fixed(Duration::from_millis(20)),
            hedges_max: 2,
        });
    });
    fixture.tell("a", Does::AnswerAfter(SECOND));
    fixture.tell("b", Does::PushBack(retry));
    let began = clock::now();
    let answered = text(fixture.call("GetUser").await);
    (clock::since(began), answered, fixture.numbers().tries)
}

#[tokio::test(start_paused = true)]
async fn a_pushback_is_kept_to_by_hedges() {
    let hedge = Duration::from_millis(20);
    let after = |millis| Retry::After(Duration::from_millis(millis));
    let by_c = |time| (time, "c".to_owned(), 3);
    assert_eq!(pushed_back(Retry::Elsewhere).await, by_c(hedge * 2));
    assert_eq!(
        pushed_back(after(100)).await,
        by_c(hedge + Duration::from_millis(100))
    );
    assert_eq!(pushed_back(after(0)).await, by_c(hedge * 2));
    let forbidden = pushed_back(Retry::Forbidden).await;
    assert_eq!(forbidden, (SECOND, "a".to_owned(), 2));
}
