//! Values in the order in which they came, bounded in number and age.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// At most `values_max` values, none older than `age_max`. Whoever keeps them in an index, too, is given
/// each that goes.
#[derive(Debug)]
pub(super) struct AgedQueue<T> {
    values_max: usize,
    age_max: Duration,
    values: VecDeque<(Instant, T)>,
}

impl<T> AgedQueue<T> {
    pub(super) fn new(values_max: usize, age_max: Duration) -> Self {
        Self {
            values_max,
            age_max,
            values: VecDeque::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// The next value that is too old at `now`.
    pub(super) fn pop_old(&mut self, now: Instant) -> Option<T> {
        let (at, _) = self.values.front()?;
        let is_old = now.saturating_duration_since(*at) > self.age_max;
        is_old.then(|| self.pop_oldest()).flatten()
    }

    /// Adds a value, and gives the oldest one where there are too many.
    pub(super) fn push(&mut self, now: Instant, value: T) -> Option<T> {
        let is_full = self.values.len() >= self.values_max;
        let oldest = is_full.then(|| self.pop_oldest()).flatten();
        self.values.push_back((now, value));
        oldest
    }

    pub(super) fn oldest(&self) -> Option<&T> {
        self.values.front().map(|(_, value)| value)
    }

    pub(super) fn clear(&mut self) {
        self.values.clear();
    }

    pub(super) fn pop_oldest(&mut self) -> Option<T> {
        self.values.pop_front().map(|(_, value)| value)
    }
}
