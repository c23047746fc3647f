//! The messages of a body as they arrive: framed, and packed one by one.
//!
//! A peer may be silent for as long as it likes between two messages. A message that has begun is to go
//! on: until it is whole it takes up memory.

use std::{
    collections::VecDeque,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use http_body::Body as HttpBody;
use postern_core::{BodySource, Error, Headers, Kind};

use super::{
    coding::{UnpackLimits, Unpacking},
    frame::{COMPRESSED, FrameLimits, FrameReader, MessageFrame},
};
use crate::{
    ByteBudgetError, ConnectionBytes, HeldBytes,
    byte_budget::Kept,
    http::{compression::Coding, pieces::Silence},
};

/// The messages of a body.
pub(in crate::http) struct Messages<B> {
    body: B,
    reader: FrameReader,
    /// Of flagged messages, where the head names one.
    coding: Option<Coding>,
    unpacking: Option<Unpacking>,
    limits: UnpackLimits,
    /// Read before, and not taken.
    read_ahead: VecDeque<Bytes>,
    silence: Silence,
    bytes: ConnectionBytes,
    /// Octets of messages that are not whole.
    held: HeldBytes,
    kept: Kept,
    has_ended: bool,
}

impl<B> Messages<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// # Errors
    /// Where the connection has no room.
    pub(in crate::http) fn new(
        body: B,
        coding: Option<Coding>,
        limits: UnpackLimits,
        silence: Silence,
        bytes: &ConnectionBytes,
        kept: Kept,
    ) -> Result<Self, ByteBudgetError> {
        let reader = FrameReader::new(FrameLimits {
            message_bytes_max: limits.message_bytes_max,
            flags: COMPRESSED,
        });
        Ok(Self {
            body,
            reader,
            coding,
            unpacking: None,
            limits,
            read_ahead: VecDeque::new(),
            silence,
            bytes: bytes.clone(),
            held: bytes.hold(0)?,
            kept,
            has_ended: false,
        })
    }

    /// Gives `messages`, which were the last, once more.
    pub(in crate::http) fn put_back(&mut self, messages: impl IntoIterator<Item = Bytes>) {
        self.read_ahead.extend(messages);
    }

    /// The next message or the end.
    pub(in crate::http) async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        std::future::poll_fn(|cx| self.poll_message(cx)).await
    }

    pub(in crate::http) fn poll_message(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Error>>> {
        if let Some(message) = self.read_ahead.pop_front() {
            return Poll::Ready(Some(Ok(message)));
        }
        if self.has_ended {
            return Poll::Ready(None);
        }
        let next = ready!(self.try_poll_message(cx));
        self.has_ended = !matches!(next, Ok(Some(_)));
        Poll::Ready(next.transpose())
    }

    fn try_poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        let (key, blame) = (self.limits.key, self.limits.blame);
        loop {
            if let Some(unpacking) = &mut self.unpacking {
                let message = ready!(unpacking.poll(cx))?;
                self.unpacking = None;
                return Poll::Ready(Ok(Some(message)));
            }
            let next = self.reader.next_frame();
            self.held.shrink_to(self.reader.n_unread());
            if let Some(frame) = next.map_err(|error| error.into_error(key, blame))? {
                match self.unpack(frame)? {
                    Some(message) => return Poll::Ready(Ok(Some(message))),
                    None => continue,
                }
            }
            match pin!(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    // Nothing follows the messages of a request.
                    if let Ok(piece) = frame.into_data() {
                        self.silence.rearm();
                        self.held.grow(piece.len())?;
                        self.reader.push(piece);
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Err(self.silence.broken(error)));
                }
                Poll::Ready(None) => {
                    let finished = self.reader.finish();
                    finished.map_err(|error| error.into_error(key, blame))?;
                    return Poll::Ready(Ok(None));
                }
                Poll::Pending if self.reader.is_empty() => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Err(ready!(self.silence.poll_late(cx)))),
            }
        }
    }

    /// The message of a frame; `None` where it is to be unpacked first.
    fn unpack(&mut self, frame: MessageFrame) -> Result<Option<Bytes>, Error> {
        let MessageFrame { flags, message } = frame;
        if flags & COMPRESSED == 0 {
            return Ok(Some(message));
        }
        let Some(coding) = self.coding else {
            // `grpc/doc/compression.md`: "the RPC must fail with INTERNAL".
            let told = "a message is flagged as compressed, and the head names no encoding";
            return Err(Error::new(Kind::Internal, self.limits.blame, told));
        };
        if message.is_empty() {
            return Ok(Some(message));
        }
        let unpacking = Unpacking::new(message, coding, self.limits, &self.bytes)?;
        self.unpacking = Some(unpacking);
        Ok(None)
    }
}

impl<B> Stream for Messages<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_message(cx)
    }
}

impl<B> BodySource for Messages<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn trailers(self: Pin<&mut Self>) -> Option<Headers> {
        None
    }

    fn keep(self: Pin<&mut Self>, n_octets: usize) -> Result<(), Error> {
        self.kept.grow(n_octets)
    }
}
