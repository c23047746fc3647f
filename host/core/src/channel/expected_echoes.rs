//! What a broker gives back to whoever both publishes and subscribes there.
//!
//! Channels of Redis and MQTT 3.1.1 carry a payload and nothing else, so that an event of our own cannot
//! be told by its id when it comes back. It is told by its content: each event that was sent is expected
//! back once. Of an equal event that somebody else publishes meanwhile one is passed on in any case,
//! whichever of the two comes first.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

use super::aged_queue::AgedQueue;

/// Contents that were sent to one broker and have not come back.
#[derive(Debug)]
pub struct ExpectedEchoes {
    /// How many of each content are expected.
    counts: HashMap<Content, u32>,
    by_age: AgedQueue<Content>,
}

/// Of topic and payload.
type Content = (u64, usize);

impl ExpectedEchoes {
    #[must_use]
    pub fn new(echoes_max: usize, age_max: Duration) -> Self {
        Self {
            counts: HashMap::new(),
            by_age: AgedQueue::new(echoes_max, age_max),
        }
    }

    /// An event leaves for the broker.
    pub fn on_sent(&mut self, now: Instant, topic: &str, payload: &[u8]) {
        self.forget_old(now);
        let content = content(topic, payload);
        *self.counts.entry(content).or_insert(0) += 1;
        if let Some(oldest) = self.by_age.push(now, content) {
            self.take(oldest);
        }
    }

    /// An event comes from the broker. Says whether it is one that was sent.
    pub fn is_echo(&mut self, now: Instant, topic: &str, payload: &[u8]) -> bool {
        self.forget_old(now);
        let content = content(topic, payload);
        let is_expected = self.counts.contains_key(&content);
        if is_expected {
            self.take(content);
            self.by_age.remove(&content);
        }
        is_expected
    }

    /// The connection is lost, and what was to come back with it.
    pub fn clear(&mut self) {
        self.counts.clear();
        self.by_age.clear();
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
        while let Some(content) = self.by_age.pop_old(now) {
            self.take(content);
        }
    }

    fn take(&mut self, content: Content) {
        if let Some(count) = self.counts.get_mut(&content) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(&content);
            }
        }
    }
}

/// Whoever makes two contents of one hash and length has one of the two left out of the events that come
/// back to it.
fn content(topic: &str, payload: &[u8]) -> Content {
    let mut hasher = DefaultHasher::new();
    topic.hash(&mut hasher);
    payload.hash(&mut hasher);
    (hasher.finish(), payload.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    const AGE: Duration = Duration::from_secs(10);

    #[test]
    fn what_was_sent_comes_back_as_often_as_it_was_sent() {
        let (mut echoes, now) = (ExpectedEchoes::new(8, AGE), testing::epoch());
        assert!(!echoes.is_echo(now, "a", b"1"));
        echoes.on_sent(now, "a", b"1");
        echoes.on_sent(now, "a", b"1");
        assert!(!echoes.is_echo(now, "b", b"1") && !echoes.is_echo(now, "a", b"2"));
        assert!(echoes.is_echo(now, "a", b"1") && echoes.is_echo(now, "a", b"1"));
        assert!(!echoes.is_echo(now, "a", b"1"));
        assert!(echoes.is_empty());
    }

    #[test]
    fn what_does_not_come_back_in_time_is_expected_no_more() {
        let (mut echoes, now) = (ExpectedEchoes::new(8, AGE), testing::epoch());
        echoes.on_sent(now, "a", b"1");
        assert!(!echoes.is_echo(now + AGE + Duration::from_nanos(1), "a", b"1"));
        assert!(echoes.is_empty());
    }

    #[test]
    fn the_number_is_bounded_and_the_oldest_gives_way() {
        let (mut echoes, now) = (ExpectedEchoes::new(2, AGE), testing::epoch());
        for payload in [b"1", b"2", b"3"] {
            echoes.on_sent(now, "a", payload);
        }
        assert_eq!(echoes.len(), 2);
        assert!(!echoes.is_echo(now, "a", b"1"));
        assert!(echoes.is_echo(now, "a", b"3") && echoes.is_echo(now, "a", b"2"));
    }

    #[test]
    fn a_lost_connection_brings_nothing_back() {
        let (mut echoes, now) = (ExpectedEchoes::new(2, AGE), testing::epoch());
        echoes.on_sent(now, "a", b"1");
        echoes.clear();
        assert!(!echoes.is_echo(now, "a", b"1"));
    }
}
