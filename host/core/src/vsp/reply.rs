//! Outcomes as frames, and frames as outcomes.

use std::time::Duration;

use bytes::Bytes;

use super::{
    easy,
    pseudo::{self, Payload, Pseudo, ReplyHead},
};
use crate::{
    body::Body,
    call::Reply,
    error::{Blame, Error, Kind, Retry},
    headers::{HeaderError, Headers, HeadersBuilder},
    json,
    text::Text,
    wire::{Flags, Frame},
};

/// Longest part of a peer's error that is taken over as the message, in octets, when its payload is
/// not the error document.
const FOREIGN_MESSAGE_BYTES_MAX: usize = 256;
/// Header of an error that says when another try may help.
const RETRY_AFTER: &str = "retry-after-ms";
/// Header `retry` of an error: the call was sent on and nobody knows what became of it.
const IF_IDEMPOTENT: &str = "if-idempotent";

/// What a reply must repeat of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyToken {
    form: Form,
    correlation: Text,
    priority: u8,
    takes_stream: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Vsp,
    Easy,
    /// As `Easy`, with one header that tells the reply from a request.
    EasyMarked,
}

/// The outcome of a call, as its caller reads it.
#[derive(Debug)]
pub struct Response {
    /// Which call it is about. A peer of the easy layer names none: it answers in order.
    pub correlation: Option<Text>,
    pub outcome: Result<Reply, Error>,
}

impl ReplyToken {
    /// For a request in VSP headers. `correlation` may be empty.
    #[must_use]
    pub const fn vsp(correlation: Text, priority: u8) -> Self {
        Self {
            form: Form::Vsp,
            correlation,
            priority,
            takes_stream: false,
        }
    }

    /// For a request of the easy layer.
    #[must_use]
    pub const fn easy() -> Self {
        Self {
            form: Form::Easy,
            correlation: Text::from_static(""),
            priority: 50,
            takes_stream: false,
        }
    }

    /// For a request of the easy layer that a reply without headers would be taken for.
    #[must_use]
    pub const fn easy_marked() -> Self {
        Self {
            form: Form::EasyMarked,
            correlation: Text::from_static(""),
            priority: 50,
            takes_stream: false,
        }
    }

    #[must_use]
    pub const fn is_easy(&self) -> bool {
        matches!(self.form, Form::Easy | Form::EasyMarked)
    }

    /// A reply of the easy layer.
    pub(super) fn easy_frame(&self, payload: impl Into<Bytes>) -> Frame {
        let mut frame = easy::frame(payload);
        frame.headers = self.easy_headers();
        frame
    }

    fn easy_headers(&self) -> Headers {
        let mut headers = Headers::new();
        if self.form == Form::EasyMarked {
            // Cannot fail: it is short.
            let _ = headers.push("type", "response");
        }
        headers
    }

    /// As said by the request.
    pub(super) const fn set_takes_stream(&mut self, takes_stream: bool) {
        self.takes_stream = takes_stream;
    }

    /// Whether the caller takes a stream for its reply, although it opened none.
    #[must_use]
    pub const fn takes_stream(&self) -> bool {
        self.takes_stream
    }

    /// The caller can tell its replies by their order alone.
    #[must_use]
    pub fn keeps_order(&self) -> bool {
        self.correlation.is_empty()
    }

    #[must_use]
    pub const fn correlation(&self) -> &Text {
        &self.correlation
    }

    #[must_use]
    pub const fn priority(&self) -> u8 {
        self.priority
    }

    /// The frame that answers. A body that is a stream must have been collected, see `answer_with`; one
    /// that was not is answered with the error `unimplemented`.
    #[must_use]
    pub fn answer(&self, outcome: Result<Reply, Error>) -> Frame {
        let reply = match outcome {
            Ok(reply) => reply,
            Err(error) => return self.error_frame(&error),
        };
        let payload = match reply.body {
            Body::Empty => Bytes::new(),
            Body::One(payload) => payload,
            Body::Messages(_) | Body::Octets(_) => {
                let message = "a reply of many messages needs feature mux";
                return self.error_frame(&Error::new(Kind::Unimplemented, Blame::Client, message));
            }
        };
        let head = ReplyHead {
            headers: reply.headers,
            status: reply.status,
            kind: None,
        };
        self.answer_with(&head, Payload::one(payload))
    }

    /// The frame that answers with a body that was collected.
    #[must_use]
    pub fn answer_with(&self, head: &ReplyHead, payload: Payload) -> Frame {
        match self.success_headers(head, &payload) {
            Ok(headers) => Frame::data(headers, payload.octets),
            Err(error) => {
                let message = "the handler's headers do not fit into a frame";
                let error = Error::new(Kind::Internal, Blame::Guest, message).with_source(error);
                self.error_frame(&error)
            }
        }
    }

    /// The frame that answers with an error.
    #[must_use]
    pub fn error_frame(&self, error: &Error) -> Frame {
        if self.is_easy() {
            return self.easy_frame(error.to_json());
        }
        let mut builder = HeadersBuilder::with_capacity(96 + self.correlation.len());
        let code = error.http().to_string();
        let fits = builder
            .push("type", "error")
            .and_then(|()| builder.push("status", error.kind.name()))
            .and_then(|()| builder.push("code", code))
            .and_then(|()| push_retry(&mut builder, error))
            .and_then(|()| self.push_common(&mut builder));
        // The caller's correlation id fitted into its frame beside as much as stands here.
        debug_assert!(fits.is_ok());
        let mut headers = builder.build();
        if let Some(own) = &error.headers {
            let mut with_own = HeadersBuilder::like(&headers, own.section().len());
            let bare = headers.iter();
            let pushed = bare.map(|(key, value)| with_own.push(key, value));
            let pushed = pushed.collect::<Result<(), _>>();
            // Those of an error that do not fit into a frame are left out: it is worth more than they.
            if pushed
                .and_then(|()| pseudo::push_headers(&mut with_own, own))
                .is_ok()
            {
                headers = with_own.build();
            }
        }
        Frame::data(headers, error.to_json())
    }

    fn success_headers(&self, head: &ReplyHead, payload: &Payload) -> Result<Headers, HeaderError> {
        if self.is_easy() {
            return Ok(self.easy_headers());
        }
        // Exactly what a reply without headers of its own takes, so that nothing is left over.
        let entries = b"..typeresponse..statussuccess..correlation-id".len();
        let capacity = entries + self.correlation.len() + head.headers.section().len();
        let mut builder = HeadersBuilder::with_capacity(capacity);
        builder.push("type", "response")?;
        builder.push("status", "success")?;
        self.push_common(&mut builder)?;
        pseudo::push_status(&mut builder, head.status)?;
        payload.push(&mut builder)?;
        pseudo::push_headers(&mut builder, &head.headers)?;
        Ok(builder.build())
    }

    /// What every frame about the call repeats.
    pub(super) fn push_common(&self, builder: &mut HeadersBuilder) -> Result<(), HeaderError> {
        if !self.correlation.is_empty() {
            builder.push("correlation-id", self.correlation.as_bytes())?;
        }
        // Replies that name no call keep the order of their requests, so that none may overtake.
        if self.priority != 50 && !self.keeps_order() {
            builder.push("priority", self.priority.to_string())?;
        }
        Ok(())
    }
}

/// What a DATA frame says to the caller that waits for it.
///
/// A frame in VSP headers is a success when `status` is `success` or absent and `type` is not
/// `error`. A frame without them is one of the easy layer: its payload is the reply, unless it
/// begins as that layer begins its complaint.
#[must_use]
pub fn read_response(frame: Frame) -> Response {
    let correlation = frame.headers.get_bytes(b"correlation-id");
    let correlation = correlation.and_then(|octets| Text::from_utf8(octets).ok());
    let outcome = match failure(&frame) {
        Some(error) => Err(error),
        None => Ok(success(frame)),
    };
    Response {
        correlation,
        outcome,
    }
}

fn success(frame: Frame) -> Reply {
    let has_pseudo = pseudo::has_pseudo(&frame.headers);
    let mut reply = Reply::new(frame.headers, Body::One(frame.payload));
    if has_pseudo {
        Pseudo::read(&reply.headers).apply_to_reply(&mut reply);
    }
    reply
}

/// What can be said of another try, and how long to wait before it, in milliseconds rounded up.
fn push_retry(builder: &mut HeadersBuilder, error: &Error) -> Result<(), HeaderError> {
    let after = error.retry_after();
    match error.retry {
        // That there is a time for another try does not say that nothing of the call began.
        Retry::IfIdempotent => builder.push("retry", IF_IDEMPOTENT)?,
        Retry::Never if after.is_some() => builder.push("retry", IF_IDEMPOTENT)?,
        // The VSP has no word for what is forbidden: no advice comes nearest.
        Retry::Never | Retry::Elsewhere | Retry::After(_) | Retry::Forbidden => {}
    }
    match after {
        Some(delay) => {
            let millis = delay.as_micros().div_ceil(1000);
            builder.push(RETRY_AFTER, millis.to_string())
        }
        None => Ok(()),
    }
}

/// What a peer says of another try, if it says anything that is understood.
fn retry_of(frame: &Frame) -> Option<Retry> {
    if frame.headers.get(b"retry").as_deref() == Some(IF_IDEMPOTENT.as_bytes()) {
        return Some(Retry::IfIdempotent);
    }
    let after = frame.headers.get_str(RETRY_AFTER)?;
    let millis = after.parse().ok()?;
    Some(Retry::After(Duration::from_millis(millis)))
}

fn failure(frame: &Frame) -> Option<Error> {
    if frame.flags.contains(Flags::COMP) {
        let message = "the reply has flag COMP set: compressed payloads are not supported";
        return Some(Error::new(Kind::Unimplemented, Blame::Upstream, message));
    }
    if frame.headers.is_empty() {
        let complaint = frame.payload.strip_prefix(easy::INVALID_DATA.as_bytes())?;
        let message = format!("the peer refused the data: {}", foreign(complaint));
        return Some(Error::invalid_argument(message));
    }
    let status = frame.headers.get(b"status");
    let is_error = frame.headers.get(b"type").as_deref() == Some(b"error");
    let is_success = status.as_deref().is_none_or(|status| status == b"success");
    if is_success && !is_error {
        return None;
    }
    let status = status
        .as_deref()
        .and_then(|status| std::str::from_utf8(status).ok());
    let error = foreign_error(status.and_then(Kind::from_name), &frame.payload);
    let error = error.with_headers(headers_of(frame));
    Some(match retry_of(frame) {
        Some(retry) => error.with_retry(retry),
        None => error,
    })
}

/// What stands beside an error, of the application.
fn headers_of(frame: &Frame) -> Headers {
    // Whatever is written in the place of a name that the VSP has a meaning for is told by its mark.
    let headers = frame.headers.without(|key| key == b"retry");
    Pseudo::read(&headers).headers
}

/// An error as a peer describes it, read leniently.
fn foreign_error(kind: Option<Kind>, payload: &Bytes) -> Error {
    let code = json::member(payload, "code").and_then(|code| std::str::from_utf8(code).ok());
    let number: Option<u16> = code.and_then(|code| code.parse().ok());
    let kind = kind.unwrap_or_else(|| number.map_or(Kind::Unknown, Kind::from_http));
    let message = json::member(payload, "error").and_then(json::string);
    let message = message.unwrap_or_else(|| foreign(payload));
    let details = json::member(payload, "details").map(|details| payload.slice_ref(details));
    let error = Error {
        details,
        ..Error::of_peer(kind, number, message)
    };
    if kind == Kind::Unavailable && !error.is_too_large {
        // Peers that began the call say so.
        return error.with_retry(Retry::Elsewhere);
    }
    error
}

/// The start of what a peer wrote, made printable.
fn foreign(payload: &[u8]) -> String {
    let end = payload.len().min(FOREIGN_MESSAGE_BYTES_MAX);
    String::from_utf8_lossy(payload.get(..end).unwrap_or_default()).into_owned()
}
