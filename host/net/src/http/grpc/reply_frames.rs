//! The messages of a reply in frames, and what ends them. gRPC, gRPC-Web and the streams of Connect share
//! this; they differ in how the end is written.
//!
//! ```text
//! message ─▶ [coding] ─▶ flags 0 or 1, length, message
//! end, or an error ────▶ ReplyEnd ─▶ end of the body
//! ```
//! An error is no end before the end: the body is whole and says it.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream as _;
use http_body::{Body as HttpBody, Frame};
use postern_core::{Blame, Body, BodyStream, Error, Headers, Kind};

use super::{
    coding::Packing,
    frame::{COMPRESSED, MessageFrameError, frame, frame_head},
};
use crate::{
    ConnectionBytes,
    http::{
        compression::Coding,
        config::{GrpcConfig, REPLY_BYTES_KEY},
        sized::attach,
    },
};

/// How a protocol ends the messages of a reply.
pub(in crate::http) trait ReplyEnd: Send + Unpin + 'static {
    /// Of a call that went well; `trailers` are those of its handler.
    fn success(&self, trailers: Option<&Headers>) -> Frame<Bytes>;

    fn failure(&self, error: &Error) -> Frame<Bytes>;
}

/// A reply on its way out.
pub(in crate::http) struct ReplyFrames<E> {
    source: Source,
    packing: Option<Packing>,
    /// A long message, whose head was given.
    rest: Bytes,
    form: FrameForm,
    end: E,
}

/// How the frames of a reply are made.
pub(in crate::http) struct FrameForm {
    /// Of the messages that are long enough.
    pub(in crate::http) coding: Option<Coding>,
    pub(in crate::http) packed_bytes_min: usize,
    pub(in crate::http) message_bytes_max: usize,
    pub(in crate::http) bytes: ConnectionBytes,
}

enum Source {
    One(Bytes),
    Stream(BodyStream),
    /// All messages are given.
    End(Frame<Bytes>),
    Over,
}

impl FrameForm {
    /// As the listener says.
    pub(in crate::http) fn of(
        config: &GrpcConfig,
        coding: Option<Coding>,
        bytes: &ConnectionBytes,
    ) -> Self {
        Self {
            coding,
            packed_bytes_min: config.packed_bytes_min,
            message_bytes_max: config.reply_bytes_max,
            bytes: bytes.clone(),
        }
    }
}

impl<E: ReplyEnd> ReplyFrames<E> {
    /// Those of `body`; of one that is empty, a message of no octets.
    pub(in crate::http) fn new(body: Body, form: FrameForm, end: E) -> Self {
        let source = match body {
            Body::Empty => Source::One(Bytes::new()),
            Body::One(message) => Source::One(message),
            Body::Messages(stream) => Source::Stream(stream),
            body @ Body::Octets(_) => Source::Stream(body.into_messages(form.message_bytes_max)),
        };
        Self {
            source,
            packing: None,
            rest: Bytes::new(),
            form,
            end,
        }
    }

    /// The next piece; `None` where nothing is to be given of what was polled.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, Error>> {
        if let Some(packing) = &mut self.packing {
            let message = ready!(packing.poll(cx))?;
            self.packing = None;
            return Poll::Ready(self.write(COMPRESSED, message).map(Some));
        }
        match mem::replace(&mut self.source, Source::Over) {
            Source::One(message) => {
                self.source = Source::End(self.end.success(None));
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
                        let trailers = stream.trailers();
                        let end = self.end.success(trailers.as_ref());
                        Poll::Ready(Ok(Some(end)))
                    }
                }
            }
            Source::End(end) => Poll::Ready(Ok(Some(end))),
            Source::Over => Poll::Ready(Ok(None)),
        }
    }

    /// Gives a message, or begins to pack it.
    fn begin(&mut self, message: Bytes) -> Result<Option<Frame<Bytes>>, Error> {
        let FrameForm {
            coding,
            packed_bytes_min,
            bytes,
            ..
        } = &self.form;
        let coding = coding.filter(|_| message.len() >= *packed_bytes_min);
        let packing = coding.map(|coding| Packing::new(message.clone(), coding, bytes));
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
        let FrameForm {
            message_bytes_max: limit,
            bytes,
            ..
        } = &self.form;
        let refused = |error: MessageFrameError| error.into_error(REPLY_BYTES_KEY, Blame::Upstream);
        if message.len() < JOINED_BYTES_MAX {
            let octets = frame(flags, &message, *limit).map_err(refused)?;
            return Ok(Frame::data(attach(octets, bytes)?));
        }
        let head = frame_head(flags, message.len(), *limit).map_err(refused)?;
        self.rest = attach(message, bytes)?;
        Ok(Frame::data(Bytes::copy_from_slice(&head)))
    }

    /// The end of a reply that fails. What was a message of octets that is too long is refused as any other.
    fn fail(&mut self, error: Error) -> Frame<Bytes> {
        let error = match error.is_too_large && error.kind == Kind::InvalidArgument {
            true => Error {
                kind: Kind::ResourceExhausted,
                message: format!("{} ({REPLY_BYTES_KEY})", error.message).into(),
                ..error
            },
            false => error,
        };
        self.packing = None;
        // What works for the reply is not to go on for nobody.
        self.source = Source::Over;
        self.end.failure(&error)
    }

    const fn is_over(&self) -> bool {
        self.packing.is_none() && matches!(self.source, Source::Over)
    }
}

impl<E: ReplyEnd> HttpBody for ReplyFrames<E> {
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
                Err(error) => return Poll::Ready(Some(Ok(this.fail(error)))),
            }
        }
    }
}

/// Messages from which on a head goes in a piece of its own, so that they are not copied.
const JOINED_BYTES_MAX: usize = 16 * 1024;
