//! A streamed reply on its way to the caller: it holds its try and its place at the gate until the
//! last message.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use postern_core::{BodyStream, Error, resilience::Outcome};

use super::{attempt::Attempt, gate::Permit, way::load_of};

pub(super) struct Replies {
    /// `None` once it has ended.
    inner: Option<BodyStream>,
    held: Option<(Attempt, Option<Permit>)>,
    /// Time to the reply's head.
    latency: Duration,
}

impl Replies {
    pub(super) const fn new(
        stream: BodyStream,
        attempt: Attempt,
        permit: Option<Permit>,
        latency: Duration,
    ) -> Self {
        Self {
            inner: Some(stream),
            held: Some((attempt, permit)),
            latency,
        }
    }

    fn end(&mut self, error: Option<&Error>) {
        self.inner = None;
        let Some((attempt, permit)) = self.held.take() else {
            return;
        };
        attempt.finish_stream(error, self.latency);
        if let Some(permit) = permit {
            permit.finish(error.map_or(Outcome::Served, load_of));
        }
    }
}

impl Stream for Replies {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(None);
        };
        let next = ready!(inner.poll_next_unpin(cx));
        match &next {
            Some(Ok(_)) => {}
            Some(Err(error)) => self.end(Some(error)),
            None => self.end(None),
        }
        Poll::Ready(next)
    }
}
