//! A second try beside one that takes long.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use postern_core::{
    Kind,
    resilience::{HedgeConfig, HedgeDelay, RetryBudgetConfig},
};
use postern_system::clock;

use super::{
    super::{Pattern, ServicePolicy},
    stage::{Does, SECOND, Stage, text},
};

fn hedged(service: &mut ServicePolicy) {
    service.idempotent = vec![Pattern::new("Get*")];
    service.hedge = Some(HedgeConfig {
        delay: HedgeDelay::Fixed(Duration::from_millis(20)),
        hedges_max: 1,
    });
}

fn stage(change: impl FnOnce(&mut ServicePolicy)) -> Stage {
    let stage = Stage::new(&["a", "b"], |service| {
        hedged(service);
        change(service);
    });
    stage.tell("a", Does::AnswerAfter(SECOND * 5));
    stage
}

#[tokio::test(start_paused = true)]
async fn the_first_answer_wins_and_the_other_is_dropped() {
    let stage = stage(|_| {});
    let began = clock::now();
    assert_eq!(text(stage.call("GetUser").await), "b");
    assert_eq!(clock::since(began), Duration::from_millis(20));
    let numbers = stage.numbers();
    let hedges = (numbers.hedges_sent, numbers.hedges_won, numbers.tries);
    assert_eq!(hedges, (1, 1, 2));
    assert_eq!(stage.double("a").n_dropped.load(Relaxed), 1);
    stage.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn what_may_run_once_is_not_hedged() {
    let stage = stage(|_| {});
    stage.calls("CreateUser", 2).await;
    assert_eq!(stage.numbers().hedges_sent, 0);
}

#[tokio::test(start_paused = true)]
async fn a_hedge_is_paid_for() {
    let stage = stage(|service| {
        service.budget = RetryBudgetConfig {
            ratio: 0.0,
            min_per_second: 0,
            ..RetryBudgetConfig::default()
        };
    });
    assert_eq!(stage.calls("GetUser", 2).await, 0);
    let numbers = stage.numbers();
    assert_eq!((numbers.hedges_sent, numbers.budget_refusals), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_fails_leaves_the_first_try_alone() {
    let stage = stage(|_| {});
    stage.tell("b", Does::Cut);
    stage.tell("a", Does::AnswerAfter(SECOND));
    assert_eq!(stage.calls("GetUser", 4).await, 0);
    assert!(stage.numbers().hedges_sent >= 1);
    stage.tell("b", Does::Refuse(Kind::NotFound));
    stage.assert_idle();
}
