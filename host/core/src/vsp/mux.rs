//! Calls of many messages on one session (feature `mux`): client, server and two-way streaming.
//!
//! All frames of a call are DATA and carry its `correlation-id`; one call never waits for another's
//! reader.
//!
//! | `stream` | from | payload | meaning |
//! |---|---|---|---|
//! | `open` | client | none | begins the call; the other headers are those of a request |
//! | `open` | server | none | the reply begins; its headers |
//! | `item` | both | one message | costs credit, see below |
//! | `end` | client | none | no more items; the reply goes on |
//! | `end` | server | none, or the error | the call is over; headers of a response or an error |
//! | `reset` | both | the error | the call is over at once |
//! | absent | both | none | only grants `credit` |
//!
//! # Credit
//!
//! Each direction of a call begins with 65,536 octets of credit; header `credit` (decimal) on any of
//! these frames grants more. An item costs its octets and 64 more, so that empty ones are bounded
//! too. A sender that has credit left may send one item of any size and then owes the rest, so what
//! a receiver must hold is its window and one item. An item without credit resets the call.
//!
//! Frames of a call that is not known are dropped: they crossed a `reset` or an `end`.

mod credit;
mod receive;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use self::credit::{Grants, Spending};
use super::{
    pseudo::{self, Payload, ReplyHead},
    reply::ReplyToken,
};
use crate::{
    error::{Blame, Error, Kind},
    headers::{HeaderError, Headers, HeadersBuilder},
    text::Text,
    wire::{Frame, Role, priority},
};

pub use self::credit::{CREDIT_INITIAL, ITEM_COST};

/// Bounds of what a peer may open and send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MuxConfig {
    /// Calls at a time; one more is refused as `resource-exhausted`. Default 256.
    pub calls_max: usize,
    /// Octets of items that are held for a reader, per call; at least `CREDIT_INITIAL`. Default
    /// 256 KiB, which is a round trip of 20 ms at 100 Mbit/s.
    pub window_bytes: u32,
}

/// The streaming calls of one session.
///
/// Run loop: one `handle_frame` or one verb, then `poll_event` and `poll_frame` until `None`. What
/// `poll_frame` gives goes to `Session::send`.
#[derive(Debug)]
pub struct Mux {
    config: MuxConfig,
    role: Role,
    calls: BTreeMap<Text, CallState>,
    events: VecDeque<MuxEvent>,
    frames: VecDeque<Frame>,
}

/// What happened to a call, named by its correlation id.
#[derive(Debug)]
pub enum MuxEvent {
    /// Server: a call begins; `request` is for `Reader::read`.
    Opened { id: Text, request: Frame },
    /// Client: the reply begins, with these headers.
    Accepted { id: Text, headers: Headers },
    /// One message; `consume` is owed once the reader has taken it.
    Item { id: Text, payload: Bytes },
    /// Server: the client sends no more items; `headers` may hold trailers.
    Ended { id: Text, headers: Headers },
    /// The peer ended the call. For a client the outcome; for a server why it was reset.
    Closed {
        id: Text,
        outcome: Result<Headers, Error>,
    },
    /// There is credit again after `Refused::Blocked`.
    Writable { id: Text },
}

/// Why an item is not sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// No credit is left: try again after `MuxEvent::Writable`. The payload comes back.
    Blocked(Bytes),
    /// The call is over, or this end has said that it sends no more.
    Closed,
}

/// One call, as one end sees it.
///
/// ```text
///            items both ways                    items from the server
///  open ──▶  Open  ── end of the client ──▶  HalfClosed
///             │                                  │
///             └── end of the server, or reset ───┴──▶ forgotten
/// ```
#[derive(Debug)]
struct CallState {
    token: ReplyToken,
    spending: Spending,
    grants: Grants,
    /// The client has sent its `end`.
    half_closed: bool,
    /// The server has sent its `open`.
    accepted: bool,
}

impl Default for MuxConfig {
    fn default() -> Self {
        Self {
            calls_max: 256,
            window_bytes: 256 * 1024,
        }
    }
}

impl Mux {
    #[must_use]
    pub fn new(config: MuxConfig, role: Role) -> Self {
        let (events, frames) = (VecDeque::new(), VecDeque::new());
        Self {
            config,
            role,
            calls: BTreeMap::new(),
            events,
            frames,
        }
    }

    /// Whether a DATA frame belongs here and not to `Reader` or `read_response`.
    #[must_use]
    pub fn takes(frame: &Frame) -> bool {
        frame
            .headers
            .entries()
            .any(|(key, _)| key == b"stream" || key == b"credit")
    }

    /// Client: begins a call. `request` is a frame of `request_frame` without payload.
    ///
    /// # Errors
    /// `resource-exhausted` when too many calls are open; `invalid-argument` when the frame has no
    /// correlation id, one that is in use, or no room for two more headers.
    pub fn open(&mut self, request: Frame) -> Result<Text, Error> {
        let Some(id) = correlation(&request.headers) else {
            return Err(Error::invalid_argument("a stream needs a correlation-id"));
        };
        self.check_opening(&id)?;
        let token = ReplyToken::vsp(id.clone(), priority::of(&request));
        let (call, extra) = CallState::new(token, self.config.window_bytes);
        let mut headers = request.headers;
        push_stream(&mut headers, "open", extra).map_err(|error| {
            let message = "the request's headers leave no room for those of a stream";
            Error::invalid_argument(message).with_source(error)
        })?;
        self.calls.insert(id.clone(), call);
        self.frames.push_back(Frame::data(headers, Bytes::new()));
        Ok(id)
    }

    /// Takes up a call that was made without a stream, for a reply that is one: at the server before
    /// `accept`, at the client when the reply begins. The client has sent all of its items.
    ///
    /// # Errors
    /// As `open`, of calls that are open.
    pub fn adopt(&mut self, token: ReplyToken) -> Result<(), Error> {
        let id = token.correlation().clone();
        self.check_opening(&id)?;
        let (mut call, extra) = CallState::new(token, self.config.window_bytes);
        call.half_closed = true;
        self.calls.insert(id.clone(), call);
        if self.role == Role::Client && extra > 0 {
            self.push_grant(&id, extra);
        }
        Ok(())
    }

    /// Server: the reply begins. Once per call; nothing happens to one that is over.
    pub fn accept(&mut self, id: &str, head: &ReplyHead) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        if call.accepted {
            return;
        }
        call.accepted = true;
        match call.opening_headers(head) {
            Ok(headers) => self.frames.push_back(Frame::data(headers, Bytes::new())),
            Err(error) => {
                let message = "the handler's headers do not fit into a frame";
                let error = Error::new(Kind::Internal, Blame::Guest, message).with_source(error);
                self.finish(id, Err(error));
            }
        }
    }

    /// Sends one message.
    ///
    /// # Errors
    /// `Refused`, with the payload where another try makes sense.
    pub fn item(&mut self, id: &str, payload: Bytes) -> Result<(), Refused> {
        let call = self.calls.get_mut(id).ok_or(Refused::Closed)?;
        if call.half_closed && self.role == Role::Client {
            return Err(Refused::Closed);
        }
        if !call.spending.try_spend(payload.len()) {
            return Err(Refused::Blocked(payload));
        }
        let headers = call.bare_headers("item");
        self.frames.push_back(Frame::data(headers, payload));
        Ok(())
    }

    /// Client: sends no more items. The call goes on until the server ends it. Trailers that do not
    /// fit into a frame end it at once.
    pub fn end(&mut self, id: &str, trailers: Option<&Headers>) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        if call.half_closed {
            return;
        }
        call.half_closed = true;
        match call.headers(None, "end", 0, |builder| {
            pseudo::push_trailers(builder, trailers)
        }) {
            Ok(headers) => self.frames.push_back(Frame::data(headers, Bytes::new())),
            Err(error) => {
                let message = "the trailers do not fit into a frame";
                let error = Error::invalid_argument(message).with_source(error);
                self.abort(&Text::from(id), error);
            }
        }
    }

    /// Server: the call is over; trailers follow a reply that began.
    pub fn finish(&mut self, id: &str, outcome: Result<Option<Headers>, Error>) {
        let Some(call) = self.calls.remove(id) else {
            return;
        };
        let frame = match outcome {
            Ok(trailers) => {
                let payload = Payload {
                    trailers,
                    ..Payload::one(Bytes::new())
                };
                call.token.answer_with(&ReplyHead::default(), payload)
            }
            Err(error) => call.token.error_frame(&error),
        };
        self.push_marked(frame, "end");
    }

    /// The call is over at once: cancelled, or its peer broke the rules.
    pub fn reset(&mut self, id: &str, error: &Error) {
        let Some(call) = self.calls.remove(id) else {
            return;
        };
        self.push_marked(call.token.error_frame(error), "reset");
    }

    /// The reader has taken an item of that many octets; the peer may send as much again.
    pub fn consume(&mut self, id: &str, payload_bytes: usize) {
        let Some(call) = self.calls.get_mut(id) else {
            return;
        };
        if let Some(credit) = call.grants.consume(payload_bytes) {
            self.push_grant(id, credit);
        }
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<MuxEvent> {
        self.events.pop_front()
    }

    /// The next frame for `Session::send`.
    pub fn poll_frame(&mut self) -> Option<Frame> {
        self.frames.pop_front()
    }

    /// Calls that are not over.
    #[must_use]
    pub fn n_calls(&self) -> usize {
        self.calls.len()
    }

    /// Whether one more call of that id may begin.
    fn check_opening(&self, id: &Text) -> Result<(), Error> {
        if self.calls.contains_key(id) {
            let message = format!("correlation-id {id} is in use on this session");
            return Err(Error::invalid_argument(message));
        }
        let limit = self.config.calls_max;
        if self.calls.len() >= limit {
            let message = format!("{limit} streaming calls are open, which is the limit");
            return Err(Error::new(Kind::ResourceExhausted, Blame::Client, message));
        }
        Ok(())
    }

    fn push_grant(&mut self, id: &str, credit: u32) {
        let Some(call) = self.calls.get(id) else {
            return;
        };
        let mut builder = HeadersBuilder::with_capacity(64 + id.len());
        let fits = builder
            .push("credit", credit.to_string())
            .and_then(|()| call.token.push_common(&mut builder));
        debug_assert!(fits.is_ok(), "an id that fitted into a request fits here");
        self.frames
            .push_back(Frame::data(builder.build(), Bytes::new()));
    }

    fn push_marked(&mut self, mut frame: Frame, stream: &str) {
        let fits = frame.headers.push("stream", stream);
        debug_assert!(fits.is_ok(), "an id that fitted into a request fits here");
        self.frames.push_back(frame);
    }
}

impl CallState {
    /// A call, and what must be granted beyond the initial credit.
    fn new(token: ReplyToken, window_bytes: u32) -> (Self, u32) {
        let (grants, extra) = Grants::new(window_bytes);
        let spending = Spending::default();
        (
            Self {
                token,
                spending,
                grants,
                half_closed: false,
                accepted: false,
            },
            extra,
        )
    }

    /// Headers that name the call and nothing else.
    fn bare_headers(&self, stream: &str) -> Headers {
        let headers = self.headers(None, stream, 0, |_| Ok(()));
        debug_assert!(
            headers.is_ok(),
            "an id that fitted into a request fits here"
        );
        headers.unwrap_or_default()
    }

    /// Headers that begin the reply.
    fn opening_headers(&self, head: &ReplyHead) -> Result<Headers, HeaderError> {
        let more = head.headers.section().len();
        self.headers(Some("response"), "open", more, |builder| {
            pseudo::push_status(builder, head.status)?;
            if let Some(kind) = head.kind {
                pseudo::push_kind(builder, kind)?;
            }
            pseudo::push_headers(builder, &head.headers)
        })
    }

    fn headers(
        &self,
        kind: Option<&str>,
        stream: &str,
        more_octets: usize,
        push_more: impl FnOnce(&mut HeadersBuilder) -> Result<(), HeaderError>,
    ) -> Result<Headers, HeaderError> {
        let capacity = 64 + self.token.correlation().len() + more_octets;
        let mut builder = HeadersBuilder::with_capacity(capacity);
        if let Some(kind) = kind {
            builder.push("type", kind)?;
        }
        builder.push("stream", stream)?;
        self.token.push_common(&mut builder)?;
        push_more(&mut builder)?;
        Ok(builder.build())
    }
}

/// The correlation id of a frame that opens a stream.
#[must_use]
pub fn opened_id(frame: &Frame) -> Option<Text> {
    let stream = frame.headers.get(b"stream");
    let is_opening = stream.as_deref() == Some(b"open");
    is_opening.then(|| correlation(&frame.headers)).flatten()
}

fn correlation(headers: &Headers) -> Option<Text> {
    let id = Text::from_utf8(headers.get_bytes(b"correlation-id")?).ok()?;
    if id.is_empty() { None } else { Some(id) }
}

fn push_stream(headers: &mut Headers, stream: &str, credit: u32) -> Result<(), HeaderError> {
    headers.push("stream", stream)?;
    if credit > 0 {
        headers.push("credit", credit.to_string())
    } else {
        Ok(())
    }
}
