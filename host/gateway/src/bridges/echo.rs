//! What a broker of MQTT 3.1.1 sends back that does not know bridges. Pure.
//!
//! A message that is published is remembered for a while; the first that comes from the broker and is
//! the same is taken for it and dropped. Another client's message that equals it is taken for it instead
//! when it comes first, and its echo counts as that other one: what arrives is the same either way.

use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

/// What was sent of late.
#[derive(Debug, Default)]
pub(super) struct SentOfLate {
    prints: HashMap<u64, Print>,
    order: VecDeque<(Instant, u64)>,
}

/// Messages that are the same.
#[derive(Debug, Default)]
struct Print {
    /// How often it stands in the order.
    n_sent: usize,
    /// How many of these have not come back.
    n_awaited: usize,
}

impl SentOfLate {
    pub(super) fn on_sent(&mut self, now: Instant, topic: &str, payload: &[u8]) {
        self.forget(now);
        if self.order.len() >= REMEMBERED_MAX {
            self.forget_oldest();
        }
        let print = print_of(topic, payload);
        let known = self.prints.entry(print).or_default();
        known.n_sent += 1;
        known.n_awaited += 1;
        self.order.push_back((now, print));
    }

    /// Whether a message is one that was sent. Each is told once.
    pub(super) fn takes(&mut self, now: Instant, topic: &str, payload: &[u8]) -> bool {
        self.forget(now);
        let known = self.prints.get_mut(&print_of(topic, payload));
        match known.filter(|known| known.n_awaited > 0) {
            Some(known) => {
                known.n_awaited -= 1;
                true
            }
            None => false,
        }
    }

    fn forget(&mut self, now: Instant) {
        while self
            .order
            .front()
            .is_some_and(|(at, _)| now.saturating_duration_since(*at) >= REMEMBERED_FOR)
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((_, print)) = self.order.pop_front() else {
            return;
        };
        if let Some(known) = self.prints.get_mut(&print) {
            known.n_sent -= 1;
            known.n_awaited = known.n_awaited.min(known.n_sent);
            if known.n_sent == 0 {
                self.prints.remove(&print);
            }
        }
    }
}

fn print_of(topic: &str, payload: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (topic, payload).hash(&mut hasher);
    hasher.finish()
}

/// Longer than a broker takes to send a message back.
const REMEMBERED_FOR: Duration = Duration::from_secs(10);
/// Messages that are remembered: 24 octets and an entry each.
const REMEMBERED_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use postern_system::clock;

    use super::*;

    #[test]
    fn what_was_sent_is_told_once_each_time() {
        let (mut sent, now) = (SentOfLate::default(), clock::now());
        assert!(!sent.takes(now, "a", b"1"));
        sent.on_sent(now, "a", b"1");
        sent.on_sent(now, "a", b"1");
        assert!(!sent.takes(now, "a", b"2") && !sent.takes(now, "b", b"1"));
        assert!(sent.takes(now, "a", b"1") && sent.takes(now, "a", b"1"));
        assert!(!sent.takes(now, "a", b"1"));
    }

    #[test]
    fn what_was_sent_long_ago_is_forgotten() {
        let (mut sent, now) = (SentOfLate::default(), clock::now());
        sent.on_sent(now, "a", b"1");
        sent.on_sent(now + REMEMBERED_FOR / 2, "a", b"1");
        let later = now + REMEMBERED_FOR;
        assert!(sent.takes(later, "a", b"1"));
        assert!(!sent.takes(later, "a", b"1"));
        sent.on_sent(later, "a", b"1");
        assert!(!sent.takes(later + REMEMBERED_FOR, "a", b"1"));
        assert!(sent.prints.is_empty() && sent.order.is_empty());
    }

    #[test]
    fn no_more_is_remembered_than_the_bound() {
        let (mut sent, now) = (SentOfLate::default(), clock::now());
        for number in 0..=REMEMBERED_MAX {
            sent.on_sent(now, "a", &number.to_be_bytes());
        }
        assert_eq!(sent.order.len(), REMEMBERED_MAX);
        assert!(!sent.takes(now, "a", &0_usize.to_be_bytes()));
        assert!(sent.takes(now, "a", &1_usize.to_be_bytes()));
    }
}
