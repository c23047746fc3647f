//! One peer of a datagram endpoint: its session, and the repair of what datagrams do to it.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    net::IpAddr,
    time::Instant,
};

use bytes::{Bytes, BytesMut};

use super::{
    event::{DeliveryMode, EndpointConfig, PeerEvent, SendId, SendRefusal, Undelivered},
    peer_table::EvictionPriority,
    report::Report,
    validation::Validation,
};
use crate::wire::{
    fragment::{Numbering, Split, SplitError},
    frame::{Flags, Frame, FrameType},
    reliable::{self, Arrival, Incoming, Outgoing, Sack},
    session::{self, CloseReason, Dialect, Features, Role, Session, SessionEvent, SessionId},
};

/// Acknowledgements that wait to be sent. A peer that asks for more before one is sent has them
/// asked for again.
const ACKS_MAX: usize = 1024;
/// A message's number is longer than the name that it bears in the queue.
const NUMBER_BYTES_MAX: usize = 20;
/// Header of HELLO that tells a new client on the same port from a repeated HELLO.
pub(super) const NONCE_KEY: &str = "nonce";

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) session: Session,
    pub(super) role: Role,
    pub(super) eviction_priority: EvictionPriority,
    pub(super) validation: Validation,
    /// Another client that has said HELLO from this address and may be forged.
    pub(super) rival: Option<Box<Self>>,
    /// This end's address that the peer sent to last.
    pub(super) local: Option<IpAddr>,
    /// Of this end's HELLO (client) or of the peer's (server).
    nonce: Option<Bytes>,
    pub(super) incoming: Incoming,
    pub(super) outgoing: Outgoing,
    /// What is sent before the dialect is settled.
    held: VecDeque<(SendId, Frame, DeliveryMode)>,
    held_bytes: usize,
    /// Acknowledged sends in the session's queue.
    queued: HashSet<SendId>,
    acks: VecDeque<Frame>,
    /// Messages of which parts have arrived, by `frag-id`.
    pub(super) reports: BTreeMap<u32, Report>,
    /// A plain message of which fragments are still to be sent.
    current: Option<(Split, u32)>,
    /// This end wants to say BYE when all is delivered.
    closing: Option<CloseReason>,
    /// The session is closed; what it had on its way may still be acknowledged.
    pub(super) closed: Option<CloseReason>,
    /// `Event::Closed` was given, and the address is remembered until then. Set by the peer table.
    pub(super) lingers_until: Option<Instant>,
    pub(super) heard_at: Instant,
    pub(super) wakes_at: Option<Instant>,
    pub(super) is_ready: bool,
    pub(super) is_eventful: bool,
    /// `Event::Established` was given.
    pub(super) is_announced: bool,
    /// A client's session that began anew with messages on their way. What reaches the server before
    /// the session's number is dropped there.
    pub(super) is_resumed: bool,
}

impl Peer {
    pub(super) fn new(config: &EndpointConfig, role: Role, id: SessionId, now: Instant) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "any 64 random bits do")]
        let seed = id.0 as u64;
        let (retry, bytes_max) = (config.retry.clone(), config.datagram_bytes_max);
        Self {
            session: Session::new(config.session.clone(), role, id, now),
            role,
            eviction_priority: EvictionPriority::Greeted,
            validation: Validation::new(role),
            rival: None,
            local: None,
            nonce: (role == Role::Client).then(|| id.to_string().into()),
            incoming: Incoming::new(config.duplicate_window),
            outgoing: Outgoing::new(retry, bytes_max, seed),
            held: VecDeque::new(),
            held_bytes: 0,
            queued: HashSet::new(),
            acks: VecDeque::new(),
            reports: BTreeMap::new(),
            current: None,
            closing: None,
            closed: None,
            lingers_until: None,
            heard_at: now,
            wakes_at: None,
            is_ready: false,
            is_eventful: false,
            is_announced: false,
            is_resumed: false,
        }
    }

    /// What the peer may number its fragments with. A client has told the server what it can, and
    /// the server may use it before WELCOME arrives.
    pub(super) fn numbering(&self, offered: Features) -> Numbering {
        let may_be_wide = match (self.role, self.session.dialect()) {
            (Role::Client, _) => offered.contains(Features::WIDE),
            (Role::Server, Some(Dialect::Full(greeting))) => {
                greeting.features.contains(Features::WIDE)
            }
            (Role::Server, _) => false,
        };
        if may_be_wide {
            Numbering::Wide
        } else {
            Numbering::Base
        }
    }

    /// Whether a HELLO comes from another client than the one this session is with.
    pub(super) fn is_stranger(&self, hello: &Frame) -> bool {
        let nonce = hello.headers.get_bytes(NONCE_KEY.as_bytes());
        self.nonce.is_some() && nonce.is_some() && self.nonce != nonce
    }

    /// Nothing is awaited from or owed to this peer, and nothing that it may still repeat would be
    /// handled again if it were forgotten.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        !self.is_at_work(now) && self.outgoing.is_empty() && self.queued.is_empty()
    }

    /// A call of this peer is in flight, or was a moment ago.
    pub(super) fn is_at_work(&self, now: Instant) -> bool {
        self.session.in_flight() > 0 || self.incoming.may_be_repeated(now)
    }

    /// What is lost with this peer while its session is open.
    pub(super) fn priority_open(&self) -> EvictionPriority {
        match self.session.dialect() {
            Some(Dialect::Full(_)) if self.validation.is_validated() => EvictionPriority::Full,
            Some(Dialect::Full(_)) | None => EvictionPriority::Greeted,
            Some(Dialect::Base) => EvictionPriority::Base,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        matches!(self.session.dialect(), Some(Dialect::Full(_)))
    }

    /// Whether `hello` is the one this session began with.
    pub(super) fn is_own_hello(&self, frame: &Frame) -> bool {
        let nonce = frame.headers.get_bytes(NONCE_KEY.as_bytes());
        frame.kind == FrameType::Hello && nonce.is_some() && self.nonce == nonce
    }

    /// Begins another session with the same address. Messages that were delivered are still known,
    /// by their content: the peer may count from 1 again.
    pub(super) fn reopen(&mut self, session: Session) {
        self.session = session;
        self.nonce = None;
        self.incoming.set_base();
        self.outgoing.set_base();
        (self.closing, self.closed, self.lingers_until) = (None, None, None);
    }

    /// See `Endpoint::renew`.
    pub(super) fn renew(&mut self) {
        self.session.renew();
        self.outgoing
            .abandon(&Undelivered::Closed(CloseReason::Requested));
        while self.outgoing.poll_result().is_some() {}
        self.queued.clear();
        self.current = None;
    }

    /// Notes what a frame says about the peer, before the session takes it.
    pub(super) fn on_frame(&mut self, frame: &Frame) {
        if frame.kind == FrameType::Hello && self.nonce.is_none() {
            let nonce = frame.headers.get(NONCE_KEY.as_bytes());
            self.nonce = nonce.map(|nonce| Bytes::copy_from_slice(&nonce));
        }
    }

    /// Whether the session's number is to be sent back.
    pub(super) fn on_established(&mut self, dialect: &Dialect) -> bool {
        let Dialect::Full(greeting) = dialect else {
            return false;
        };
        if greeting.features.contains(Features::WIDE) {
            self.outgoing.set_wide();
            self.incoming.set_full();
        }
        if self.role == Role::Client {
            // A server that was restarted knows nothing of what had arrived.
            self.is_resumed = self.outgoing.restart();
        }
        greeting.features.contains(Features::ECHO)
    }

    /// What a frame of the server shows of what it knows of the session.
    pub(super) fn note_server(&mut self, now: Instant, frame: &Frame) {
        if self.role == Role::Server {
            return;
        }
        if frame.kind == FrameType::Welcome {
            self.outgoing.hasten(SendId::ECHO);
            return;
        }
        if frame.kind != FrameType::Data {
            return;
        }
        let is_lost = match self.session.dialect() {
            // With feature `wide` every answer asks for its acknowledgement.
            Some(Dialect::Full(_)) => {
                self.outgoing.numbering() == Numbering::Wide
                    && !frame.flags.contains(Flags::REQ_ACK)
            }
            // No answer of the published server repeats a correlation id.
            Some(Dialect::Base) => frame.headers.get(b"correlation-id").is_some(),
            None => false,
        };
        if is_lost {
            self.session.greet_again(now);
        }
    }

    /// Whether the whole message `frame` is to be handed on; it is acknowledged in any case.
    pub(super) fn on_requested_ack(&mut self, now: Instant, id: u64, frame: &Frame) -> Arrival {
        self.acknowledge(id);
        self.incoming.on_message(now, id, frame)
    }

    pub(super) fn acknowledge(&mut self, id: u64) {
        self.push_ack(reliable::ack(id));
    }

    /// An ACK came: `msg-id` for a whole message, `sack` for parts of one.
    pub(super) fn on_ack(&mut self, now: Instant, frame: &Frame) {
        if let Some(id) = reliable::msg_id(&frame.headers) {
            self.outgoing.on_ack(now, id);
        } else if let Some(sack) = Sack::parse(&frame.headers) {
            self.outgoing.on_sack(now, &sack);
        }
    }

    /// See `Endpoint::send`.
    pub(super) fn send(
        &mut self,
        now: Instant,
        id: SendId,
        frame: Frame,
        delivery: DeliveryMode,
        config: &EndpointConfig,
    ) -> Result<(), SendRefusal> {
        if self.closed.is_some() || self.closing.is_some() && self.role == Role::Client {
            return Err(session::SendError::Closed.into());
        }
        if self.session.dialect().is_some() {
            return self.queue(now, id, frame, delivery, config);
        }
        let limits = &config.session.limits;
        let (messages, bytes) = (self.held.len(), self.held_bytes);
        if messages >= limits.queue_messages_max
            || bytes + frame.encoded_len() > limits.queue_bytes_max
        {
            return Err(session::SendError::QueueFull { messages, bytes }.into());
        }
        self.held_bytes += frame.encoded_len();
        self.held.push_back((id, frame, delivery));
        Ok(())
    }

    /// Sends what waited for the dialect. Gives those that cannot be sent in it.
    pub(super) fn release_held(
        &mut self,
        now: Instant,
        config: &EndpointConfig,
    ) -> Vec<(SendId, Undelivered)> {
        self.held_bytes = 0;
        let mut failed = Vec::new();
        for (id, frame, delivery) in std::mem::take(&mut self.held) {
            match self.queue(now, id, frame, delivery, config) {
                Ok(()) => {}
                Err(SendRefusal::Split(error)) => failed.push((id, error.into())),
                Err(SendRefusal::Session(error)) => failed.push((id, Undelivered::Session(error))),
                Err(SendRefusal::Unvalidated { .. }) => failed.push((id, Undelivered::Unvalidated)),
                Err(SendRefusal::UnknownPeer | SendRefusal::TooManyPeers { .. }) => {}
            }
        }
        failed
    }

    /// Begins to close. A client says BYE when all it sent is delivered; a server at once, so that
    /// nothing new is asked of it, and ends when its replies are delivered.
    pub(super) fn close(&mut self, now: Instant, reason: CloseReason) {
        if self.role == Role::Client && self.has_undelivered() {
            self.closing.get_or_insert(reason);
        } else {
            self.session.close(now, reason);
        }
    }

    /// Goes on with a close that waited; whether it did.
    pub(super) fn continue_close(&mut self, now: Instant) -> bool {
        if self.has_undelivered() {
            return false;
        }
        let Some(reason) = self.closing.take() else {
            return false;
        };
        self.session.close(now, reason);
        true
    }

    fn has_undelivered(&self) -> bool {
        let is_queued = !self.held.is_empty() || self.session.queued().0 > 0;
        is_queued || self.current.is_some() || !self.outgoing.is_empty()
    }

    /// Whatever was not sent when the session closed.
    pub(super) fn take_unsent(&mut self) -> Vec<SendId> {
        let held = self.held.drain(..).map(|(id, _, _)| id);
        let mut unsent: Vec<SendId> = held.chain(self.queued.drain()).collect();
        unsent.sort_unstable();
        unsent
    }

    /// The next datagram, written to `out`: acknowledgements first, then repetitions, then frames by
    /// priority. Nothing when there is none or what is on its way must be acknowledged first.
    pub(super) fn poll_transmit(
        &mut self,
        now: Instant,
        out: &mut BytesMut,
        bytes_max: usize,
    ) -> Written {
        if self.validation.is_validated() {
            return self.write_next(now, out, bytes_max);
        }
        let written = self.write_next(now, out, bytes_max);
        if written == Written::Nothing {
            return written;
        }
        if out.len() > self.validation.left() {
            return Written::TooMuch;
        }
        self.validation.on_sent(out.len());
        written
    }

    fn write_next(&mut self, now: Instant, out: &mut BytesMut, bytes_max: usize) -> Written {
        if let Some(ack) = self.acks.pop_front() {
            return if ack.encode(out).is_ok() {
                Written::Ack
            } else {
                Written::Nothing
            };
        }
        loop {
            if let Some((split, index)) = &mut self.current {
                let written = split.encode(*index, out);
                *index += 1;
                if *index >= split.total() || written.is_err() {
                    self.current = None;
                }
                if written.is_ok() {
                    return Written::Frame;
                }
            }
            if self.outgoing.poll_transmit(now, out) {
                return Written::Frame;
            }
            if !self.outgoing.has_room() {
                return Written::Nothing;
            }
            let Some(frame) = self.session.poll_frame() else {
                return Written::Nothing;
            };
            self.begin_frame(frame, bytes_max);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let report = self.reports.values().filter_map(Report::due).min();
        let candidates = [
            self.session.poll_timeout(),
            self.outgoing
                .poll_timeout()
                .map(|at| (at, "acknowledgement")),
            report.map(|at| (at, "selective acknowledgement")),
            self.lingers_until.map(|at| (at, "closed peer")),
        ];
        candidates.into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// A session event as the endpoint gives it; `None` for what stays inside.
    pub(super) fn translate(&mut self, event: SessionEvent) -> Option<PeerEvent> {
        Some(match event {
            SessionEvent::Established(dialect) => PeerEvent::Established(dialect),
            SessionEvent::Message(frame) => PeerEvent::Message(frame),
            SessionEvent::Acknowledged(_) => return None,
            SessionEvent::Pong(payload) => PeerEvent::Pong(payload),
            SessionEvent::PeerDraining => PeerEvent::PeerDraining,
            SessionEvent::Closed(reason) => {
                self.closed = Some(reason);
                return None;
            }
        })
    }

    fn queue(
        &mut self,
        now: Instant,
        id: SendId,
        mut frame: Frame,
        delivery: DeliveryMode,
        config: &EndpointConfig,
    ) -> Result<(), SendRefusal> {
        let is_acknowledged = match delivery {
            DeliveryMode::Plain => false,
            DeliveryMode::Acknowledged => true,
            DeliveryMode::Reply => self.outgoing.numbering() == Numbering::Wide,
        };
        if !is_acknowledged {
            frame.flags = frame.flags.difference(Flags::REQ_ACK);
            self.check(&frame, config.datagram_bytes_max)?;
            return Ok(self.session.send(now, frame)?);
        }
        // Within the queue the frame bears the name of the send; its number follows when it leaves.
        let frame = reliable::numbered(frame, id.0).map_err(SplitError::from)?;
        self.check(&frame, config.datagram_bytes_max)?;
        self.session.send(now, frame)?;
        self.queued.insert(id);
        Ok(())
    }

    /// Finds out before queueing whether a frame can be put into datagrams, and whether the address
    /// may be sent as much beside what it is sent already.
    fn check(&self, frame: &Frame, bytes_max: usize) -> Result<(), SendRefusal> {
        let split = Split::new(frame.clone(), 0, self.outgoing.numbering(), bytes_max)?;
        if self.validation.is_validated() {
            return Ok(());
        }
        let left = self.validation.left();
        let acks: usize = self.acks.iter().map(Frame::encoded_len).sum();
        let mut needed = acks + self.session.queued().1 + split.bytes_max();
        if frame.flags.contains(Flags::REQ_ACK) {
            needed += NUMBER_BYTES_MAX;
        }
        if needed > left {
            return Err(SendRefusal::Unvalidated { needed, left });
        }
        Ok(())
    }

    fn begin_frame(&mut self, mut frame: Frame, bytes_max: usize) {
        let is_bye_to_base = frame.kind == FrameType::Bye && !self.is_full();
        if is_bye_to_base {
            // The published peers take it for a reply or a request.
            return;
        }
        if frame.kind == FrameType::Hello
            && let Some(nonce) = &self.nonce
        {
            // Cannot fail: HELLO is short.
            let _ = frame.headers.push(NONCE_KEY, nonce);
        }
        if let Some(id) = reliable::requested_ack(&frame).map(SendId)
            && self.queued.remove(&id)
        {
            self.outgoing.admit(id, frame);
            return;
        }
        let fragment_id = self.outgoing.take_fragment_id();
        let split = Split::new(frame, fragment_id, self.outgoing.numbering(), bytes_max);
        self.current = split.ok().map(|split| (split, 0));
    }

    pub(super) fn push_ack(&mut self, frame: Frame) {
        if self.acks.len() == ACKS_MAX {
            self.acks.pop_front();
        }
        self.acks.push_back(frame);
    }
}

/// What `Peer::poll_transmit` wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Nothing,
    Ack,
    Frame,
    /// A datagram that is not to be sent: the address is not validated.
    TooMuch,
}
