//! A `Reply` or an `Error` as an HTTP response, and back.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use postern_core::{Body, BodyStream, Error, Headers, Kind, Reply, json};

use super::{ERROR_HEADER, JSON, NDJSON, is_hop_by_hop, lines, request::set};
use crate::{ByteBudgetError, ConnectionBytes, HeldBytes};

/// The body of a response.
pub(super) struct ReplyBody {
    content: Content,
    /// Of a whole one that is too short to carry it.
    held: Option<HeldBytes>,
}

enum Content {
    Whole(Bytes),
    Lines(BodyStream, ConnectionBytes),
    /// The stream failed: its last line is written, the trailers are left.
    Trailers(Kind),
    Done,
}

impl ReplyBody {
    pub(super) fn whole(octets: impl Into<Bytes>) -> Self {
        let octets = octets.into();
        let content = if octets.is_empty() {
            Content::Done
        } else {
            Content::Whole(octets)
        };
        Self {
            content,
            held: None,
        }
    }

    fn done(&mut self) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.content = Content::Done;
        self.held = None;
        Poll::Ready(None)
    }
}

impl http_body::Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = match &mut self.content {
            Content::Whole(octets) => {
                let octets = std::mem::take(octets);
                self.content = Content::Done;
                Frame::data(octets)
            }
            Content::Lines(stream, bytes) => match ready!(poll_line(stream, bytes, cx)) {
                Some(Ok(line)) => Frame::data(line),
                Some(Err(error)) => {
                    self.content = Content::Trailers(error.kind);
                    Frame::data(lines::to_line(&error.to_json()))
                }
                None => return self.done(),
            },
            Content::Trailers(kind) => {
                let mut trailers = HeaderMap::with_capacity(1);
                trailers.insert(ERROR_HEADER, HeaderValue::from_static(kind.name()));
                self.content = Content::Done;
                Frame::trailers(trailers)
            }
            Content::Done => return self.done(),
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::Done)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(octets) => SizeHint::with_exact(octets.len() as u64),
            Content::Done => SizeHint::with_exact(0),
            Content::Lines(..) | Content::Trailers(_) => SizeHint::default(),
        }
    }
}

/// The next line of a stream, which counts as held until the client has taken it.
fn poll_line(
    stream: &mut BodyStream,
    bytes: &ConnectionBytes,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, Error>>> {
    let message = ready!(Pin::new(stream).poll_next(cx));
    Poll::Ready(message.map(|message| {
        let line = lines::to_line(&message?);
        if line.len() < ATTACHED_BYTES_MIN {
            return Ok(line);
        }
        Ok(bytes.hold(line.len())?.attach_to(line))
    }))
}

/// A handler's reply; as lines when it is a stream or when the client asked for lines. A reply for
/// which the connection has no room is dropped, and the refusal sent instead.
pub(super) fn success(
    reply: Reply,
    wants_lines: bool,
    bytes: &ConnectionBytes,
) -> Response<ReplyBody> {
    let mut headers = to_http_headers(&reply.headers);
    let content = match reply.body {
        Body::Empty => Content::Done,
        Body::One(octets) if wants_lines && !octets.is_empty() => {
            Content::Whole(lines::to_line(&octets))
        }
        Body::One(octets) if octets.is_empty() => Content::Done,
        Body::One(octets) => Content::Whole(octets),
        Body::Many(stream) => Content::Lines(stream, bytes.clone()),
    };
    let (content, held) = match hold(content, bytes) {
        Ok(held) => held,
        Err(error) => return failure(&error.into()),
    };
    let is_lines = wants_lines || matches!(content, Content::Lines(..));
    if is_lines {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON));
    } else if !matches!(content, Content::Done) && !headers.contains_key(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    }
    if matches!(content, Content::Lines(..)) {
        headers.insert(header::TRAILER, HeaderValue::from_static(ERROR_HEADER));
    }
    let mut response = Response::new(ReplyBody { content, held });
    *response.headers_mut() = headers;
    response
}

/// Counts a whole reply as held. A long one carries that with itself, wherever it waits.
fn hold(
    content: Content,
    bytes: &ConnectionBytes,
) -> Result<(Content, Option<HeldBytes>), ByteBudgetError> {
    let Content::Whole(octets) = content else {
        return Ok((content, None));
    };
    let held = bytes.hold(octets.len())?;
    if octets.len() < ATTACHED_BYTES_MIN {
        return Ok((Content::Whole(octets), Some(held)));
    }
    Ok((Content::Whole(held.attach_to(octets)), None))
}

/// A failed call, with the error's status.
pub(super) fn failure(error: &Error) -> Response<ReplyBody> {
    // `Error::http` gives numbers that are all legal statuses.
    let status = StatusCode::from_u16(error.http()).unwrap_or(StatusCode::BAD_GATEWAY);
    refusal(status, error)
}

/// An error under a status of HTTP's own (404, 405, 408, 413, 415, 431).
pub(super) fn refusal(status: StatusCode, error: &Error) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::whole(error.to_json_as(status.as_u16())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    headers.insert(ERROR_HEADER, HeaderValue::from_static(error.kind.name()));
    if let Some(delay) = error.retry_after() {
        let seconds = delay.as_millis().div_ceil(1000).to_string();
        set(headers, "retry-after", seconds.as_bytes());
    }
    if status == StatusCode::UNAUTHORIZED {
        // RFC 9110 section 11.6.1 demands a challenge with 401.
        let challenge = challenge(error).unwrap_or(HeaderValue::from_static("Bearer"));
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

/// What the details of an error ask the client for: their member `challenge`.
fn challenge(error: &Error) -> Option<HeaderValue> {
    let challenge = json::string(json::member(error.details.as_deref()?, "challenge")?)?;
    HeaderValue::from_str(&challenge).ok()
}

/// The error in a failed reply's body: `{"error","code","details"?}`, or any other text.
pub(super) fn read_error(kind: Kind, status: Option<StatusCode>, body: &[u8]) -> Error {
    const CHARS_MAX: usize = 1000;
    let json = serde_json::from_slice::<serde_json::Value>(body).unwrap_or_default();
    let message = match json.get("error").and_then(serde_json::Value::as_str) {
        Some(message) => message.to_owned(),
        None if body.is_empty() => format!("the call failed with {}", kind.name()),
        None => String::from_utf8_lossy(body)
            .chars()
            .take(CHARS_MAX)
            .collect(),
    };
    let error = Error::of_peer(kind, status.map(|status| status.as_u16()), message);
    match json.get("details") {
        Some(details) => error.with_details(details.to_string()),
        None => error,
    }
}

/// Headers of a call or reply as HTTP carries them: without the keys of the VSP and of the
/// connection, and without what HTTP cannot write.
pub(super) fn to_http_headers(headers: &Headers) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (key, value) in headers.iter() {
        let Ok(name) = HeaderName::from_bytes(key) else {
            continue;
        };
        if is_hop_by_hop(name.as_str()) || is_vsp_key(name.as_str()) {
            continue;
        }
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            map.append(name, value);
        }
    }
    map
}

/// Headers of a response as a reply carries them.
pub(super) fn to_reply_headers(map: &HeaderMap) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in map {
        if !is_hop_by_hop(name.as_str()) && name != header::DATE {
            // What does not fit a header section is left out; the reply itself is whole.
            let _ = headers.push(name.as_str(), value);
        }
    }
    headers
}

/// Keys by which VSP carries what HTTP says in its own way (design of the wire, "VSP messages").
fn is_vsp_key(name: &str) -> bool {
    const KEYS: [&str; 16] = [
        "type",
        "service",
        "method",
        "version",
        "correlation-id",
        "status",
        "code",
        "event-type",
        "timeout-ms",
        "priority",
        "stream",
        "credit",
        "msg-id",
        "frag-id",
        "frag-index",
        "frag-total",
    ];
    KEYS.contains(&name)
}

/// Octets from which on a reply counts until the last of them is written; shorter ones count until
/// they are handed to the connection, of which each stream has one.
const ATTACHED_BYTES_MIN: usize = 1024;

#[cfg(test)]
mod tests {
    use postern_core::Blame;

    use super::*;

    #[track_caller]
    fn check(details: &'static str, expected: &str) {
        let error = Error::new(Kind::Unauthenticated, Blame::Client, "no").with_details(details);
        let response = failure(&error);
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], expected);
    }

    #[test]
    fn a_challenge_of_the_details_is_what_401_asks_for() {
        check(
            "{\"challenge\":\"Bearer error=\\\"x\\\"\"}",
            "Bearer error=\"x\"",
        );
        check("{\"challenge\":\"a\\nb\"}", "Bearer");
        check("{\"challenge\":5}", "Bearer");
        check("{}", "Bearer");
    }
}
