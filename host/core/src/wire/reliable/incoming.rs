//! Which acknowledged messages of one peer were delivered, so that each is delivered once.
//!
//! Peers of the full dialect number their messages without a gap for the life of a session; a window
//! of bits knows them all (`replay`).
//!
//! A peer of the base dialect may be restarted on the same port and begin again at 1. Its messages
//! are remembered with a digest, and no longer than `duplicate_window` (default 10 s: the published
//! client sends its last repetition after 6.8 s). The same number with another content is another
//! message; the same number with the same content within the window is a repetition. A client that
//! is restarted within that time on the same port and says the very same thing is the one case that
//! cannot be told apart.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use super::replay::Replay;
use crate::wire::frame::Frame;

/// Messages of a base peer that are remembered. The published client has one in flight.
const REMEMBERED_MAX: usize = 1024;

/// Whether a message is to be handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::wire) enum Arrival {
    New,
    Repeated,
}

#[derive(Debug)]
pub(in crate::wire) struct Incoming {
    window: Duration,
    /// Digest of each remembered message of the base dialect.
    digests: HashMap<u64, (u64, Instant)>,
    /// The same, oldest first. A number that came twice is here twice.
    order: VecDeque<(Instant, u64)>,
    replay: Option<Replay>,
}

impl Incoming {
    pub(in crate::wire) fn new(window: Duration) -> Self {
        Self {
            window,
            digests: HashMap::new(),
            order: VecDeque::new(),
            replay: None,
        }
    }

    /// The peer numbers its messages without a gap from here on.
    pub(in crate::wire) fn set_full(&mut self) {
        self.replay.get_or_insert_with(Replay::default);
    }

    /// The peer may count from 1 again; what it sent lately is still known by its content.
    pub(in crate::wire) fn set_base(&mut self) {
        self.replay = None;
    }

    /// Whether message `id` was delivered, judged by its number alone. Base peers reuse numbers, so
    /// theirs say nothing before the message is whole.
    pub(in crate::wire) fn is_known(&self, id: u64) -> bool {
        self.replay
            .as_ref()
            .is_some_and(|replay| replay.contains(id))
    }

    /// Whether a message came so short a while ago that its sender may not know yet.
    pub(in crate::wire) fn may_be_repeated(&self, now: Instant) -> bool {
        let latest = self.order.back();
        latest.is_some_and(|(at, _)| *at + self.window >= now)
    }

    /// Takes note of the whole message `id`.
    pub(in crate::wire) fn on_message(&mut self, now: Instant, id: u64, frame: &Frame) -> Arrival {
        self.forget_before(now);
        let digest = digest(frame);
        if self.is_known(id) || self.is_remembered(id, digest) {
            return Arrival::Repeated;
        }
        if let Some(replay) = &mut self.replay {
            replay.insert(id);
        }
        self.remember(now, id, digest);
        Arrival::New
    }

    /// Whether the whole message `id` was handed on before.
    pub(in crate::wire) fn is_repeated(&mut self, now: Instant, id: u64, frame: &Frame) -> bool {
        self.forget_before(now);
        self.is_known(id) || self.is_remembered(id, digest(frame))
    }

    /// Judged by its content, also for a full peer: one may have begun in the base dialect because
    /// its HELLO was lost, or repeat a message after its session is over.
    fn is_remembered(&self, id: u64, digest: u64) -> bool {
        self.digests
            .get(&id)
            .is_some_and(|(known, _)| *known == digest)
    }

    fn remember(&mut self, now: Instant, id: u64, digest: u64) {
        self.digests.insert(id, (digest, now));
        self.order.push_back((now, id));
        while self.order.len() > REMEMBERED_MAX {
            self.forget_oldest();
        }
    }

    fn forget_before(&mut self, now: Instant) {
        while self
            .order
            .front()
            .is_some_and(|(at, _)| *at + self.window < now)
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((at, id)) = self.order.pop_front() else {
            return;
        };
        if self.digests.get(&id).is_some_and(|(_, noted)| *noted == at) {
            self.digests.remove(&id);
        }
    }
}

/// A digest of what makes two messages of the same number the same. The number itself is among the
/// headers.
fn digest(frame: &Frame) -> u64 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[frame.kind as u8]);
    crc.update(frame.headers.section());
    crc.update(&frame.payload);
    let length = frame.headers.section().len() as u64 + frame.payload.len() as u64;
    u64::from(crc.finalize()) << 32 | length & 0xffff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{headers::Headers, testing};

    fn frame(payload: &'static str) -> Frame {
        Frame::data(Headers::new(), payload)
    }

    fn incoming() -> Incoming {
        Incoming::new(Duration::from_secs(10))
    }

    #[test]
    fn a_repetition_is_known_until_the_window_ends() {
        let start = testing::epoch();
        for (after_ms, expected) in [(10_000, Arrival::Repeated), (10_001, Arrival::New)] {
            let mut incoming = incoming();
            assert_eq!(incoming.on_message(start, 1, &frame("a")), Arrival::New);
            let later = start + Duration::from_millis(after_ms);
            assert_eq!(
                incoming.on_message(later, 1, &frame("a")),
                expected,
                "{after_ms} ms"
            );
        }
    }

    #[test]
    fn a_restarted_base_client_is_heard() {
        let (now, mut incoming) = (testing::epoch(), incoming());
        assert_eq!(incoming.on_message(now, 1, &frame("before")), Arrival::New);
        assert_eq!(incoming.on_message(now, 1, &frame("after")), Arrival::New);
        assert_eq!(
            incoming.on_message(now, 1, &frame("after")),
            Arrival::Repeated
        );
    }

    #[test]
    fn remembers_1024_messages_of_a_base_peer_and_no_more() {
        let (now, mut incoming) = (testing::epoch(), incoming());
        for id in 1..=1024 {
            assert_eq!(incoming.on_message(now, id, &frame("a")), Arrival::New);
        }
        assert_eq!(incoming.on_message(now, 1, &frame("a")), Arrival::Repeated);
        assert_eq!(incoming.on_message(now, 1025, &frame("a")), Arrival::New);
        assert_eq!(incoming.on_message(now, 1, &frame("a")), Arrival::New);
        assert!(incoming.digests.len() <= 1024);
    }

    #[test]
    fn a_full_peer_is_known_by_its_numbers_for_ever() {
        let (now, mut incoming) = (testing::epoch(), incoming());
        incoming.set_full();
        assert_eq!(incoming.on_message(now, 1, &frame("a")), Arrival::New);
        let later = now + Duration::from_secs(3600);
        assert!(incoming.is_known(1) && !incoming.is_known(2));
        assert_eq!(
            incoming.on_message(later, 1, &frame("b")),
            Arrival::Repeated
        );
    }

    #[test]
    fn a_message_sent_before_the_greeting_is_not_delivered_after_it() {
        let (now, mut incoming) = (testing::epoch(), incoming());
        assert_eq!(incoming.on_message(now, 1, &frame("a")), Arrival::New);
        incoming.set_full();
        assert_eq!(incoming.on_message(now, 1, &frame("a")), Arrival::Repeated);
        assert_eq!(incoming.on_message(now, 2, &frame("b")), Arrival::New);
    }
}
