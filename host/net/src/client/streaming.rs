//! The streaming calls of one connection, as a client makes them.

use std::{
    collections::HashMap,
    fmt,
    task::{self, Poll},
    time::Instant,
};

use postern_core::{
    Blame, Body, BodyKind, Context, Error, Kind, Reply, Text,
    vsp::{Payload, ReplyHead, ReplyToken, mux::MuxConfig, payload_frame},
    wire::{Connection, Frame, Role, SendError},
};

use super::{
    command::{Answered, StreamRequest},
    exchange::Answer,
    failure::{lost, unanswered},
};
use crate::{
    dial::Destination,
    quic::{CallStreams, QueueRoom},
    streams::{StreamEvent, Streams},
};

/// While more octets than this wait for the peer, no more messages are asked for.
const QUEUED_BYTES_MAX: usize = 1024 * 1024;

pub(super) struct Streaming {
    destination: Destination,
    streams: Streams,
    /// Whoever waits for the reply to begin; none once it has.
    calls: HashMap<Text, Option<Answer>>,
}

/// What carries the frames of streaming calls.
pub(super) struct StreamCarriers<'a> {
    pub(super) connection: &'a mut Connection,
    /// The streams that calls have beside the session's.
    pub(super) own: Option<&'a mut CallStreams>,
}

impl Streaming {
    pub(super) fn new(destination: Destination) -> Self {
        let streams = Streams::new(MuxConfig::default(), Role::Client, None);
        Self {
            destination,
            streams,
            calls: HashMap::new(),
        }
    }

    /// Whether the connection has room for more messages.
    pub(super) fn may_send(connection: &Connection) -> bool {
        connection.queued().1 < QUEUED_BYTES_MAX
    }

    pub(super) fn begin(
        &mut self,
        now: Instant,
        request: StreamRequest,
        carriers: &mut StreamCarriers<'_>,
    ) {
        let StreamRequest {
            id,
            call,
            kind,
            body,
            reply,
        } = request;
        if !carriers.connection.begin() {
            let _ = reply.send(Err(lost(&self.destination, &"it is closing")));
            return;
        }
        let id = Text::from(id.to_string());
        let opened = payload_frame(&call, Payload::opening(kind), &id, now).and_then(|frame| {
            if let Some(own) = &mut carriers.own
                && own.open(&id)
            {
                self.streams.on_own_stream(&id);
            }
            self.streams.open(frame, body)
        });
        match opened {
            Ok(id) => {
                self.calls.insert(id, Some(reply));
            }
            Err(error) => {
                self.streams.forget_own(&id);
                if let Some(own) = &mut carriers.own {
                    own.dismiss(&id);
                }
                carriers.connection.finish();
                let _ = reply.send(Err(error));
            }
        }
        self.follow(now, carriers);
    }

    /// Takes up a call that opened no stream: its reply begins as one.
    pub(super) fn adopt(&mut self, id: u64, reply: Answer, carriers: &mut StreamCarriers<'_>) {
        let id = Text::from(id.to_string());
        let token = ReplyToken::vsp(id.clone(), Context::USUAL_PRIORITY);
        if let Some(own) = &carriers.own
            && own.carries(&id)
        {
            self.streams.on_own_stream(&id);
        }
        match self.streams.adopt(token) {
            Ok(()) => drop(self.calls.insert(id, Some(reply))),
            Err(error) => {
                self.streams.forget_own(&id);
                carriers.connection.finish();
                // The caller may have gone a moment ago.
                let _ = reply.send(Err(error));
            }
        }
    }

    /// Nobody waits for the call any more.
    pub(super) fn cancel(&mut self, now: Instant, id: u64, carriers: &mut StreamCarriers<'_>) {
        let id = Text::from(id.to_string());
        if self.calls.contains_key(&id) {
            let message = "the caller dropped the call";
            self.streams
                .reset(&id, Error::new(Kind::Cancelled, Blame::Client, message));
            self.follow(now, carriers);
        }
    }

    /// Takes a frame that `Mux::takes`.
    pub(super) fn handle_frame(
        &mut self,
        now: Instant,
        frame: Frame,
        carriers: &mut StreamCarriers<'_>,
    ) {
        self.streams.handle_frame(frame);
        self.follow(now, carriers);
    }

    /// The own stream of a call can carry it no further.
    pub(super) fn on_own_broken(
        &mut self,
        now: Instant,
        id: &Text,
        error: Error,
        carriers: &mut StreamCarriers<'_>,
    ) {
        self.streams.reset(id, error);
        self.follow(now, carriers);
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
        cx: &mut task::Context<'_>,
        now: Instant,
        carriers: &mut StreamCarriers<'_>,
    ) -> Poll<()> {
        let mut polled = Poll::Pending;
        while let Poll::Ready(()) = self.poll_once(cx, carriers.connection) {
            polled = Poll::Ready(());
            self.follow(now, carriers);
        }
        polled
    }

    fn poll_once(&mut self, cx: &mut task::Context<'_>, connection: &Connection) -> Poll<()> {
        // What a client holds is its callers' affair.
        self.streams
            .poll(cx, Self::may_send(connection), |_| Ok(()))
    }

    /// The session is over.
    pub(super) fn fail_all(&mut self, reason: &dyn fmt::Display) {
        let destination = &self.destination;
        for reply in self.calls.drain().filter_map(|(_, reply)| reply) {
            let _ = reply.send(Err(unanswered(destination, reason)));
        }
        self.streams.fail_all(|| unanswered(destination, reason));
    }

    /// Does what events say and sends what there is, until there is neither.
    fn follow(&mut self, now: Instant, carriers: &mut StreamCarriers<'_>) {
        loop {
            if let Some(event) = self.streams.poll_event() {
                self.on_event(event, carriers);
            } else if let Some(frame) = self.streams.poll_frame() {
                self.send(now, frame, carriers);
            } else {
                return;
            }
        }
    }

    fn on_event(&mut self, event: StreamEvent, carriers: &mut StreamCarriers<'_>) {
        match event {
            StreamEvent::Accepted { id, headers } => {
                let reply = self.calls.get_mut(&id).and_then(Option::take);
                let Some(reply) = reply else { return };
                let ReplyHead {
                    headers,
                    status,
                    kind,
                } = ReplyHead::read(headers);
                let body = self.streams.body_of(&id, None);
                let body = match kind {
                    None | Some(BodyKind::Messages) => Body::Messages(body),
                    // Whoever made the call collects what is one message.
                    Some(BodyKind::Octets | BodyKind::One) => Body::Octets(body),
                };
                let answered = Answered {
                    reply: Reply {
                        headers,
                        body,
                        status,
                    },
                    is_one: kind == Some(BodyKind::One),
                };
                // A caller that has gone drops the body, which resets the call.
                let _ = reply.send(Ok(answered));
            }
            StreamEvent::Over { id, outcome } => {
                let Some(reply) = self.calls.remove(&id) else {
                    return;
                };
                if let Some(own) = &mut carriers.own {
                    own.dismiss(&id);
                }
                carriers.connection.finish();
                if let Some(reply) = reply {
                    let reply_of = |headers| Answered::from(Reply::new(headers, Body::Empty));
                    let _ = reply.send(outcome.map(reply_of));
                }
            }
            // A server has no calls to make on a session of its client.
            StreamEvent::Opened { .. } => {}
        }
    }

    fn send(&mut self, now: Instant, frame: Frame, carriers: &mut StreamCarriers<'_>) {
        let id = frame
            .headers
            .get_bytes(b"correlation-id")
            .map(Text::from_utf8);
        let id = id.and_then(Result::ok);
        let sent = match (&mut carriers.own, &id) {
            (Some(own), Some(id)) if own.carries(id) => {
                let checked = carriers.connection.check_length(&frame);
                checked.map(|()| {
                    let room = own.send(id, &frame);
                    self.streams.set_full(id, room == QueueRoom::Full);
                })
            }
            (Some(_) | None, _) => carriers.connection.send(now, frame),
        };
        match (sent, id) {
            (Ok(()), _) => {}
            (Err(error @ SendError::TooLong { .. }), Some(id)) => {
                let message = format!("a message cannot be sent to {}: {error}", self.destination);
                let error = Error::new(Kind::OutOfRange, Blame::Client, message);
                self.streams.reset(&id, error);
            }
            (Err(error), _) => {
                tracing::debug!(destination = %self.destination, %error, "message not sent");
            }
        }
    }
}
