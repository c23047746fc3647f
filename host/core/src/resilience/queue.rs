//! Who waits, and in which order they go: the most urgent first, and among equals who came first.
//! The same order backwards says who is shed. Bounded by whoever pushes (`bulkhead.rs`).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Instant,
};

/// Waiting calls by priority (255 is the most urgent), each with the instant from which on waiting
/// is in vain. All operations take logarithmic time in the number of waiters, or in the number of
/// different priorities among them.
#[derive(Debug, Clone, Default)]
pub struct WaitQueue {
    waiters: BTreeMap<Position, Waiter>,
    positions: HashMap<u64, Position>,
    by_deadline: BTreeSet<(Instant, Position)>,
    /// Waiters of each priority.
    counts: BTreeMap<u8, usize>,
    next_number: u64,
}

/// The order of the queue: priority, then arrival.
type Position = (Reverse<u8>, u64);

#[derive(Debug, Clone, Copy)]
struct Waiter {
    id: u64,
    deadline: Instant,
}

impl WaitQueue {
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiters.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    #[must_use]
    pub fn contains(&self, id: u64) -> bool {
        self.positions.contains_key(&id)
    }

    /// How many would go before one that came with `priority` at this moment.
    #[must_use]
    pub fn n_ahead(&self, priority: u8) -> usize {
        self.counts.range(priority..).map(|(_, count)| count).sum()
    }

    /// The priority of the one who would be shed.
    #[must_use]
    pub fn priority_min(&self) -> Option<u8> {
        self.counts.keys().next().copied()
    }

    /// The first instant at which somebody waits in vain.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    /// `id` waits, behind all of its priority. One that waits already loses its place.
    pub fn push(&mut self, id: u64, priority: u8, deadline: Instant) {
        self.remove(id);
        let position = (Reverse(priority), self.next_number);
        self.next_number += 1;
        self.waiters.insert(position, Waiter { id, deadline });
        self.positions.insert(id, position);
        self.by_deadline.insert((deadline, position));
        *self.counts.entry(priority).or_default() += 1;
    }

    /// Takes whose turn it is.
    pub fn pop_first(&mut self) -> Option<u64> {
        let (position, waiter) = self.waiters.pop_first()?;
        self.forget(position, waiter);
        Some(waiter.id)
    }

    /// Takes who is shed: the last to come of the least urgent.
    pub fn pop_last(&mut self) -> Option<u64> {
        let (position, waiter) = self.waiters.pop_last()?;
        self.forget(position, waiter);
        Some(waiter.id)
    }

    /// Takes one who waits in vain at `now`, if there is any.
    pub fn pop_late(&mut self, now: Instant) -> Option<u64> {
        let (deadline, position) = *self.by_deadline.first()?;
        if deadline > now {
            return None;
        }
        let waiter = self.waiters.remove(&position)?;
        self.forget(position, waiter);
        Some(waiter.id)
    }

    /// `id` waits no longer; false when it did not.
    pub fn remove(&mut self, id: u64) -> bool {
        let Some(position) = self.positions.get(&id).copied() else {
            return false;
        };
        if let Some(waiter) = self.waiters.remove(&position) {
            self.forget(position, waiter);
        }
        true
    }

    /// Takes a waiter that has left `waiters` out of everything else.
    fn forget(&mut self, position: Position, waiter: Waiter) {
        self.positions.remove(&waiter.id);
        self.by_deadline.remove(&(waiter.deadline, position));
        let Reverse(priority) = position.0;
        if let Some(count) = self.counts.get_mut(&priority) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&priority);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::{self, Rng};

    #[test]
    fn the_most_urgent_goes_first_and_equals_in_turn() {
        let mut queue = filled(&[(1, 50), (2, 200), (3, 50), (4, 200), (5, 0), (6, 255)]);
        let order: Vec<u64> = std::iter::from_fn(|| queue.pop_first()).collect();
        assert_eq!(order, [6, 2, 4, 1, 3, 5]);
    }

    #[test]
    fn the_last_of_the_least_urgent_is_shed() {
        let mut queue = filled(&[(1, 50), (2, 10), (3, 10), (4, 200)]);
        assert_eq!(queue.priority_min(), Some(10));
        let order: Vec<u64> = std::iter::from_fn(|| queue.pop_last()).collect();
        assert_eq!(order, [3, 2, 1, 4]);
        assert_eq!(queue.priority_min(), None);
    }

    #[test]
    fn counts_who_is_ahead() {
        let queue = filled(&[(1, 50), (2, 10), (3, 50), (4, 200)]);
        assert_eq!(
            [0, 10, 11, 50, 51, 200, 201, 255].map(|p| queue.n_ahead(p)),
            [4, 4, 3, 3, 1, 1, 0, 0]
        );
    }

    #[test]
    fn who_waits_in_vain_is_found_at_the_deadline_and_not_before() {
        let now = testing::epoch();
        let mut queue = WaitQueue::default();
        queue.push(1, 50, now + SECOND * 2);
        queue.push(2, 50, now + SECOND);
        assert_eq!(queue.next_deadline(), Some(now + SECOND));
        assert_eq!(queue.pop_late(now + SECOND - Duration::from_nanos(1)), None);
        assert_eq!(queue.pop_late(now + SECOND), Some(2));
        assert_eq!(queue.pop_late(now + SECOND), None);
        assert_eq!(queue.next_deadline(), Some(now + SECOND * 2));
    }

    #[test]
    fn pushed_again_it_stands_once_and_last() {
        let mut queue = filled(&[(1, 50), (2, 50), (1, 50)]);
        assert_eq!((queue.len(), queue.n_ahead(0)), (2, 2));
        assert_eq!((queue.pop_first(), queue.pop_first()), (Some(2), Some(1)));
    }

    #[test]
    fn agrees_with_a_sorted_list() {
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let mut queue = WaitQueue::default();
            let mut list: Vec<(Reverse<u8>, u64, Instant)> = Vec::new();
            for id in 0..200 {
                let now = testing::epoch() + Duration::from_millis(id);
                let taken = match rng.below(6) {
                    0..3 => {
                        let priority = u8::try_from(rng.below(4)).expect("small");
                        let deadline = now + Duration::from_millis(1 + rng.below(50));
                        queue.push(id, priority, deadline);
                        list.push((Reverse(priority), id, deadline));
                        list.sort_unstable();
                        continue;
                    }
                    3 => (queue.pop_first(), list.first().copied()),
                    4 => (queue.pop_last(), list.last().copied()),
                    _ => {
                        let first = list
                            .iter()
                            .min_by_key(|(position, id, at)| (*at, *position, *id));
                        let late = first.filter(|(_, _, at)| *at <= now).copied();
                        (queue.pop_late(now), late)
                    }
                };
                assert_eq!(taken.0, taken.1.map(|(_, id, _)| id), "seed {seed}");
                list.retain(|(_, id, _)| Some(*id) != taken.0);
                assert_eq!(queue.len(), list.len());
                assert_eq!(queue.positions.len(), list.len());
                assert_eq!(queue.by_deadline.len(), list.len());
                let ahead = list.iter().filter(|(Reverse(p), _, _)| *p >= 2).count();
                assert_eq!(queue.n_ahead(2), ahead);
            }
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn filled(waiters: &[(u64, u8)]) -> WaitQueue {
        let mut queue = WaitQueue::default();
        for (id, priority) in waiters {
            queue.push(*id, *priority, testing::epoch() + SECOND);
        }
        queue
    }
}
