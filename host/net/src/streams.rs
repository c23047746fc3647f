//! Bodies of many messages on one session: between the pure `Mux` and the streams that handlers and
//! callers hold. Belongs to the driver of a connection, which polls it.
//!
//! ```text
//! peer ── frames ──▶ Mux ── items ──▶ Incoming ──▶ whoever reads the body here
//! peer ◀── frames ── Mux ◀── items ── pump ◀────── whoever makes the body here
//! ```
//! A reader that does not read leaves its credit used up and stops its own sender only. A pump whose
//! credit is used up keeps one message and asks its body for no more.

mod incoming;
mod pumps;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    task::{Context, Poll},
};

use bytes::Bytes;
use postern_core::{
    Blame, Body, BodyKind, BodyStream, Error, Headers, Kind, Reply, Text,
    vsp::{
        ReplyHead, ReplyToken,
        mux::{Mux, MuxConfig, MuxEvent, Refused},
        read_trailers,
    },
    wire::{Frame, Role},
};
use tokio::sync::mpsc;

use self::{
    incoming::{Incoming, Note, Part},
    pumps::{Outgoing, Pumped, Pumps},
};
use crate::{byte_budget::Kept, driver::Held};

type Item = Result<Bytes, Error>;

/// The streaming calls of one connection.
pub(crate) struct Streams {
    mux: Mux,
    role: Role,
    pumps: Pumps,
    /// Messages that wait for credit, with the rest of their bodies.
    blocked: HashMap<Text, (Bytes, Outgoing)>,
    /// Of those messages.
    blocked_bytes: usize,
    /// Where the messages of the peer go. Bounded by the credit that the peer was granted.
    incoming: HashMap<Text, mpsc::UnboundedSender<Part>>,
    /// Bytes of messages of the peer that nobody has read, and room for them; none for a client, which
    /// holds what its callers asked for.
    unread_bytes: usize,
    held_unread: Option<Held>,
    notes: mpsc::UnboundedReceiver<Note>,
    notify: mpsc::UnboundedSender<Note>,
    events: VecDeque<StreamEvent>,
    /// The peer sends nothing more, not even credit.
    has_input_ended: bool,
}

/// What a driver is told.
#[derive(Debug)]
pub(crate) enum StreamEvent {
    /// Server: a call begins.
    Opened { id: Text, request: Frame },
    /// Client: the reply begins.
    Accepted { id: Text, headers: Headers },
    /// The call is over at both ends.
    Over {
        id: Text,
        outcome: Result<Headers, Error>,
    },
}

impl Streams {
    pub(crate) fn new(config: MuxConfig, role: Role, held_unread: Option<Held>) -> Self {
        let (notify, notes) = mpsc::unbounded_channel();
        Self {
            mux: Mux::new(config, role),
            role,
            pumps: Pumps::default(),
            blocked: HashMap::new(),
            blocked_bytes: 0,
            incoming: HashMap::new(),
            unread_bytes: 0,
            held_unread,
            notes,
            notify,
            events: VecDeque::new(),
            has_input_ended: false,
        }
    }

    /// Takes a frame that `Mux::takes`.
    pub(crate) fn handle_frame(&mut self, frame: Frame) {
        self.mux.handle_frame(frame);
        self.take_mux_events();
    }

    /// Client: begins a call; its reply is `Accepted` or `Over`.
    ///
    /// # Errors
    /// As `Mux::open`.
    pub(crate) fn open(&mut self, request: Frame, body: BodyStream) -> Result<Text, Error> {
        let id = self.mux.open(request)?;
        self.pumps.ask(Outgoing {
            id: id.clone(),
            body,
        });
        Ok(id)
    }

    /// The messages of the peer. Ask before its first message is handled, and once. What is collected
    /// of them counts as `kept`.
    pub(crate) fn body_of(&mut self, id: &Text, kept: Option<Kept>) -> BodyStream {
        let (sender, incoming) = Incoming::new(id.clone(), self.notify.clone(), kept);
        self.incoming.insert(id.clone(), sender);
        BodyStream::from_source(incoming)
    }

    /// Takes up a call that was made without a stream, for a reply that is one.
    ///
    /// # Errors
    /// As `Mux::adopt`.
    pub(crate) fn adopt(&mut self, token: ReplyToken) -> Result<(), Error> {
        self.mux.adopt(token)
    }

    /// Server: the reply of a call.
    pub(crate) fn reply(&mut self, id: &Text, reply: Reply) {
        let kind = reply.body.kind();
        let head = ReplyHead {
            headers: reply.headers,
            status: reply.status,
            // Messages are what a stream is of.
            kind: (kind != BodyKind::Messages).then_some(kind),
        };
        self.mux.accept(id, &head);
        match reply.body {
            Body::Empty => self.finish(id, Ok(None)),
            Body::One(payload) => {
                // A reply's first message never waits for credit; a call that is over takes none.
                let _ = self.mux.item(id, payload);
                self.finish(id, Ok(None));
            }
            Body::Messages(body) | Body::Octets(body) => self.pumps.ask(Outgoing {
                id: id.clone(),
                body,
            }),
        }
    }

    /// Server: the call is over.
    pub(crate) fn finish(&mut self, id: &Text, outcome: Result<Option<Headers>, Error>) {
        self.mux.finish(id, outcome);
        self.end(id, Ok(Headers::new()));
    }

    /// Ends a call at once, towards the peer and here.
    pub(crate) fn reset(&mut self, id: &Text, error: Error) {
        self.mux.reset(id, &error);
        self.end(id, Err(error));
    }

    /// Server: the peer has closed its sending side. Bodies that it has not ended break off, and
    /// replies that need its credit end; calls that have a stream of their own go on.
    pub(crate) fn on_input_end(&mut self) {
        if std::mem::replace(&mut self.has_input_ended, true) {
            return;
        }
        let of_calls = self.incoming.keys().chain(self.blocked.keys());
        let ids: BTreeSet<_> = of_calls.filter(|id| !self.pumps.has_own(id)).collect();
        for id in ids.into_iter().cloned().collect::<Vec<_>>() {
            self.break_off(&id);
        }
    }

    /// A call has a stream of its own: what is queued for others does not hold it up.
    pub(crate) fn on_own_stream(&mut self, id: &Text) {
        self.pumps.set_own(id);
    }

    /// A call that has a stream of its own did not begin.
    pub(crate) fn forget_own(&mut self, id: &Text) {
        self.pumps.stop(id);
    }

    /// As `on_input_end`, of a call that has a stream of its own.
    pub(crate) fn on_own_input_end(&mut self, id: &Text) {
        if self.pumps.on_own_input_end(id) {
            self.break_off(id);
        }
    }

    /// The stream of a call has room, or none: then no more of its messages are asked for.
    pub(crate) fn set_full(&mut self, id: &Text, is_full: bool) {
        self.pumps.set_full(id, is_full);
    }

    fn break_off(&mut self, id: &Text) {
        if let Some(sender) = self.incoming.remove(id) {
            let message = "the peer closed its sending side before the end of the stream";
            // A reader that has gone needs no error.
            let error = Error::unavailable(Blame::Client, message);
            let _ = sender.send(Part::Item(Err(error)));
        }
        if self.unblock(id).is_some() {
            self.finish(id, Err(no_credit()));
        }
    }

    /// Ends every call here: the session is over.
    pub(crate) fn fail_all(&mut self, error: impl Fn() -> Error) {
        for (_, sender) in self.incoming.drain() {
            // A reader that has gone needs no error.
            let _ = sender.send(Part::Item(Err(error())));
        }
    }

    /// Goes on with bodies in both directions, by one message of this end at most. Ready when there may
    /// be frames or events. While `may_send` is false no more messages are asked for. `hold` finds room
    /// for the bytes of all that waits here, a new message included; a call whose message has none
    /// ends with its error.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        may_send: bool,
        hold: impl FnOnce(usize) -> Result<(), Error>,
    ) -> Poll<()> {
        let mut is_busy = false;
        while let Poll::Ready(Some(note)) = self.notes.poll_recv(cx) {
            is_busy = true;
            self.on_note(note);
        }
        if let Poll::Ready(pumped) = self.pumps.poll(cx, may_send) {
            is_busy = true;
            // An aborted pump belonged to a call that is over.
            if let Ok(Pumped { outgoing, item }) = pumped {
                let item = match item {
                    Some(Ok(payload)) => {
                        let held = hold(self.blocked_bytes + payload.len());
                        Some(held.map(|()| payload))
                    }
                    other => other,
                };
                self.on_pumped(outgoing, item);
            }
        }
        if is_busy {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Bytes that are counted of messages which nobody has read.
    pub(crate) fn held_unread(&self) -> usize {
        self.held_unread.as_ref().map_or(0, Held::counted)
    }

    /// Bytes of messages that wait for credit.
    pub(crate) const fn blocked_bytes(&self) -> usize {
        self.blocked_bytes
    }

    pub(crate) fn poll_event(&mut self) -> Option<StreamEvent> {
        self.events.pop_front()
    }

    /// The next frame for the session.
    pub(crate) fn poll_frame(&mut self) -> Option<Frame> {
        self.mux.poll_frame()
    }

    fn take_mux_events(&mut self) {
        while let Some(event) = self.mux.poll_event() {
            match event {
                MuxEvent::Opened { id, request } => {
                    self.events.push_back(StreamEvent::Opened { id, request });
                }
                MuxEvent::Accepted { id, headers } => {
                    self.events.push_back(StreamEvent::Accepted { id, headers });
                }
                MuxEvent::Item { id, payload } => self.on_item(&id, payload),
                MuxEvent::Ended { id, headers } => self.end_input(&id, &headers),
                MuxEvent::Closed { id, outcome } => self.end(&id, outcome),
                MuxEvent::Writable { id } => {
                    if let Some((payload, outgoing)) = self.unblock(&id) {
                        self.on_pumped(outgoing, Some(Ok(payload)));
                    }
                }
            }
        }
    }

    /// Keeps a message for its reader. A call whose message has no room is over.
    fn on_item(&mut self, id: &Text, payload: Bytes) {
        let Some(sender) = self.incoming.get(id) else {
            return;
        };
        let payload_bytes = payload.len();
        let unread_bytes = self.unread_bytes + payload_bytes;
        let held = self
            .held_unread
            .as_mut()
            .map(|held| held.try_grow_to(unread_bytes));
        if let Some(Err(error)) = held {
            self.reset(id, error.into());
        } else if sender.send(Part::Item(Ok(payload))).is_ok() {
            self.unread_bytes = unread_bytes;
        }
    }

    fn on_read(&mut self, n_bytes: usize) {
        self.unread_bytes = self.unread_bytes.saturating_sub(n_bytes);
        if let Some(held) = &mut self.held_unread {
            held.shrink_to(self.unread_bytes);
        }
    }

    fn on_note(&mut self, note: Note) {
        match note {
            Note::Consumed { id, payload_bytes } => {
                self.on_read(payload_bytes);
                self.mux.consume(&id, payload_bytes);
            }
            Note::Dropped { id, unread_bytes } => {
                self.on_read(unread_bytes);
                let was_read = self.incoming.remove(&id).is_some();
                // A handler may answer without having read all; a caller that drops the reply wants
                // no more of the call.
                if was_read && self.role == Role::Client {
                    let message = "the caller dropped the reply";
                    self.reset(&id, Error::new(Kind::Cancelled, Blame::Client, message));
                }
            }
        }
    }

    fn on_pumped(&mut self, outgoing: Outgoing, item: Option<Item>) {
        let id = outgoing.id.clone();
        match item {
            Some(Ok(payload)) => match self.mux.item(&id, payload) {
                Ok(()) => self.pumps.ask(outgoing),
                Err(Refused::Blocked(_)) if self.has_input_ended_of(&id) => {
                    self.finish(&id, Err(no_credit()));
                }
                Err(Refused::Blocked(payload)) => {
                    self.pumps.pause(&id);
                    self.blocked_bytes += payload.len();
                    self.blocked.insert(id, (payload, outgoing));
                }
                Err(Refused::Closed) => self.pumps.pause(&id),
            },
            None if self.role == Role::Client => {
                self.pumps.pause(&id);
                let mut body = outgoing.body;
                self.mux.end(&id, body.trailers().as_ref());
                self.take_mux_events();
            }
            None => {
                let mut body = outgoing.body;
                self.finish(&id, Ok(body.trailers()));
            }
            Some(Err(error)) if self.role == Role::Client => self.reset(&id, error),
            Some(Err(error)) => self.finish(&id, Err(error)),
        }
    }

    /// Whether the peer grants no more credit to a call.
    fn has_input_ended_of(&self, id: &Text) -> bool {
        let of_own = self.pumps.has_own_input_ended(id);
        of_own.unwrap_or(self.has_input_ended)
    }

    /// The peer's body is over.
    fn end_input(&mut self, id: &Text, headers: &Headers) {
        let Some(reader) = self.incoming.remove(id) else {
            return;
        };
        if let Some(trailers) = read_trailers(headers) {
            // A reader that has gone needs none.
            let _ = reader.send(Part::Trailers(trailers));
        }
    }

    fn unblock(&mut self, id: &Text) -> Option<(Bytes, Outgoing)> {
        let unblocked = self.blocked.remove(id);
        if let Some((payload, _)) = &unblocked {
            self.blocked_bytes -= payload.len();
        }
        unblocked
    }

    fn end(&mut self, id: &Text, outcome: Result<Headers, Error>) {
        self.pumps.stop(id);
        drop(self.unblock(id));
        let outcome = match outcome {
            Ok(headers) => {
                self.end_input(id, &headers);
                Ok(headers)
            }
            Err(error) => Err(match self.incoming.remove(id) {
                Some(reader) => {
                    let told = same(&error);
                    // A reader that has gone needs no error.
                    let _ = reader.send(Part::Item(Err(error)));
                    told
                }
                None => error,
            }),
        };
        self.events.push_back(StreamEvent::Over {
            id: id.clone(),
            outcome,
        });
    }
}

fn no_credit() -> Error {
    let message = "the peer closed its sending side and can grant no credit";
    Error::unavailable(Blame::Client, message)
}

/// The error once more, for another who waits; its source is told to one only.
fn same(error: &Error) -> Error {
    Error {
        kind: error.kind,
        blame: error.blame,
        retry: error.retry,
        is_too_large: error.is_too_large,
        is_of_application: error.is_of_application,
        message: error.message.clone(),
        details: error.details.clone(),
        headers: error.headers.clone(),
        source: None,
    }
}
