//! Messages to one peer until they are acknowledged or given up.
//!
//! ```text
//!             admit            all transmitted           ACK
//!   (queue) ───────▶ ready ───────────────────▶ waiting ─────▶ delivered
//!                      ▲                            │
//!                      │ fragments reported missing │ nothing heard in time,
//!                      └────────────────────────────┤ repetitions left
//!                                                   └────────▶ undelivered
//! ```
//!
//! In the base dialect a repetition is the whole message under a fresh `frag-id`, after the waits of
//! [`RetryConfig`]. With feature `wide` only what is missing is repeated, after waits that follow
//! the measured round trip, and a message is given up when its peer has reported nothing new for as
//! long as the base dialect would have tried.

mod timeouts;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Instant,
};

use bytes::BytesMut;

use super::{
    RetryConfig, Sack,
    congestion::Congestion,
    message::{Flight, Message},
    msg_id, numbered, replay,
};
use crate::{
    headers::Headers,
    wire::{
        endpoint::{SendId, Undelivered},
        fragment::{Numbering, Split, SplitError},
        frame::Frame,
    },
};

/// Messages on their way to a base peer, each of up to 255 datagrams that nothing paces.
const BASE_MESSAGES_MAX: usize = 32;
/// Messages on their way to a peer with `wide`, whose datagrams a window paces.
const WIDE_MESSAGES_MAX: usize = 256;
/// Of those, messages of many fragments. Below what a receiver puts together at the same time
/// (`Limits::reassembly_sessions_per_peer_max`, 64): with more, each new message would push out one
/// that has begun to arrive.
const WIDE_FRAGMENTED_MAX: usize = 48;
/// Distance of the numbers on their way, within which the receiver tells them apart.
const SPAN_MAX: u64 = replay::WINDOW / 2;
/// Random bits in the upper half of the first number; see `replay`. More would lengthen every datagram.
const SERIES_MASK: u64 = 0xff_ffff;
/// Random bits in its lower half; 2^31 messages follow before the upper half changes.
const START_MASK: u64 = 0x7fff_ffff;

#[derive(Debug)]
pub(in crate::wire) struct Outgoing {
    retry: RetryConfig,
    datagram_bytes_max: usize,
    numbering: Numbering,
    messages: BTreeMap<u64, Message>,
    n_fragmented: usize,
    /// Messages with something to transmit, served in turn.
    ready: VecDeque<u64>,
    deadlines: BTreeSet<(Instant, u64)>,
    next_id: u64,
    next_fragment_id: u32,
    next_sequence: u64,
    congestion: Congestion,
    /// When the peer last acknowledged anything.
    heard_at: Option<Instant>,
    results: VecDeque<Sent>,
    retransmits: u64,
    /// Something was repeated more than once, and nothing was heard.
    is_silent: bool,
}

/// How an acknowledged send ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::wire) struct Sent {
    pub(in crate::wire) id: SendId,
    pub(in crate::wire) result: Result<(), Undelivered>,
}

impl Outgoing {
    /// `seed` should be random. Messages and fragments are numbered from what follows of it, so that
    /// neither what was sent nor what is acknowledged is taken for that of a sender before on the same
    /// port, and nobody can acknowledge what was not received.
    pub(in crate::wire) fn new(retry: RetryConfig, datagram_bytes_max: usize, seed: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "any 32 random bits do")]
        let next_fragment_id = seed as u32;
        let series = seed & SERIES_MASK;
        let start = seed >> 32 & START_MASK;
        Self {
            retry,
            datagram_bytes_max,
            numbering: Numbering::Base,
            messages: BTreeMap::new(),
            n_fragmented: 0,
            ready: VecDeque::new(),
            deadlines: BTreeSet::new(),
            next_id: (series << 32 | start) + 1,
            next_fragment_id,
            next_sequence: 1,
            congestion: Congestion::new(),
            heard_at: None,
            results: VecDeque::new(),
            retransmits: 0,
            is_silent: false,
        }
    }

    /// The peer has feature `wide`; what is on its way already stays in the base dialect.
    pub(in crate::wire) fn set_wide(&mut self) {
        self.numbering = Numbering::Wide;
    }

    /// The peer speaks the base dialect from here on.
    pub(in crate::wire) fn set_base(&mut self) {
        self.numbering = Numbering::Base;
    }

    pub(in crate::wire) const fn numbering(&self) -> Numbering {
        self.numbering
    }

    /// A number for the fragments of a message, other than the last 255.
    pub(in crate::wire) const fn take_fragment_id(&mut self) -> u32 {
        let id = self.next_fragment_id;
        self.next_fragment_id = id.wrapping_add(1);
        id
    }

    /// Whether `admit` may be called.
    pub(in crate::wire) fn has_room(&self) -> bool {
        let messages_max = match self.numbering {
            Numbering::Base => BASE_MESSAGES_MAX,
            Numbering::Wide => WIDE_MESSAGES_MAX,
        };
        let oldest = self
            .messages
            .first_key_value()
            .map_or(self.next_id, |(id, _)| *id);
        self.messages.len() < messages_max
            && self.n_fragmented < WIDE_FRAGMENTED_MAX
            && self.next_id - oldest < SPAN_MAX
    }

    pub(in crate::wire) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.results.is_empty()
    }

    /// Takes charge of `frame`, which gets the next number. One that cannot be put into datagrams
    /// has failed at once.
    pub(in crate::wire) fn admit(&mut self, send_id: SendId, frame: Frame) {
        match self.split(frame) {
            Ok(split) => {
                self.n_fragmented += usize::from(split.is_fragmented());
                let message = Message::new(send_id, split, self.numbering);
                self.messages.insert(self.next_id, message);
                self.ready.push_back(self.next_id);
                self.next_id += 1;
            }
            Err(error) => {
                let result = Err(error.into());
                self.results.push_back(Sent {
                    id: send_id,
                    result,
                });
            }
        }
    }

    /// Writes the next datagram to `out`; false when nothing may be sent.
    pub(in crate::wire) fn poll_transmit(&mut self, now: Instant, out: &mut BytesMut) -> bool {
        for _ in 0..self.ready.len() {
            let Some(id) = self.ready.pop_front() else {
                return false;
            };
            let Some(message) = self.messages.get_mut(&id) else {
                continue;
            };
            if message.numbering == Numbering::Wide && !self.congestion.has_room() {
                self.ready.push_back(id);
                continue;
            }
            let Some((index, is_repeated)) = message.next_fragment() else {
                message.is_ready = false;
                continue;
            };
            self.ready.push_back(id);
            if message.split.encode(index, out).is_err() {
                // `admit` has checked every length; the deadline gives the message up.
                continue;
            }
            self.retransmits += u64::from(is_repeated);
            self.on_transmit(now, id, index, is_repeated);
            return true;
        }
        false
    }

    /// Whether an ACK with these headers is about a message that was sent.
    pub(in crate::wire) fn expects(&self, headers: &Headers) -> bool {
        let id = msg_id(headers).or_else(|| Sack::parse(headers).map(|sack| sack.id));
        id.and_then(|id| self.messages.get(&id))
            .is_some_and(|message| message.progress_at.is_some())
    }

    /// The peer has the whole message `id`.
    pub(in crate::wire) fn on_ack(&mut self, now: Instant, id: u64) {
        let Some(message) = self.remove(id) else {
            return;
        };
        self.heard_at = Some(now);
        let last = message
            .flights
            .values()
            .max_by_key(|flight| flight.sequence);
        if let Some(flight) = last.filter(|flight| !flight.is_repeated) {
            self.congestion
                .on_round_trip(now.saturating_duration_since(flight.at));
        }
        self.congestion.on_acknowledged(message.flights.len());
        self.results.push_back(Sent {
            id: message.send_id,
            result: Ok(()),
        });
    }

    /// The peer has parts of a message.
    pub(in crate::wire) fn on_sack(&mut self, now: Instant, sack: &Sack) {
        let next_sequence = self.next_sequence;
        let Some(message) = self.messages.get_mut(&sack.id) else {
            return;
        };
        if message.numbering == Numbering::Base || sack.progress.epoch < message.epoch {
            return;
        }
        self.heard_at = Some(now);
        if sack.progress.epoch > message.epoch {
            if message.epoch != 0 {
                // The receiver had to drop what it had.
                self.congestion.on_gone(message.restart());
            }
            message.epoch = sack.progress.epoch;
        }
        let arrived = message.take_arrived(sack);
        if let Some(newest) = arrived.iter().max_by_key(|flight| flight.sequence) {
            let elapsed = now.saturating_duration_since(newest.at);
            if !newest.is_repeated {
                self.congestion.on_round_trip(elapsed);
            }
            self.congestion.on_acknowledged(arrived.len());
            message.n_silent = 0;
            message.progress_at = Some(now);
            // A repeated datagram may be known from its first transmission.
            if !newest.is_repeated || self.congestion.is_plausible(elapsed) {
                let at = now.checked_sub(self.congestion.patience()).unwrap_or(now);
                for sequence in message.take_lost_before(newest.sequence, at) {
                    self.congestion.on_lost(sequence, next_sequence);
                }
            }
            let deadline = self.congestion.deadline(now, 0, self.retry.ack_timeout);
            self.set_deadline(sack.id, Some(deadline));
        }
        self.probe_if_idle(sack.id);
    }

    pub(in crate::wire) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    pub(in crate::wire) fn poll_result(&mut self) -> Option<Sent> {
        self.results.pop_front()
    }

    /// Gives everything up.
    pub(in crate::wire) fn abandon(&mut self, reason: &Undelivered) {
        let ids: Vec<u64> = self.messages.keys().copied().collect();
        for id in ids {
            self.fail(id, reason.clone());
        }
    }

    /// Everything on its way is sent again from its beginning; whether there was anything.
    pub(in crate::wire) fn restart(&mut self) -> bool {
        let ids: Vec<u64> = self.messages.keys().copied().collect();
        let mut is_any = false;
        for id in ids {
            let Some(message) = self.messages.get_mut(&id) else {
                continue;
            };
            if message.numbering == Numbering::Wide && message.progress_at.is_some() {
                (message.epoch, message.n_silent) = (0, 0);
                is_any = true;
                self.congestion.on_gone(message.restart());
                self.set_deadline(id, None);
                self.make_ready(id);
            }
        }
        is_any
    }

    /// Sends the message again at once.
    pub(in crate::wire) fn hasten(&mut self, send_id: SendId) {
        let named = |(id, message): (&u64, &Message)| (message.send_id == send_id).then_some(*id);
        let Some(id) = self.messages.iter().find_map(named) else {
            return;
        };
        if let Some(message) = self.messages.get_mut(&id)
            && !message.has_next()
        {
            let flights = std::mem::take(&mut message.flights);
            message.lost.extend(flights.keys());
            self.congestion.on_gone(flights.len());
            self.make_ready(id);
        }
    }

    /// Whether what was sent seems to reach nobody since the last call.
    pub(in crate::wire) const fn take_silence(&mut self) -> bool {
        std::mem::replace(&mut self.is_silent, false)
    }

    /// Datagrams sent again since the last call.
    pub(in crate::wire) const fn take_retransmits(&mut self) -> u64 {
        std::mem::replace(&mut self.retransmits, 0)
    }

    fn split(&mut self, frame: Frame) -> Result<Split, SplitError> {
        let fragment_id = self.take_fragment_id();
        let frame = numbered(frame, self.next_id)?;
        Split::new(frame, fragment_id, self.numbering, self.datagram_bytes_max)
    }

    fn on_transmit(&mut self, now: Instant, id: u64, index: u32, is_repeated: bool) {
        let Some(message) = self.messages.get_mut(&id) else {
            return;
        };
        message.progress_at.get_or_insert(now);
        let deadline = match message.numbering {
            Numbering::Base if message.has_next() => return,
            Numbering::Base => {
                let is_last = message.n_silent >= self.retry.max_retries;
                let pause = if is_last {
                    None
                } else {
                    Some(self.retry.pause(message.n_silent))
                };
                now + self.retry.ack_timeout + pause.unwrap_or_default()
            }
            Numbering::Wide => {
                let sequence = self.next_sequence;
                self.next_sequence += 1;
                message.flights.insert(
                    index,
                    Flight {
                        sequence,
                        at: now,
                        is_repeated,
                    },
                );
                self.congestion.on_sent();
                if message.deadline.is_some() {
                    return;
                }
                self.congestion
                    .deadline(now, message.n_silent, self.retry.ack_timeout)
            }
        };
        self.set_deadline(id, Some(deadline));
    }

    /// A report that leaves nothing to send and nothing awaited is followed by one more datagram, so
    /// that the end is heard.
    fn probe_if_idle(&mut self, id: u64) {
        let Some(message) = self.messages.get_mut(&id) else {
            return;
        };
        if message.flights.is_empty() && !message.has_next() {
            message.lost.insert(message.split.total() - 1);
        }
        if message.flights.is_empty() {
            self.set_deadline(id, None);
        }
        self.make_ready(id);
    }

    fn make_ready(&mut self, id: u64) {
        let Some(message) = self.messages.get_mut(&id) else {
            return;
        };
        if !message.is_ready && message.has_next() {
            message.is_ready = true;
            self.ready.push_back(id);
        }
    }

    fn set_deadline(&mut self, id: u64, deadline: Option<Instant>) {
        let Some(message) = self.messages.get_mut(&id) else {
            return;
        };
        if let Some(old) = std::mem::replace(&mut message.deadline, deadline) {
            self.deadlines.remove(&(old, id));
        }
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, id));
        }
    }

    fn fail(&mut self, id: u64, reason: Undelivered) {
        let Some(message) = self.remove(id) else {
            return;
        };
        self.congestion.on_gone(message.flights.len());
        self.results.push_back(Sent {
            id: message.send_id,
            result: Err(reason),
        });
    }

    fn remove(&mut self, id: u64) -> Option<Message> {
        self.set_deadline(id, None);
        // Its place in `ready` is skipped when its turn comes.
        let message = self.messages.remove(&id)?;
        self.n_fragmented -= usize::from(message.split.is_fragmented());
        Some(message)
    }
}
