//! A `Reply` or an `Error` as a response of gRPC: a head with the initial metadata, messages in frames,
//! and trailers with the status. A call that failed before anything was sent has its status in the head,
//! which is all there is ("Trailers-Only").

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::{Body as HttpBody, Frame};
use postern_core::{Blame, Body, BodyStream, Error, HttpStatus, Kind, Reply};

use super::{
    call::{ACCEPT_ENCODING, ENCODING},
    coding::{self, ACCEPTED, Accepted, Packing},
    content_type::{Framing, GrpcContent},
    frame::{COMPRESSED, FrameError, frame, frame_head},
    metadata,
    status::{self, StatusDetails},
    web::{self, WebReply},
};
use crate::{
    ConnectionBytes,
    http::{
        compression::Coding,
        config::{GrpcConfig, REPLY_BYTES_KEY},
        reply::{ReplyBody, read_error},
        sized::attach,
    },
};

/// How a client is to get a reply.
pub(in crate::http) struct GrpcReply<'a> {
    pub(in crate::http) content: &'a GrpcContent,
    pub(in crate::http) config: &'a GrpcConfig,
    pub(in crate::http) details: &'a Arc<dyn StatusDetails>,
    pub(in crate::http) bytes: &'a ConnectionBytes,
    /// Of the messages of the request.
    pub(in crate::http) coding: Option<Coding>,
    pub(in crate::http) accepted: Accepted,
}

/// Messages of a reply in frames, and the trailers behind them.
struct ReplyFrames {
    source: Source,
    packing: Option<Packing>,
    /// A long message, whose head was given.
    rest: Bytes,
    /// Of the messages that are long enough.
    coding: Option<Coding>,
    packed_bytes_min: usize,
    message_bytes_max: usize,
    bytes: ConnectionBytes,
    details: Arc<dyn StatusDetails>,
}

enum Source {
    One(Bytes),
    Stream(BodyStream),
    /// All messages are given.
    Trailers(HeaderMap),
    Over,
}

impl GrpcReply<'_> {
    /// The response to a call.
    pub(in crate::http) async fn respond(
        &self,
        outcome: Result<Reply, Error>,
    ) -> Response<ReplyBody> {
        let reply = match outcome {
            Ok(reply) => match reply.status.map(HttpStatus::number) {
                Some(number @ 400..) => Err(error_of_status(number, reply).await),
                Some(_) | None => Ok(reply),
            },
            Err(error) => Err(error),
        };
        match reply {
            Ok(reply) => self.success(reply),
            Err(error) => refuse(self.content, &error, &**self.details),
        }
    }

    fn success(&self, reply: Reply) -> Response<ReplyBody> {
        let wanted = reply.headers.get(ENCODING.as_bytes());
        let wanted = wanted.map(|name| str::from_utf8(&name).ok().and_then(Coding::from_name));
        let offered = &self.config.encodings;
        let coding = coding::reply_coding(wanted, self.coding, offered, self.accepted);
        let mut headers = metadata::to_map(&reply.headers);
        if let Some(coding) = coding {
            headers.insert(ENCODING, HeaderValue::from_static(coding.name()));
        }
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(ACCEPTED));
        let source = match reply.body {
            Body::Empty => Source::One(Bytes::new()),
            Body::One(message) => Source::One(message),
            Body::Messages(stream) => Source::Stream(stream),
            body @ Body::Octets(_) => {
                Source::Stream(body.into_messages(self.config.reply_bytes_max))
            }
        };
        let mut frames = self.frames(source, coding);
        if wanted.is_some() {
            // Whoever names a coding means every message.
            frames.packed_bytes_min = 0;
        }
        self.response(headers, frames)
    }

    fn frames(&self, source: Source, coding: Option<Coding>) -> ReplyFrames {
        ReplyFrames {
            source,
            packing: None,
            rest: Bytes::new(),
            coding,
            packed_bytes_min: self.config.packed_bytes_min,
            message_bytes_max: self.config.reply_bytes_max,
            bytes: self.bytes.clone(),
            details: Arc::clone(self.details),
        }
    }

    fn response(&self, mut headers: HeaderMap, frames: ReplyFrames) -> Response<ReplyBody> {
        headers.insert(header::CONTENT_TYPE, self.content.of_reply());
        let body = match self.content.reply {
            Framing::Http2 => ReplyBody::framed(frames),
            Framing::Web => ReplyBody::framed(WebReply::new(frames, false)),
            Framing::WebText => ReplyBody::framed(WebReply::new(frames, true)),
        };
        let mut response = Response::new(body);
        *response.headers_mut() = headers;
        response
    }
}

/// The response to a call that failed before anything of its reply was sent, or was refused.
pub(in crate::http) fn refuse(
    content: &GrpcContent,
    error: &Error,
    details: &dyn StatusDetails,
) -> Response<ReplyBody> {
    let mut trailers = status::failed(error, details);
    if error.kind == Kind::Unimplemented {
        trailers.insert(ACCEPT_ENCODING, HeaderValue::from_static(ACCEPTED));
    }
    let (mut headers, body) = match content.reply {
        Framing::Http2 => (trailers, Bytes::new()),
        // A page may not be shown the fields of a head.
        Framing::Web => (HeaderMap::new(), web::last_frame(&trailers, false)),
        Framing::WebText => (HeaderMap::new(), web::last_frame(&trailers, true)),
    };
    headers.insert(header::CONTENT_TYPE, content.of_reply());
    let mut response = Response::new(ReplyBody::whole(body));
    *response.headers_mut() = headers;
    response
}

/// The failure that a reply is whose handler has set a status of HTTP.
async fn error_of_status(number: u16, reply: Reply) -> Error {
    let read = reply.body.into_one(ERROR_BYTES_MAX).await;
    let body = read.unwrap_or_default();
    let status = http::StatusCode::from_u16(number).ok();
    read_error(Kind::from_http(number), status, &body)
}

impl ReplyFrames {
    /// The next piece; `None` where nothing is to be given of what was polled.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, Error>> {
        if let Some(packing) = &mut self.packing {
            let message = ready!(packing.poll(cx))?;
            self.packing = None;
            return Poll::Ready(self.write(COMPRESSED, message).map(Some));
        }
        match mem::replace(&mut self.source, Source::Over) {
            Source::One(message) => {
                self.source = Source::Trailers(status::ok());
                Poll::Ready(self.begin(message))
            }
            Source::Stream(mut stream) => {
                let next = Pin::new(&mut stream).poll_next(cx);
                match next {
                    Poll::Pending => {
                        self.source = Source::Stream(stream);
                        Poll::Pending
                    }
                    Poll::Ready(Some(message)) => {
                        self.source = Source::Stream(stream);
                        Poll::Ready(self.begin(message?))
                    }
                    Poll::Ready(None) => {
                        let mut trailers = status::ok();
                        if let Some(of_handler) = stream.trailers() {
                            metadata::append(&mut trailers, &of_handler);
                        }
                        self.source = Source::Trailers(trailers);
                        Poll::Ready(Ok(None))
                    }
                }
            }
            Source::Trailers(trailers) => Poll::Ready(Ok(Some(Frame::trailers(trailers)))),
            Source::Over => Poll::Ready(Ok(None)),
        }
    }

    /// Gives a message, or begins to pack it.
    fn begin(&mut self, message: Bytes) -> Result<Option<Frame<Bytes>>, Error> {
        let coding = self
            .coding
            .filter(|_| message.len() >= self.packed_bytes_min);
        let packing = coding.map(|coding| Packing::new(message.clone(), coding, &self.bytes));
        match packing {
            Some(Ok(packing)) => {
                self.packing = Some(packing);
                Ok(None)
            }
            // Where the connection has no room for a coder, a message goes as it is.
            Some(Err(_)) | None => self.write(0, message).map(Some),
        }
    }

    fn write(&mut self, flags: u8, message: Bytes) -> Result<Frame<Bytes>, Error> {
        let limit = self.message_bytes_max;
        let refused = |error: FrameError| error.into_error(REPLY_BYTES_KEY, Blame::Upstream);
        if message.len() < JOINED_BYTES_MAX {
            let octets = frame(flags, &message, limit).map_err(refused)?;
            return Ok(Frame::data(attach(octets, &self.bytes)?));
        }
        let head = frame_head(flags, message.len(), limit).map_err(refused)?;
        self.rest = attach(message, &self.bytes)?;
        Ok(Frame::data(Bytes::copy_from_slice(&head)))
    }

    /// What was a message of octets that is too long is refused as any other.
    fn fail(&mut self, error: Error) {
        let error = match error.is_too_large && error.kind == Kind::InvalidArgument {
            true => Error {
                kind: Kind::ResourceExhausted,
                message: format!("{} ({REPLY_BYTES_KEY})", error.message).into(),
                ..error
            },
            false => error,
        };
        self.packing = None;
        self.source = Source::Trailers(status::failed(&error, &*self.details));
    }
}

impl HttpBody for ReplyFrames {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        loop {
            if !this.rest.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(mem::take(&mut this.rest)))));
            }
            match ready!(this.poll_piece(cx)) {
                Ok(Some(piece)) => return Poll::Ready(Some(Ok(piece))),
                Ok(None) if this.is_over() => return Poll::Ready(None),
                Ok(None) => {}
                Err(error) => this.fail(error),
            }
        }
    }
}

impl ReplyFrames {
    const fn is_over(&self) -> bool {
        self.packing.is_none() && matches!(self.source, Source::Over)
    }
}

/// Messages from which on a head goes in a piece of its own, so that they are not copied.
const JOINED_BYTES_MAX: usize = 16 * 1024;
/// Longest body of a reply with a failing status that is read.
const ERROR_BYTES_MAX: usize = 64 * 1024;
