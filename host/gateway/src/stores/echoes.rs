//! What was published to channels that are subscribed to: it comes back once, and is not to be told again.
//! A message of a channel has no header that says whose it is, so it is known by its octets. Two that are
//! alike are one as good as the other. Pure.

use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

/// Messages that are to come back.
#[derive(Debug)]
pub(super) struct Echoes {
    /// Nobody outside knows it, so that nobody can make two messages alike.
    secret: u128,
    /// Numbers of those that are to come, by their hash.
    awaited: HashMap<u64, VecDeque<u64>>,
    /// When each was published, with its number and hash; those that have come are among them.
    published: VecDeque<(Instant, u64, u64)>,
    next: u64,
}

impl Echoes {
    #[must_use]
    pub(super) fn new(secret: u128) -> Self {
        Self {
            secret,
            awaited: HashMap::new(),
            published: VecDeque::new(),
            next: 0,
        }
    }

    /// A message is about to be published.
    pub(super) fn on_published(&mut self, channel: &str, payload: &[u8], now: Instant) {
        self.expire(now);
        if self.published.len() >= AWAITED_MAX {
            self.forget_oldest();
        }
        let hash = self.hash(channel, payload);
        self.awaited.entry(hash).or_default().push_back(self.next);
        self.published.push_back((now, self.next, hash));
        self.next += 1;
    }

    /// Whether a message that has come is one of those.
    pub(super) fn is_echo(&mut self, channel: &str, payload: &[u8], now: Instant) -> bool {
        self.expire(now);
        let hash = self.hash(channel, payload);
        self.take(hash, VecDeque::pop_front)
    }

    /// It was not published after all.
    pub(super) fn on_unpublished(&mut self, channel: &str, payload: &[u8]) {
        let hash = self.hash(channel, payload);
        self.take(hash, VecDeque::pop_back);
    }

    fn take(&mut self, hash: u64, one: fn(&mut VecDeque<u64>) -> Option<u64>) -> bool {
        let Some(numbers) = self.awaited.get_mut(&hash) else {
            return false;
        };
        let is_awaited = one(numbers).is_some();
        if numbers.is_empty() {
            self.awaited.remove(&hash);
        }
        is_awaited
    }

    fn expire(&mut self, now: Instant) {
        while let Some((at, _, _)) = self.published.front()
            && now.saturating_duration_since(*at) >= AWAITED_FOR
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((_, number, hash)) = self.published.pop_front() else {
            return;
        };
        // Where it has come, the first that is awaited is a later one.
        let first = self.awaited.get(&hash).and_then(VecDeque::front);
        if first == Some(&number) {
            self.take(hash, VecDeque::pop_front);
        }
    }

    fn hash(&self, channel: &str, payload: &[u8]) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.secret, channel, payload).hash(&mut hasher);
        hasher.finish()
    }
}

/// How long a message may take to come back.
const AWAITED_FOR: Duration = Duration::from_secs(10);
/// Messages on their way back.
const AWAITED_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use postern_core::testing::epoch;

    use super::*;

    #[test]
    fn each_message_is_an_echo_as_often_as_it_was_published() {
        let mut echoes = Echoes::new(7);
        let now = epoch();
        assert!(!echoes.is_echo("a", b"1", now));
        echoes.on_published("a", b"1", now);
        echoes.on_published("a", b"1", now);
        assert!(!echoes.is_echo("b", b"1", now) && !echoes.is_echo("a", b"2", now));
        assert!(echoes.is_echo("a", b"1", now) && echoes.is_echo("a", b"1", now));
        assert!(!echoes.is_echo("a", b"1", now));
    }

    #[test]
    fn what_does_not_come_back_is_not_awaited_for_ever() {
        let mut echoes = Echoes::new(7);
        let now = epoch();
        echoes.on_published("a", b"1", now);
        assert!(!echoes.is_echo("a", b"1", now + AWAITED_FOR));
        echoes.on_published("a", b"1", now);
        echoes.on_unpublished("a", b"1");
        assert!(!echoes.is_echo("a", b"1", now));
    }

    #[test]
    fn an_old_message_that_has_come_takes_nothing_from_a_later_one() {
        let mut echoes = Echoes::new(7);
        let now = epoch();
        echoes.on_published("a", b"1", now);
        assert!(echoes.is_echo("a", b"1", now));
        echoes.on_published("a", b"1", now + AWAITED_FOR / 2);
        assert!(echoes.is_echo("a", b"1", now + AWAITED_FOR));
    }

    #[test]
    fn no_more_is_remembered_than_may_be() {
        let mut echoes = Echoes::new(7);
        for n in 0..=AWAITED_MAX {
            echoes.on_published("a", &n.to_be_bytes(), epoch());
        }
        assert_eq!(echoes.published.len(), AWAITED_MAX);
        assert!(!echoes.is_echo("a", &0_usize.to_be_bytes(), epoch()));
        assert!(echoes.is_echo("a", &1_usize.to_be_bytes(), epoch()));
    }
}
