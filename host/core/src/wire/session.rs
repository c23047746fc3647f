//! The session machine: greeting, keep-alive, idle, drain, violations, and the bounded queue of
//! outgoing frames. The same for stream and datagram links. Pure: time and the session id are
//! passed in. Frames: wire/mod.rs, "header keys of the session".
//!
//! # Run loop
//!
//! One `handle_*`, then `poll_event` until `None` (with `begin` at once for every call that an
//! event starts), then `poll_frame` until `None` or until the link is full, then, when `is_closed`
//! and all is written, the link is closed. Sleep until `poll_timeout` or the next input.

mod config;
mod ending;
mod event;
mod greeting;
mod receive;
#[cfg(test)]
mod tests;
mod timer;

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use self::timer::{Timer, Timers};
pub use self::{
    config::{Features, Link, Role, SessionConfig, SessionId},
    event::{CloseReason, Dialect, Greeting, SendError, SessionError, SessionEvent},
};
use super::{
    frame::{Frame, FrameType},
    priority::PriorityQueue,
};
use crate::{limits::Limits, text::Text};

/// HELLO is said this often, at equal pauses, before a datagram peer counts as one that never answers.
const HELLO_TIMES: u32 = 4;
/// Pause between PINGs to a peer that has ended its side: the second finds a link that is gone.
const LINK_END_PROBE: Duration = Duration::from_millis(500);
/// Longest pause between two HELLOs to a server that does not seem to know the session.
const HELLO_PAUSE_MAX: Duration = Duration::from_secs(60);

/// One end of a session.
#[derive(Debug)]
pub struct Session {
    config: Arc<SessionConfig>,
    role: Role,
    id: SessionId,
    state: State,
    dialect: Option<Dialect>,
    /// HELLO waits apart from the queue, which is held back until the dialect is settled.
    hello: Option<Frame>,
    /// When HELLO may be said again after the dialect was settled, and the pause after that.
    hello_again: Option<(Instant, Duration)>,
    /// Of HELLO said again: its WELCOME may name another session.
    awaits_welcome: bool,
    queue: PriorityQueue,
    events: VecDeque<SessionEvent>,
    timers: Timers,
    in_flight: usize,
    bye_sent: bool,
    bye_received: bool,
    /// The peer sends nothing more; on a stream link it may still read.
    link_ended: bool,
}

/// Where a session stands.
///
/// ```text
///  client, hello = true          server, or client with hello = false
///        │ HELLO                       │
///        ▼                             │ first frame settles the dialect:
///    Greeting ── WELCOME ──────────┐   │ HELLO = full, any other = base
///        │  any other frame,       ▼   ▼
///        └─ or nothing in time ──▶ Open
///                                   │ close(), BYE, end of link
///                                   ▼
///                                Draining
///                                   │ nothing in flight, queue and events empty, and on a full
///                                   │ stream session BYE was heard; or the drain timer
///                                   ▼
///    violation, ERR, idle, ──▶   Closed   the queue holds the last word only
///    slow reader (any state)
/// ```
#[derive(Debug)]
enum State {
    Greeting,
    Open,
    Draining(CloseReason),
    Closed,
}

impl Session {
    /// Begins a session. `id` must be random; a client's is replaced by the one of WELCOME.
    #[must_use]
    pub fn new(config: Arc<SessionConfig>, role: Role, id: SessionId, now: Instant) -> Self {
        let mut session = Self {
            config,
            role,
            id,
            state: State::Open,
            dialect: None,
            hello: None,
            hello_again: None,
            awaits_welcome: false,
            queue: PriorityQueue::new(),
            events: VecDeque::new(),
            timers: Timers::default(),
            in_flight: 0,
            bye_sent: false,
            bye_received: false,
            link_ended: false,
        };
        session.rest_from(now);
        if role == Role::Client {
            session.greet(now);
        }
        session
    }

    /// Takes a frame from the peer.
    ///
    /// # Errors
    /// What the peer did wrong, for the driver to count and log. A stream session has answered with
    /// ERR and is closed; a datagram session is as it was.
    pub fn handle_frame(&mut self, now: Instant, frame: Frame) -> Result<(), SessionError> {
        if self.is_closed() {
            return Ok(());
        }
        let is_hello = frame.kind == FrameType::Hello;
        if let Err(error) = self.accept(now, frame) {
            self.handle_violation(error.clone());
            if self.config.link == Link::Datagram && self.role == Role::Server && is_hello {
                // Who greets waits for an answer. To anything else on a datagram link silence is one.
                self.push_bounded(greeting::err(error.name(), &error.to_string()));
            }
            return Err(error);
        }
        self.rest_from(now);
        Ok(())
    }

    /// The link brings nothing more, yet may still carry what a server answers: its peer closed one
    /// side, or is gone. A server goes on until all is answered, and asks a peer of the full dialect
    /// whether it is there, because only writing shows a link that is closed on both sides. A client
    /// has nothing to wait for and is closed.
    pub fn handle_link_end(&mut self, now: Instant) {
        self.bye_received = true;
        self.link_ended = true;
        match (self.role, &self.state) {
            (_, State::Closed) => {}
            (Role::Server, State::Draining(_)) => self.probe_from(now),
            (Role::Server, State::Greeting | State::Open) => {
                self.events.push_back(SessionEvent::PeerDraining);
                // No timer: what is in flight has deadlines of its own, and a peer that reads nothing
                // is the driver's affair.
                self.state = State::Draining(CloseReason::LinkEnded);
                self.timers.stop(Timer::Idle);
                self.probe_from(now);
            }
            (Role::Client, State::Draining(reason)) if self.in_flight == 0 => {
                let reason = reason.clone();
                self.end(reason);
            }
            (Role::Client, _) => self.end(CloseReason::LinkEnded),
        }
    }

    /// The peer broke the protocol. Below the session, a decoder reports its `FrameError` here.
    pub fn handle_violation(&mut self, error: SessionError) {
        if self.is_closed() || self.config.link == Link::Datagram {
            return;
        }
        self.end_with_err(CloseReason::Violation(error));
    }

    /// This end has no room for what the peer sends: ERR, and the end.
    pub fn refuse(&mut self, reason: impl Into<Text>) {
        if !self.is_closed() {
            self.end_with_err(CloseReason::ResourceExhausted(reason.into()));
        }
    }

    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.config.limits
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.take_expired(now) {
            match timer {
                Timer::Greeting => self.settle_base(),
                Timer::GreetingRepeat => self.say_hello(now),
                Timer::KeepAlive => self.on_keep_alive(now),
                Timer::Idle => self.on_idle(now),
                Timer::Drain => self.on_drain_timeout(),
            }
        }
    }

    /// When `handle_timeout` is due next, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.timers.next()
    }

    /// What happened. A call that an event starts must be told by `begin` before the next poll.
    pub fn poll_event(&mut self) -> Option<SessionEvent> {
        if self.events.is_empty() {
            self.end_if_drained();
        }
        self.events.pop_front()
    }

    /// The next frame to write, most urgent first. Ask only when the link takes it.
    pub fn poll_frame(&mut self) -> Option<Frame> {
        if let Some(hello) = self.hello.take() {
            return Some(hello);
        }
        if matches!(self.state, State::Greeting) {
            return None;
        }
        if self.queue.is_empty() {
            self.end_if_drained();
        }
        self.queue.pop()
    }

    /// Queues a frame. Before the dialect is settled it is held back.
    ///
    /// # Errors
    /// `QueueFull` closes the session as a slow reader; after `Closed` and `TooLong` it is as it was.
    pub fn send(&mut self, _now: Instant, frame: Frame) -> Result<(), SendError> {
        if self.is_closed() {
            return Err(SendError::Closed);
        }
        self.check_length(&frame)?;
        self.enqueue(frame)
    }

    /// # Errors
    /// `TooLong` when the peer takes no such frame.
    pub fn check_length(&self, frame: &Frame) -> Result<(), SendError> {
        let (length, limit) = (frame.encoded_len(), self.peer_frame_bytes_max());
        if length > limit {
            return Err(SendError::TooLong { length, limit });
        }
        Ok(())
    }

    /// Takes `keep_alive` and `idle_timeout` over, from the next frame of the peer on, and how long a
    /// drain that begins may take. The limits stay: the peer was told of them.
    pub fn set_patience(&mut self, from: &SessionConfig) {
        let config = Arc::make_mut(&mut self.config);
        config.keep_alive = from.keep_alive;
        config.idle_timeout = from.idle_timeout;
        config.drain_timeout = from.drain_timeout;
    }

    /// Says BYE and ends when what is in flight is done, at the latest after `drain_timeout`.
    ///
    /// A peer of the full dialect hears BYE at once and answers with its own when it is done; to a
    /// peer of the base dialect it is the last frame.
    pub fn close(&mut self, now: Instant, reason: CloseReason) {
        match self.state {
            State::Open => {
                if matches!(self.dialect, Some(Dialect::Full(_))) {
                    self.say_bye();
                }
                self.drain(now, reason);
            }
            // The peer has not said how it speaks; what was held back is sent in the base dialect.
            State::Greeting => {
                self.settle_base();
                self.drain(now, reason);
            }
            // The reason that came first stays; a peer that said BYE hears ours at the end. A link that
            // ended has set no limit yet.
            State::Draining(CloseReason::LinkEnded) => {
                let until = now + self.config.drain_timeout;
                self.timers.set(Timer::Drain, Some(until));
            }
            State::Draining(_) | State::Closed => {}
        }
    }

    /// The peer has octets to take that have left the queue: it is not idle.
    pub fn on_unwritten(&mut self, now: Instant) {
        if self.timers.is_running(Timer::Idle) {
            let until = self.config.idle_timeout.map(|after| now + after);
            self.timers.set(Timer::Idle, until);
        }
    }

    /// A call begins. False when none may: this end is closing, or, for a client, the peer is.
    #[must_use]
    pub fn begin(&mut self) -> bool {
        let may = match (&self.state, self.role) {
            (State::Greeting | State::Open, _) => true,
            (State::Draining(CloseReason::PeerBye | CloseReason::LinkEnded), Role::Server) => true,
            (State::Draining(_) | State::Closed, _) => false,
        };
        self.in_flight += usize::from(may);
        may
    }

    /// A call that `begin` admitted is done: its reply was given to `send`, or there is none.
    pub fn finish(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// A client on a datagram link says HELLO once more: its server seems to know nothing of the
    /// session, or the first WELCOME was lost. Pauses between such HELLOs double until WELCOME comes.
    pub fn greet_again(&mut self, now: Instant) {
        let may = matches!(self.state, State::Open)
            && self.role == Role::Client
            && self.config.hello
            && self.config.link == Link::Datagram;
        let (at, pause) = self
            .hello_again
            .unwrap_or((now, self.config.hello_timeout / HELLO_TIMES));
        if may && at <= now {
            self.hello_again = Some((now + pause, (pause * 2).min(HELLO_PAUSE_MAX)));
            self.awaits_welcome = true;
            self.hello = Some(greeting::hello(&self.config));
        }
    }

    /// What is queued and what has come is forgotten; the session goes on.
    pub fn renew(&mut self) {
        self.queue.clear();
        self.events
            .retain(|event| !matches!(event, SessionEvent::Message(_)));
    }

    /// A server says WELCOME once more to a client that seems not to have heard it.
    pub fn welcome_again(&mut self) {
        if let Some(Dialect::Full(greeting)) = &self.dialect
            && self.role == Role::Server
            && !self.is_closed()
        {
            let welcome = greeting::welcome(&self.config, self.id, greeting.features);
            self.push_bounded(welcome);
        }
    }

    /// How both ends speak; `None` until that is settled.
    #[must_use]
    pub fn dialect(&self) -> Option<&Dialect> {
        self.dialect.as_ref()
    }

    /// The session's id. A client of the base dialect keeps the one it was begun with.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Calls between `begin` and `finish`.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Frames and octets that wait in the queue.
    #[must_use]
    pub fn queued(&self) -> (usize, usize) {
        (self.queue.len(), self.queue.bytes())
    }

    /// Half of what may wait in the queue waits. The driver of a server then takes nothing that asks
    /// for an answer until the peer has taken some, so that a peer that reads never fills the queue.
    #[must_use]
    pub fn is_congested(&self) -> bool {
        let limits = &self.config.limits;
        self.queue.len() >= (limits.queue_messages_max / 2).max(1)
            || self.queue.bytes() >= limits.queue_bytes_max / 2
    }

    /// Whether `poll_event` has something to tell.
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    fn on_keep_alive(&mut self, now: Instant) {
        if matches!(self.dialect, Some(Dialect::Full(_))) {
            self.push_bounded(Frame::new(FrameType::Ping));
        }
        if self.link_ended {
            self.probe_from(now);
        } else if !self.is_closed() {
            self.timers.set(
                Timer::KeepAlive,
                self.config.keep_alive.map(|after| now + after),
            );
        }
    }

    /// Sets the next PING to a peer that has ended its side.
    fn probe_from(&mut self, now: Instant) {
        let may_probe = self.config.link == Link::Stream && !self.is_closed();
        let at = (may_probe && matches!(self.dialect, Some(Dialect::Full(_))))
            .then_some(now + LINK_END_PROBE);
        self.timers.set(Timer::KeepAlive, at);
    }

    fn greet(&mut self, now: Instant) {
        if self.config.hello {
            self.state = State::Greeting;
            self.timers
                .set(Timer::Greeting, Some(now + self.config.hello_timeout));
            self.say_hello(now);
        } else {
            self.settle_base();
        }
    }

    fn say_hello(&mut self, now: Instant) {
        self.hello = Some(greeting::hello(&self.config));
        if self.config.link == Link::Datagram {
            let pause = self.config.hello_timeout / HELLO_TIMES;
            self.timers.set(Timer::GreetingRepeat, Some(now + pause));
        }
    }

    fn settle_base(&mut self) {
        if self.dialect.is_none() {
            self.settle(Dialect::Base);
        }
    }

    fn settle(&mut self, dialect: Dialect) {
        self.dialect = Some(dialect.clone());
        self.events.push_back(SessionEvent::Established(dialect));
        self.hello = None;
        self.timers.stop(Timer::Greeting);
        self.timers.stop(Timer::GreetingRepeat);
        if matches!(self.state, State::Greeting) {
            self.state = State::Open;
        }
    }

    /// The peer was heard: keep-alive and idle begin anew.
    fn rest_from(&mut self, now: Instant) {
        if self.is_closed() {
            return;
        }
        self.timers.set(
            Timer::KeepAlive,
            self.config.keep_alive.map(|after| now + after),
        );
        self.timers.set(
            Timer::Idle,
            self.config.idle_timeout.map(|after| now + after),
        );
    }

    fn peer_frame_bytes_max(&self) -> usize {
        match &self.dialect {
            Some(Dialect::Full(greeting)) => greeting.frame_bytes_max,
            Some(Dialect::Base) | None => self.config.limits.frame_bytes_max,
        }
    }

    /// For what the session itself has to say. A full queue closes the session, which is all that
    /// there is to do about it.
    fn push_bounded(&mut self, frame: Frame) {
        let _ = self.enqueue(frame);
    }

    fn enqueue(&mut self, frame: Frame) -> Result<(), SendError> {
        let limits = &self.config.limits;
        let (messages, bytes) = (self.queue.len(), self.queue.bytes());
        let is_over = match self.config.link {
            // A reply of any size has room beside what waits already; see `is_congested`.
            Link::Stream => bytes >= limits.queue_bytes_max,
            Link::Datagram => bytes + frame.encoded_len() > limits.queue_bytes_max,
        };
        let full = messages >= limits.queue_messages_max || (messages > 0 && is_over);
        if full {
            self.end_with_err(CloseReason::SlowReader { messages, bytes });
            return Err(SendError::QueueFull { messages, bytes });
        }
        self.queue.push(frame);
        Ok(())
    }
}
