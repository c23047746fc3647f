//! A service that does a few calls at a time and lets the others wait inside, however many and
//! however long: what an upstream without limits does.

use std::{collections::VecDeque, time::Duration};

use super::interarrival;
use crate::testing::Rng;

pub(super) struct Service {
    n_servers: u32,
    mean: Duration,
    n_busy: u32,
    inside: VecDeque<u64>,
}

impl Service {
    pub(super) const fn new(n_servers: u32, mean: Duration) -> Self {
        Self {
            n_servers,
            mean,
            n_busy: 0,
            inside: VecDeque::new(),
        }
    }

    /// The calls that it can do, on average.
    pub(super) fn per_second(&self) -> f64 {
        f64::from(self.n_servers) / self.mean.as_secs_f64()
    }

    /// Takes a call; says how long it will be at work on it, if it begins at once.
    pub(super) fn on_call(&mut self, id: u64, rng: &mut Rng) -> Option<Duration> {
        if self.n_busy >= self.n_servers {
            self.inside.push_back(id);
            return None;
        }
        self.n_busy += 1;
        Some(self.work(rng))
    }

    /// A call is done; says which comes next, and how long that takes.
    pub(super) fn on_done(&mut self, rng: &mut Rng) -> Option<(u64, Duration)> {
        let Some(next) = self.inside.pop_front() else {
            self.n_busy -= 1;
            return None;
        };
        Some((next, self.work(rng)))
    }

    /// Half of the mean for sure, the other half by chance (exponential).
    fn work(&self, rng: &mut Rng) -> Duration {
        self.mean / 2 + interarrival(rng, self.mean / 2)
    }
}
