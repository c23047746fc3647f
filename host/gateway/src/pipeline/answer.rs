//! A call under way: contained, bounded by its deadline and in the length of its messages, recorded at
//! its end, also when the caller goes away. This is where a call's deadline is armed, on every way.

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
use futures_util::{Stream, StreamExt};
use postern_core::{
    Blame, Body, BodySource, BodyStream, BoxFuture, Error, Headers, Kind, Reply,
    bounded::{Bounded, late},
};
use postern_net::Alarm;

use super::{record::CallRecord, route::Route};

/// What bounds a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallBounds {
    /// None of a forwarded request.
    pub deadline: Option<Instant>,
    /// As `Context::is_deadline_of_head`.
    pub is_deadline_of_head: bool,
    pub body_bytes_max: usize,
    /// It is a request that is handed on: a status of a failure is one.
    pub is_forwarded: bool,
}

/// The future of one call. Dropping it cancels the call and records that.
pub(super) struct CallFuture {
    inner: Bounded<BoxFuture<Result<Reply, Error>>, Alarm>,
    bounds: CallBounds,
    /// `None` once it has ended or gone on with the reply's stream.
    record: Option<CallRecord>,
}

/// The stream of a reply, until its end.
struct Replies {
    inner: Bounded<BodyStream, Alarm>,
    trailers: Option<Headers>,
    body_bytes_max: usize,
    /// `None` once it has ended.
    record: Option<CallRecord>,
}

/// The stream of a request: counted and bounded as the handler takes it.
struct Requests {
    inner: BodyStream,
    bytes: Arc<AtomicU64>,
    bytes_max: usize,
    /// Of whose messages it is; `None` where it is in pieces.
    route: Option<Arc<Route>>,
    has_ended: bool,
}

impl CallFuture {
    pub(super) fn new(
        inner: BoxFuture<Result<Reply, Error>>,
        bounds: CallBounds,
        record: CallRecord,
    ) -> Self {
        Self {
            inner: Bounded::new(inner, bounds.deadline),
            bounds,
            record: Some(record),
        }
    }

    fn finish(&mut self, result: Result<Reply, Error>) -> Result<Reply, Error> {
        let Some(mut record) = self.record.take() else {
            return result;
        };
        if self.bounds.is_deadline_of_head {
            self.inner.release();
        }
        if let (true, Ok(reply)) = (self.bounds.is_forwarded, &result) {
            record.note_status(reply.status);
        }
        match result {
            Ok(reply) if reply.body.is_stream() => {
                record.note_reply(reply.body.kind());
                let body_bytes_max = self.bounds.body_bytes_max;
                let body = reply.body.map_stream(|stream| {
                    BodyStream::from_source(Replies {
                        inner: self.inner.go_on(stream),
                        trailers: None,
                        body_bytes_max,
                        record: Some(record),
                    })
                });
                Ok(Reply { body, ..reply })
            }
            Ok(reply) => {
                if let Body::One(message) = &reply.body {
                    let (length, limit) = (message.len(), self.bounds.body_bytes_max);
                    if let Err(error) = check_length(length, limit, || record.blame()) {
                        return Err(record.fail(error));
                    }
                    record.add_reply(message);
                }
                record.succeed();
                Ok(reply)
            }
            Err(error) => Err(record.fail(error)),
        }
    }
}

impl Future for CallFuture {
    type Output = Result<Reply, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let record = this.record.as_ref();
        let result = ready!(this.inner.poll_reply(cx, || late(blame(record))));
        Poll::Ready(this.finish(result))
    }
}

impl Stream for Replies {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let (record, limit) = (this.record.as_ref(), this.body_bytes_max);
        let late = || late(blame(record));
        let next = ready!(this.inner.poll_message(cx, late, &mut this.trailers));
        let next = next.map(|next| {
            next.and_then(|message| {
                check_length(message.len(), limit, || blame(record)).map(|()| message)
            })
        });
        if let (Some(Ok(message)), Some(record)) = (&next, &mut this.record) {
            record.add_reply(message);
            return Poll::Ready(next);
        }
        this.inner.end();
        let record = this.record.take();
        Poll::Ready(match (next, record) {
            (Some(Err(error)), Some(record)) => Some(Err(record.fail(error))),
            (next, Some(record)) => {
                record.succeed();
                next
            }
            (next, None) => next,
        })
    }
}

impl BodySource for Replies {
    fn trailers(mut self: Pin<&mut Self>) -> Option<Headers> {
        self.trailers.take()
    }

    fn keep(mut self: Pin<&mut Self>, n_octets: usize) -> Result<(), Error> {
        self.inner.keep(n_octets)
    }
}

impl Stream for Requests {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let next = ready!(self.inner.poll_next_unpin(cx));
        let next = next.map(|message| {
            let message = message?;
            check_length(message.len(), self.bytes_max, || Blame::Client)?;
            self.bytes.fetch_add(message.len() as u64, Relaxed);
            if let Some(route) = &self.route {
                route.metrics.on_request_message(message.len());
            }
            Ok(message)
        });
        self.has_ended = !matches!(next, Some(Ok(_)));
        Poll::Ready(next)
    }
}

impl BodySource for Requests {
    fn trailers(mut self: Pin<&mut Self>) -> Option<Headers> {
        self.inner.trailers()
    }

    fn keep(mut self: Pin<&mut Self>, n_octets: usize) -> Result<(), Error> {
        self.inner.keep(n_octets)
    }
}

fn blame(record: Option<&CallRecord>) -> Blame {
    record.map_or(Blame::Gateway, CallRecord::blame)
}

/// Counts and bounds the messages of a streamed request as the handler takes them. `route` is there
/// where they are messages, and not pieces of one.
pub(super) fn counted(
    inner: BodyStream,
    bytes: Arc<AtomicU64>,
    bytes_max: usize,
    route: Option<Arc<Route>>,
) -> BodyStream {
    BodyStream::from_source(Requests {
        inner,
        bytes,
        bytes_max,
        route,
        has_ended: false,
    })
}

/// Whether a message of `length` octets may pass.
///
/// # Errors
/// With the length, the limit and its key: `resource-exhausted` for a message of the caller, which is
/// to send a shorter one; `internal` for one of a reply, which the caller cannot help.
pub(super) fn check_length(
    length: usize,
    limit: usize,
    blame: impl FnOnce() -> Blame,
) -> Result<(), Error> {
    if length <= limit {
        return Ok(());
    }
    let blame = blame();
    let error = Error::too_long(length, limit, "calls.body-bytes-max", blame);
    Err(match blame {
        Blame::Client => error,
        Blame::Gateway | Blame::Guest | Blame::Upstream => {
            Error::new(Kind::Internal, blame, error.message)
        }
    })
}
