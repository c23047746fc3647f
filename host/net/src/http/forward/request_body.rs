//! The body of a request on its way to an upstream: what it declared is kept to, and somebody who asked
//! whether to send it is waited for.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::task::AtomicWaker;
use http_body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;
use postern_core::{Blame, Body, BodyStream, Error, Kind};
use tokio::time::{Sleep, sleep};

use super::super::fields;

/// A body as hyper takes it.
pub(super) struct RequestBody {
    content: RequestContent,
    /// Octets that are still to come, where the request says so.
    left: Option<u64>,
    go_ahead: Option<WaitToSend>,
    progress: Arc<RequestProgress>,
}

enum RequestContent {
    Whole(Bytes),
    Stream(BodyStream),
    Done,
}

/// How far the body of a request has come.
#[derive(Debug, Default)]
pub(super) struct RequestProgress {
    n_pieces: AtomicU64,
    is_done: AtomicBool,
    /// Why it ended early.
    fault: Mutex<Option<Error>>,
}

/// Whether an upstream that was asked by `expect: 100-continue` wants the body.
#[derive(Debug, Default)]
pub(super) struct GoAhead {
    is_given: AtomicBool,
    waker: AtomicWaker,
}

/// Waits for a `GoAhead`, for a while: an upstream need not know of it (RFC 9110 section 10.1.1).
struct WaitToSend {
    go_ahead: Arc<GoAhead>,
    patience: Pin<Box<Sleep>>,
}

impl RequestBody {
    pub(super) fn empty() -> (Self, Arc<RequestProgress>) {
        Self::new(Body::Empty, None, None)
    }

    /// `declared`: the octets of a stream, where they are known.
    pub(super) fn new(
        body: Body,
        declared: Option<u64>,
        go_ahead: Option<Arc<GoAhead>>,
    ) -> (Self, Arc<RequestProgress>) {
        let (content, left) = match body {
            Body::Empty => (RequestContent::Done, None),
            Body::One(octets) if octets.is_empty() => (RequestContent::Done, None),
            Body::One(octets) => (RequestContent::Whole(octets), None),
            Body::Messages(stream) | Body::Octets(stream) => {
                (RequestContent::Stream(stream), declared)
            }
        };
        let progress = Arc::<RequestProgress>::default();
        if matches!(content, RequestContent::Done) {
            progress.is_done.store(true, Ordering::Release);
        }
        let body = Self {
            content,
            left,
            go_ahead: go_ahead.map(|go_ahead| WaitToSend {
                go_ahead,
                patience: Box::pin(sleep(GO_AHEAD_WAIT)),
            }),
            progress: Arc::clone(&progress),
        };
        (body, progress)
    }

    /// Whether nothing of it has to be waited for.
    pub(super) const fn is_at_hand(&self) -> bool {
        self.go_ahead.is_none() && !matches!(self.content, RequestContent::Stream(_))
    }

    fn finish(&mut self) {
        self.content = RequestContent::Done;
        self.progress.is_done.store(true, Ordering::Release);
    }

    /// The body cannot go on. hyper is told only that it is so: the error is for whoever made the call.
    fn fail(&mut self, error: Error) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let told = io::Error::other(error.message.to_string());
        *self.progress.fault.lock() = Some(error);
        self.content = RequestContent::Done;
        Poll::Ready(Some(Err(told)))
    }

    fn check_length(&mut self, n_octets: usize) -> Result<(), Error> {
        let Some(left) = &mut self.left else {
            return Ok(());
        };
        let n_octets = n_octets as u64;
        *left = left.checked_sub(n_octets).ok_or_else(|| {
            let over = n_octets - *left;
            Error::internal(format!("the body is {over} octets longer than it declared"))
        })?;
        Ok(())
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        if let Some(waiting) = &mut this.go_ahead {
            ready!(waiting.poll(cx));
            this.go_ahead = None;
        }
        let next = match &mut this.content {
            RequestContent::Done => return Poll::Ready(None),
            RequestContent::Whole(octets) => Some(Ok(std::mem::take(octets))),
            RequestContent::Stream(stream) => ready!(Pin::new(stream).poll_next(cx)),
        };
        this.progress.n_pieces.fetch_add(1, Ordering::Relaxed);
        match (next, &mut this.content) {
            (Some(Ok(piece)), RequestContent::Stream(_)) => match this.check_length(piece.len()) {
                Ok(()) => Poll::Ready(Some(Ok(Frame::data(piece)))),
                Err(error) => this.fail(error),
            },
            (Some(Ok(octets)), RequestContent::Whole(_) | RequestContent::Done) => {
                this.finish();
                Poll::Ready(Some(Ok(Frame::data(octets))))
            }
            (Some(Err(error)), _) => this.fail(error),
            (None, RequestContent::Stream(stream)) => {
                let trailers = stream.trailers();
                if let Some(left) = this.left.filter(|left| *left > 0) {
                    let message = format!("the body ended {left} octets before its length");
                    return this.fail(Error::new(Kind::Cancelled, Blame::Client, message));
                }
                this.finish();
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(fields::to_map(&trailers)))))
            }
            (None, RequestContent::Whole(_) | RequestContent::Done) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, RequestContent::Done)
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.content, self.left) {
            (RequestContent::Done, _) => SizeHint::with_exact(0),
            (RequestContent::Whole(octets), _) => SizeHint::with_exact(octets.len() as u64),
            (RequestContent::Stream(_), Some(left)) => SizeHint::with_exact(left),
            (RequestContent::Stream(_), None) => SizeHint::default(),
        }
    }
}

impl RequestProgress {
    pub(super) fn n_pieces(&self) -> u64 {
        self.n_pieces.load(Ordering::Relaxed)
    }

    /// Whether all of it was handed to the connection.
    pub(super) fn is_done(&self) -> bool {
        self.is_done.load(Ordering::Acquire)
    }

    /// Why it ended early, once.
    pub(super) fn take_fault(&self) -> Option<Error> {
        self.fault.lock().take()
    }
}

impl GoAhead {
    pub(super) fn give(&self) {
        self.is_given.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl WaitToSend {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let go_ahead = &self.go_ahead;
        go_ahead.waker.register(cx.waker());
        if go_ahead.is_given.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        self.patience.as_mut().poll(cx)
    }
}

/// How long the go-ahead is waited for, as curl waits.
const GO_AHEAD_WAIT: Duration = Duration::from_secs(1);
