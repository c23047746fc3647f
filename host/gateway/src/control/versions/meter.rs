//! Calls of the two versions that are compared: how each ended, and how long it took. Counted without a lock.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use postern_core::{
    Blame, BodySource, BodyStream, BoxFuture, Error, Headers, Reply, Symptom,
    canary::{BUCKETS, VersionCounts, bucket_of},
};
use postern_system::{
    clock,
    shard::{CachePadded, Sharded},
};

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arm {
    Stable,
    Canary,
}

/// Counts of both.
#[derive(Debug)]
pub(crate) struct Meter {
    stable: Sharded<CachePadded<ArmCounts>>,
    canary: Sharded<CachePadded<ArmCounts>>,
}

#[derive(Debug)]
struct ArmCounts {
    calls: AtomicU64,
    failed: AtomicU64,
    latencies: [AtomicU64; BUCKETS],
}

/// A call under way. One that is dropped counts only where its deadline had come: the version had not answered.
/// Otherwise its caller went away, which says nothing.
pub(crate) struct MeteredCall {
    meter: Arc<Meter>,
    arm: Arm,
    begun: Instant,
    deadline: Option<Instant>,
    /// Time to the reply, or to the head of its stream.
    latency: Option<Duration>,
    has_ended: bool,
}

/// The answer of a metered call.
pub(crate) struct Metered {
    inner: BoxFuture<Result<Reply, Error>>,
    /// `None` once it has ended or gone on with the reply's stream.
    call: Option<MeteredCall>,
}

/// The stream of a metered reply.
struct MeteredStream {
    inner: BodyStream,
    /// `None` once it has ended.
    call: Option<MeteredCall>,
}

impl Meter {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            stable: Sharded::per_thread(CachePadded::default),
            canary: Sharded::per_thread(CachePadded::default),
        })
    }

    /// Begins to measure a call of `arm`.
    pub(crate) fn begin(self: &Arc<Self>, arm: Arm, deadline: Option<Instant>) -> MeteredCall {
        MeteredCall {
            meter: Arc::clone(self),
            arm,
            begun: clock::now(),
            deadline,
            latency: None,
            has_ended: false,
        }
    }

    /// What was counted of `arm`, without traps.
    pub(crate) fn counts(&self, arm: Arm) -> VersionCounts {
        let mut counts = VersionCounts::default();
        for shard in self.arm(arm) {
            counts.calls += shard.calls.load(Relaxed);
            counts.failed += shard.failed.load(Relaxed);
            for (sum, bucket) in counts.latencies.0.iter_mut().zip(&shard.latencies) {
                *sum += bucket.load(Relaxed);
            }
        }
        counts
    }

    const fn arm(&self, arm: Arm) -> &Sharded<CachePadded<ArmCounts>> {
        match arm {
            Arm::Stable => &self.stable,
            Arm::Canary => &self.canary,
        }
    }
}

impl MeteredCall {
    /// Measures what `answering` becomes.
    pub(crate) fn watch(
        self,
        answering: BoxFuture<Result<Reply, Error>>,
    ) -> BoxFuture<Result<Reply, Error>> {
        Box::pin(Metered {
            inner: answering,
            call: Some(self),
        })
    }

    /// The reply, or its head, is there.
    fn note_answer(&mut self) {
        self.latency = Some(clock::since(self.begun));
    }

    fn end(mut self, error: Option<&Error>) {
        self.count(error.is_some_and(is_failure));
    }

    fn count(&mut self, has_failed: bool) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        let counts = self.meter.arm(self.arm).mine();
        counts.calls.fetch_add(1, Relaxed);
        if has_failed {
            counts.failed.fetch_add(1, Relaxed);
        }
        let latency = self.latency.unwrap_or_else(|| clock::since(self.begun));
        if let Some(bucket) = counts.latencies.get(bucket_of(latency)) {
            bucket.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for MeteredCall {
    fn drop(&mut self) {
        let is_late = |deadline| clock::now() >= deadline;
        if !self.has_ended && self.deadline.is_some_and(is_late) {
            self.count(true);
        }
    }
}

impl Future for Metered {
    type Output = Result<Reply, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(self.inner.as_mut().poll(cx));
        let Some(mut call) = self.call.take() else {
            return Poll::Ready(result);
        };
        call.note_answer();
        Poll::Ready(match result {
            Ok(reply) if reply.body.is_stream() => {
                let body = reply.body.map_stream(|stream| {
                    BodyStream::from_source(MeteredStream {
                        inner: stream,
                        call: Some(call),
                    })
                });
                Ok(Reply { body, ..reply })
            }
            result => {
                call.end(result.as_ref().err());
                result
            }
        })
    }
}

impl Stream for MeteredStream {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.inner.poll_next_unpin(cx));
        let error = match &next {
            Some(Ok(_)) => return Poll::Ready(next),
            Some(Err(error)) => Some(error),
            None => None,
        };
        if let Some(call) = self.call.take() {
            call.end(error);
        }
        Poll::Ready(next)
    }
}

impl BodySource for MeteredStream {
    fn trailers(mut self: Pin<&mut Self>) -> Option<Headers> {
        self.inner.trailers()
    }

    fn keep(mut self: Pin<&mut Self>, n_octets: usize) -> Result<(), Error> {
        self.inner.keep(n_octets)
    }
}

impl Default for ArmCounts {
    fn default() -> Self {
        Self {
            calls: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            latencies: [const { AtomicU64::new(0) }; BUCKETS],
        }
    }
}

/// Whether an error speaks against the version that answered with it. What a caller asked for and could not
/// get does not, whoever is blamed: `not-found`, `invalid-argument` and the like are answers.
fn is_failure(error: &Error) -> bool {
    let is_answer = error.kind.symptom() == Symptom::Healthy;
    !is_answer && error.blame != Blame::Client && !error.is_too_large
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use postern_core::{Body, Kind};

    use super::*;

    fn end(result: Result<Reply, Error>) -> VersionCounts {
        let meter = Meter::new();
        let call = meter.begin(Arm::Canary, None);
        let answering = call.watch(Box::pin(std::future::ready(result)));
        let reply = answering.now_or_never().expect("ready");
        if let Ok(Reply { body, .. }) = reply
            && let Ok(mut stream) = body.try_into_stream()
        {
            while stream.next().now_or_never().flatten().is_some() {}
        }
        assert_eq!(meter.counts(Arm::Stable), VersionCounts::default());
        meter.counts(Arm::Canary)
    }

    #[test]
    fn what_a_caller_is_to_blame_for_is_no_failure_of_the_version() {
        let guest = |kind| Err(Error::new(kind, Blame::Guest, "x"));
        for (result, n_failed) in [
            (Ok(Reply::one("")), 0),
            (guest(Kind::InvalidArgument), 0),
            (guest(Kind::NotFound), 0),
            (guest(Kind::Internal), 1),
            (guest(Kind::DeadlineExceeded), 1),
            (guest(Kind::ResourceExhausted), 1),
            (Err(Error::deadline_exceeded(Blame::Client, "x")), 0),
        ] {
            let counts = end(result);
            assert_eq!((counts.calls, counts.failed), (1, n_failed));
            assert_eq!(counts.latencies.count(), 1);
        }
    }

    #[test]
    fn a_stream_counts_at_its_end() {
        let stream = |last: Option<Error>| {
            let items = std::iter::once(Ok(Bytes::new())).chain(last.map(Err));
            let items = futures_util::stream::iter(items.collect::<Vec<_>>());
            let body = Body::Messages(BodyStream::new(items));
            end(Ok(Reply::new(Headers::new(), body)))
        };
        let counts = [stream(None), stream(Some(Error::internal("x")))];
        let told = counts.map(|counts| (counts.calls, counts.failed));
        assert_eq!(told, [(1, 0), (1, 1)]);
    }

    #[test]
    fn one_that_is_dropped_counts_when_its_deadline_had_come() {
        let now = clock::now();
        let hour = Duration::from_secs(3600);
        for (deadline, expected) in [(None, 0), (Some(now + hour), 0), (Some(now), 1)] {
            let meter = Meter::new();
            let call = meter.begin(Arm::Stable, deadline);
            drop(call.watch(Box::pin(std::future::pending())));
            let counts = meter.counts(Arm::Stable);
            assert_eq!((counts.calls, counts.failed), (expected, expected));
        }
    }
}
