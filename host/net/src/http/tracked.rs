//! A response body on its way out, and the HTTP/2 streams that carry one: a stream whose client takes
//! nothing of its reply for `write_timeout` is reset.
//!
//! hyper asks a body for its next piece when the one before has gone to the connection; for HTTP/2
//! that is when the client's window had room for it. So a piece that is asked for, given and not
//! followed by another question for too long is one that the client does not take.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use postern_system::clock;
use tokio::time::{Sleep, sleep_until};

use super::{HttpConfig, activity::InFlight};
use crate::Counters;

/// A body that counts as in flight until it is dropped.
pub(super) struct Tracked<B> {
    body: B,
    /// What is left of the last piece.
    rest: Bytes,
    piece_bytes_max: usize,
    /// Of an HTTP/2 stream.
    progress: Option<Arc<Progress>>,
    in_flight: InFlight,
}

/// How far a stream's reply has come: twice the pieces that were given, and 1 while the last one is
/// not known to have gone.
#[derive(Debug, Default)]
pub(super) struct Progress {
    count: AtomicU64,
    is_cut: AtomicBool,
    cut: AtomicWaker,
}

/// Ends what still carries octets of an upgraded stream when it is dropped: a client that takes none of
/// them would keep the stream as long as its connection.
#[derive(Debug)]
pub(super) struct CutStream(Option<Arc<Progress>>);

/// Runs the streams of HTTP/2 connections, each as a task, and ends those that stall. hyper's
/// connection ends the tasks of its streams with itself.
#[derive(Clone)]
pub(super) struct StreamExecutor {
    pub(super) config: Arc<ArcSwap<HttpConfig>>,
    pub(super) counters: Arc<Counters>,
}

tokio::task_local! {
    /// Of the stream that the task is for.
    static PROGRESS: Arc<Progress>;
}

impl<B> Tracked<B> {
    /// Wraps the body of the stream that this task is for, or of an HTTP/1 connection.
    pub(super) fn new(body: B, in_flight: InFlight) -> Self {
        let progress = PROGRESS.try_with(Arc::clone).ok();
        // HTTP/1 has no windows: pieces would only be written by more calls of the system.
        let piece_bytes_max = progress.as_ref().map_or(usize::MAX, |_| PIECE_BYTES);
        Self {
            body,
            rest: Bytes::new(),
            piece_bytes_max,
            progress,
            in_flight,
        }
    }

    fn next_piece(&mut self) -> Frame<Bytes> {
        let n_octets = self.rest.len().min(self.piece_bytes_max);
        let piece = self.rest.split_to(n_octets);
        if let Some(progress) = &self.progress {
            progress.on_given();
            self.in_flight.on_piece();
        }
        Frame::data(piece)
    }
}

impl<B> Body for Tracked<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        if let Some(progress) = &this.progress {
            progress.on_taken();
        }
        if !this.rest.is_empty() {
            return Poll::Ready(Some(Ok(this.next_piece())));
        }
        match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    this.rest = data;
                    Poll::Ready(Some(Ok(this.next_piece())))
                }
                Err(frame) => Poll::Ready(Some(Ok(frame))),
            },
            end => Poll::Ready(end),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Asked for before the first piece only.
        if self.rest.is_empty() {
            self.body.size_hint()
        } else {
            SizeHint::default()
        }
    }
}

impl CutStream {
    /// Of the stream that this task is for; nothing for HTTP/1.
    pub(super) fn of_task() -> Self {
        Self(PROGRESS.try_with(Arc::clone).ok())
    }
}

impl Drop for CutStream {
    fn drop(&mut self) {
        if let Some(progress) = &self.0 {
            progress.is_cut.store(true, Ordering::Release);
            progress.cut.wake();
        }
    }
}

impl Progress {
    fn on_given(&self) {
        self.count.fetch_add(3, Ordering::Relaxed);
    }

    fn on_taken(&self) {
        let count = self.count.load(Ordering::Relaxed);
        self.count.store(count & !1, Ordering::Relaxed);
    }

    /// The number of the piece that has not gone, if there is one.
    fn waiting(&self) -> Option<u64> {
        let count = self.count.load(Ordering::Relaxed);
        (count & 1 == 1).then_some(count)
    }
}

impl<F> Executor<F> for StreamExecutor
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        // What carries an upgraded stream begins in the task of its request.
        let progress = PROGRESS.try_with(Arc::clone).unwrap_or_default();
        tokio::spawn(self.clone().run(stream, progress));
    }
}

impl StreamExecutor {
    /// Dropping a stream resets it, and what is queued for it goes.
    async fn run<F: Future>(self, stream: F, progress: Arc<Progress>) {
        let mut stream = pin!(PROGRESS.scope(Arc::clone(&progress), stream));
        let mut timer: Option<Pin<Box<Sleep>>> = None;
        let mut seen = None;
        poll_fn(|cx| {
            progress.cut.register(cx.waker());
            if progress.is_cut.load(Ordering::Acquire) || stream.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let Some(waiting) = progress.waiting() else {
                timer = None;
                return Poll::Pending;
            };
            loop {
                let due = || (clock::now() + self.config.load().write_timeout).into();
                let running = timer.get_or_insert_with(|| {
                    seen = Some(waiting);
                    Box::pin(sleep_until(due()))
                });
                ready!(running.as_mut().poll(cx));
                if seen == Some(waiting) {
                    self.counters.slow_readers.add(1);
                    return Poll::Ready(());
                }
                // It has moved meanwhile.
                timer = None;
            }
        })
        .await;
    }
}

/// Octets that are given to an HTTP/2 stream at once, those of a frame: a client that takes less in
/// `write_timeout` counts as one that takes nothing.
const PIECE_BYTES: usize = 16 * 1024;
