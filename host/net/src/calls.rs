//! The calls of one connection or socket while they are being answered.
//!
//! A call's future is polled once in place; most handlers are done with that, and the reply leaves
//! with the others of its batch. What is not done becomes a task, so that one slow call neither
//! holds up its neighbours nor its connection. Dropping `Calls` cancels them all.

use std::{
    any::Any,
    fmt::Debug,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use futures_util::FutureExt;
use postern_core::{Blame, BoxFuture, Call, Error, Handler, Reply};
use tokio::task::{AbortHandle, Id, JoinSet};

/// What a handler answered.
pub(crate) type Outcome = Result<Reply, Error>;

/// What became of a call that has begun.
pub(crate) enum Begun<K> {
    /// It is answered.
    Done(K, Outcome),
    /// It is a task; the handle cancels it.
    Task(AbortHandle),
}

/// Calls by `K`, which says where the reply goes.
pub(crate) struct Calls<K> {
    handler: Arc<dyn Handler>,
    tasks: JoinSet<(K, Outcome)>,
    /// A task was spawned after `poll_finished` was asked: nothing would tell of its end.
    is_unwatched: bool,
}

impl<K: Debug + Send + 'static> Calls<K> {
    pub(crate) fn new(handler: Arc<dyn Handler>) -> Self {
        Self {
            handler,
            tasks: JoinSet::new(),
            is_unwatched: false,
        }
    }

    /// Begins a call.
    pub(crate) fn begin(&mut self, cx: &mut Context<'_>, key: K, call: Call) -> Begun<K> {
        let deadline = call.context.deadline;
        let handler = &self.handler;
        // A panic is the fault of one call. Its future is dropped and never polled again, so
        // nothing half-changed is seen afterwards.
        let first = catch_unwind(AssertUnwindSafe(|| {
            let mut future = handler.call(call);
            let polled = future.poll_unpin(cx);
            (future, polled)
        }));
        match first {
            Ok((_, Poll::Ready(outcome))) => Begun::Done(key, outcome),
            Ok((future, Poll::Pending)) => {
                self.is_unwatched = true;
                Begun::Task(self.tasks.spawn(finish(key, future, deadline)))
            }
            Err(panic) => {
                let outcome = Err(panicked(&key, &*panic));
                Begun::Done(key, outcome)
            }
        }
    }

    /// The next task that ends; pending while none does, also when there are none.
    pub(crate) fn poll_finished(&mut self, cx: &mut Context<'_>) -> Poll<(Id, K, Outcome)> {
        self.is_unwatched = false;
        loop {
            match ready!(self.tasks.poll_join_next_with_id(cx)) {
                Some(Ok((id, (key, outcome)))) => return Poll::Ready((id, key, outcome)),
                // Panics are caught within, and tasks are aborted only with their owner.
                Some(Err(error)) => tracing::debug!(%error, "call ended without an outcome"),
                None => return Poll::Pending,
            }
        }
    }

    /// `poll_finished` must be asked before sleeping.
    pub(crate) fn is_unwatched(&self) -> bool {
        self.is_unwatched
    }

    /// Calls that have become tasks and have not ended.
    pub(crate) fn len(&self) -> usize {
        self.tasks.len()
    }
}

async fn finish<K: Debug>(
    key: K,
    future: BoxFuture<Outcome>,
    deadline: Option<Instant>,
) -> (K, Outcome) {
    let guarded = AssertUnwindSafe(future).catch_unwind();
    let finished = match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline.into(), guarded).await,
        None => Ok(guarded.await),
    };
    let outcome = match finished {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => Err(panicked(&key, &*panic)),
        Err(_) => Err(Error::deadline_exceeded(
            Blame::Gateway,
            "no answer within the time that the caller gave",
        )),
    };
    (key, outcome)
}

fn panicked<K: Debug>(key: &K, panic: &(dyn Any + Send)) -> Error {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    tracing::error!(call = ?key, panic = message, "handler panicked");
    Error::internal("the handler panicked")
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use postern_core::Kind;

    use super::*;

    /// Answers `echo` at once, `later` after 10 ms, `never` never; `bang` and `late-bang` panic.
    struct Moods;

    impl Handler for Moods {
        fn call(&self, call: Call) -> BoxFuture<Outcome> {
            Box::pin(async move {
                match &*call.method {
                    "later" => tokio::time::sleep(Duration::from_millis(10)).await,
                    "never" => std::future::pending().await,
                    "bang" => panic!("at once"),
                    "late-bang" => {
                        tokio::task::yield_now().await;
                        panic!("later")
                    }
                    _ => {}
                }
                Ok(Reply {
                    headers: call.headers,
                    body: call.body,
                })
            })
        }
    }

    /// The outcome, when it is there at once.
    async fn begin(calls: &mut Calls<u8>, key: u8, call: Call) -> Option<(u8, Outcome)> {
        let mut call = Some(call);
        let begun =
            poll_fn(|cx| Poll::Ready(calls.begin(cx, key, call.take().expect("polled once"))));
        match begun.await {
            Begun::Done(key, outcome) => Some((key, outcome)),
            Begun::Task(_) => None,
        }
    }

    fn kind(outcome: Outcome) -> Option<Kind> {
        outcome.err().map(|error| error.kind)
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_done_at_once_never_becomes_a_task() {
        let mut calls = Calls::new(Arc::new(Moods));
        let done = begin(&mut calls, 1, Call::unary("s", "echo", "x")).await;
        let (key, outcome) = done.expect("done");
        assert_eq!((key, kind(outcome)), (1, None));
        assert_eq!(calls.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_call_ends_by_itself_or_by_its_deadline() {
        let mut calls = Calls::new(Arc::new(Moods));
        assert!(
            begin(&mut calls, 1, Call::unary("s", "later", "x"))
                .await
                .is_none()
        );
        let mut call = Call::unary("s", "never", "x");
        let now = tokio::time::Instant::now().into_std();
        call.context.deadline = Some(now + Duration::from_millis(50));
        assert!(begin(&mut calls, 2, call).await.is_none());
        let (_, first, outcome) = poll_fn(|cx| calls.poll_finished(cx)).await;
        assert_eq!((first, kind(outcome)), (1, None));
        let (_, second, outcome) = poll_fn(|cx| calls.poll_finished(cx)).await;
        assert_eq!((second, kind(outcome)), (2, Some(Kind::DeadlineExceeded)));
        assert_eq!(calls.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_costs_one_call_only() {
        let mut calls = Calls::new(Arc::new(Moods));
        let (_, outcome) = begin(&mut calls, 1, Call::unary("s", "bang", "x"))
            .await
            .expect("done");
        assert_eq!(kind(outcome), Some(Kind::Internal));
        assert!(
            begin(&mut calls, 2, Call::unary("s", "late-bang", "x"))
                .await
                .is_none()
        );
        let (_, key, outcome) = poll_fn(|cx| calls.poll_finished(cx)).await;
        assert_eq!((key, kind(outcome)), (2, Some(Kind::Internal)));
        assert!(
            begin(&mut calls, 3, Call::unary("s", "echo", "x"))
                .await
                .is_some()
        );
    }
}
