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
        connection: &mut Connection,
    ) {
        let StreamRequest {
            id,
            call,
            kind,
            body,
            reply,
        } = request;
        if !connection.begin() {
            let _ = reply.send(Err(lost(&self.destination, &"it is closing")));
            return;
        }
        let opened = payload_frame(&call, Payload::opening(kind), &id.to_string(), now)
            .and_then(|frame| self.streams.open(frame, body));
        match opened {
            Ok(id) => {
                self.calls.insert(id, Some(reply));
            }
            Err(error) => {
                connection.finish();
                let _ = reply.send(Err(error));
            }
        }
        self.follow(now, connection);
    }

    /// Takes up a call that opened no stream: its reply begins as one.
    pub(super) fn adopt(&mut self, id: u64, reply: Answer, connection: &mut Connection) {
        let id = Text::from(id.to_string());
        let token = ReplyToken::vsp(id.clone(), Context::USUAL_PRIORITY);
        match self.streams.adopt(token) {
            Ok(()) => drop(self.calls.insert(id, Some(reply))),
            Err(error) => {
                connection.finish();
                // The caller may have gone a moment ago.
                let _ = reply.send(Err(error));
            }
        }
    }

    /// Nobody waits for the call any more.
    pub(super) fn cancel(&mut self, now: Instant, id: u64, connection: &mut Connection) {
        let id = Text::from(id.to_string());
        if self.calls.contains_key(&id) {
            let message = "the caller dropped the call";
            self.streams
                .reset(&id, Error::new(Kind::Cancelled, Blame::Client, message));
            self.follow(now, connection);
        }
    }

    /// Takes a frame that `Mux::takes`.
    pub(super) fn handle_frame(&mut self, now: Instant, frame: Frame, connection: &mut Connection) {
        self.streams.handle_frame(frame);
        self.follow(now, connection);
    }

    /// Goes on with bodies in both directions. Ready when something was done.
    pub(super) fn poll(
        &mut self,
        cx: &mut task::Context<'_>,
        now: Instant,
        connection: &mut Connection,
    ) -> Poll<()> {
        let mut polled = Poll::Pending;
        while let Poll::Ready(()) = self.poll_once(cx, connection) {
            polled = Poll::Ready(());
            self.follow(now, connection);
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
    fn follow(&mut self, now: Instant, connection: &mut Connection) {
        loop {
            if let Some(event) = self.streams.poll_event() {
                self.on_event(event, connection);
            } else if let Some(frame) = self.streams.poll_frame() {
                self.send(now, frame, connection);
            } else {
                return;
            }
        }
    }

    fn on_event(&mut self, event: StreamEvent, connection: &mut Connection) {
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
                connection.finish();
                if let Some(reply) = reply {
                    let reply_of = |headers| Answered::from(Reply::new(headers, Body::Empty));
                    let _ = reply.send(outcome.map(reply_of));
                }
            }
            // A server has no calls to make on a session of its client.
            StreamEvent::Opened { .. } => {}
        }
    }

    fn send(&mut self, now: Instant, frame: Frame, connection: &mut Connection) {
        let headers = frame.headers.clone();
        match connection.send(now, frame) {
            Ok(()) => {}
            Err(error @ SendError::TooLong { .. }) => {
                let id = headers.get_bytes(b"correlation-id").map(Text::from_utf8);
                if let Some(Ok(id)) = id {
                    let message =
                        format!("a message cannot be sent to {}: {error}", self.destination);
                    let error = Error::new(Kind::OutOfRange, Blame::Client, message);
                    self.streams.reset(&id, error);
                }
            }
            Err(error @ (SendError::Closed | SendError::QueueFull { .. })) => {
                tracing::debug!(destination = %self.destination, %error, "message not sent");
            }
        }
    }
}
