//! The answer of an instance as a reply: initial metadata, messages as they come, trailing metadata. The
//! place on the connection is given back at its end; who drops it before resets the stream with CANCEL.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use h2::RecvStream;
use http::{HeaderMap, Response, StatusCode};
use postern_core::{
    Blame, Body, BodySource, BodyStream, Error, Headers, Reply, message_codec::Direction,
    service::CallKind,
};

use super::{
    connection::Lease,
    outcome::{self, StreamFailure, broken},
    sending::Sender,
};
use crate::{
    ConnectionBytes,
    http::{
        Coding,
        grpc::{
            StatusDetails,
            coding::{self, UnpackLimits, Unpacking},
            frame::{COMPRESSED, FrameLimits, FrameReader},
            metadata,
        },
    },
};

/// An answer that has begun.
pub(super) struct Answer {
    pub(super) response: Response<RecvStream>,
    pub(super) flight: Flight,
}

/// What a call holds until its reply has ended.
pub(super) struct Flight {
    pub(super) sender: Sender,
    pub(super) _lease: Lease,
}

/// How the messages of replies are read.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) message_bytes_max: usize,
    pub(super) ratio_max: u64,
    pub(super) details: Arc<dyn StatusDetails>,
    /// What decoders take is counted here.
    pub(super) bytes: ConnectionBytes,
}

/// The messages of a reply.
struct ReplyMessages {
    body: RecvStream,
    reader: FrameReader,
    coding: Option<Coding>,
    unpacking: Option<Unpacking>,
    reading: Reading,
    /// Status of the head, which counts where there are no trailers.
    http: StatusCode,
    /// Read before they were asked for.
    ahead: VecDeque<Bytes>,
    /// What it ended with, until that is told.
    error: Option<Error>,
    trailers: Option<Headers>,
    /// `None` once it has ended.
    flight: Option<Flight>,
}

/// The reply that `answer` is, to a call of a method of `kind`.
///
/// # Errors
/// How the call failed, as far as that is known without waiting for a message of a stream.
pub(super) async fn reply(
    answer: Answer,
    kind: Option<CallKind>,
    reading: &Reading,
) -> Result<Reply, Error> {
    let Answer { response, flight } = answer;
    flight.sender.on_reply();
    let (head, body) = response.into_parts();
    if body.is_end_stream() {
        return without_messages(&head.headers, head.status, kind, reading);
    }
    let content_type = outcome::content_type(&head.headers, head.status)?;
    let coding = coding::coding_of(head.headers.get("grpc-encoding"));
    // "a client receiving an encoding that it does not know: INTERNAL" (compression.md).
    let coding = coding.map_err(|error| broken(error.to_string()))?;
    let headers = metadata::of_map(&head.headers, Some(content_type));
    let headers = headers.map_err(|error| broken(error.to_string()))?;
    let messages = ReplyMessages {
        body,
        reader: FrameReader::new(FrameLimits {
            message_bytes_max: reading.message_bytes_max,
            flags: COMPRESSED,
        }),
        coding,
        unpacking: None,
        reading: reading.clone(),
        http: head.status,
        ahead: VecDeque::new(),
        error: None,
        trailers: None,
        flight: Some(flight),
    };
    let is_one = kind.is_some_and(|kind| !Direction::Response.is_streamed(kind));
    let body = if is_one {
        messages.collect().await?
    } else {
        messages.look_ahead().await?
    };
    Ok(Reply::new(headers, body))
}

/// A reply of one frame of metadata: a failure as a rule, or a stream of no messages.
fn without_messages(
    head: &HeaderMap,
    http: StatusCode,
    kind: Option<CallKind>,
    reading: &Reading,
) -> Result<Reply, Error> {
    if !head.contains_key("grpc-status") {
        outcome::content_type(head, http)?;
    }
    let metadata = outcome::of_trailers(head, http, &*reading.details)?;
    if kind.is_some_and(|kind| !Direction::Response.is_streamed(kind)) {
        return Err(no_message());
    }
    let empty = Body::Messages(BodyStream::trailing(metadata));
    let content_type = outcome::content_type(head, http)?;
    let headers = metadata::of_map(&HeaderMap::new(), Some(content_type));
    let headers = headers.map_err(|error| broken(error.to_string()))?;
    Ok(Reply::new(headers, empty))
}

fn no_message() -> Error {
    broken("the instance answers without a message, where there is to be one".to_owned())
}

impl ReplyMessages {
    /// The one message of a method that answers with one.
    async fn collect(mut self) -> Result<Body, Error> {
        let message = std::future::poll_fn(|cx| self.poll_message(cx)).await?;
        let message = message.ok_or_else(no_message)?;
        let second = std::future::poll_fn(|cx| self.poll_message(cx)).await?;
        if second.is_some() {
            let message = "the instance answers with several messages, where there is to be one";
            return Err(broken(message.to_owned()));
        }
        Ok(Self::one(message, self.trailers.take()))
    }

    /// The body of a method of which nobody knows how many messages it answers with. What has come of it
    /// is read without waiting: most replies are one message that is followed by its trailers.
    async fn look_ahead(mut self) -> Result<Body, Error> {
        let looked = std::future::poll_fn(|cx| Poll::Ready(self.poll_ahead(cx))).await;
        match looked {
            Poll::Ready(Ok(())) if self.ahead.len() == 1 => {
                let message = self.ahead.pop_front().unwrap_or_default();
                Ok(Self::one(message, self.trailers.take()))
            }
            // Whoever reads the stream is told after what came before.
            Poll::Ready(Err(error)) if !self.ahead.is_empty() => {
                self.error = Some(error);
                Ok(Body::Messages(BodyStream::from_source(self)))
            }
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(())) | Poll::Pending => {
                Ok(Body::Messages(BodyStream::from_source(self)))
            }
        }
    }

    /// Ready when all of it has been read.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while self.ahead.len() < AHEAD_MAX {
            match ready!(self.poll_message(cx))? {
                Some(message) => self.ahead.push_back(message),
                None => return Poll::Ready(Ok(())),
            }
        }
        Poll::Pending
    }

    fn one(message: Bytes, trailers: Option<Headers>) -> Body {
        match trailers {
            Some(trailers) => Body::Messages(BodyStream::once(message, Some(trailers))),
            None => Body::One(message),
        }
    }

    /// The next message that was not read ahead; `None` after the last.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        if self.flight.is_none() {
            return Poll::Ready(Ok(None));
        }
        let polled = ready!(self.poll_frames(cx));
        if !matches!(polled, Ok(Some(_))) {
            let flight = self.flight.take();
            // What the caller did wrong is why the stream was reset.
            let fault = flight.and_then(|flight| flight.sender.take_fault());
            if let (Some(fault), Err(_)) = (fault, &polled) {
                return Poll::Ready(Err(fault));
            }
        }
        Poll::Ready(polled)
    }

    fn poll_frames(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        loop {
            if let Some(unpacking) = &mut self.unpacking {
                let message = ready!(unpacking.poll(cx));
                self.unpacking = None;
                return Poll::Ready(message.map(Some));
            }
            let frame = self.reader.next_frame();
            match frame.map_err(|error| error.into_error(KEY, Blame::Upstream))? {
                Some(frame) if frame.flags & COMPRESSED == 0 => {
                    return Poll::Ready(Ok(Some(frame.message)));
                }
                Some(frame) => {
                    self.unpacking = Some(self.unpack(frame.message)?);
                    continue;
                }
                None => {}
            }
            match ready!(self.body.poll_data(cx)) {
                Some(Ok(octets)) => {
                    // An error says that the stream has ended, which is told by the next poll.
                    let _ = self.body.flow_control().release_capacity(octets.len());
                    self.reader.push(octets);
                }
                Some(Err(error)) => return Poll::Ready(Err(StreamFailure::of(error).error)),
                None => {
                    let ended = ready!(self.poll_end(cx));
                    return Poll::Ready(ended.map(|()| None));
                }
            }
        }
    }

    fn unpack(&self, message: Bytes) -> Result<Unpacking, Error> {
        let Some(coding) = self.coding else {
            let message = "the instance sends a compressed message and names no grpc-encoding";
            return Err(broken(message.to_owned()));
        };
        let limits = UnpackLimits {
            message_bytes_max: self.reading.message_bytes_max,
            ratio_max: self.reading.ratio_max,
            key: KEY,
            blame: Blame::Upstream,
        };
        Unpacking::new(message, coding, limits, &self.reading.bytes).map_err(Error::from)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let trailers = ready!(self.body.poll_trailers(cx));
        let trailers = trailers.map_err(|error| StreamFailure::of(error).error)?;
        let trailers = trailers.unwrap_or_default();
        // A status that says why comes before what is missing.
        let metadata = outcome::of_trailers(&trailers, self.http, &*self.reading.details)?;
        let whole = self.reader.finish();
        whole.map_err(|error| error.into_error(KEY, Blame::Upstream))?;
        self.trailers = (!metadata.is_empty()).then_some(metadata);
        Poll::Ready(Ok(()))
    }
}

impl Stream for ReplyMessages {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(message) = this.ahead.pop_front() {
            return Poll::Ready(Some(Ok(message)));
        }
        if let Some(error) = this.error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        this.poll_message(cx).map(Result::transpose)
    }
}

impl BodySource for ReplyMessages {
    fn trailers(mut self: Pin<&mut Self>) -> Option<Headers> {
        self.trailers.take()
    }

    fn keep(self: Pin<&mut Self>, _: usize) -> Result<(), Error> {
        Ok(())
    }
}

/// Messages that are read before it is known whether they are a stream.
const AHEAD_MAX: usize = 2;
/// Of the configuration, for `Reading::message_bytes_max`.
const KEY: &str = "grpc.receive-bytes-max";
