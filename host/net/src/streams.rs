//! Bodies of many messages on one session: between the pure `Mux` and the streams that handlers and
//! callers hold. Belongs to the driver of a connection, which polls it.
//!
//! ```text
//! peer ── frames ──▶ Mux ── items ──▶ Incoming ──▶ whoever reads the body here
//! peer ◀── frames ── Mux ◀── items ── pump ◀────── whoever makes the body here
//! ```
//! A reader that does not read leaves its credit used up and stops its own sender only. A pump whose
//! credit is used up keeps one message and asks its body for no more.

use std::{
    collections::{HashMap, VecDeque},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{
    StreamExt,
    future::{AbortHandle, Abortable, Aborted},
    stream::FuturesUnordered,
};
use postern_core::{
    Blame, Body, BodyKind, BodySource, BodyStream, BoxFuture, Error, Headers, Kind, Reply, Text,
    vsp::{
        ReplyHead, ReplyToken,
        mux::{Mux, MuxConfig, MuxEvent, Refused},
        read_trailers,
    },
    wire::{Frame, Role},
};
use tokio::sync::mpsc;

use crate::byte_budget::Kept;

type Item = Result<Bytes, Error>;

/// What a body of the peer consists of, in this order.
enum Part {
    Item(Item),
    Trailers(Headers),
}

/// The streaming calls of one connection.
pub(crate) struct Streams {
    mux: Mux,
    role: Role,
    /// Each gives the next message of a body that this end sends.
    pumps: FuturesUnordered<BoxFuture<Result<Pumped, Aborted>>>,
    /// Ends the pump of a call that is over.
    pumping: HashMap<Text, AbortHandle>,
    /// Messages that wait for credit, with the rest of their bodies.
    blocked: HashMap<Text, (Bytes, Outgoing)>,
    /// Where the messages of the peer go. Bounded by the credit that the peer was granted.
    incoming: HashMap<Text, mpsc::UnboundedSender<Part>>,
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

/// The rest of a body that this end sends.
struct Outgoing {
    id: Text,
    body: BodyStream,
}

struct Pumped {
    outgoing: Outgoing,
    item: Option<Item>,
}

/// What a reader tells the driver.
enum Note {
    Consumed { id: Text, payload_bytes: usize },
    Dropped { id: Text },
}

/// The messages of a peer, as whoever reads them holds them.
struct Incoming {
    id: Text,
    parts: mpsc::UnboundedReceiver<Part>,
    notify: mpsc::UnboundedSender<Note>,
    kept: Option<Kept>,
    trailers: Option<Headers>,
    has_ended: bool,
}

impl Streams {
    pub(crate) fn new(config: MuxConfig, role: Role) -> Self {
        let (notify, notes) = mpsc::unbounded_channel();
        Self {
            mux: Mux::new(config, role),
            role,
            pumps: FuturesUnordered::new(),
            pumping: HashMap::new(),
            blocked: HashMap::new(),
            incoming: HashMap::new(),
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
        self.pump(Outgoing {
            id: id.clone(),
            body,
        });
        Ok(id)
    }

    /// The messages of the peer. Ask before its first message is handled, and once. What is collected
    /// of them counts as `kept`.
    pub(crate) fn body_of(&mut self, id: &Text, kept: Option<Kept>) -> BodyStream {
        let (sender, parts) = mpsc::unbounded_channel();
        self.incoming.insert(id.clone(), sender);
        let notify = self.notify.clone();
        BodyStream::from_source(Incoming {
            id: id.clone(),
            parts,
            notify,
            kept,
            trailers: None,
            has_ended: false,
        })
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
            Body::Messages(body) | Body::Octets(body) => self.pump(Outgoing {
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
    /// replies that need its credit end.
    pub(crate) fn on_input_end(&mut self) {
        if std::mem::replace(&mut self.has_input_ended, true) {
            return;
        }
        for (_, sender) in self.incoming.drain() {
            let message = "the peer closed its sending side before the end of the stream";
            // A reader that has gone needs no error.
            let error = Error::unavailable(Blame::Client, message);
            let _ = sender.send(Part::Item(Err(error)));
        }
        for (id, _) in std::mem::take(&mut self.blocked) {
            self.finish(&id, Err(no_credit()));
        }
    }

    /// Ends every call here: the session is over.
    pub(crate) fn fail_all(&mut self, error: impl Fn() -> Error) {
        for (_, sender) in self.incoming.drain() {
            // A reader that has gone needs no error.
            let _ = sender.send(Part::Item(Err(error())));
        }
    }

    /// Goes on with bodies in both directions. Ready when there may be frames or events. While
    /// `may_send` is false no more messages are asked for.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, may_send: bool) -> Poll<()> {
        let mut is_busy = false;
        while let Poll::Ready(Some(note)) = self.notes.poll_recv(cx) {
            is_busy = true;
            self.on_note(note);
        }
        while may_send && let Poll::Ready(Some(pumped)) = self.pumps.poll_next_unpin(cx) {
            is_busy = true;
            // An aborted pump belonged to a call that is over.
            if let Ok(Pumped { outgoing, item }) = pumped {
                self.on_pumped(outgoing, item);
            }
        }
        if is_busy {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
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
                MuxEvent::Item { id, payload } => {
                    if let Some(sender) = self.incoming.get(&id) {
                        // A reader that has just gone says so by a note.
                        let _ = sender.send(Part::Item(Ok(payload)));
                    }
                }
                MuxEvent::Ended { id, headers } => self.end_input(&id, &headers),
                MuxEvent::Closed { id, outcome } => self.end(&id, outcome),
                MuxEvent::Writable { id } => {
                    if let Some((payload, outgoing)) = self.blocked.remove(&id) {
                        self.on_pumped(outgoing, Some(Ok(payload)));
                    }
                }
            }
        }
    }

    fn on_note(&mut self, note: Note) {
        match note {
            Note::Consumed { id, payload_bytes } => self.mux.consume(&id, payload_bytes),
            Note::Dropped { id } => {
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
                Ok(()) => self.pump(outgoing),
                Err(Refused::Blocked(_)) if self.has_input_ended => {
                    self.finish(&id, Err(no_credit()));
                }
                Err(Refused::Blocked(payload)) => {
                    self.pumping.remove(&id);
                    self.blocked.insert(id, (payload, outgoing));
                }
                Err(Refused::Closed) => drop(self.pumping.remove(&id)),
            },
            None if self.role == Role::Client => {
                self.pumping.remove(&id);
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

    fn pump(&mut self, outgoing: Outgoing) {
        let (handle, registration) = AbortHandle::new_pair();
        self.pumping.insert(outgoing.id.clone(), handle);
        self.pumps
            .push(Box::pin(Abortable::new(next(outgoing), registration)));
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

    fn end(&mut self, id: &Text, outcome: Result<Headers, Error>) {
        if let Some(pump) = self.pumping.remove(id) {
            pump.abort();
        }
        self.blocked.remove(id);
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

impl Stream for Incoming {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        let item = match ready!(self.parts.poll_recv(cx)) {
            Some(Part::Item(item)) => Some(item),
            Some(Part::Trailers(trailers)) => {
                self.trailers = Some(trailers);
                None
            }
            None => None,
        };
        if let Some(Ok(payload)) = &item {
            let note = Note::Consumed {
                id: self.id.clone(),
                payload_bytes: payload.len(),
            };
            // A driver that has ended grants no more credit.
            let _ = self.notify.send(note);
        } else {
            self.has_ended = true;
        }
        Poll::Ready(item)
    }
}

impl BodySource for Incoming {
    fn trailers(mut self: Pin<&mut Self>) -> Option<Headers> {
        self.trailers.take()
    }

    fn keep(self: Pin<&mut Self>, n_octets: usize) -> Result<(), Error> {
        self.kept
            .as_ref()
            .map_or(Ok(()), |kept| kept.grow(n_octets))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.has_ended {
            let _ = self.notify.send(Note::Dropped {
                id: self.id.clone(),
            });
        }
    }
}

/// The next message of a body. It ends at the deadline of its call, which is not seen to here.
async fn next(mut outgoing: Outgoing) -> Pumped {
    let item = outgoing.body.next().await;
    Pumped { outgoing, item }
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
        message: error.message.clone(),
        details: error.details.clone(),
        source: None,
    }
}
