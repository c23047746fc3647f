//! A request's body that says whether it was read to its end, and what becomes of one that was not.
//!
//! Over HTTP/1 a connection whose request was not read whole cannot take another; its reply says so
//! (RFC 9112 section 9.3), before the client sends one. So what nobody wanted of a short body is read and
//! dropped before the reply, as it is on its way or there already. A long body, one of which nobody knows
//! how long it is, and one whose client waits to be asked for it cost more than a new connection.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use http::Version;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::timeout;

use super::present::Present;

/// A body, watched.
pub(super) struct ReadBody<B: Body + Unpin> {
    /// `None` once this is being dropped.
    inner: Option<B>,
    unread: Unread<B>,
    /// What is left of it may be read and dropped.
    is_short: bool,
}

/// What was left of a body.
pub(super) struct Unread<B>(Arc<Watched<B>>);

struct Watched<B> {
    is_read: AtomicBool,
    rest: Mutex<Option<B>>,
}

impl<B: Body + Unpin> ReadBody<B> {
    /// The body of a request of `version` that has the fields which are `present`.
    pub(super) fn new(inner: B, version: Version, present: Present) -> (Self, Unread<B>) {
        let length = inner.size_hint().exact();
        // To read of a body whose client waits is to ask for it.
        let is_short = version < Version::HTTP_2
            && length.is_some_and(|length| length <= DROPPED_BYTES_MAX)
            && !present.contains(Present::EXPECT);
        let watched = Arc::new(Watched {
            is_read: AtomicBool::new(inner.is_end_stream()),
            rest: Mutex::new(None),
        });
        let body = Self {
            inner: Some(inner),
            unread: Unread(Arc::clone(&watched)),
            is_short,
        };
        (body, Unread(watched))
    }
}

impl<B: Body + Unpin> Unread<B> {
    pub(super) fn is_read(&self) -> bool {
        self.0.is_read.load(Relaxed)
    }

    /// Reads and drops what is left of a short body that nobody reads any more. Whether the body has ended.
    pub(super) async fn discard(&self) -> bool {
        let rest = self.0.rest.lock().take();
        let Some(mut rest) = rest else {
            return false;
        };
        let dropping = poll_fn(|cx| {
            while !rest.is_end_stream() {
                match ready!(Pin::new(&mut rest).poll_frame(cx)) {
                    Some(Ok(_)) => {}
                    Some(Err(_)) => return Poll::Ready(false),
                    None => break,
                }
            }
            Poll::Ready(true)
        });
        timeout(DROPPED_WAIT, dropping).await.unwrap_or(false)
    }
}

impl<B: Body + Unpin> Drop for ReadBody<B> {
    fn drop(&mut self) {
        let watched = &self.unread.0;
        if self.is_short && !watched.is_read.load(Relaxed) {
            *watched.rest.lock() = self.inner.take();
        }
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
        let Some(inner) = &mut this.inner else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(&mut *inner).poll_frame(cx));
        if frame.is_none() || inner.is_end_stream() {
            this.unread.0.is_read.store(true, Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let inner = self.inner.as_ref();
        inner.map_or_else(|| SizeHint::with_exact(0), B::size_hint)
    }
}

/// Octets of a body that are dropped at most for a connection to be kept.
const DROPPED_BYTES_MAX: u64 = 64 * 1024;
/// How long they may take. Who needs longer has a connection that is no use to keep.
const DROPPED_WAIT: Duration = Duration::from_secs(1);
