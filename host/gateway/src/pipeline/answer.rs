//! A call under way: contained, bounded by its deadline and in the length of its messages, recorded at
//! its end, also when the caller goes away. This is where a call's deadline is armed, on every way.

use std::{
    future::ready,
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
    Blame, Body, BodyStream, BoxFuture, Error, Kind, Reply,
    bounded::{Bounded, late},
};
use postern_net::Alarm;

use super::record::CallRecord;

/// The future of one call. Dropping it cancels the call and records that.
pub(super) struct CallFuture {
    inner: Bounded<BoxFuture<Result<Reply, Error>>, Alarm>,
    body_bytes_max: usize,
    /// `None` once it has ended or gone on with the reply's stream.
    record: Option<CallRecord>,
}

/// The messages of a streamed reply, until the last one.
struct Replies {
    inner: Bounded<BodyStream, Alarm>,
    body_bytes_max: usize,
    record: Option<CallRecord>,
}

impl CallFuture {
    pub(super) fn new(
        inner: BoxFuture<Result<Reply, Error>>,
        deadline: Instant,
        body_bytes_max: usize,
        record: CallRecord,
    ) -> Self {
        Self {
            inner: Bounded::new(inner, Some(deadline)),
            body_bytes_max,
            record: Some(record),
        }
    }

    fn finish(&mut self, result: Result<Reply, Error>) -> Result<Reply, Error> {
        let Some(mut record) = self.record.take() else {
            return result;
        };
        match result {
            Ok(Reply {
                headers,
                body: Body::Many(stream),
            }) => {
                let replies = Replies {
                    inner: self.inner.go_on(stream),
                    body_bytes_max: self.body_bytes_max,
                    record: Some(record),
                };
                Ok(Reply {
                    headers,
                    body: Body::Many(BodyStream::new(replies)),
                })
            }
            Ok(reply) => {
                if let Body::One(message) = &reply.body {
                    let (length, limit) = (message.len(), self.body_bytes_max);
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
        let next = ready!(this.inner.poll_message(cx, || late(blame(record))));
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

fn blame(record: Option<&CallRecord>) -> Blame {
    record.map_or(Blame::Gateway, CallRecord::blame)
}

/// Counts and bounds the messages of a streamed request as the handler takes them.
pub(super) fn counted(stream: BodyStream, bytes: Arc<AtomicU64>, bytes_max: usize) -> BodyStream {
    let check = move |has_failed: &mut bool, message: Result<Bytes, Error>| {
        if *has_failed {
            return ready(None);
        }
        let message = message.and_then(|message| {
            check_length(message.len(), bytes_max, || Blame::Client)?;
            bytes.fetch_add(message.len() as u64, Relaxed);
            Ok(message)
        });
        *has_failed = message.is_err();
        ready(Some(message))
    };
    BodyStream::new(stream.scan(false, check))
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
