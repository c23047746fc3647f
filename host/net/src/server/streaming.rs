//! The streaming calls of one connection, as a server serves them.

use std::{
    collections::HashMap,
    task::{Context, Poll},
    time::Instant,
};

use postern_core::{
    Blame, Body, BodyKind, Error, Text,
    vsp::{Inbound, Reader, ReplyToken, mux::MuxConfig},
    wire::{Connection, Frame, Role, SendError},
};
use tokio::task::AbortHandle;

use super::{answer::too_long, connection::ReplyTo};
use crate::{
    ConnectionBytes,
    byte_budget::Kept,
    calls::{Begun, CallResult, Calls},
    driver::{Held, OutputRoom},
    quic::{CallStreams, QueueRoom},
    streams::{StreamEvent, Streams},
};

/// While more octets than this wait for the peer, no more messages are made for it.
const QUEUED_BYTES_MAX: usize = 1024 * 1024;

/// Made with the first frame that needs it.
pub(super) struct Streaming {
    streams: Streams,
    calls: HashMap<Text, Served>,
    next_serial: u64,
}

/// A call that is not over.
struct Served {
    /// Tells a call from one of the same id before it.
    serial: u64,
    task: Option<AbortHandle>,
    /// What its handler has collected of the request.
    _kept: Option<Kept>,
}

/// Where the outcome of a streaming call goes.
#[derive(Debug)]
pub(super) struct StreamReply {
    id: Text,
    serial: u64,
}

/// What streaming calls use of their connection.
pub(super) struct StreamContext<'a> {
    pub(super) connection: &'a mut Connection,
    pub(super) room: OutputRoom<'a>,
    pub(super) calls: &'a mut Calls<ReplyTo>,
    pub(super) reader: &'a Reader,
    pub(super) bytes: &'a ConnectionBytes,
    /// The streams that calls have beside the session's.
    pub(super) call_streams: Option<&'a mut CallStreams>,
}

impl Streaming {
    pub(super) fn new(bytes: &ConnectionBytes) -> Self {
        let held_unread = Held::new(bytes.clone());
        let streams = Streams::new(MuxConfig::default(), Role::Server, Some(held_unread));
        Self {
            streams,
            calls: HashMap::new(),
            next_serial: 0,
        }
    }

    /// Whether the connection has room for more messages.
    pub(super) fn may_send(connection: &Connection) -> bool {
        connection.queued().1 < QUEUED_BYTES_MAX
    }

    /// Takes a frame that `Mux::takes`.
    pub(super) fn handle_frame(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        frame: Frame,
        context: &mut StreamContext<'_>,
    ) {
        self.streams.handle_frame(frame);
        self.follow(cx, now, context);
    }

    /// The peer has closed its sending side.
    pub(super) fn on_input_end(&mut self) {
        self.streams.on_input_end();
    }

    /// The peer has closed its sending side of a call's own stream.
    pub(super) fn on_own_input_end(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        id: &Text,
        context: &mut StreamContext<'_>,
    ) {
        self.streams.on_own_input_end(id);
        self.follow(cx, now, context);
    }

    /// The own stream of a call can carry it no further.
    pub(super) fn on_own_broken(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        id: &Text,
        error: Error,
        context: &mut StreamContext<'_>,
    ) {
        self.streams.reset(id, error);
        self.follow(cx, now, context);
    }

    /// There is room again on the own stream of a call.
    pub(super) fn on_own_writable(&mut self, id: &Text) {
        self.streams.set_full(id, false);
    }

    /// Whether there is a call of that id.
    pub(super) fn has_call(&self, id: &Text) -> bool {
        self.calls.contains_key(id)
    }

    /// Goes on with bodies in both directions. Ready when something was done.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        context: &mut StreamContext<'_>,
    ) -> Poll<()> {
        let mut polled = Poll::Pending;
        // What is queued is counted before more is made.
        while let Poll::Ready(()) = self.poll_once(cx, context) {
            polled = Poll::Ready(());
            self.follow(cx, now, context);
        }
        polled
    }

    fn poll_once(&mut self, cx: &mut Context<'_>, context: &mut StreamContext<'_>) -> Poll<()> {
        let StreamContext {
            connection, room, ..
        } = context;
        let may_send = Self::may_send(connection);
        self.streams.poll(cx, may_send, |n_bytes| {
            Ok(room.try_hold(connection, n_bytes)?)
        })
    }

    /// Bytes that are counted of messages which no handler has read.
    pub(super) fn held_unread(&self) -> usize {
        self.streams.held_unread()
    }

    /// Bytes of messages that are made and not queued.
    pub(super) const fn waiting_bytes(&self) -> usize {
        self.streams.blocked_bytes()
    }

    /// The handler has answered.
    pub(super) fn finish(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        to: StreamReply,
        outcome: CallResult,
        context: &mut StreamContext<'_>,
    ) {
        self.answer(to, outcome, context);
        self.follow(cx, now, context);
    }

    /// Answers a call that opened no stream by one, as its caller takes it.
    ///
    /// # Errors
    /// As `Mux::adopt`; nothing was sent.
    pub(super) fn adopt(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        token: &ReplyToken,
        outcome: CallResult,
        context: &mut StreamContext<'_>,
    ) -> Result<(), Error> {
        self.streams.adopt(token.clone())?;
        let id = token.correlation().clone();
        let serial = self.next_serial;
        self.next_serial += 1;
        let served = Served {
            serial,
            task: None,
            _kept: None,
        };
        self.calls.insert(id.clone(), served);
        if let Some(own) = &mut context.call_streams
            && own.open(&id)
        {
            self.streams.on_own_stream(&id);
        }
        let to = StreamReply { id, serial };
        self.finish(cx, now, to, outcome, context);
        Ok(())
    }

    /// Does what events say and sends what there is, until there is neither.
    fn follow(&mut self, cx: &mut Context<'_>, now: Instant, context: &mut StreamContext<'_>) {
        loop {
            if let Some(event) = self.streams.poll_event() {
                self.on_event(cx, now, event, context);
            } else if let Some(frame) = self.streams.poll_frame() {
                self.send(now, frame, context);
            } else {
                return;
            }
        }
    }

    fn on_event(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        event: StreamEvent,
        context: &mut StreamContext<'_>,
    ) {
        match event {
            StreamEvent::Opened { id, request } => self.on_opened(cx, now, id, request, context),
            StreamEvent::Over { id, outcome } => {
                let Some(served) = self.calls.remove(&id) else {
                    return;
                };
                if let Err(error) = outcome {
                    tracing::debug!(%id, %error, "streaming call ended early");
                }
                if let Some(task) = served.task {
                    task.abort();
                }
                match &mut context.call_streams {
                    // It is done when the peer has all of it.
                    Some(own) if own.carries(&id) => own.finish(&id),
                    Some(_) | None => context.connection.finish(),
                }
            }
            // Only servers accept.
            StreamEvent::Accepted { .. } => {}
        }
    }

    fn on_opened(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        id: Text,
        request: Frame,
        context: &mut StreamContext<'_>,
    ) {
        if let Some(own) = &context.call_streams
            && own.carries(&id)
        {
            self.streams.on_own_stream(&id);
        }
        if !context.connection.begin() {
            let error = Error::unavailable(Blame::Gateway, "the session is closing");
            self.streams.finish(&id, Err(error));
            return;
        }
        let serial = self.next_serial;
        self.next_serial += 1;
        let kept = context.bytes.hold(0).ok().map(Kept::new);
        let served = Served {
            serial,
            task: None,
            _kept: kept.clone(),
        };
        self.calls.insert(id.clone(), served);
        let mut call = match context.reader.read(now, request) {
            Inbound::Request { call, .. } => call,
            Inbound::Refused { error, .. } => {
                self.streams.finish(&id, Err(error));
                return;
            }
            Inbound::Response(_) | Inbound::Event(_) | Inbound::Unfit { .. } | Inbound::Probe => {
                let error = Error::invalid_argument("only a request opens a stream");
                self.streams.finish(&id, Err(error));
                return;
            }
        };
        let body = self.streams.body_of(&id, kept);
        call.body = match call.body.kind() {
            BodyKind::Octets => Body::Octets(body),
            BodyKind::One | BodyKind::Messages => Body::Messages(body),
        };
        let to = StreamReply {
            id: id.clone(),
            serial,
        };
        match context.calls.begin(cx, ReplyTo::Stream(to), call) {
            Begun::Done(ReplyTo::Stream(to), outcome) => self.answer(to, outcome, context),
            Begun::Done(ReplyTo::Once(..) | ReplyTo::Nobody, _) => {}
            Begun::Task(task) => {
                if let Some(served) = self.calls.get_mut(&id) {
                    served.task = Some(task);
                }
            }
        }
    }

    fn answer(&mut self, to: StreamReply, outcome: CallResult, context: &mut StreamContext<'_>) {
        let StreamReply { id, serial } = to;
        match self.calls.get_mut(&id) {
            Some(served) if served.serial == serial => served.task = None,
            // The peer has reset it, and may have begun another of that id.
            Some(_) | None => return,
        }
        let held = outcome.and_then(|reply| {
            if let Body::One(payload) = &reply.body {
                let n_bytes = self.waiting_bytes() + payload.len();
                context.room.try_hold(context.connection, n_bytes)?;
            }
            Ok(reply)
        });
        match held {
            Ok(reply) => self.streams.reply(&id, reply),
            Err(error) => self.streams.finish(&id, Err(error)),
        }
    }

    fn send(&mut self, now: Instant, frame: Frame, context: &mut StreamContext<'_>) {
        let id = frame
            .headers
            .get_bytes(b"correlation-id")
            .map(Text::from_utf8);
        let id = id.and_then(Result::ok);
        let sent = match (&mut context.call_streams, &id) {
            (Some(own), Some(id)) if own.carries(id) => {
                let checked = context.connection.check_length(&frame);
                checked.map(|()| {
                    let room = own.send(id, &frame);
                    self.streams.set_full(id, room == QueueRoom::Full);
                })
            }
            (Some(_) | None, _) => context.connection.send(now, frame),
        };
        match (sent, id) {
            (Ok(()), _) => {}
            (Err(error @ SendError::TooLong { .. }), Some(id)) => {
                self.streams.reset(&id, too_long(&error));
            }
            (Err(error), _) => tracing::debug!(%error, "message not sent"),
        }
    }
}
