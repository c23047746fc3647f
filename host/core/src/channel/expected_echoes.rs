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
    secret: u128,
    known: HashMap<Content, Alike>,
    by_age: AgedQueue<Content>,
}

/// Hash of a secret, topic and payload.
type Content = u64;

/// Events of one content.
#[derive(Debug, Default)]
struct Alike {
    /// How often it stands in the order of age.
    n_sent: usize,
    /// How many of these have not come back: the newest of them.
    n_expected: usize,
}

impl ExpectedEchoes {
    /// Nobody outside knows `secret`, so that nobody can make two contents of one hash.
    #[must_use]
    pub fn new(secret: u128, echoes_max: usize, age_max: Duration) -> Self {
        Self {
            secret,
            known: HashMap::new(),
            by_age: AgedQueue::new(echoes_max, age_max),
        }
    }

    /// An event leaves for the broker.
    pub fn on_sent(&mut self, now: Instant, topic: &str, payload: &[u8]) {
        self.forget_old(now);
        let content = self.content(topic, payload);
        let alike = self.known.entry(content).or_default();
        alike.n_sent += 1;
        alike.n_expected += 1;
        if let Some(oldest) = self.by_age.push(now, content) {
            self.forget(oldest);
        }
    }

    /// It did not leave after all.
    pub fn on_unsent(&mut self, topic: &str, payload: &[u8]) {
        let content = self.content(topic, payload);
        self.take(content);
    }

    /// An event comes from the broker. Says whether it is one that was sent.
    pub fn is_echo(&mut self, now: Instant, topic: &str, payload: &[u8]) -> bool {
        self.forget_old(now);
        let content = self.content(topic, payload);
        self.take(content)
    }

    /// The connection is lost, and what was to come back with it.
    pub fn clear(&mut self) {
        self.known.clear();
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

    /// One of these is expected no more. Says whether one was.
    fn take(&mut self, content: Content) -> bool {
        let alike = self.known.get_mut(&content);
        let Some(alike) = alike.filter(|alike| alike.n_expected > 0) else {
            return false;
        };
        alike.n_expected -= 1;
        // Most often it is the oldest of all.
        while let Some(oldest) = self.by_age.oldest().copied()
            && self.is_settled(oldest)
        {
            self.by_age.pop_oldest();
            self.forget(oldest);
        }
        true
    }

    /// Whether the oldest of these has come back.
    fn is_settled(&self, content: Content) -> bool {
        let alike = self.known.get(&content);
        alike.is_none_or(|alike| alike.n_expected < alike.n_sent)
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some(content) = self.by_age.pop_old(now) {
            self.forget(content);
        }
    }

    /// The oldest of these has left the order of age.
    fn forget(&mut self, content: Content) {
        if let Some(alike) = self.known.get_mut(&content) {
            alike.n_sent = alike.n_sent.saturating_sub(1);
            alike.n_expected = alike.n_expected.min(alike.n_sent);
            if alike.n_sent == 0 {
                self.known.remove(&content);
            }
        }
    }

    fn content(&self, topic: &str, payload: &[u8]) -> Content {
        let mut hasher = DefaultHasher::new();
        (self.secret, topic, payload).hash(&mut hasher);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    const AGE: Duration = Duration::from_secs(10);
    const OVER: Duration = AGE.saturating_add(Duration::from_nanos(1));

    fn echoes(echoes_max: usize) -> (ExpectedEchoes, Instant) {
        (ExpectedEchoes::new(7, echoes_max, AGE), testing::epoch())
    }

    #[test]
    fn what_was_sent_comes_back_as_often_as_it_was_sent() {
        let (mut echoes, now) = echoes(8);
        assert!(!echoes.is_echo(now, "a", b"1"));
        echoes.on_sent(now, "a", b"1");
        echoes.on_sent(now, "a", b"1");
        assert!(!echoes.is_echo(now, "b", b"1") && !echoes.is_echo(now, "a", b"2"));
        assert!(echoes.is_echo(now, "a", b"1") && echoes.is_echo(now, "a", b"1"));
        assert!(!echoes.is_echo(now, "a", b"1"));
        assert!(echoes.is_empty() && echoes.known.is_empty());
    }

    #[test]
    fn what_does_not_come_back_in_time_is_expected_no_more() {
        let (mut echoes, now) = echoes(8);
        echoes.on_sent(now, "a", b"1");
        assert!(!echoes.is_echo(now + OVER, "a", b"1"));
        assert!(echoes.is_empty() && echoes.known.is_empty());
        echoes.on_sent(now, "a", b"1");
        echoes.on_sent(now + AGE / 2, "a", b"1");
        assert!(echoes.is_echo(now + OVER, "a", b"1"));
        assert!(!echoes.is_echo(now + OVER, "a", b"1"));
    }

    #[test]
    fn an_old_event_that_has_come_back_takes_nothing_from_a_later_one() {
        let (mut echoes, now) = echoes(8);
        // What lies before it and is still expected keeps it in the order of age.
        echoes.on_sent(now, "b", b"1");
        echoes.on_sent(now, "a", b"1");
        assert!(echoes.is_echo(now, "a", b"1"));
        assert_eq!(echoes.len(), 2);
        echoes.on_sent(now + AGE / 2, "a", b"1");
        assert!(echoes.is_echo(now + OVER, "a", b"1"));
        assert!(!echoes.is_echo(now + OVER, "a", b"1"));
        assert!(echoes.is_empty());
    }

    #[test]
    fn what_was_not_sent_after_all_is_not_expected() {
        let (mut echoes, now) = echoes(8);
        echoes.on_sent(now, "a", b"1");
        echoes.on_unsent("a", b"1");
        echoes.on_unsent("a", b"1");
        assert!(!echoes.is_echo(now, "a", b"1"));
        assert!(echoes.is_empty());
    }

    #[test]
    fn the_number_is_bounded_and_the_oldest_gives_way() {
        let (mut echoes, now) = echoes(2);
        for payload in [b"1", b"2", b"3"] {
            echoes.on_sent(now, "a", payload);
        }
        assert_eq!(echoes.len(), 2);
        assert!(!echoes.is_echo(now, "a", b"1"));
        assert!(echoes.is_echo(now, "a", b"3") && echoes.is_echo(now, "a", b"2"));
    }

    #[test]
    fn a_lost_connection_brings_nothing_back() {
        let (mut echoes, now) = echoes(2);
        echoes.on_sent(now, "a", b"1");
        echoes.clear();
        assert!(!echoes.is_echo(now, "a", b"1"));
    }
}
