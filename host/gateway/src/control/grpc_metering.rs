//! Calls to instances of gRPC, in numbers: each try by itself, with its messages as the instance has them.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use postern_core::{
    Body, BodyKind, BodySource, BodyStream, Call, Error, Headers, Kind, Reply, Text, Transport,
};
use postern_system::clock;

use crate::telemetry::calls::{BookedOutcome, Booking, CallMetrics};

/// One call to an instance. Dropped before it has ended, it is booked as cancelled.
pub(super) struct MeteredCall {
    metrics: Arc<CallMetrics>,
    method: Text,
    /// By which its caller came.
    transport: Transport,
    begun: Instant,
    bytes_in: Arc<AtomicU64>,
    bytes_out: u64,
    is_ended: bool,
}

/// The messages of a request, counted as they are sent. Octets are pieces of one.
struct Sent {
    inner: BodyStream,
    metrics: Arc<CallMetrics>,
    bytes: Arc<AtomicU64>,
    has_messages: bool,
}

/// The messages of a reply, counted as they come: octets are one, before its trailing metadata. It ends its call.
struct Received {
    inner: BodyStream,
    call: Option<MeteredCall>,
}

impl MeteredCall {
    /// Counts `call` from here on; by its method, where a schema describes that: others are named by callers.
    pub(super) fn begin(metrics: &Arc<CallMetrics>, call: &mut Call, is_described: bool) -> Self {
        if is_described {
            metrics.know(std::slice::from_ref(&call.method));
        }
        metrics.begin();
        let bytes_in = Arc::<AtomicU64>::default();
        let body = std::mem::take(&mut call.body);
        if let Body::One(message) = &body {
            metrics.on_request_message(message.len());
            bytes_in.store(message.len() as u64, Relaxed);
        }
        let has_messages = body.kind() == BodyKind::Messages;
        call.body = body.map_stream(|inner| {
            BodyStream::from_source(Sent {
                inner,
                metrics: Arc::clone(metrics),
                bytes: Arc::clone(&bytes_in),
                has_messages,
            })
        });
        Self {
            metrics: Arc::clone(metrics),
            method: call.method.clone(),
            transport: call.context.peer.transport,
            begun: clock::now(),
            bytes_in,
            bytes_out: 0,
            is_ended: false,
        }
    }

    /// Books how the call ended; of a stream, once that has.
    ///
    /// # Errors
    /// That of `outcome`.
    pub(super) fn finish(mut self, outcome: Result<Reply, Error>) -> Result<Reply, Error> {
        let reply = outcome.inspect_err(|error| self.end(BookedOutcome::Failed(error.kind)))?;
        if reply.body.is_stream() {
            let body = reply.body.map_stream(|inner| {
                BodyStream::from_source(Received {
                    inner,
                    call: Some(self),
                })
            });
            return Ok(Reply { body, ..reply });
        }
        if let Body::One(message) = &reply.body {
            self.on_reply(message);
        }
        self.end(BookedOutcome::Success);
        Ok(reply)
    }

    fn on_reply(&mut self, message: &Bytes) {
        self.bytes_out += message.len() as u64;
        self.metrics.on_reply_message(message.len());
    }

    fn end(&mut self, outcome: BookedOutcome) {
        if self.is_ended {
            return;
        }
        self.is_ended = true;
        let booking = Booking {
            transport: self.transport,
            outcome,
            duration: clock::now().saturating_duration_since(self.begun),
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out,
        };
        self.metrics.end(&self.method, &booking);
    }
}

impl Drop for MeteredCall {
    fn drop(&mut self) {
        self.end(BookedOutcome::Failed(Kind::Cancelled));
    }
}

impl Stream for Sent {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.inner.poll_next_unpin(cx));
        match &next {
            Some(Ok(octets)) => {
                self.bytes.fetch_add(octets.len() as u64, Relaxed);
                if self.has_messages {
                    self.metrics.on_request_message(octets.len());
                }
            }
            None if !self.has_messages => {
                let length = self.bytes.load(Relaxed);
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                self.metrics.on_request_message(length);
            }
            None | Some(Err(_)) => {}
        }
        Poll::Ready(next)
    }
}

impl BodySource for Sent {
    fn trailers(mut self: Pin<&mut Self>) -> Option<Headers> {
        self.inner.trailers()
    }

    fn keep(mut self: Pin<&mut Self>, n_octets: usize) -> Result<(), Error> {
        self.inner.keep(n_octets)
    }
}

impl Stream for Received {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.inner.poll_next_unpin(cx));
        match (&next, &mut self.call) {
            (Some(Ok(message)), Some(call)) => call.on_reply(message),
            (Some(Err(error)), Some(call)) => call.end(BookedOutcome::Failed(error.kind)),
            (None, Some(call)) => call.end(BookedOutcome::Success),
            (_, None) => {}
        }
        if !matches!(next, Some(Ok(_))) {
            self.call = None;
        }
        Poll::Ready(next)
    }
}

impl BodySource for Received {
    fn trailers(mut self: Pin<&mut Self>) -> Option<Headers> {
        self.inner.trailers()
    }

    fn keep(mut self: Pin<&mut Self>, n_octets: usize) -> Result<(), Error> {
        self.inner.keep(n_octets)
    }
}
