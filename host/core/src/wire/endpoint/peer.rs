//! One peer of a datagram endpoint: its session, and the repair of what datagrams do to it.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};

use super::{
    event::{Delivery, EndpointConfig, Event, SendError, SendId, Undelivered},
    roster::Worth,
};
use crate::wire::{
    fragment::{Numbering, Split, SplitError},
    frame::{Flags, Frame, FrameType},
    reliable::{self, Arrival, Incoming, Outgoing, Sack},
    session::{self, CloseReason, Dialect, Features, Role, Session, SessionId},
};

/// Acknowledgements that wait to be sent. A peer that asks for more before one is sent has them
/// asked for again.
const ACKS_MAX: usize = 1024;
/// Fragments of a message after which the sender is told what has arrived.
const SACK_EVERY: u32 = 4;
/// And how long after the first of them at the latest.
const SACK_DELAY: Duration = Duration::from_millis(5);
/// Messages whose senders are to be told; more are not put together at the same time
/// (`Limits::reassembly_sessions_per_peer_max`).
pub(super) const REPORTS_MAX: usize = 64;
/// Header of HELLO that tells a new client on the same port from a repeated HELLO.
pub(super) const NONCE_KEY: &str = "nonce";

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) session: Session,
    pub(super) role: Role,
    pub(super) worth: Worth,
    /// Of this end's HELLO (client) or of the peer's (server).
    nonce: Option<Bytes>,
    pub(super) incoming: Incoming,
    pub(super) outgoing: Outgoing,
    /// What is sent before the dialect is settled.
    held: VecDeque<(SendId, Frame, Delivery)>,
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
    /// `Event::Closed` was given, and the address is remembered until then. Set by the roster.
    pub(super) lingers_until: Option<Instant>,
    pub(super) heard_at: Instant,
    pub(super) wakes_at: Option<Instant>,
    pub(super) is_ready: bool,
    pub(super) is_eventful: bool,
}

/// What the sender of a message will be told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Report {
    msg_id: u64,
    n_new: u32,
    last_index: u32,
    due: Option<Instant>,
}

impl Peer {
    pub(super) fn new(config: &EndpointConfig, role: Role, id: SessionId, now: Instant) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "any 32 random bits do")]
        let first = id.0 as u32;
        let (retry, bytes_max) = (config.retry.clone(), config.datagram_bytes_max);
        Self {
            session: Session::new(config.session.clone(), role, id, now),
            role,
            worth: Worth::Base,
            nonce: (role == Role::Client).then(|| id.to_string().into()),
            incoming: Incoming::new(config.duplicate_window),
            outgoing: Outgoing::new(retry, bytes_max, first),
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

    /// Nothing is awaited from or owed to this peer.
    pub(super) fn is_idle(&self) -> bool {
        self.session.in_flight() == 0 && self.outgoing.is_empty() && self.queued.is_empty()
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

    /// Notes what a frame says about the peer, before the session takes it.
    pub(super) fn on_frame(&mut self, frame: &Frame) {
        if frame.kind == FrameType::Hello && self.nonce.is_none() {
            let nonce = frame.headers.get(NONCE_KEY.as_bytes());
            self.nonce = nonce.map(|nonce| Bytes::copy_from_slice(&nonce));
        }
    }

    pub(super) fn on_established(&mut self, dialect: &Dialect) {
        if let Dialect::Full(greeting) = dialect
            && greeting.features.contains(Features::WIDE)
        {
            self.outgoing.set_wide();
            self.incoming.set_full();
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

    /// A fragment of message `msg_id` was kept, or (`is_new` false) was there already. True when the
    /// sender is to be told at once.
    pub(super) fn on_fragment(
        &mut self,
        now: Instant,
        fragment_id: u32,
        index: u32,
        msg_id: u64,
        is_new: bool,
    ) -> bool {
        let last_index = index.checked_sub(1).unwrap_or(u32::MAX);
        if self.reports.len() == REPORTS_MAX && !self.reports.contains_key(&fragment_id) {
            // Most likely dropped by the reassembly; its next fragment begins another report.
            self.reports.pop_first();
        }
        let first = Report {
            msg_id,
            n_new: 0,
            last_index,
            due: None,
        };
        let report = self.reports.entry(fragment_id).or_insert(first);
        report.n_new += 1;
        let is_gap = report.last_index.wrapping_add(1) != index;
        report.last_index = index;
        if !is_new || is_gap || report.n_new >= SACK_EVERY {
            return true;
        }
        report.due.get_or_insert(now + SACK_DELAY);
        false
    }

    /// The message is complete; an ACK says so.
    pub(super) fn on_complete(&mut self, fragment_id: u32) {
        self.reports.remove(&fragment_id);
    }

    /// Messages whose report is due at `now`.
    pub(super) fn due_reports(&self, now: Instant) -> Vec<u32> {
        let due = self
            .reports
            .iter()
            .filter(|(_, report)| report.due.is_some_and(|at| at <= now));
        due.map(|(id, _)| *id).collect()
    }

    /// Tells the sender; `None` forgets a message that is no longer being reassembled.
    pub(super) fn report(
        &mut self,
        fragment_id: u32,
        progress: Option<crate::wire::reassembly::Progress>,
    ) {
        let Some(progress) = progress else {
            self.reports.remove(&fragment_id);
            return;
        };
        let Some(report) = self.reports.get_mut(&fragment_id) else {
            return;
        };
        (report.n_new, report.due) = (0, None);
        let sack = Sack {
            id: report.msg_id,
            progress,
        };
        if let Ok(frame) = sack.to_frame() {
            self.push_ack(frame);
        }
    }

    /// See `Endpoint::send`.
    pub(super) fn send(
        &mut self,
        now: Instant,
        id: SendId,
        frame: Frame,
        delivery: Delivery,
        config: &EndpointConfig,
    ) -> Result<(), SendError> {
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
                Err(SendError::Split(error)) => failed.push((id, error.into())),
                Err(SendError::Session(error)) => failed.push((id, Undelivered::Session(error))),
                Err(SendError::UnknownPeer | SendError::TooManyPeers { .. }) => {}
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
    /// priority. False when there is none or what is on its way must be acknowledged first.
    pub(super) fn poll_transmit(
        &mut self,
        now: Instant,
        out: &mut BytesMut,
        bytes_max: usize,
    ) -> Transmit {
        if let Some(ack) = self.acks.pop_front() {
            return if ack.encode(out).is_ok() {
                Transmit::Ack
            } else {
                Transmit::Nothing
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
                    return Transmit::Frame;
                }
            }
            if self.outgoing.poll_transmit(now, out) {
                return Transmit::Frame;
            }
            if !self.outgoing.has_room() {
                return Transmit::Nothing;
            }
            let Some(frame) = self.session.poll_frame() else {
                return Transmit::Nothing;
            };
            self.begin_frame(frame, bytes_max);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let report = self.reports.values().filter_map(|report| report.due).min();
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
    pub(super) fn translate(&mut self, event: session::Event) -> Option<Event> {
        Some(match event {
            session::Event::Established(dialect) => Event::Established(dialect),
            session::Event::Message(frame) => Event::Message(frame),
            session::Event::Acknowledged(_) => return None,
            session::Event::Pong(payload) => Event::Pong(payload),
            session::Event::PeerDraining => Event::PeerDraining,
            session::Event::Closed(reason) => {
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
        delivery: Delivery,
        config: &EndpointConfig,
    ) -> Result<(), SendError> {
        let is_acknowledged = match delivery {
            Delivery::Plain => false,
            Delivery::Acknowledged => true,
            Delivery::Reply => self.outgoing.numbering() == Numbering::Wide,
        };
        if !is_acknowledged {
            frame.flags = frame.flags.without(Flags::REQ_ACK);
            self.check_split(&frame, config.datagram_bytes_max)?;
            return Ok(self.session.send(now, frame)?);
        }
        // Within the queue the frame bears the name of the send; its number follows when it leaves.
        let frame = reliable::numbered(frame, id.0).map_err(SplitError::from)?;
        self.check_split(&frame, config.datagram_bytes_max)?;
        self.session.send(now, frame)?;
        self.queued.insert(id);
        Ok(())
    }

    /// Finds out before queueing whether a frame can be put into datagrams.
    fn check_split(&self, frame: &Frame, bytes_max: usize) -> Result<(), SplitError> {
        Split::new(frame.clone(), 0, self.outgoing.numbering(), bytes_max).map(drop)
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

    fn push_ack(&mut self, frame: Frame) {
        if self.acks.len() == ACKS_MAX {
            self.acks.pop_front();
        }
        self.acks.push_back(frame);
    }
}

/// What `Peer::poll_transmit` wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transmit {
    Nothing,
    Ack,
    Frame,
}
