//! The body of a call or of a reply: nothing, one message, messages, or octets as they flow.
//!
//! `Messages` are whole units that a handler takes one by one: items of VSTP, lines of NDJSON,
//! messages of gRPC or WebSocket. `Octets` are one body as it arrives: where a piece ends means
//! nothing. Both may end with trailers. One becomes the other here and nowhere else:
//!
//! | from | to | by | bound |
//! | --- | --- | --- | --- |
//! | any | one message | `Body::into_one`, `Body::collect` | `bytes_max`; of messages, one |
//! | octets | messages | `Body::into_messages`: all octets are one message | `bytes_max` |
//! | any | octets | `Body::into_octets`: what parts messages is lost | none: nothing is held |

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;

use crate::{error::Error, headers::Headers};

/// What is sent with a call or a reply. Unary calls never pay for streams.
#[derive(Debug, Default)]
pub enum Body {
    #[default]
    Empty,
    One(Bytes),
    /// Whole units, each to be taken as it is.
    Messages(BodyStream),
    /// One body in pieces.
    Octets(BodyStream),
}

/// What a body is, apart from what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// At hand: nothing, or one message.
    One,
    Messages,
    Octets,
}

/// Messages or pieces that arrive over time. An error ends the stream.
pub struct BodyStream(Inner);

enum Inner {
    Plain(Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>),
    Source(Pin<Box<dyn BodySource + Send>>),
}

/// A stream that knows more of its body than what it gives. Whoever wraps a `BodyStream` passes both
/// on.
pub trait BodySource: Stream<Item = Result<Bytes, Error>> {
    /// What follows the body. Asked after its end, and once.
    fn trailers(self: Pin<&mut Self>) -> Option<Headers>;

    /// Told that `n_octets` of what was given stay in memory until the call is over: the body is
    /// collected. Whoever counts what callers may hold says by an error that it is too much.
    ///
    /// # Errors
    /// `resource-exhausted` or `unavailable`; the collection is given up.
    fn keep(self: Pin<&mut Self>, n_octets: usize) -> Result<(), Error>;
}

impl Body {
    #[must_use]
    pub const fn kind(&self) -> BodyKind {
        match self {
            Self::Empty | Self::One(_) => BodyKind::One,
            Self::Messages(_) => BodyKind::Messages,
            Self::Octets(_) => BodyKind::Octets,
        }
    }

    /// Whether it arrives over time and can be read once only.
    #[must_use]
    pub const fn is_stream(&self) -> bool {
        matches!(self, Self::Messages(_) | Self::Octets(_))
    }

    /// The stream, where it is one; the same body at hand otherwise.
    ///
    /// # Errors
    /// The body itself where it is at hand.
    pub fn try_into_stream(self) -> Result<BodyStream, Self> {
        match self {
            Self::Messages(stream) | Self::Octets(stream) => Ok(stream),
            body @ (Self::Empty | Self::One(_)) => Err(body),
        }
    }

    /// The same body over what `wrap` makes of its stream; one that is at hand as it is.
    #[must_use]
    pub fn map_stream(self, wrap: impl FnOnce(BodyStream) -> BodyStream) -> Self {
        match self {
            Self::Messages(stream) => Self::Messages(wrap(stream)),
            Self::Octets(stream) => Self::Octets(wrap(stream)),
            body @ (Self::Empty | Self::One(_)) => body,
        }
    }

    /// The body once more; `None` where it can be read once only.
    #[must_use]
    pub fn try_clone(&self) -> Option<Self> {
        match self {
            Self::Empty => Some(Self::Empty),
            Self::One(message) => Some(Self::One(message.clone())),
            Self::Messages(_) | Self::Octets(_) => None,
        }
    }

    /// The body as one message; no octets when it is empty. What follows it is dropped.
    ///
    /// # Errors
    /// As `collect`.
    pub async fn into_one(self, bytes_max: usize) -> Result<Bytes, Error> {
        Ok(self.collect(bytes_max).await?.0)
    }

    /// The body as one message, and what follows it.
    ///
    /// # Errors
    /// `invalid-argument` when a stream holds more than one message or the body passes `bytes_max`,
    /// and whatever error ends the stream.
    pub async fn collect(self, bytes_max: usize) -> Result<(Bytes, Option<Headers>), Error> {
        let (message, trailers) = match self {
            Self::Empty => (Bytes::new(), None),
            Self::One(message) => (message, None),
            Self::Messages(mut stream) => {
                let first = stream.next().await.transpose()?.unwrap_or_default();
                if stream.next().await.transpose()?.is_some() {
                    return Err(Error::invalid_argument(
                        "a unary call takes one message, the stream holds more",
                    ));
                }
                (first, stream.trailers())
            }
            Self::Octets(stream) => {
                let mut whole = BodyStream::from_source(Collected::new(stream, bytes_max));
                let message = whole.next().await.transpose()?.unwrap_or_default();
                (message, whole.trailers())
            }
        };
        if message.len() > bytes_max {
            let length = message.len();
            let message = format!("message of {length} octets exceeds the limit of {bytes_max}");
            return Err(Error::invalid_argument(message).with_too_large());
        }
        Ok((message, trailers))
    }

    /// The body as messages: octets become one message of at most `bytes_max`, collected when it is
    /// asked for.
    #[must_use]
    pub fn into_messages(self, bytes_max: usize) -> BodyStream {
        match self {
            Self::Empty => BodyStream::empty(),
            Self::One(message) => BodyStream::once(message, None),
            Self::Messages(stream) => stream,
            Self::Octets(stream) => BodyStream::from_source(Collected::new(stream, bytes_max)),
        }
    }

    /// The body as octets: messages follow each other without anything between them.
    #[must_use]
    pub fn into_octets(self) -> BodyStream {
        match self {
            Self::Empty => BodyStream::empty(),
            Self::One(message) => BodyStream::once(message, None),
            Self::Messages(stream) | Self::Octets(stream) => stream,
        }
    }
}

impl BodyKind {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Messages => "messages",
            Self::Octets => "octets",
        }
    }

    /// A body of that kind over `stream`. What is one message comes as octets, to be collected.
    #[must_use]
    pub fn of_stream(self, stream: BodyStream) -> Body {
        match self {
            Self::Messages => Body::Messages(stream),
            Self::One | Self::Octets => Body::Octets(stream),
        }
    }

    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        let mut kinds = [Self::One, Self::Messages, Self::Octets].into_iter();
        kinds.find(|kind| kind.name().as_bytes() == name)
    }
}

impl BodyStream {
    /// A stream that nothing follows.
    #[must_use]
    pub fn new(stream: impl Stream<Item = Result<Bytes, Error>> + Send + 'static) -> Self {
        Self(Inner::Plain(Box::pin(stream)))
    }

    #[must_use]
    pub fn from_source(source: impl BodySource + Send + 'static) -> Self {
        Self(Inner::Source(Box::pin(source)))
    }

    /// Nothing.
    #[must_use]
    pub fn empty() -> Self {
        let (only, trailers) = (None, None);
        Self::from_source(Once { only, trailers })
    }

    /// Nothing but what follows it.
    #[must_use]
    pub fn trailing(trailers: Headers) -> Self {
        let (only, trailers) = (None, Some(trailers));
        Self::from_source(Once { only, trailers })
    }

    /// One message or piece, and what follows it.
    #[must_use]
    pub fn once(message: Bytes, trailers: Option<Headers>) -> Self {
        let only = Some(message);
        Self::from_source(Once { only, trailers })
    }

    /// The next message or piece; `None` after the last or after an error.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// What follows the body, where anything does. There after the end of the stream, and once.
    pub fn trailers(&mut self) -> Option<Headers> {
        match &mut self.0 {
            Inner::Plain(_) => None,
            Inner::Source(source) => source.as_mut().trailers(),
        }
    }

    /// Says that `n_octets` of what was given stay in memory until the call is over.
    ///
    /// # Errors
    /// As `BodySource::keep`.
    pub fn keep(&mut self, n_octets: usize) -> Result<(), Error> {
        match &mut self.0 {
            Inner::Plain(_) => Ok(()),
            Inner::Source(source) => source.as_mut().keep(n_octets),
        }
    }
}

impl Stream for BodyStream {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.0 {
            Inner::Plain(stream) => stream.as_mut().poll_next(cx),
            Inner::Source(source) => source.as_mut().poll_next(cx),
        }
    }
}

impl fmt::Debug for BodyStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BodyStream")
    }
}

/// A body of one piece.
struct Once {
    only: Option<Bytes>,
    trailers: Option<Headers>,
}

impl Stream for Once {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.only.take().map(Ok))
    }
}

impl BodySource for Once {
    fn trailers(mut self: Pin<&mut Self>) -> Option<Headers> {
        self.trailers.take()
    }

    fn keep(self: Pin<&mut Self>, _: usize) -> Result<(), Error> {
        Ok(())
    }
}

/// The pieces of a body, joined within a bound. One that comes in a single piece is not copied.
struct Collected {
    body: BodyStream,
    bytes_max: usize,
    first: Bytes,
    joined: BytesMut,
    is_over: bool,
}

impl Collected {
    fn new(body: BodyStream, bytes_max: usize) -> Self {
        Self {
            body,
            bytes_max,
            first: Bytes::new(),
            joined: BytesMut::new(),
            is_over: false,
        }
    }

    fn push(&mut self, piece: Bytes) -> Result<(), Error> {
        let length = self.first.len() + self.joined.len() + piece.len();
        if length > self.bytes_max {
            let limit = self.bytes_max;
            let message = format!("body of {length} octets or more exceeds the limit of {limit}");
            return Err(Error::invalid_argument(message).with_too_large());
        }
        self.body.keep(piece.len())?;
        if self.joined.is_empty() {
            if self.first.is_empty() {
                self.first = piece;
                return Ok(());
            }
            self.joined.reserve(length);
            self.joined
                .extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.joined.extend_from_slice(&piece);
        Ok(())
    }

    fn take(&mut self) -> Bytes {
        if self.joined.is_empty() {
            std::mem::take(&mut self.first)
        } else {
            self.joined.split().freeze()
        }
    }
}

impl Stream for Collected {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        loop {
            let pushed = match ready!(Pin::new(&mut self.body).poll_next(cx)) {
                Some(Ok(piece)) => self.push(piece),
                Some(Err(error)) => Err(error),
                None => {
                    self.is_over = true;
                    return Poll::Ready(Some(Ok(self.take())));
                }
            };
            if let Err(error) = pushed {
                self.is_over = true;
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
}

impl BodySource for Collected {
    fn trailers(mut self: Pin<&mut Self>) -> Option<Headers> {
        self.body.trailers()
    }

    fn keep(self: Pin<&mut Self>, _: usize) -> Result<(), Error> {
        // Said of each piece.
        Ok(())
    }
}

#[cfg(test)]
mod tests;
