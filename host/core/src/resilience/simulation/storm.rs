//! A retry storm: a service fails more and more, up to always, and every caller tries again. What
//! must hold: what reaches the service is at most `1 + ratio` times the calls, and the minimum.

use std::time::Duration;

use super::{Agenda, for_each_seed, interarrival, mean};
use crate::{
    error::{Blame, Error},
    resilience::{
        budget::{RetryBudget, RetryBudgetConfig},
        retry::{Decision, RetryPolicy, RetryPolicyConfig, Safety},
    },
    testing::{self, Rng},
};

#[test]
fn a_retry_storm_does_not_multiply_load_beyond_the_budget() {
    const N_SEEDS: u64 = 1000;
    let bounded = for_each_seed("retry storm", N_SEEDS, |seed| {
        let storm = Storm::run(seed, true);
        let most = storm.n_calls as f64 * RATIO + storm.reserve;
        let n_retries = storm.n_tries - storm.n_calls;
        assert!(
            n_retries as f64 <= most,
            "{n_retries} retries, {most} allowed"
        );
        storm.amplification()
    });
    // The same storm without a budget: it is the budget that holds it, not the simulation.
    let unbounded = (0..20).map(|seed| Storm::run(seed, false).amplification());
    let unbounded = unbounded.fold(0.0, f64::max);
    assert!(unbounded > 2.0, "{unbounded}");
    let worst = bounded.iter().copied().fold(0.0, f64::max);
    println!(
        "simulation retry storm: {} seeds, worst amplification {worst:.2}, mean {:.2}; without a budget {unbounded:.2}",
        bounded.len(),
        mean(bounded.iter().copied()),
    );
}

const RATIO: f64 = 0.2;

struct Storm {
    n_calls: u64,
    n_tries: u64,
    /// What the minimum allowed beside the ratio.
    reserve: f64,
}

/// Try number `tries` of a call reaches the service; 1 is the first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Call,
    Retry { tries: u32 },
}

impl Storm {
    fn run(seed: u64, has_budget: bool) -> Self {
        let mut rng = Rng::new(seed);
        let start = testing::epoch();
        let attempts_max = u32::try_from(2 + rng.below(9)).expect("small");
        let backoff_max = Duration::from_millis(50 + rng.below(2000));
        let policy = RetryPolicy::new(RetryPolicyConfig {
            attempts_max,
            backoff_max,
            ..RetryPolicyConfig::default()
        });
        let policy = policy.expect("it works");
        let min_per_second = u32::try_from(rng.below(3)).expect("small");
        let config = RetryBudgetConfig {
            ratio: RATIO,
            min_per_second,
            ..RetryBudgetConfig::default()
        };
        let mut budget = RetryBudget::new(config, start).expect("it works");
        let between = Duration::from_micros(10_000 + rng.below(20_000));
        let length = Duration::from_secs(20);
        let fails_for_ever = rng.chance(50);
        let mut storm = Self {
            n_calls: 0,
            n_tries: 0,
            reserve: f64::from(min_per_second) * (length + config.window * 2).as_secs_f64(),
        };
        let mut agenda = Agenda::new();
        agenda.push(start, Event::Call);
        while let Some((now, event)) = agenda.pop() {
            let tries = match event {
                Event::Call => {
                    storm.n_calls += 1;
                    budget.deposit(now, 1);
                    let next = now + interarrival(&mut rng, between);
                    if next < start + length {
                        agenda.push(next, Event::Call);
                    }
                    1
                }
                Event::Retry { tries } => tries,
            };
            storm.n_tries += 1;
            // From 0 to 100 % within 5 s; at the end it is well again, or not.
            let elapsed = now.duration_since(start).as_secs();
            let fails = rng.below(5) < elapsed && (fails_for_ever || elapsed < 15);
            if !fails {
                continue;
            }
            let error = Error::unavailable(Blame::Upstream, "gone");
            let random = rng.next_u64();
            let decision = policy.decide(&error, tries, Safety::Idempotent, None, random);
            if let Decision::Again { after, .. } = decision
                && (!has_budget || budget.try_withdraw(now).is_ok())
            {
                agenda.push(now + after, Event::Retry { tries: tries + 1 });
            }
        }
        storm
    }

    fn amplification(&self) -> f64 {
        self.n_tries as f64 / self.n_calls as f64
    }
}
