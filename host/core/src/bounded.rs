//! What belongs to the joint and to no front or back: whatever panics fails its own call, and a call
//! ends at its deadline. The pipeline keeps both for the calls of a gateway; `BoundedHandler` keeps
//! them where a handler is called without a pipeline.
//!
//! A deadline is armed once on the whole way, here. Whoever has a part of the way is polled once more
//! when the time is over, and may say whom it waited for; it arms no timer for the deadline itself.

use std::{
    any::Any,
    future,
    marker::PhantomData,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use futures_core::Stream;

use crate::{
    body::{BodySource, BodyStream},
    boxed::BoxFuture,
    call::{Call, Reply},
    error::{Blame, Error},
    handler::Handler,
    headers::Headers,
};

/// Tells when a time has come. The clock belongs to whoever drives the calls.
pub trait Timer: Default + Send + Unpin + 'static {
    /// Ready at `deadline` and after it. Set with the first poll, so that a call that never waits
    /// sets none.
    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()>;
}

/// What answers a call panicked. It is the source of the call's error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("panicked: {message}")]
pub struct Panicked {
    pub message: String,
}

/// Something under way, contained and bounded in time. It is dropped as soon as it has ended, so
/// that what it held is free before its end is told.
pub struct Bounded<F, T> {
    /// `None` once it has ended.
    inner: Option<F>,
    deadline: Option<Instant>,
    timer: T,
}

/// A handler whose calls are contained and end at their deadlines. A call without deadline has all
/// the time that the handler takes.
#[derive(Debug)]
pub struct BoundedHandler<H, T> {
    inner: H,
    blame: Blame,
    timer: PhantomData<fn() -> T>,
}

/// A call of a `BoundedHandler`.
struct BoundedCall<T> {
    inner: Bounded<BoxFuture<Outcome>, T>,
    blame: Blame,
}

/// The stream of its reply.
struct BoundedReplies<T> {
    inner: Bounded<BodyStream, T>,
    trailers: Option<Headers>,
    blame: Blame,
}

type Outcome = Result<Reply, Error>;

/// Runs `work`. What it worked on is dropped with the panic and never used again, so that nothing
/// half-changed is seen afterwards.
///
/// # Errors
/// `Panicked`, where it panics.
pub fn contain<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| Panicked::of(&*panic))
}

/// Starts a call; one that cannot even be started fails.
pub fn start(start: impl FnOnce() -> BoxFuture<Outcome>) -> BoxFuture<Outcome> {
    contain(start).unwrap_or_else(failed)
}

/// The answer of a call whose start panicked.
pub(crate) fn failed(panicked: Panicked) -> BoxFuture<Outcome> {
    Box::pin(future::ready(Err(panicked.into())))
}

/// Starts calls that arrived together: as many futures as there are `calls`, in their order. A batch
/// is started by one piece of work: when that panics, all of the batch fails.
pub fn start_batch(handler: &dyn Handler, calls: Vec<Call>) -> Vec<BoxFuture<Outcome>> {
    let n_calls = calls.len();
    let started = contain(|| handler.call_batch(calls));
    let (mut futures, panicked) = match started {
        Ok(futures) => (futures, None),
        Err(panicked) => (Vec::new(), Some(panicked)),
    };
    futures.resize_with(n_calls, || {
        let unanswered = || Error::internal("the handler answers fewer calls than it was given");
        let error = panicked.clone().map_or_else(unanswered, Error::from);
        Box::pin(future::ready(Err(error)))
    });
    futures
}

impl Panicked {
    fn of(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Self {
            message: text.unwrap_or("no message").to_owned(),
        }
    }

    /// The panic that `error` tells of, if it does.
    #[must_use]
    pub fn behind(error: &Error) -> Option<&Self> {
        error.source.as_ref()?.downcast_ref()
    }
}

impl From<Panicked> for Error {
    fn from(panicked: Panicked) -> Self {
        Self::internal("the handler panicked").with_source(panicked)
    }
}

impl<F, T: Timer> Bounded<F, T> {
    #[must_use]
    pub fn new(inner: F, deadline: Option<Instant>) -> Self {
        Self {
            inner: Some(inner),
            deadline,
            timer: T::default(),
        }
    }

    /// Polls by `poll` into `polled`, which spares a move of what it gives; what gives its last, as
    /// `is_last` says, is dropped with that.
    #[inline]
    fn poll_once<R>(
        &mut self,
        polled: &mut Poll<R>,
        poll: impl FnOnce(&mut F) -> Poll<R>,
        is_last: impl FnOnce(&R) -> bool,
    ) -> Result<(), Panicked> {
        let inner = &mut self.inner;
        contain(|| {
            let Some(under_way) = inner else { return };
            *polled = poll(under_way);
            if matches!(&*polled, Poll::Ready(given) if is_last(given)) {
                *inner = None;
            }
        })
    }

    /// Ready at the deadline, unless all has ended.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match (self.deadline, &self.inner) {
            (Some(deadline), Some(_)) => self.timer.poll_until(cx, deadline),
            (Some(_) | None, _) => Poll::Pending,
        }
    }
}

impl<F, T> Bounded<F, T> {
    /// What goes on has all the time that it takes.
    pub const fn release(&mut self) {
        self.deadline = None;
    }

    /// Drops what is under way, or has ended. A panic of that is the end of nothing else.
    pub fn end(&mut self) {
        if let Some(inner) = self.inner.take() {
            let _ = contain(|| drop(inner));
        }
    }
}

impl<T: Timer> Bounded<BoxFuture<Outcome>, T> {
    /// The outcome of the call, which is `late()` at the deadline. Pending once it was given.
    pub fn poll_reply(
        &mut self,
        cx: &mut Context<'_>,
        late: impl FnOnce() -> Error,
    ) -> Poll<Outcome> {
        let mut polled = Poll::Pending;
        let mut contained = self.poll_once(&mut polled, |inner| inner.as_mut().poll(cx), |_| true);
        if contained.is_ok() && polled.is_pending() {
            ready!(self.poll_deadline(cx));
            contained = self.poll_once(&mut polled, |inner| inner.as_mut().poll(cx), |_| true);
        }
        if contained.is_ok() && polled.is_ready() {
            return polled;
        }
        self.end();
        Poll::Ready(Err(contained.err().map_or_else(late, Error::from)))
    }

    /// Bounds the messages of the reply as the call is bounded.
    pub fn go_on(&mut self, messages: BodyStream) -> Bounded<BodyStream, T> {
        Bounded {
            inner: Some(messages),
            deadline: self.deadline,
            timer: mem::take(&mut self.timer),
        }
    }
}

impl<T: Timer> Bounded<BodyStream, T> {
    /// The next message or piece; `late()` is the last at the deadline. None after an error. What
    /// follows the last one is left in `trailers`.
    pub fn poll_message(
        &mut self,
        cx: &mut Context<'_>,
        late: impl FnOnce() -> Error,
        trailers: &mut Option<Headers>,
    ) -> Poll<Option<<BodyStream as Stream>::Item>> {
        if self.inner.is_none() {
            return Poll::Ready(None);
        }
        let mut polled = Poll::Pending;
        let mut poll = |inner: &mut BodyStream, cx: &mut Context<'_>| {
            let next = ready!(Pin::new(&mut *inner).poll_next(cx));
            if next.is_none() {
                *trailers = inner.trailers();
            }
            Poll::Ready(next)
        };
        let is_last = |next: &Option<<BodyStream as Stream>::Item>| !matches!(next, Some(Ok(_)));
        let mut contained = self.poll_once(&mut polled, |inner| poll(inner, cx), is_last);
        if contained.is_ok() && polled.is_pending() {
            ready!(self.poll_deadline(cx));
            contained = self.poll_once(&mut polled, |inner| poll(inner, cx), is_last);
        }
        if contained.is_ok() && polled.is_ready() {
            return polled;
        }
        self.end();
        let error = contained.err().map_or_else(late, Error::from);
        Poll::Ready(Some(Err(error)))
    }

    /// As `BodySource::keep`.
    ///
    /// # Errors
    /// As `BodySource::keep`.
    pub fn keep(&mut self, n_octets: usize) -> Result<(), Error> {
        self.inner
            .as_mut()
            .map_or(Ok(()), |inner| inner.keep(n_octets))
    }
}

impl<F, T> Drop for Bounded<F, T> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<H: Handler, T: Timer> BoundedHandler<H, T> {
    /// `blame`: whose fault it is when `inner` is late.
    #[must_use]
    pub const fn new(inner: H, blame: Blame) -> Self {
        Self {
            inner,
            blame,
            timer: PhantomData,
        }
    }

    fn bound(&self, future: BoxFuture<Outcome>, deadline: Option<Instant>) -> BoxFuture<Outcome> {
        Box::pin(BoundedCall::<T> {
            inner: Bounded::new(future, deadline),
            blame: self.blame,
        })
    }
}

impl<H: Handler, T: Timer> Handler for BoundedHandler<H, T> {
    fn call(&self, call: Call) -> BoxFuture<Outcome> {
        let deadline = call.context.deadline;
        self.bound(start(|| self.inner.call(call)), deadline)
    }

    fn call_batch(&self, calls: Vec<Call>) -> Vec<BoxFuture<Outcome>> {
        let deadlines: Vec<_> = calls.iter().map(|call| call.context.deadline).collect();
        let futures = start_batch(&self.inner, calls).into_iter().zip(deadlines);
        futures
            .map(|(future, deadline)| self.bound(future, deadline))
            .collect()
    }
}

impl<T: Timer> Future for BoundedCall<T> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let blame = self.blame;
        let outcome = ready!(self.inner.poll_reply(cx, || late(blame)));
        Poll::Ready(outcome.map(|reply| {
            let body = reply.body.map_stream(|messages| {
                BodyStream::from_source(BoundedReplies {
                    inner: self.inner.go_on(messages),
                    trailers: None,
                    blame,
                })
            });
            Reply { body, ..reply }
        }))
    }
}

impl<T: Timer> Stream for BoundedReplies<T> {
    type Item = <BodyStream as Stream>::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let blame = this.blame;
        this.inner
            .poll_message(cx, || late(blame), &mut this.trailers)
    }
}

impl<T: Timer> BodySource for BoundedReplies<T> {
    fn trailers(mut self: Pin<&mut Self>) -> Option<Headers> {
        self.trailers.take()
    }

    fn keep(mut self: Pin<&mut Self>, n_octets: usize) -> Result<(), Error> {
        self.inner.keep(n_octets)
    }
}

/// The error of a call whose time is over.
#[must_use]
pub fn late(blame: Blame) -> Error {
    Error::deadline_exceeded(blame, "no answer before the deadline")
}

#[cfg(test)]
mod tests;
