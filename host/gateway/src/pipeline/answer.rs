//! A call under way: bounded by its deadline and in the length of its messages, recorded at its end,
//! also when the caller goes away.

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
use futures_util::{FutureExt, Stream, StreamExt};
use postern_core::{Blame, Body, BodySource, BodyStream, BoxFuture, Error, Headers, Reply};
use tokio::time::Sleep;

use super::record::Record;

/// The future of one call. Dropping it cancels the call and records that.
pub(super) struct Answer {
    /// `None` once it has completed.
    inner: Option<BoxFuture<Result<Reply, Error>>>,
    alarm: Alarm,
    body_bytes_max: usize,
    /// `None` once it has ended or gone on with the reply's stream.
    record: Option<Record>,
}

/// A deadline whose timer is armed at the first wait: most calls never wait.
struct Alarm {
    deadline: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

/// The stream of a reply, until its end.
struct Replies {
    inner: BodyStream,
    alarm: Alarm,
    body_bytes_max: usize,
    /// `None` once it has ended.
    record: Option<Record>,
}

/// The stream of a request: counted and bounded as the handler takes it.
struct Requests {
    inner: BodyStream,
    bytes: Arc<AtomicU64>,
    bytes_max: usize,
    has_ended: bool,
}

impl Answer {
    pub(super) fn new(
        inner: BoxFuture<Result<Reply, Error>>,
        deadline: Instant,
        body_bytes_max: usize,
        record: Record,
    ) -> Self {
        Self {
            inner: Some(inner),
            alarm: Alarm {
                deadline,
                timer: None,
            },
            body_bytes_max,
            record: Some(record),
        }
    }

    fn finish(&mut self, result: Result<Reply, Error>) -> Result<Reply, Error> {
        // Frees what the handler holds before the caller reads the reply.
        self.inner = None;
        let Some(mut record) = self.record.take() else {
            return result;
        };
        match result {
            Ok(reply) if reply.body.is_stream() => {
                let deadline = self.alarm.deadline;
                let alarm = Alarm {
                    deadline,
                    timer: self.alarm.timer.take(),
                };
                let body_bytes_max = self.body_bytes_max;
                let body = reply.body.map_stream(|stream| {
                    BodyStream::from_source(Replies {
                        inner: stream,
                        alarm,
                        body_bytes_max,
                        record: Some(record),
                    })
                });
                Ok(Reply { body, ..reply })
            }
            Ok(reply) => {
                if let Body::One(message) = &reply.body {
                    let checked = check_length(message.len(), self.body_bytes_max, Blame::Guest);
                    if let Err(error) = checked {
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

impl Future for Answer {
    type Output = Result<Reply, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(inner) = &mut self.inner else {
            return Poll::Pending;
        };
        let result = match inner.poll_unpin(cx) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(ready!(self.alarm.poll_expired(cx))),
        };
        Poll::Ready(self.finish(result))
    }
}

impl Stream for Replies {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.record.is_none() {
            return Poll::Ready(None);
        }
        let next = match self.inner.poll_next_unpin(cx) {
            Poll::Ready(next) => next,
            Poll::Pending => Some(Err(ready!(self.alarm.poll_expired(cx)))),
        };
        let next = next.map(|next| {
            next.and_then(|message| {
                check_length(message.len(), self.body_bytes_max, Blame::Guest).map(|()| message)
            })
        });
        if let (Some(Ok(message)), Some(record)) = (&next, &mut self.record) {
            record.add_reply(message);
            return Poll::Ready(next);
        }
        let record = self.record.take();
        Poll::Ready(match (next, record) {
            (Some(Err(error)), Some(record)) => {
                // Frees what the handler holds.
                self.inner = BodyStream::empty();
                Some(Err(record.fail(error)))
            }
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
        self.inner.trailers()
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
            check_length(message.len(), self.bytes_max, Blame::Client)?;
            self.bytes.fetch_add(message.len() as u64, Relaxed);
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

impl Alarm {
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let deadline = self.deadline;
        let arm = || Box::pin(tokio::time::sleep_until(deadline.into()));
        ready!(self.timer.get_or_insert_with(arm).as_mut().poll(cx));
        Poll::Ready(Error::deadline_exceeded(
            Blame::Guest,
            "no answer before the deadline",
        ))
    }
}

/// Counts and bounds the messages of a streamed request as the handler takes them.
pub(super) fn counted(inner: BodyStream, bytes: Arc<AtomicU64>, bytes_max: usize) -> BodyStream {
    BodyStream::from_source(Requests {
        inner,
        bytes,
        bytes_max,
        has_ended: false,
    })
}

/// Whether a message of `length` octets may pass.
///
/// # Errors
/// `resource-exhausted` with the length, the limit and its key.
pub(super) fn check_length(length: usize, limit: usize, blame: Blame) -> Result<(), Error> {
    if length <= limit {
        return Ok(());
    }
    Err(Error::too_long(
        length,
        limit,
        "calls.body-bytes-max",
        blame,
    ))
}
