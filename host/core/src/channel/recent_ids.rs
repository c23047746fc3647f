//! Ids of events that came in, remembered for a while.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use super::{EVENT_ID_BYTES_MAX, aged_queue::AgedQueue};
use crate::text::Text;

/// The last ids, at most `ids_max` of them and none older than `age_max`.
#[derive(Debug)]
pub struct RecentIds {
    ids_max: usize,
    known: HashSet<Text>,
    by_age: AgedQueue<Text>,
}

impl RecentIds {
    #[must_use]
    pub fn new(ids_max: usize, age_max: Duration) -> Self {
        Self {
            ids_max,
            known: HashSet::new(),
            by_age: AgedQueue::new(ids_max, age_max),
        }
    }

    /// Remembers `id`. Says whether it is new; one that is empty or too long always is.
    pub fn insert(&mut self, now: Instant, id: &str) -> bool {
        if id.is_empty() || id.len() > EVENT_ID_BYTES_MAX || self.ids_max == 0 {
            return true;
        }
        self.forget_old(now);
        if self.known.contains(id) {
            return false;
        }
        let id = Text::from(id);
        if let Some(oldest) = self.by_age.push(now, id.clone()) {
            self.known.remove(&oldest);
        }
        self.known.insert(id);
        true
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.by_age.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_age.len() == 0
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some(id) = self.by_age.pop_old(now) {
            self.known.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn an_id_is_new_once() {
        let (mut ids, now) = (RecentIds::new(8, MINUTE), testing::epoch());
        assert!(ids.insert(now, "a") && ids.insert(now, "b"));
        assert!(!ids.insert(now, "a") && !ids.insert(now + MINUTE, "b"));
    }

    #[test]
    fn the_oldest_is_forgotten_where_there_are_too_many() {
        let (mut ids, now) = (RecentIds::new(2, MINUTE), testing::epoch());
        for id in ["a", "b", "c"] {
            assert!(ids.insert(now, id));
        }
        assert_eq!(ids.len(), 2);
        assert!(!ids.insert(now, "c") && !ids.insert(now, "b"));
        assert!(ids.insert(now, "a"));
    }

    #[test]
    fn an_id_is_forgotten_when_it_is_older_than_the_bound() {
        let (mut ids, now) = (RecentIds::new(8, MINUTE), testing::epoch());
        assert!(ids.insert(now, "a"));
        assert!(ids.insert(now + MINUTE + Duration::from_nanos(1), "a"));
        assert_eq!(ids.len(), 1);
    }

    #[test]
    fn what_names_nothing_is_always_new_and_takes_no_room() {
        let (mut ids, now) = (RecentIds::new(8, MINUTE), testing::epoch());
        let long = "x".repeat(EVENT_ID_BYTES_MAX + 1);
        for id in ["", long.as_str()] {
            assert!(ids.insert(now, id) && ids.insert(now, id));
        }
        assert!(ids.is_empty());
        let longest = "x".repeat(EVENT_ID_BYTES_MAX);
        assert!(ids.insert(now, &longest) && !ids.insert(now, &longest));
        let mut none = RecentIds::new(0, MINUTE);
        assert!(none.insert(now, "a") && none.insert(now, "a"));
    }
}
