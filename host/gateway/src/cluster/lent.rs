//! A body that can be read once, lent to a try: one that has not begun to read it gives it back.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::Stream;
use parking_lot::Mutex;
use postern_core::{Body, BodyKind, BodySource, BodyStream, Error, Headers};

/// What a try was given.
pub(super) struct Lent {
    kind: BodyKind,
    unread: Arc<Mutex<Option<BodyStream>>>,
}

/// The body as the try has it.
enum Borrowed {
    Unread(Arc<Mutex<Option<BodyStream>>>),
    Begun(BodyStream),
    /// It was given back.
    Gone,
}

/// Lends a body that is a stream; any other goes as it is.
pub(super) fn lend(body: Body) -> (Body, Option<Lent>) {
    let kind = body.kind();
    match body.try_into_stream() {
        Ok(stream) => {
            let unread = Arc::new(Mutex::new(Some(stream)));
            let borrowed = Borrowed::Unread(Arc::clone(&unread));
            let body = kind.of_stream(BodyStream::from_source(borrowed));
            (body, Some(Lent { kind, unread }))
        }
        Err(body) => (body, None),
    }
}

impl Lent {
    /// The body, if nothing of it was read. Whoever borrowed it reads nothing any more.
    pub(super) fn give_back(self) -> Option<Body> {
        let stream = self.unread.lock().take()?;
        Some(self.kind.of_stream(stream))
    }
}

impl Borrowed {
    fn stream(&mut self) -> Option<&mut BodyStream> {
        if let Self::Unread(unread) = self {
            let stream = unread.lock().take();
            *self = stream.map_or(Self::Gone, Self::Begun);
        }
        match self {
            Self::Begun(stream) => Some(stream),
            Self::Unread(_) | Self::Gone => None,
        }
    }
}

impl Stream for Borrowed {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.stream() {
            Some(stream) => Pin::new(stream).poll_next(cx),
            None => Poll::Ready(None),
        }
    }
}

impl BodySource for Borrowed {
    fn trailers(mut self: Pin<&mut Self>) -> Option<Headers> {
        match &mut *self {
            Self::Begun(stream) => stream.trailers(),
            Self::Unread(_) | Self::Gone => None,
        }
    }

    fn keep(mut self: Pin<&mut Self>, n_octets: usize) -> Result<(), Error> {
        self.stream().map_or(Ok(()), |stream| stream.keep(n_octets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets() -> Body {
        Body::Octets(BodyStream::once("abc".into(), Some(Headers::new())))
    }

    #[tokio::test]
    async fn what_nobody_has_read_is_given_back_whole() {
        let (borrowed, lent) = lend(octets());
        let body = lent.expect("lent").give_back().expect("unread");
        assert_eq!(body.kind(), BodyKind::Octets);
        let (octets, trailers) = body.collect(9).await.expect("whole");
        assert_eq!((&octets[..], trailers.is_some()), (&b"abc"[..], true));
        assert_eq!(borrowed.into_one(9).await.expect("nothing"), "");
    }

    #[tokio::test]
    async fn what_was_read_is_not_given_back() {
        let (borrowed, lent) = lend(octets());
        let (octets, trailers) = borrowed.collect(9).await.expect("whole");
        assert_eq!((&octets[..], trailers.is_some()), (&b"abc"[..], true));
        assert!(lent.expect("lent").give_back().is_none());
    }

    #[test]
    fn what_can_be_had_again_is_not_lent() {
        assert!(lend(Body::One("x".into())).1.is_none());
        assert!(lend(Body::Empty).1.is_none());
    }
}
