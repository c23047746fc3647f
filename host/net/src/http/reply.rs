//! A `Reply` or an `Error` as an HTTP response, and back.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use postern_core::{Body, BodyStream, Error, Headers, HttpStatus, Kind, Reply, json};

use super::{
    ERROR_HEADER, JSON, NDJSON,
    fields::{self, set},
    lines,
};
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
    Octets(BodyStream, ConnectionBytes),
    Trailers(HeaderMap),
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

    fn done(&mut self) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.content = Content::Done;
        self.held = None;
        Poll::Ready(None)
    }

    /// What is left once the stream is over.
    fn end(&mut self, trailers: Option<Headers>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match trailers.map(|trailers| fields::to_map(&trailers)) {
            Some(trailers) if !trailers.is_empty() => {
                self.content = Content::Done;
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            Some(_) | None => self.done(),
        }
    }
}

impl http_body::Body for ReplyBody {
    type Data = Bytes;
    /// Ends the response before its end, so that nobody takes what was sent for the whole.
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = match &mut self.content {
            Content::Whole(octets) => {
                let octets = std::mem::take(octets);
                self.content = Content::Done;
                Frame::data(octets)
            }
            Content::Lines(stream, bytes) => match ready!(poll_line(stream, bytes, cx)) {
                Some(Ok(line)) => Frame::data(line),
                Some(Err(error)) => {
                    let mut trailers = HeaderMap::with_capacity(1);
                    trailers.insert(ERROR_HEADER, HeaderValue::from_static(error.kind.name()));
                    self.content = Content::Trailers(trailers);
                    Frame::data(lines::to_line(&error.to_json()))
                }
                None => {
                    let trailers = stream.trailers();
                    return self.end(trailers);
                }
            },
            Content::Octets(stream, bytes) => match ready!(poll_piece(stream, bytes, cx)) {
                Some(Ok(piece)) => Frame::data(piece),
                Some(Err(error)) => {
                    self.content = Content::Done;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    let trailers = stream.trailers();
                    return self.end(trailers);
                }
            },
            Content::Trailers(trailers) => {
                let trailers = std::mem::take(trailers);
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
            Content::Lines(..) | Content::Octets(..) | Content::Trailers(_) => SizeHint::default(),
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
    Poll::Ready(message.map(|message| attach(lines::to_line(&message?), bytes)))
}

/// As `poll_line`, of octets as they are.
fn poll_piece(
    stream: &mut BodyStream,
    bytes: &ConnectionBytes,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, Error>>> {
    let piece = ready!(Pin::new(stream).poll_next(cx));
    Poll::Ready(piece.map(|piece| attach(piece?, bytes)))
}

fn attach(octets: Bytes, bytes: &ConnectionBytes) -> Result<Bytes, Error> {
    if octets.len() < ATTACHED_BYTES_MIN {
        return Ok(octets);
    }
    Ok(bytes.hold(octets.len())?.attach_to(octets))
}

/// A handler's reply; as lines when it is of messages or when the client asked for lines. A reply for
/// which the connection has no room is dropped, and the refusal sent instead.
pub(super) fn success(
    reply: Reply,
    wants_lines: bool,
    bytes: &ConnectionBytes,
) -> Response<ReplyBody> {
    let mut headers = fields::to_map(&reply.headers);
    let status = reply.status.map_or(200, HttpStatus::number);
    let content = match reply.body {
        _ if reply.status.is_some_and(HttpStatus::has_no_content) => Content::Done,
        Body::Empty => Content::Done,
        Body::One(octets) if octets.is_empty() => Content::Done,
        Body::One(octets) if wants_lines => Content::Whole(lines::to_line(&octets)),
        Body::One(octets) => Content::Whole(octets),
        Body::Messages(stream) => Content::Lines(stream, bytes.clone()),
        Body::Octets(stream) => Content::Octets(stream, bytes.clone()),
    };
    let (content, held) = match hold(content, bytes) {
        Ok(held) => held,
        Err(error) => return failure(&error.into()),
    };
    match &content {
        Content::Lines(..) => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON));
            promise(&mut headers, ERROR_HEADER);
        }
        Content::Whole(_) if wants_lines => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON));
        }
        Content::Whole(_) => {
            let kind = headers.entry(header::CONTENT_TYPE);
            kind.or_insert(HeaderValue::from_static(JSON));
        }
        Content::Done if wants_lines && status != 204 && status != 304 => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON));
        }
        Content::Done | Content::Octets(..) | Content::Trailers(_) => {}
    }
    let mut response = Response::new(ReplyBody { content, held });
    // `HttpStatus` has numbers that are all legal statuses.
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    *response.headers_mut() = headers;
    response
}

/// Says that trailer `name` may follow: over HTTP/1.1 hyper sends those that are named.
fn promise(headers: &mut HeaderMap, name: &'static str) {
    let named = headers.get(header::TRAILER).map(HeaderValue::as_bytes);
    let list = named.map(|named| [named, b", ", name.as_bytes()].concat());
    // Two legal values and a comma are a legal value.
    let value = list.and_then(|list| HeaderValue::from_bytes(&list).ok());
    headers.insert(
        header::TRAILER,
        value.unwrap_or_else(|| HeaderValue::from_static(name)),
    );
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

    fn answered(status: u16, body: Body) -> Response<ReplyBody> {
        let reply = Reply {
            status: HttpStatus::new(status).ok(),
            ..Reply::new(Headers::new(), body)
        };
        let bytes = std::sync::Arc::new(crate::ByteBudget::unlimited()).connection(1 << 20);
        success(reply, false, &bytes)
    }

    #[test]
    fn a_reply_has_the_status_that_its_handler_sets() {
        let response = answered(201, Body::One("{}".into()));
        assert_eq!(response.status(), 201);
        assert_eq!(response.headers()[header::CONTENT_TYPE], JSON);
    }

    #[test]
    fn a_status_without_content_has_none() {
        for status in [204, 304] {
            let response = answered(status, Body::One("{}".into()));
            assert_eq!(response.status(), status);
            assert!(http_body::Body::is_end_stream(response.body()));
            assert!(response.headers().is_empty(), "{:?}", response.headers());
        }
    }

    #[tokio::test]
    async fn octets_that_fail_have_no_end() {
        use http_body_util::BodyExt as _;
        let pieces = [Ok(Bytes::from("a")), Err(Error::internal("broken"))];
        let stream = BodyStream::new(futures_util::stream::iter(pieces));
        let mut body = answered(200, Body::Octets(stream)).into_body();
        let piece = body.frame().await.expect("a piece").expect("whole");
        assert_eq!(piece.into_data().expect("data"), "a");
        let error = body
            .frame()
            .await
            .expect("an end")
            .expect_err("an early one");
        assert_eq!(error.message, "broken");
        assert!(body.frame().await.is_none());
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
