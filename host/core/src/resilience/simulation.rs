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

use crate::{simulation::for_each_seed, testing::Rng};

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
