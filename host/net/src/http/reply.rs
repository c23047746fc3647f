//! A `Reply` or an `Error` as an HTTP response, and back.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::{Body as _, Frame, SizeHint};
use postern_core::{Body, BodyStream, Error, Headers, HttpStatus, Kind, Reply, json};

use super::{
    ERROR_HEADER, JSON,
    accept::ReplyForm,
    compression::{self, Asked, Coded, Coding, CompressionConfig, encoder_bytes},
    fields::{self, set},
    message_form::{MessageForm, MessageWriter},
    problem::{ErrorForm, ErrorShape},
    sized::{ATTACHED_BYTES_MIN, SizedOctets, attach},
};
use crate::{ByteBudgetError, ConnectionBytes, HeldBytes};

/// The body of a response.
pub(super) struct ReplyBody {
    content: Content,
    /// Of a whole one that is too short to carry it.
    held: Option<HeldBytes>,
}

/// How the client is to get a reply.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ReplyTo {
    pub(super) form: ReplyForm,
    /// It asked by `HEAD`, for the fields alone.
    pub(super) is_head: bool,
    /// How an error is written that ends a stream.
    pub(super) errors: ErrorShape,
}

enum Content {
    Whole(Bytes),
    Messages(BodyStream, ConnectionBytes, MessageWriter),
    Octets(BodyStream, ConnectionBytes),
    Sized(Box<SizedOctets>),
    Trailers(Box<HeaderMap>),
    /// Of a protocol that frames its messages itself.
    Framed(Pin<Box<dyn http_body::Body<Data = Bytes, Error = Error> + Send>>),
    /// Another one, compressed.
    Coded(Box<Coded<ReplyBody>>),
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

    /// What `body` writes, trailers and all.
    pub(super) fn framed(
        body: impl http_body::Body<Data = Bytes, Error = Error> + Send + 'static,
    ) -> Self {
        Self {
            content: Content::Framed(Box::pin(body)),
            held: None,
        }
    }

    /// The same body in `coding`; `held` is for the coder.
    pub(super) fn coded(self, coding: Coding, held: HeldBytes) -> Self {
        Self {
            content: Content::Coded(Box::new(Coded::compress(self, coding, held))),
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
            Content::Messages(stream, bytes, writer) => {
                match ready!(writer.poll(stream, bytes, cx)) {
                    Some(Ok(message)) => Frame::data(message),
                    Some(Err(error)) => {
                        let mut trailers = HeaderMap::with_capacity(1);
                        trailers.insert(ERROR_HEADER, HeaderValue::from_static(error.kind.name()));
                        let told = writer.write_error(&error);
                        self.content = Content::Trailers(Box::new(trailers));
                        Frame::data(told)
                    }
                    None => {
                        let trailers = stream.trailers();
                        return self.end(trailers);
                    }
                }
            }
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
            Content::Sized(octets) => match ready!(octets.poll(cx)) {
                Some(Ok(piece)) => Frame::data(piece),
                Some(Err(error)) => {
                    self.content = Content::Done;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    let trailers = octets.stream.trailers();
                    return self.end(trailers);
                }
            },
            Content::Trailers(trailers) => {
                let trailers = std::mem::take(&mut **trailers);
                self.content = Content::Done;
                Frame::trailers(trailers)
            }
            Content::Framed(body) => return body.as_mut().poll_frame(cx),
            Content::Coded(coded) => match ready!(Pin::new(&mut **coded).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    self.content = Content::Done;
                    return Poll::Ready(Some(Err(error.into_reply_error())));
                }
                None => return self.done(),
            },
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
            Content::Sized(octets) => SizeHint::with_exact(octets.unsent()),
            Content::Messages(..)
            | Content::Octets(..)
            | Content::Trailers(_)
            | Content::Framed(_)
            | Content::Coded(_) => SizeHint::default(),
        }
    }
}

/// The next piece of a stream of octets, which counts as held until the client has taken it.
fn poll_piece(
    stream: &mut BodyStream,
    bytes: &ConnectionBytes,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, Error>>> {
    let piece = ready!(Pin::new(stream).poll_next(cx));
    Poll::Ready(piece.map(|piece| attach(piece?, bytes)))
}

/// A handler's reply, in the form that the client asked for where it is of messages or one message.
///
/// # Errors
/// When the connection has no room for it.
pub(super) fn success(
    reply: Reply,
    to: ReplyTo,
    bytes: &ConnectionBytes,
) -> Result<Response<ReplyBody>, Error> {
    let mut headers = fields::to_map(&reply.headers);
    let length = length_of(&reply);
    let status = reply.status.map_or(200, HttpStatus::number);
    let wanted = match to.form {
        ReplyForm::Usual => None,
        ReplyForm::Lines => Some(MessageForm::Lines),
        ReplyForm::Events => Some(MessageForm::Events),
        ReplyForm::Array => Some(MessageForm::Array),
    };
    let content = match (reply.body, wanted) {
        _ if reply.status.is_some_and(HttpStatus::has_no_content) => Content::Done,
        (Body::Empty, _) => Content::Done,
        (Body::One(octets), _) if octets.is_empty() => Content::Done,
        (Body::One(octets), Some(form)) => Content::Whole(form.write(&octets)),
        (Body::One(octets), None) => Content::Whole(octets),
        (Body::Messages(stream), form) => {
            let form = form.unwrap_or(MessageForm::Lines);
            Content::Messages(stream, bytes.clone(), MessageWriter::new(form, to.errors))
        }
        (Body::Octets(stream), _) => match length {
            Some(length) => {
                let octets = SizedOctets::new(stream, bytes.clone(), length);
                Content::Sized(Box::new(octets))
            }
            None => Content::Octets(stream, bytes.clone()),
        },
    };
    describe(&content, wanted, status, &mut headers);
    let known = match (&content, to.is_head) {
        (Content::Whole(octets), true) => Some(octets.len() as u64),
        (Content::Done | Content::Sized(_), true) => length,
        // HTTP/2 ends a stream without saying so; a reply that says it goes out as it is.
        (Content::Done, false) => {
            length.filter(|length| *length == 0 && !matches!(status, 204 | 304))
        }
        (Content::Whole(_) | Content::Sized(_), false)
        | (Content::Messages(..) | Content::Octets(..), _)
        | (Content::Trailers(_) | Content::Framed(_) | Content::Coded(_), _) => None,
    };
    if let Some(length) = known {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let (content, held) = match to.is_head {
        false => hold(content, bytes)?,
        true => (Content::Done, None),
    };
    let mut response = Response::new(ReplyBody { content, held });
    // `HttpStatus` has numbers that are all legal statuses.
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    *response.headers_mut() = headers;
    Ok(response)
}

/// The response as the client is sent it. As it is where the connection has no room for a coder.
pub(super) fn compress(
    response: Response<ReplyBody>,
    Asked(coding): Asked,
    config: &CompressionConfig,
    bytes: &ConnectionBytes,
) -> Response<ReplyBody> {
    let (mut head, body) = response.into_parts();
    if !compression::is_codable(&head, body.size_hint().exact(), config.bytes_min) {
        return Response::from_parts(head, body);
    }
    compression::vary(&mut head.headers);
    let Some(coding) = coding.filter(|_| !body.is_end_stream()) else {
        return Response::from_parts(head, body);
    };
    let Ok(held) = bytes.hold(encoder_bytes(coding)) else {
        return Response::from_parts(head, body);
    };
    compression::describe(&mut head.headers, coding);
    Response::from_parts(head, body.coded(coding, held))
}

/// How long a reply says that its octets are. Of one without content, how long they would be.
fn length_of(reply: &Reply) -> Option<u64> {
    reply.headers.get_str("content-length")?.trim().parse().ok()
}

/// Says what the content is, where the reply does not.
fn describe(content: &Content, wanted: Option<MessageForm>, status: u16, headers: &mut HeaderMap) {
    let form = match content {
        Content::Messages(_, _, writer) => {
            promise(headers, ERROR_HEADER);
            writer.form()
        }
        Content::Whole(_) | Content::Done if wanted.is_some() => match wanted {
            Some(form) if status != 204 && status != 304 => form,
            Some(_) | None => return,
        },
        Content::Whole(_) => {
            let kind = headers.entry(header::CONTENT_TYPE);
            kind.or_insert(HeaderValue::from_static(JSON));
            return;
        }
        Content::Done
        | Content::Octets(..)
        | Content::Sized(_)
        | Content::Trailers(_)
        | Content::Framed(_)
        | Content::Coded(_) => return,
    };
    let media_type = HeaderValue::from_static(form.media_type());
    headers.insert(header::CONTENT_TYPE, media_type);
    if form == MessageForm::Events {
        let cached = headers.entry(header::CACHE_CONTROL);
        cached.or_insert(HeaderValue::from_static("no-store"));
    }
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

/// An error under the kind's status, or one of HTTP's own (404, 405, 408, 413, 415, 422, 431).
pub(super) fn refusal(
    status: StatusCode,
    error: &Error,
    form: ErrorForm<'_>,
) -> Response<ReplyBody> {
    let (body, media_type) = form.write(status, error);
    let mut response = Response::new(ReplyBody::whole(body));
    *response.status_mut() = status;
    *response.headers_mut() = fields::of_failure(error.headers.as_deref());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
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

/// What a path serves.
pub(super) fn options(allow: HeaderValue) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::whole(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::ALLOW, allow);
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

#[cfg(test)]
mod tests;
