//! A subscription as the reply of a call, one JSON line per event: for HTTP, and for streaming calls.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use postern_core::{Error, event::Subscription};
use tokio::time::Sleep;

use super::document;

/// Ends in order when the caller's time is over, a moment before the pipeline would cut it.
pub(super) struct Lines {
    subscription: Subscription,
    end: Option<Pin<Box<Sleep>>>,
}

impl Lines {
    pub(super) fn new(subscription: Subscription, deadline: Option<Instant>) -> Self {
        let end = deadline.map(|at| Box::pin(tokio::time::sleep_until(at.into())));
        Self { subscription, end }
    }
}

impl Stream for Lines {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Poll::Ready(delivery) = self.subscription.poll_next_unpin(cx) {
            return Poll::Ready(delivery.map(|delivery| Ok(document::write(&delivery))));
        }
        match &mut self.end {
            Some(end) => end.as_mut().poll(cx).map(|()| None),
            None => Poll::Pending,
        }
    }
}
