//! A request's body that says whether it was read to its end.
//!
//! Over HTTP/1 a connection whose request was not read whole cannot take another; its reply says so
//! (RFC 9112 section 9.3), before the client sends one.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use http_body::{Body, Frame, SizeHint};

/// A body, watched.
pub(super) struct ReadBody<B> {
    inner: B,
    is_read: IsRead,
}

/// Whether a body was read to its end. Clones tell the same.
#[derive(Debug, Clone)]
pub(super) struct IsRead(Arc<AtomicBool>);

impl<B: Body + Unpin> ReadBody<B> {
    pub(super) fn new(inner: B) -> (Self, IsRead) {
        let is_read = IsRead(Arc::new(AtomicBool::new(inner.is_end_stream())));
        let watched = is_read.clone();
        (Self { inner, is_read }, watched)
    }
}

impl IsRead {
    pub(super) fn get(&self) -> bool {
        self.0.load(Relaxed)
    }
}

impl<B: Body + Unpin> Body for ReadBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = &mut *self;
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        if frame.is_none() || this.inner.is_end_stream() {
            this.is_read.0.store(true, Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
