//! A reply that streams: it holds its session's place until its end.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use postern_core::{BodySource, BodyStream, Error, Headers};

use crate::pool::SessionLease;

pub(super) struct Held {
    body: BodyStream,
    /// Given back with the last message; a reader that lingers over the end holds up nobody.
    lease: Option<SessionLease>,
}

impl Held {
    pub(super) const fn new(body: BodyStream, lease: SessionLease) -> Self {
        let lease = Some(lease);
        Self { body, lease }
    }
}

impl Stream for Held {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(Pin::new(&mut self.body).poll_next(cx));
        if !matches!(item, Some(Ok(_))) {
            self.lease = None;
        }
        Poll::Ready(item)
    }
}

impl BodySource for Held {
    fn trailers(mut self: Pin<&mut Self>) -> Option<Headers> {
        self.body.trailers()
    }

    fn keep(mut self: Pin<&mut Self>, n_octets: usize) -> Result<(), Error> {
        self.body.keep(n_octets)
    }
}
