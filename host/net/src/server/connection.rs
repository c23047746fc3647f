//! One accepted connection: requests become calls, outcomes become replies.

mod backlog;
mod quic;
mod replies;
mod requests;
mod streams;

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use postern_core::{
    Call, Error, Peer, Transport,
    event::Delivery,
    vsp::{Inbound, Reader, ReplyToken, event_frame, mux::Mux},
    wire::{CloseReason, Connection, Dialect, Frame, Role, SessionEvent},
};

use self::backlog::Backlog;
use super::{
    answer::unsent,
    frames::{self, Seen},
    in_order::{InOrder, Position},
    messages,
    pushes::{Pushes, has_room},
    settings::{Settings, Shared},
    streaming::{StreamReply, Streaming},
};
use crate::{
    ConnectionBytes,
    calls::{Begun, CallResult, Calls},
    driver::{self, Line, LineError},
    link::StreamLink,
    quic::{CallStreamsConfig, QuicSession},
    shutdown::Shutdown,
};

/// Rounds of read, answer, write before other tasks of the thread have their turn.
const ROUNDS_MAX: usize = 8;

/// Serves one connection until it is closed. `quic` is what it is a stream of, where it is one.
pub(super) async fn serve<S: StreamLink>(
    link: S,
    quic: Option<quinn::Connection>,
    peer: Peer,
    shared: Shared,
    settings: Settings,
    shutdown: Shutdown,
) {
    let mut served = ServedConnection::new(link, quic, peer, shared, settings);
    let mut draining = pin!(shutdown.draining());
    let ended = poll_fn(|cx| served.poll(cx, draining.as_mut())).await;
    served.close(ended).await;
}

struct ServedConnection<S> {
    line: Line<S>,
    /// What the peer makes the gateway hold, in the line and in calls.
    bytes: ConnectionBytes,
    calls: Calls<ReplyTo>,
    reader: Reader,
    in_order: InOrder,
    backlog: Backlog,
    /// None until the peer opens a stream.
    streaming: Option<Box<Streaming>>,
    /// What the session has beside this stream, over QUIC.
    quic: Option<Box<QuicSession>>,
    /// There is one peer, so nothing needs to say which.
    pushes: Pushes<()>,
    peer: Arc<Peer>,
    shared: Shared,
    settings: Settings,
    /// Something waits in this round for the peer to take what is queued for it.
    is_held_back: bool,
    is_draining: bool,
    /// One end has said that it begins nothing more; events have no place in what is left.
    is_ending: bool,
}

/// Where an outcome goes.
#[derive(Debug)]
pub(super) enum ReplyTo {
    /// With a position where the caller pairs replies by order.
    Once(ReplyToken, Option<Position>),
    Stream(StreamReply),
    /// The call is an event's.
    Nobody,
}

impl<S: StreamLink> ServedConnection<S> {
    fn new(
        link: S,
        quic: Option<quinn::Connection>,
        peer: Peer,
        shared: Shared,
        settings: Settings,
    ) -> Self {
        let id = driver::random_session_id();
        let session = Arc::clone(&shared.session);
        let connection = Connection::new(session, Role::Server, id, driver::now());
        let counters = Arc::clone(&shared.counters);
        let pushes = Pushes::new();
        let peer = Arc::new(peer.with_session(id.to_string()));
        let outbox = pushes.outbox(());
        let default_service = shared.config.default_service.clone();
        let config = &shared.config;
        let bytes = config.bytes.connection(config.held_bytes_max);
        let quic = quic.map(|connection| {
            let config = CallStreamsConfig {
                role: Role::Server,
                limits: shared.session.limits.clone(),
                write_timeout: config.write_timeout,
                bytes: bytes.clone(),
                counters: Arc::clone(&counters),
            };
            Box::new(QuicSession::new(connection, config))
        });
        let mut line = Line::new(link, connection, config.write_timeout, &bytes, counters);
        if matches!(
            peer.transport,
            Transport::WebSocket | Transport::SecureWebSocket
        ) {
            // Those of its HTTP connection are.
            line.count_no_octets();
        }
        Self {
            line,
            bytes,
            calls: Calls::new(Arc::clone(&shared.handler)),
            reader: Reader::new(Arc::clone(&peer), default_service).with_outbox(outbox),
            in_order: InOrder::default(),
            backlog: Backlog::default(),
            streaming: None,
            quic,
            pushes,
            peer,
            shared,
            settings,
            is_held_back: false,
            is_draining: false,
            is_ending: false,
        }
    }

    /// Ready when the session is over, with its reason, or the link is.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut draining: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<Result<CloseReason, LineError>> {
        if let Some(shared) = self.settings.take_change() {
            self.reconfigure(shared);
        }
        for _ in 0..ROUNDS_MAX {
            let now = driver::now();
            let mut is_busy = false;
            self.is_held_back = false;
            if !self.is_draining && draining.as_mut().poll(cx).is_ready() {
                self.is_draining = true;
                self.end_pushes();
                self.line.connection.close(now, CloseReason::Shutdown);
            }
            self.take_finished(cx, now);
            let may_stream = Streaming::may_send(&self.line.connection);
            let may_read = self.may_read();
            if !may_read {
                self.line.on_not_read(now);
            }
            let mut has_read = may_read && self.line.read(cx, now)?;
            if let Some(reason) = self.handle_events(cx, now) {
                return Poll::Ready(Ok(reason));
            }
            is_busy |= self.poll_quic(cx, now, may_read);
            is_busy |= self.poll_streams(cx, now).is_ready();
            self.poll_pushes(cx, now);
            if let Poll::Ready(written) = self.line.poll_write(cx, now) {
                written?;
            }
            let beside = self.waiting_bytes() + self.blocked_bytes();
            self.line.settle_output(beside);
            // What is written may have been the last thing that held a draining session open, or
            // have made room for events that waited.
            if let Some(reason) = self.handle_events(cx, now) {
                return Poll::Ready(Ok(reason));
            }
            is_busy |= self.retry_pushes();
            if let Poll::Ready(handled) = self.line.poll_timer(cx) {
                handled?;
                is_busy = true;
            }
            // Most often there is nothing more to read. To ask here spares the round that would find
            // it out.
            if has_read && !is_busy && self.may_read() {
                has_read = self.line.read(cx, now)?;
            }
            // What was held back must be tried before sleeping, or nothing would wake it.
            let is_held = may_read == self.may_read()
                && (may_stream || !Streaming::may_send(&self.line.connection));
            // A congested session sleeps until the peer takes something.
            let has_work = self.line.has_unwritten()
                || self.has_quic_work()
                || (!self.line.connection.is_congested()
                    && (self.is_held_back || self.calls.is_unwatched()));
            if !is_busy && !has_read && is_held && !has_work {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// While calls are at their limit, or replies wait for a peer that does not take them, the peer's
    /// octets stay in the kernel, which tells it to wait.
    fn may_read(&self) -> bool {
        self.calls.len() + self.in_order.waiting().0 < self.shared.config.calls_in_flight_max
            && self.waiting_bytes() < self.line.connection.limits().queue_bytes_max
            && !self.line.connection.is_congested()
            && self.has_room_for_calls()
    }

    /// Whether an answer may be made. Otherwise whoever would make it tries again in the round in
    /// which the peer has taken some of what is queued.
    fn has_room(&mut self) -> bool {
        let has_room = !self.line.connection.is_congested();
        self.is_held_back |= !has_room;
        has_room
    }

    /// Settings that act on sessions which are open; `ServerControl::reconfigure` has the table.
    fn reconfigure(&mut self, shared: Shared) {
        let default_service = shared.config.default_service.clone();
        self.reader.set_default_service(default_service);
        self.line.set_write_timeout(shared.config.write_timeout);
        self.line.connection.set_patience(&shared.session);
        if let Some(quic) = &mut self.quic {
            quic.calls.set_write_timeout(shared.config.write_timeout);
        }
        self.shared = shared;
    }

    /// Answers what has ended.
    fn take_finished(&mut self, cx: &mut Context<'_>, now: Instant) {
        while let Poll::Ready((_, to, outcome)) = self.calls.poll_finished(cx) {
            self.finish(cx, now, to, outcome);
        }
        self.send_waiting(now);
    }

    fn handle_events(&mut self, cx: &mut Context<'_>, now: Instant) -> Option<CloseReason> {
        while let Some(event) = self.poll_event(cx, now) {
            match event {
                SessionEvent::Established(dialect) => self.on_established(&dialect),
                SessionEvent::Message(frame) => self.on_message(cx, now, frame),
                SessionEvent::Acknowledged(_) | SessionEvent::Pong(_) => {}
                SessionEvent::PeerDraining => self.end_pushes(),
                SessionEvent::Closed(reason) => {
                    self.begin_gathered(cx, now);
                    return Some(reason);
                }
            }
        }
        if self.line.read_ended()
            && !self.line.connection.has_events()
            && let Some(streaming) = &mut self.streaming
        {
            streaming.on_input_end();
        }
        None
    }

    /// The next event, if there is room for a call. Calls that arrived together begin together:
    /// when no more of them are at hand, or as many as make a batch.
    fn poll_event(&mut self, cx: &mut Context<'_>, now: Instant) -> Option<SessionEvent> {
        if self.line.connection.is_closed() {
            return self.line.connection.poll_event();
        }
        let limit = self.shared.config.calls_in_flight_max;
        let n_waiting = self.in_order.waiting().0;
        let n_calls = self.calls.len() + self.calls.n_gathered() + n_waiting;
        if n_calls < limit && !self.calls.is_batch_full() && self.has_room() {
            let event = self.line.connection.poll_event();
            if event.is_some() || self.calls.n_gathered() == 0 {
                return event;
            }
        }
        self.begin_gathered(cx, now);
        if self.calls.len() + self.in_order.waiting().0 < limit && self.has_room() {
            return self.line.connection.poll_event();
        }
        None
    }

    /// Begins what is gathered, as far as there is room for answers.
    fn begin_gathered(&mut self, cx: &mut Context<'_>, now: Instant) {
        while self.calls.n_gathered() > 0
            && self.has_room()
            && let Some(begun) = self.calls.begin_next(cx)
        {
            if let Begun::Done(to, outcome) = begun {
                self.finish(cx, now, to, outcome);
            }
        }
    }

    fn on_established(&mut self, dialect: &Dialect) {
        let session = self.line.connection.id().to_string();
        match dialect {
            Dialect::Base => tracing::debug!(peer = %self.peer.origin, session, "base session"),
            Dialect::Full(greeting) => {
                let agent = &*greeting.agent;
                tracing::debug!(peer = %self.peer.origin, session, agent, "session established");
            }
        }
    }

    fn on_message(&mut self, cx: &mut Context<'_>, now: Instant, frame: Frame) {
        let inbound = match frames::inbound(&self.shared.config.frames, frame) {
            Seen::Pass(frame) if self.has_mux() && Mux::takes(&frame) => {
                return self.on_stream_frame(cx, now, frame);
            }
            Seen::Pass(frame) => messages::read(&self.reader, &self.bytes, now, frame),
            Seen::Dropped => return,
            Seen::Refused(frame, error) => messages::refuse(&self.reader, now, frame, error),
        };
        match inbound {
            Inbound::Request { call, token } => self.gather(call, Some(token)),
            Inbound::Event(call) => self.gather(call, None),
            other @ (Inbound::Refused { .. }
            | Inbound::Response(_)
            | Inbound::Unfit { .. }
            | Inbound::Probe) => {
                if let Some(refusal) = messages::refusal(other, &self.peer.origin) {
                    self.send_refusal(now, refusal.frame, refusal.keeps_order);
                }
            }
        }
    }

    #[inline]
    fn gather(&mut self, call: Call, token: Option<ReplyToken>) {
        if !self.line.connection.begin() {
            tracing::debug!(?token, "request or event after the session began to close");
            return;
        }
        let to = match token {
            Some(token) => {
                let position = token.keeps_order().then(|| self.in_order.admit());
                ReplyTo::Once(token, position)
            }
            None => ReplyTo::Nobody,
        };
        self.calls.gather(to, call);
    }

    fn finish(&mut self, cx: &mut Context<'_>, now: Instant, to: ReplyTo, outcome: CallResult) {
        match to {
            ReplyTo::Once(token, None) if self.may_stream(&token, &outcome) => {
                self.finish_streamed(cx, now, token, outcome);
            }
            ReplyTo::Once(token, position) => self.finish_once(now, &token, position, outcome),
            ReplyTo::Nobody => {
                if let Err(error) = outcome {
                    tracing::debug!(%error, "event not published");
                }
                self.line.connection.finish();
            }
            ReplyTo::Stream(to) => {
                if let Some((streaming, mut context)) = self.streaming() {
                    streaming.finish(cx, now, to, outcome, &mut context);
                }
            }
        }
    }

    /// Sends events that the peer has subscribed to, as far as there is room.
    fn poll_pushes(&mut self, cx: &mut Context<'_>, now: Instant) {
        loop {
            let (connection, limits) = (&self.line.connection, &self.shared.session.limits);
            let is_open = |(): &()| !self.is_ending;
            let has_room = |(): &(), bytes| has_room(connection.queued(), bytes, limits);
            let polled = self.pushes.poll_delivery(cx, is_open, has_room);
            let Poll::Ready(((), delivery)) = polled else {
                return;
            };
            if let Err(error) = self.push(now, &delivery) {
                tracing::debug!(peer = %self.peer.origin, %error, "event not sent");
                self.pushes.on_unsent(&(), &delivery);
            }
        }
    }

    fn push(&mut self, now: Instant, delivery: &Delivery) -> Result<(), Error> {
        let frame = event_frame(delivery).map_err(|error| unsent(&error))?;
        if let Some(quic) = &self.quic
            && quic.datagrams.try_send(&frame)
        {
            return Ok(());
        }
        let sent = self.line.connection.send(now, frame);
        sent.map_err(|error| unsent(&error))
    }

    fn retry_pushes(&mut self) -> bool {
        let (connection, limits) = (&self.line.connection, &self.shared.session.limits);
        self.pushes
            .retry(|(), bytes| has_room(connection.queued(), bytes, limits))
    }

    fn end_pushes(&mut self) {
        self.is_ending = true;
        self.pushes.clear();
    }

    async fn close(self, ended: Result<CloseReason, LineError>) {
        let Self {
            mut line,
            calls,
            peer,
            shared,
            quic,
            ..
        } = self;
        // What nobody will read need not be worked out.
        drop(calls);
        let address = &peer.origin;
        match ended {
            Ok(reason) => {
                if matches!(reason, CloseReason::SlowReader { .. }) {
                    shared.counters.slow_readers.add(1);
                    tracing::warn!(%address, %reason, "session closed");
                } else {
                    tracing::debug!(%address, %reason, "session closed");
                }
                if matches!(
                    reason,
                    CloseReason::PeerBye | CloseReason::LinkEnded | CloseReason::Shutdown
                ) {
                    // The last replies may be large and their reader slow.
                    line.flush().await;
                }
                line.close().await;
                if let Some(quic) = quic {
                    quic.close(&reason);
                }
            }
            Err(error @ LineError::WriteTimeout(_)) => {
                shared.counters.slow_readers.add(1);
                tracing::warn!(%address, %error, "session closed");
                if let Some(quic) = quic {
                    let (messages, bytes) = line.connection.queued();
                    quic.close(&CloseReason::SlowReader { messages, bytes });
                }
            }
            Err(error @ (LineError::Io(_) | LineError::Cut(_))) => {
                tracing::debug!(%address, %error, "session lost")
            }
        }
    }
}
