//! Bodies of calls: octets with trailers, and messages that are sent while the call goes on.

use std::{
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use postern_core::{Body, BodySource, BodyStream, Error, Headers, headers::HeadersBuilder};
use tokio::sync::mpsc;

/// Octets of each piece of a body that flows.
const PIECE: usize = 64 * 1024;
/// Octets after which they come again: a prime number, so that no piece is like the one before.
const CYCLE: u8 = 251;
/// The most that is asked for at once.
const LENGTH_MAX: usize = 8 << 20;

/// Pieces, and trailers behind them.
struct Trailed {
    pieces: BodyStream,
    trailers: Option<Headers>,
}

impl Stream for Trailed {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.pieces).poll_next(cx)
    }
}

impl BodySource for Trailed {
    fn trailers(mut self: Pin<&mut Self>) -> Option<Headers> {
        self.trailers.take()
    }

    fn keep(self: Pin<&mut Self>, _: usize) -> Result<(), Error> {
        Ok(())
    }
}

/// Octets that depend on where they stand.
pub(super) fn octets(from: usize, length: usize) -> Bytes {
    static CYCLES: LazyLock<Bytes> = LazyLock::new(|| {
        (0..CYCLE)
            .cycle()
            .take(LENGTH_MAX + usize::from(CYCLE))
            .collect()
    });
    let begin = from % usize::from(CYCLE);
    CYCLES.slice(begin..begin + length)
}

/// That many of them in pieces, and `trailers` behind.
pub(super) fn flowing(length: usize, trailers: Option<Headers>) -> Body {
    let pieces = (0..length).step_by(PIECE);
    let pieces = stream::iter(pieces.map(|at| Ok(octets(at, PIECE))));
    Body::Octets(BodyStream::from_source(Trailed {
        pieces: BodyStream::new(pieces),
        trailers,
    }))
}

pub(super) fn fields(pairs: &[(&str, &str)]) -> Headers {
    let mut builder = HeadersBuilder::fields(pairs.len(), 256);
    for (name, value) in pairs {
        builder.push(name, value).expect("a field");
    }
    builder.build()
}

/// A body of what is sent into the channel.
pub(super) fn asking() -> (mpsc::UnboundedSender<Result<Bytes, Error>>, Body) {
    let (questions, receiver) = mpsc::unbounded_channel();
    let body = stream::unfold(receiver, |mut receiver| async {
        Some((receiver.recv().await?, receiver))
    });
    (questions, Body::Messages(BodyStream::new(body)))
}
