//! A streamed reply on its way to the caller: it holds its try and its permit until the last message.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use postern_core::{BodySource, BodyStream, Error, Headers, resilience::BulkheadOutcome};

use super::{admission::AdmissionPermit, attempt::Attempt, verdict::load_of};

pub(super) struct Replies {
    inner: BodyStream,
    /// `None` once it has ended.
    held: Option<(Attempt, Option<AdmissionPermit>)>,
    /// Time to the reply's head.
    latency: Duration,
}

impl Replies {
    pub(super) const fn new(
        stream: BodyStream,
        attempt: Attempt,
        permit: Option<AdmissionPermit>,
        latency: Duration,
    ) -> Self {
        Self {
            inner: stream,
            held: Some((attempt, permit)),
            latency,
        }
    }

    fn end(&mut self, error: Option<&Error>) {
        let Some((attempt, permit)) = self.held.take() else {
            return;
        };
        attempt.finish_stream(error, self.latency);
        if let Some(permit) = permit {
            permit.finish(error.map_or(BulkheadOutcome::Served, load_of));
        }
    }
}

impl Stream for Replies {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.held.is_none() {
            return Poll::Ready(None);
        }
        let next = ready!(self.inner.poll_next_unpin(cx));
        match &next {
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                self.inner = BodyStream::empty();
                self.end(Some(error));
            }
            None => self.end(None),
        }
        Poll::Ready(next)
    }
}

impl BodySource for Replies {
    fn trailers(mut self: Pin<&mut Self>) -> Option<Headers> {
        self.inner.trailers()
    }

    fn keep(mut self: Pin<&mut Self>, n_octets: usize) -> Result<(), Error> {
        self.inner.keep(n_octets)
    }
}
