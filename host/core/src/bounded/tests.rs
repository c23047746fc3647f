//! Calls that panic or are late, at every point of their way.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::Waker,
    time::Duration,
};

use bytes::Bytes;

use super::*;
use crate::{body::Body, error::Kind, testing::epoch};

/// Fails as the method says; the body counts what is dropped.
#[derive(Default)]
struct Moody {
    n_dropped: Arc<AtomicU32>,
}

/// Panics in its second poll where it is told to, and when it is dropped.
struct Bang {
    n_polls: u32,
    bangs_at: u32,
    dropped: Option<Arc<AtomicU32>>,
}

/// Is there when `Clock` says so.
#[derive(Default)]
struct Clock {
    is_set: bool,
}

thread_local! {
    static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    static N_SET: Cell<u32> = const { Cell::new(0) };
}

const DEADLINE: Duration = Duration::from_secs(5);

#[test]
fn a_panic_fails_its_own_call_wherever_it_comes() {
    for method in ["at-call", "at-first-poll", "at-second-poll"] {
        let error = ended(poll_twice(method).0).expect_err("it panics");
        assert_eq!((error.kind, error.blame), (Kind::Internal, Blame::Gateway));
        assert_eq!(error.message, "the handler panicked");
        let panicked = Panicked::behind(&error).map(|panicked| &*panicked.message);
        assert_eq!(panicked, Some("on purpose"), "{method}");
    }
    assert!(ended(poll_twice("fine").0).is_ok());
}

#[test]
fn a_panic_in_a_reply_is_the_last_of_its_messages() {
    let reply = ended(poll_twice("stream").0).expect("a reply");
    let Body::Messages(mut messages) = reply.body else {
        panic!("a stream was asked for");
    };
    let mut next = || Pin::new(&mut messages).poll_next(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(next(), Poll::Ready(Some(Ok(_)))));
    let Poll::Ready(Some(Err(error))) = next() else {
        panic!("the second message panics");
    };
    assert_eq!((error.kind, error.blame), (Kind::Internal, Blame::Gateway));
    assert!(matches!(next(), Poll::Ready(None)));
}

#[test]
fn a_panic_while_a_call_is_dropped_goes_no_further() {
    let (polled, handler) = poll_twice("bang-when-dropped");
    assert!(polled.is_none());
    assert_eq!(handler.n_dropped.load(Relaxed), 1);
}

#[test]
fn a_call_that_is_late_ends_at_its_deadline_and_is_blamed_on_its_handler() {
    NOW.set(Duration::ZERO);
    let mut future = bounded().call(call("never"));
    assert!(poll(&mut future).is_none());
    NOW.set(DEADLINE - Duration::from_nanos(1));
    assert!(poll(&mut future).is_none());
    NOW.set(DEADLINE);
    let error = ended(poll(&mut future)).expect_err("late");
    assert_eq!(
        (error.kind, error.blame),
        (Kind::DeadlineExceeded, Blame::Upstream)
    );
}

#[test]
fn whoever_is_polled_at_the_deadline_may_say_whom_it_waited_for() {
    NOW.set(Duration::ZERO);
    let mut future = bounded().call(call("says-late"));
    assert!(poll(&mut future).is_none());
    NOW.set(DEADLINE);
    let error = ended(poll(&mut future)).expect_err("late");
    assert_eq!((&*error.message, error.blame), ("of a", Blame::Guest));
}

#[test]
fn a_stream_that_stalls_ends_at_the_deadline_of_its_call() {
    NOW.set(Duration::ZERO);
    let mut future = bounded().call(call("stall"));
    let reply = ended(poll(&mut future)).expect("a reply");
    let Body::Messages(mut messages) = reply.body else {
        panic!("a stream was asked for");
    };
    let mut next = || Pin::new(&mut messages).poll_next(&mut Context::from_waker(Waker::noop()));
    assert!(next().is_pending());
    NOW.set(DEADLINE);
    let Poll::Ready(Some(Err(error))) = next() else {
        panic!("the deadline is over");
    };
    assert_eq!(
        (error.kind, error.blame),
        (Kind::DeadlineExceeded, Blame::Upstream)
    );
    assert!(matches!(next(), Poll::Ready(None)));
}

#[test]
fn what_is_there_at_once_sets_no_timer() {
    N_SET.set(0);
    assert!(ended(poll(&mut bounded().call(call("fine")))).is_ok());
    assert_eq!(N_SET.get(), 0);
    let mut waits = bounded().call(call("never"));
    assert!(poll(&mut waits).is_none());
    assert!(poll(&mut waits).is_none());
    assert_eq!(N_SET.get(), 1, "once for a call that waits");
}

#[test]
fn a_batch_is_answered_whole_whatever_its_handler_does() {
    let kinds = |methods: &[&str]| {
        let calls = methods.iter().map(|method| call(method)).collect();
        let futures = bounded().call_batch(calls);
        let kind = |mut future| ended(poll(&mut future)).err().map(|error| error.kind);
        futures.into_iter().map(kind).collect::<Vec<_>>()
    };
    let internal = Some(Kind::Internal);
    assert_eq!(
        kinds(&["fine", "at-first-poll", "fine"]),
        [None, internal, None]
    );
    assert_eq!(kinds(&["fine", "at-call"]), [internal, internal]);
    assert_eq!(kinds(&["too-few", "fine"]), [internal, internal]);
}

#[test]
fn by_default_a_call_of_a_batch_that_cannot_be_started_fails_by_itself() {
    struct Alone(Moody);
    impl Handler for Alone {
        fn call(&self, call: Call) -> BoxFuture<Outcome> {
            self.0.call(call)
        }
    }
    let methods = ["at-call", "fine", "at-call", "at-call", "fine"];
    let calls = methods.iter().map(|method| call(method)).collect();
    let futures = Alone(Moody::default()).call_batch(calls);
    let is_fine = |mut future| ended(poll(&mut future)).is_ok();
    let fine: Vec<_> = futures.into_iter().map(is_fine).collect();
    assert_eq!(fine, methods.map(|method| method == "fine"));
}

fn bounded() -> BoundedHandler<Moody, Clock> {
    BoundedHandler::new(Moody::default(), Blame::Upstream)
}

fn call(method: &str) -> Call {
    let mut call = Call::unary("s", method, "x");
    call.context.deadline = Some(epoch() + DEADLINE);
    call
}

fn poll(future: &mut BoxFuture<Outcome>) -> Option<Outcome> {
    let polled = future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    match polled {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}

/// What a call has come to after two polls; it is dropped with its handler told.
fn poll_twice(method: &str) -> (Option<Outcome>, Moody) {
    NOW.set(Duration::ZERO);
    let handler = Moody::default();
    let n_dropped = Arc::clone(&handler.n_dropped);
    let mut future = BoundedHandler::<_, Clock>::new(handler, Blame::Guest).call(call(method));
    let outcome = poll(&mut future).or_else(|| poll(&mut future));
    drop(future);
    (outcome, Moody { n_dropped })
}

fn ended(outcome: Option<Outcome>) -> Outcome {
    outcome.expect("it has ended")
}

impl Handler for Moody {
    fn call(&self, call: Call) -> BoxFuture<Outcome> {
        let bang = |bangs_at| Bang {
            n_polls: 0,
            bangs_at,
            dropped: None,
        };
        match &*call.method {
            "at-call" => panic!("on purpose"),
            "at-first-poll" => Box::pin(bang(1)),
            "at-second-poll" => Box::pin(bang(2)),
            "bang-when-dropped" => Box::pin(Bang {
                dropped: Some(Arc::clone(&self.n_dropped)),
                ..bang(u32::MAX)
            }),
            "never" => Box::pin(future::pending()),
            "says-late" => Box::pin(future::poll_fn(|_| {
                let is_over = NOW.get() >= DEADLINE;
                let late = || Err(Error::deadline_exceeded(Blame::Guest, "of a"));
                if is_over {
                    Poll::Ready(late())
                } else {
                    Poll::Pending
                }
            })),
            "stream" => Box::pin(future::ready(Ok(streamed(bang(2))))),
            "stall" => Box::pin(future::ready(Ok(streamed(bang(u32::MAX))))),
            _ => Box::pin(future::ready(Ok(Reply::one("x")))),
        }
    }

    fn call_batch(&self, mut calls: Vec<Call>) -> Vec<BoxFuture<Outcome>> {
        if calls.first().is_some_and(|call| &*call.method == "too-few") {
            calls.clear();
        }
        calls.into_iter().map(|call| self.call(call)).collect()
    }
}

fn streamed(bang: Bang) -> Reply {
    Reply {
        body: Body::Messages(BodyStream::new(bang)),
        ..Reply::one("")
    }
}

impl Future for Bang {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Outcome> {
        self.n_polls += 1;
        assert!(self.n_polls != self.bangs_at, "on purpose");
        Poll::Pending
    }
}

/// A message, and then what `bangs_at` says.
impl Stream for Bang {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.n_polls += 1;
        assert!(self.n_polls != self.bangs_at, "on purpose");
        match self.bangs_at {
            u32::MAX => Poll::Pending,
            _ => Poll::Ready(Some(Ok(Bytes::from_static(b"x")))),
        }
    }
}

impl Drop for Bang {
    fn drop(&mut self) {
        if let Some(dropped) = &self.dropped {
            dropped.fetch_add(1, Relaxed);
            panic!("while it is dropped");
        }
    }
}

impl Timer for Clock {
    fn poll_until(&mut self, _: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if !self.is_set {
            self.is_set = true;
            N_SET.set(N_SET.get() + 1);
        }
        if epoch() + NOW.get() >= deadline {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}
