//! Either end of a connection: requests of the peer become calls, their outcomes responses, and responses go
//! to whoever waits.
//!
//! ```text
//! line ─▶ session ─┬─▶ front ─▶ calls ─▶ handler ─┐
//!                  ├─▶ answer ────────────────────┴─▶ line
//!                  └─▶ response ─▶ whoever waits
//! ```
//! While as many calls are in flight as may be, or responses wait for a peer that does not take them, the
//! connection is not read.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use postern_core::{
    Error,
    velithon::{
        CallId, OversizeResponse, VelithonEvent, VelithonFault, VelithonHeader, VelithonSession,
        failure_body, write,
    },
};
use postern_system::clock;

use super::{front::Front, line::Line};
use crate::{
    ConnectionBytes, Counters,
    calls::{Begun, CallResult, Calls},
    driver::Alarm,
    link::StreamLink,
};

pub(super) struct Conversation<S> {
    line: Line<S>,
    session: VelithonSession,
    front: Front,
    calls: Calls<VelithonHeader>,
    responses: Arc<dyn Responses>,
    bounds: Bounds,
    alarm: Alarm,
    counters: Arc<Counters>,
    /// MessagePack was told of; once is enough.
    has_told: bool,
}

/// What may change while a connection is open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Calls of the peer at one time.
    pub(super) calls_max: usize,
    /// A peer that takes nothing for this long, while there is something for it, is closed.
    pub(super) write_timeout: Duration,
    /// Longest message, and the time in which one has to arrive.
    pub(super) frame_bytes_max: usize,
    pub(super) frame_timeout: Duration,
}

/// Where responses go.
pub(super) trait Responses: Send + Sync + 'static {
    /// A response has come. Says whether anybody waited for it.
    fn on_response(&self, id: Option<CallId>, body: Result<Bytes, OversizeResponse>) -> bool;
}

/// Of a listener, which asks its peers nothing.
pub(super) struct NoResponses;

/// Why a connection ends before its peer has closed it in order.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConversationEnd {
    #[error("the link broke: {0}")]
    Io(#[from] io::Error),
    #[error("slow reader: took nothing for {0:?}")]
    SlowReader(Duration),
    #[error("a message did not arrive within {0:?}")]
    SlowWriter(Duration),
}

impl<S: StreamLink> Conversation<S> {
    /// `bound` is the key of `bounds.frame_bytes_max`.
    pub(super) fn new(
        stream: S,
        (front, responses): (Front, Arc<dyn Responses>),
        (bounds, bound): (Bounds, &'static str),
        (bytes, counters): (ConnectionBytes, Arc<Counters>),
    ) -> Self {
        Self {
            line: Line::new(stream, bytes, Arc::clone(&counters)),
            session: VelithonSession::new(bounds.frame_bytes_max, bound, bounds.frame_timeout),
            calls: Calls::new(front.handler()),
            front,
            responses,
            bounds,
            alarm: Alarm::default(),
            counters,
            has_told: false,
        }
    }

    pub(super) fn set_bounds(&mut self, bounds: Bounds) {
        self.session
            .set_bounds(bounds.frame_bytes_max, bounds.frame_timeout);
        self.bounds = bounds;
    }

    pub(super) const fn front(&mut self) -> &mut Front {
        &mut self.front
    }

    /// Takes no requests any more.
    pub(super) const fn drain(&mut self) {
        self.session.drain();
    }

    /// Nothing of the peer is in flight, and nothing waits to be said.
    pub(super) fn is_idle(&self) -> bool {
        self.n_calls() == 0 && self.line.n_queued() == 0
    }

    /// Whether a request of this end may be queued.
    pub(super) const fn has_room(&self) -> bool {
        self.line.n_queued() < QUEUED_BYTES_MAX
    }

    /// Queues a request of this end.
    pub(super) fn send(&mut self, request: Bytes) {
        self.line.push(request);
    }

    /// Moves the connection as far as it goes; ready when the peer has closed it and all is answered. Says
    /// by `has_read` whether anything came of the peer.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        has_read: &mut bool,
    ) -> Poll<Result<(), ConversationEnd>> {
        for _ in 0..ROUNDS_MAX {
            let now = clock::now();
            let could_read = self.may_read();
            let mut is_busy = self.take_finished(cx);
            let came = could_read && self.line.read(cx)?;
            *has_read |= came;
            is_busy |= came;
            is_busy |= self.handle_input(now);
            is_busy |= self.begin_gathered(cx);
            is_busy |= self.line.write(cx, now)?;
            if self.line.has_ended() && self.is_idle() {
                return Poll::Ready(Ok(()));
            }
            self.poll_alarm(cx, now)?;
            // What was held back must be tried before sleeping, or nothing would wake it.
            is_busy |= !could_read && self.may_read();
            if !is_busy && !self.calls.is_unwatched() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Closes the connection in order, or drops it.
    pub(super) async fn close(self, ended: Result<(), ConversationEnd>) {
        let Self {
            mut line,
            calls,
            counters,
            ..
        } = self;
        // What nobody will read need not be worked out.
        drop(calls);
        match ended {
            Ok(()) => line.close().await,
            Err(error @ ConversationEnd::SlowReader(_)) => {
                counters.slow_readers.add(1);
                tracing::warn!(%error, "velithon connection closed");
            }
            Err(error @ ConversationEnd::SlowWriter(_)) => {
                counters.protocol_errors.add(1);
                tracing::debug!(%error, "velithon connection closed");
            }
            Err(error @ ConversationEnd::Io(_)) => {
                tracing::debug!(%error, "velithon connection lost")
            }
        }
    }

    fn n_calls(&self) -> usize {
        self.calls.len() + self.calls.n_gathered()
    }

    fn may_read(&self) -> bool {
        self.n_calls() < self.bounds.calls_max && self.has_room()
    }

    /// Takes messages off what has come, while there is room for what they ask for.
    fn handle_input(&mut self, now: Instant) -> bool {
        let mut n_events = 0;
        while self.may_read() && !self.calls.is_batch_full() {
            let unix_time = clock::unix_time();
            let event = self.session.handle_bytes(now, unix_time, self.line.input());
            let event = match (event, self.line.hold_input()) {
                (Some(event), _) => event,
                (None, Ok(())) => break,
                (None, Err(error)) => {
                    let error = Error::from(error);
                    let Some(event) = self.session.refuse(self.line.input(), &error) else {
                        break;
                    };
                    event
                }
            };
            n_events += 1;
            self.on_event(event);
        }
        n_events > 0
    }

    fn on_event(&mut self, event: VelithonEvent) {
        self.counters.frames_in.add(1);
        match event {
            VelithonEvent::Request { header, body } => self.on_request(header, body),
            VelithonEvent::Answer(answer) => self.line.push(answer),
            VelithonEvent::Response { id, body } => {
                if !self.responses.on_response(id, body) {
                    self.counters.responses_unmatched.add(1);
                    tracing::debug!("a response that nobody waits for is dropped");
                }
            }
            VelithonEvent::Dropped(fault) => self.on_dropped(fault),
        }
    }

    fn on_request(&mut self, mut header: VelithonHeader, body: Bytes) {
        if body.len() >= LONG_BODY_BYTES {
            // What is counted of the message is given back with its body, before the call is answered.
            header = header.detached();
        }
        let called = match self.line.hold(body) {
            Ok(body) => self.front.call(&header, body),
            Err(error) => {
                let endpoint = header.endpoint_name().unwrap_or_default();
                Err(failure_body(&error, &endpoint))
            }
        };
        match called {
            Ok(call) => self.calls.gather(header, call),
            Err(body) => self.line.push(write(&header, true, &body)),
        }
    }

    fn on_dropped(&mut self, fault: VelithonFault) {
        self.counters.messages_dropped.add(1);
        if fault == VelithonFault::MessagePack {
            self.counters.messagepack_refused.add(1);
            if !std::mem::replace(&mut self.has_told, true) {
                tracing::warn!(%fault, "a velithon message is dropped");
                return;
            }
        }
        tracing::debug!(%fault, "a velithon message is dropped");
    }

    fn begin_gathered(&mut self, cx: &mut Context<'_>) -> bool {
        let mut has_begun = false;
        while self.has_room()
            && let Some(begun) = self.calls.begin_next(cx)
        {
            has_begun = true;
            if let Begun::Done(header, outcome) = begun {
                self.finish(&header, outcome);
            }
        }
        has_begun
    }

    fn take_finished(&mut self, cx: &mut Context<'_>) -> bool {
        let mut has_finished = false;
        while self.has_room()
            && let Poll::Ready((_, header, outcome)) = self.calls.poll_finished(cx)
        {
            has_finished = true;
            self.finish(&header, outcome);
        }
        has_finished
    }

    fn finish(&mut self, header: &VelithonHeader, outcome: CallResult) {
        let failure = |error: &Error| {
            let endpoint = header.endpoint_name().unwrap_or_default();
            write(header, true, &failure_body(error, &endpoint))
        };
        let frame = match outcome {
            // The front has made one message of it.
            Ok(reply) => match reply.body {
                postern_core::Body::One(body) => write(header, true, &body),
                postern_core::Body::Empty
                | postern_core::Body::Messages(_)
                | postern_core::Body::Octets(_) => {
                    failure(&Error::internal("a reply was not made one message"))
                }
            },
            Err(error) => failure(&error),
        };
        match self.line.hold(frame) {
            Ok(frame) => self.line.push(frame),
            Err(error) => self.line.push(failure(&error)),
        }
    }

    /// # Errors
    /// When the peer has taken nothing, or not sent a message whole, for too long.
    fn poll_alarm(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), ConversationEnd> {
        let timeout = self.bounds.write_timeout;
        let slow_reader = self.line.stalled_since().map(|since| since + timeout);
        // A message that is not read is not late.
        let slow_writer = self.session.poll_timeout().filter(|_| self.may_read());
        let is_over = |until: Option<Instant>| until.is_some_and(|until| until <= now);
        if is_over(slow_reader) {
            return Err(ConversationEnd::SlowReader(timeout));
        }
        if is_over(slow_writer) {
            return Err(ConversationEnd::SlowWriter(self.session.frame_timeout()));
        }
        let next = [slow_reader, slow_writer].into_iter().flatten().min();
        if self.alarm.poll(cx, next).is_ready() {
            cx.waker().wake_by_ref();
        }
        Ok(())
    }
}

impl Responses for NoResponses {
    fn on_response(&self, _: Option<CallId>, _: Result<Bytes, OversizeResponse>) -> bool {
        false
    }
}

/// Rounds of reading, answering and writing before other tasks of the thread have their turn.
const ROUNDS_MAX: usize = 8;
/// Bodies from which on a header is not kept as a part of its message.
const LONG_BODY_BYTES: usize = 1024;
/// Octets that wait for the peer beyond which nothing more is made for it.
const QUEUED_BYTES_MAX: usize = 1024 * 1024;
