//! One end of a simulated conversation: an endpoint, and what its application sent and got.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    time::Instant,
};

use super::payload;
use crate::{
    headers::Headers,
    wire::{
        endpoint::{DeliveryMode, Endpoint, PeerEvent, SendId},
        frame::Frame,
        session::{Dialect, Features},
    },
};

pub(super) struct Party {
    pub(super) address: SocketAddr,
    pub(super) endpoint: Endpoint,
    /// How each acknowledged send ended.
    pub(super) sends: BTreeMap<SendId, Send>,
    /// How often each message arrived.
    pub(super) arrived: HashMap<u64, u32>,
    /// Answers every message with one of as many octets.
    pub(super) answers: bool,
    pub(super) n_established: usize,
    pub(super) n_closed: usize,
    next_tag: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Send {
    pub(super) tag: u64,
    pub(super) outcome: Option<Outcome>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Delivered,
    Undelivered,
}

impl Party {
    /// `name` keeps the messages of parties apart.
    pub(super) fn new(name: u8, endpoint: Endpoint) -> Self {
        Self {
            address: SocketAddr::from(([10, 0, 0, name], 9090)),
            endpoint,
            sends: BTreeMap::new(),
            arrived: HashMap::new(),
            answers: false,
            n_established: 0,
            n_closed: 0,
            next_tag: u64::from(name) << 56,
        }
    }

    /// Sends a message of `length` octets, at least the eight of its tag.
    pub(super) fn send(
        &mut self,
        now: Instant,
        to: SocketAddr,
        length: usize,
        delivery: DeliveryMode,
    ) {
        self.next_tag += 1;
        let tag = self.next_tag;
        let mut headers = Headers::new();
        headers
            .push("length", length.max(8).to_string())
            .expect("short");
        let frame = Frame::data(headers, payload(tag, length.max(8)));
        let is_wide = matches!(self.endpoint.dialect(to), Some(Dialect::Full(greeting))
            if greeting.features.contains(Features::WIDE));
        let Ok(id) = self.endpoint.send(now, to, frame, delivery) else {
            return;
        };
        if delivery == DeliveryMode::Acknowledged || delivery == DeliveryMode::Reply && is_wide {
            self.sends.insert(id, Send { tag, outcome: None });
        }
    }

    /// Takes all events.
    pub(super) fn drain(&mut self, now: Instant) {
        while let Some((peer, event)) = self.endpoint.poll_event() {
            match event {
                PeerEvent::Established(_) => self.n_established += 1,
                PeerEvent::Message(frame) => self.on_message(now, peer, &frame),
                PeerEvent::Delivered(id) => self.end_send(id, Outcome::Delivered),
                PeerEvent::Undelivered(id, _) => self.end_send(id, Outcome::Undelivered),
                PeerEvent::Validated | PeerEvent::Pong(_) | PeerEvent::PeerDraining => {}
                PeerEvent::Closed(_) => self.n_closed += 1,
            }
        }
    }

    /// Whether the fate of every acknowledged send is known.
    pub(super) fn is_settled(&self) -> bool {
        self.sends.values().all(|send| send.outcome.is_some())
    }

    fn on_message(&mut self, now: Instant, from: SocketAddr, frame: &Frame) {
        let tag: [u8; 8] = frame.payload[..8]
            .try_into()
            .expect("every message has a tag");
        let tag = u64::from_be_bytes(tag);
        let length: usize = frame
            .headers
            .get_str("length")
            .expect("sent")
            .parse()
            .expect("sent");
        assert_eq!(
            frame.payload,
            payload(tag, length),
            "message {tag:x} is not intact"
        );
        let keys: Vec<_> = frame
            .headers
            .entries()
            .map(|(key, _)| key.to_vec())
            .collect();
        assert!(keys[1..].iter().all(|key| key == b"msg-id"), "{keys:?}");
        *self.arrived.entry(tag).or_default() += 1;
        if self.answers {
            self.send(now, from, length, DeliveryMode::Reply);
        }
    }

    fn end_send(&mut self, id: SendId, outcome: Outcome) {
        let send = self
            .sends
            .get_mut(&id)
            .expect("only acknowledged sends are reported");
        assert_eq!(send.outcome, None, "{id:?} ended twice");
        send.outcome = Some(outcome);
    }
}
