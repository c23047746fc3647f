//! The machines together with services that fail, in virtual time, thousands of times, each time
//! from a seed.
//!
//! A failing seed is printed; `POSTERN_SEED=n cargo test -p postern-core resilience::simulation`
//! replays it alone.

mod breaker;
mod ejection;
mod overload;
mod service;
mod storm;

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant},
};

use crate::testing::Rng;

/// Runs `run` for every seed, or for the one that `POSTERN_SEED` names; returns what each gave.
fn for_each_seed<T>(name: &str, n_seeds: u64, run: impl Fn(u64) -> T) -> Vec<T> {
    let replayed = std::env::var("POSTERN_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seeds = replayed.map_or(0..n_seeds, |seed| seed..seed + 1);
    let run_named = |seed| {
        let guard = Guard { name, seed };
        let outcome = run(seed);
        drop(guard);
        outcome
    };
    seeds.map(run_named).collect()
}

/// Names the seed when what it runs panics.
struct Guard<'a> {
    name: &'a str,
    seed: u64,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { name, seed } = self;
            eprintln!("simulation {name} fails: replay it with POSTERN_SEED={seed}");
        }
    }
}

/// What happens when; what was put in first comes first at the same instant.
struct Agenda<E> {
    events: BinaryHeap<Reverse<(Instant, u64, E)>>,
    n_events: u64,
}

impl<E: Ord> Agenda<E> {
    const fn new() -> Self {
        Self {
            events: BinaryHeap::new(),
            n_events: 0,
        }
    }

    fn push(&mut self, at: Instant, event: E) {
        self.events.push(Reverse((at, self.n_events, event)));
        self.n_events += 1;
    }

    fn pop(&mut self) -> Option<(Instant, E)> {
        let Reverse((at, _, event)) = self.events.pop()?;
        Some((at, event))
    }
}

/// The time until the next of events that come independently, `mean` apart (exponential).
fn interarrival(rng: &mut Rng, mean: Duration) -> Duration {
    // 53 random bits, above 0.
    let uniform = ((rng.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
    mean.mul_f64(-uniform.ln())
}

/// The mean of some figures.
fn mean(figures: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = figures.len().max(1) as f64;
    figures.sum::<f64>() / n
}

/// The latency that `percent` of the sorted `latencies` do not exceed.
fn percentile(latencies: &mut [Duration], percent: usize) -> Duration {
    latencies.sort_unstable();
    let rank = (latencies.len() * percent / 100).min(latencies.len().saturating_sub(1));
    latencies.get(rank).copied().unwrap_or_default()
}
