//! The calls of one connection or socket while they are being answered.
//!
//! Calls that arrive together are gathered and begun together. A call's future is polled once in
//! place; most handlers are done with that, and the reply leaves with the others of its batch. What
//! is not done becomes a task, so that one slow call neither holds up its neighbours nor its
//! connection. Dropping `Calls` cancels them all.
//!
//! Panics and deadlines are the joint's business (`postern_core::bounded`): the pipeline sees to them,
//! and a `BoundedHandler` where there is none. A handler that panics all the same ends the connection.

use std::{
    fmt::Debug,
    mem,
    panic::resume_unwind,
    sync::Arc,
    task::{Context, Poll, ready},
    vec,
};

use futures_util::FutureExt;
use postern_core::{BoxFuture, Call, Error, Handler, Reply};
use tokio::task::{AbortHandle, Id, JoinSet};

/// Calls that are begun together at most. Twice as many would save each of them a 64th of what is
/// paid once for a batch, and lie in more of the cache.
const BATCH_MAX: usize = 32;

/// What a handler answered.
pub(crate) type CallResult = Result<Reply, Error>;

/// What became of a call that has begun.
pub(crate) enum Begun<K> {
    /// It is answered.
    Done(K, CallResult),
    /// It is a task; the handle cancels it.
    Task(AbortHandle),
}

/// Calls by `K`, which says where the reply goes.
pub(crate) struct Calls<K> {
    handler: Arc<dyn Handler>,
    /// Not begun yet: where each reply goes, and the calls, in the same order.
    gathered: (Vec<K>, Vec<Call>),
    /// How many are likely to come together: as many as the last time.
    n_expected: usize,
    /// Begun together and not yet polled.
    begun: (vec::IntoIter<K>, vec::IntoIter<BoxFuture<CallResult>>),
    tasks: JoinSet<(K, CallResult)>,
    /// A task was spawned after `poll_finished` was asked: nothing would tell of its end.
    is_unwatched: bool,
}

impl<K: Debug + Send + 'static> Calls<K> {
    pub(crate) fn new(handler: Arc<dyn Handler>) -> Self {
        Self {
            handler,
            gathered: (Vec::new(), Vec::new()),
            n_expected: 1,
            begun: (Vec::new().into_iter(), Vec::new().into_iter()),
            tasks: JoinSet::new(),
            is_unwatched: false,
        }
    }

    /// Begins a call.
    pub(crate) fn begin(&mut self, cx: &mut Context<'_>, key: K, call: Call) -> Begun<K> {
        let future = self.handler.call(call);
        self.poll_first(cx, key, future)
    }

    /// Keeps a call to be begun with others that are at hand.
    #[inline]
    pub(crate) fn gather(&mut self, key: K, call: Call) {
        let (keys, calls) = &mut self.gathered;
        if calls.capacity() == 0 {
            // A call is large: room is taken once for all that come together. Most connections have
            // one call at a time, and hold this for long.
            keys.reserve_exact(self.n_expected);
            calls.reserve_exact(self.n_expected);
        }
        keys.push(key);
        calls.push(call);
    }

    /// Calls that are gathered, or begun together and not yet polled.
    pub(crate) fn n_gathered(&self) -> usize {
        self.gathered.1.len() + self.begun.1.len()
    }

    /// Whether as many are gathered as are begun together.
    pub(crate) fn is_batch_full(&self) -> bool {
        self.n_gathered() >= BATCH_MAX
    }

    /// Where the reply goes of the call that `begin_next` will tell of.
    pub(crate) fn next_key(&self) -> Option<&K> {
        let begun = self.begun.0.as_slice().first();
        begun.or_else(|| self.gathered.0.first())
    }

    /// Begins what is gathered, and tells of one call after the other what became of it.
    pub(crate) fn begin_next(&mut self, cx: &mut Context<'_>) -> Option<Begun<K>> {
        if self.begun.0.len() == 0 {
            let (keys, calls) = &mut self.gathered;
            if calls.len() <= 1 {
                let (key, call) = keys.pop().zip(calls.pop())?;
                if mem::replace(&mut self.n_expected, 1) > 1 {
                    self.gathered = (Vec::new(), Vec::new());
                }
                return Some(self.begin(cx, key, call));
            }
            self.begin_batch();
        }
        let (keys, futures) = &mut self.begun;
        let (key, future) = keys.next().zip(futures.next())?;
        Some(self.poll_first(cx, key, future))
    }

    fn begin_batch(&mut self) {
        let (keys, calls) = mem::take(&mut self.gathered);
        self.n_expected = calls.len();
        let futures = self.handler.call_batch(calls);
        debug_assert_eq!(keys.len(), futures.len(), "a future for each call");
        self.begun = (keys.into_iter(), futures.into_iter());
    }

    fn poll_first(
        &mut self,
        cx: &mut Context<'_>,
        key: K,
        mut future: BoxFuture<CallResult>,
    ) -> Begun<K> {
        match future.poll_unpin(cx) {
            Poll::Ready(outcome) => Begun::Done(key, outcome),
            Poll::Pending => {
                self.is_unwatched = true;
                Begun::Task(self.tasks.spawn(async move { (key, future.await) }))
            }
        }
    }

    /// The next task that ends; pending while none does, also when there are none.
    pub(crate) fn poll_finished(&mut self, cx: &mut Context<'_>) -> Poll<(Id, K, CallResult)> {
        self.is_unwatched = false;
        loop {
            match ready!(self.tasks.poll_join_next_with_id(cx)) {
                Some(Ok((id, (key, outcome)))) => return Poll::Ready((id, key, outcome)),
                Some(Err(error)) if error.is_panic() => resume_unwind(error.into_panic()),
                // Whoever aborts a task waits for its outcome no more.
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

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use postern_core::{Blame, Kind, bounded::BoundedHandler};

    use postern_system::clock;

    use super::*;
    use crate::Alarm;

    /// Answers `echo` at once, `later` after 10 ms, `never` never; `late-bang` panics. Of a batch that
    /// begins with `together` it gives each call's place back.
    struct Moods;

    impl Handler for Moods {
        fn call(&self, call: Call) -> BoxFuture<CallResult> {
            Box::pin(async move {
                match &*call.method {
                    "later" => tokio::time::sleep(Duration::from_millis(10)).await,
                    "never" => std::future::pending().await,
                    "late-bang" => {
                        tokio::task::yield_now().await;
                        panic!("later")
                    }
                    _ => {}
                }
                Ok(Reply::new(call.headers, call.body))
            })
        }

        fn call_batch(&self, calls: Vec<Call>) -> Vec<BoxFuture<CallResult>> {
            match calls.first().map(|call| &*call.method) {
                Some("together") => (0..calls.len())
                    .map(|place| -> BoxFuture<CallResult> {
                        Box::pin(async move { Ok(Reply::one(place.to_string())) })
                    })
                    .collect(),
                _ => calls.into_iter().map(|call| self.call(call)).collect(),
            }
        }
    }

    fn calls() -> Calls<u8> {
        let handler = BoundedHandler::<_, Alarm>::new(Moods, Blame::Guest);
        Calls::new(Arc::new(handler))
    }

    /// The outcome, when it is there at once.
    async fn begin(calls: &mut Calls<u8>, key: u8, call: Call) -> Option<(u8, CallResult)> {
        let mut call = Some(call);
        let begun =
            poll_fn(|cx| Poll::Ready(calls.begin(cx, key, call.take().expect("polled once"))));
        match begun.await {
            Begun::Done(key, outcome) => Some((key, outcome)),
            Begun::Task(_) => None,
        }
    }

    /// What was done at once of all that is gathered: keys, and bodies or kinds.
    async fn begin_gathered(calls: &mut Calls<u8>) -> Vec<(u8, String)> {
        let mut done = Vec::new();
        while let Some(key) = calls.next_key().copied() {
            match poll_fn(|cx| Poll::Ready(calls.begin_next(cx))).await {
                Some(Begun::Done(begun, outcome)) => {
                    assert_eq!(begun, key, "the key that was announced");
                    done.push((key, text(outcome).await));
                }
                Some(Begun::Task(_)) => {}
                None => panic!("a key and no call"),
            }
        }
        done
    }

    async fn text(outcome: CallResult) -> String {
        match outcome {
            Ok(reply) => {
                let body = reply.body.into_one(100).await.expect("a message");
                String::from_utf8_lossy(&body).into_owned()
            }
            Err(error) => error.kind.name().to_owned(),
        }
    }

    fn gather(calls: &mut Calls<u8>, methods: &[&str]) {
        for (key, method) in (0..).zip(methods) {
            calls.gather(key, Call::unary("s", *method, (*method).to_owned()));
        }
    }

    fn told(told: &[(u8, &str)]) -> Vec<(u8, String)> {
        let owned = |(key, text): &(u8, &str)| (*key, (*text).to_owned());
        told.iter().map(owned).collect()
    }

    fn kind(outcome: CallResult) -> Option<Kind> {
        outcome.err().map(|error| error.kind)
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_done_at_once_never_becomes_a_task() {
        let mut calls = calls();
        let done = begin(&mut calls, 1, Call::unary("s", "echo", "x")).await;
        let (key, outcome) = done.expect("done");
        assert_eq!((key, kind(outcome)), (1, None));
        assert_eq!(calls.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_call_ends_by_itself_or_by_its_deadline() {
        let mut calls = calls();
        assert!(
            begin(&mut calls, 1, Call::unary("s", "later", "x"))
                .await
                .is_none()
        );
        let mut call = Call::unary("s", "never", "x");
        let now = clock::now();
        call.context.deadline = Some(now + Duration::from_millis(50));
        assert!(begin(&mut calls, 2, call).await.is_none());
        let (_, first, outcome) = poll_fn(|cx| calls.poll_finished(cx)).await;
        assert_eq!((first, kind(outcome)), (1, None));
        let (_, second, outcome) = poll_fn(|cx| calls.poll_finished(cx)).await;
        assert_eq!((second, kind(outcome)), (2, Some(Kind::DeadlineExceeded)));
        assert_eq!(calls.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_gathered_begins_together_and_in_order() {
        let mut calls = calls();
        gather(&mut calls, &["together", "x", "y"]);
        assert_eq!((calls.n_gathered(), calls.len()), (3, 0));
        let done = begin_gathered(&mut calls).await;
        assert_eq!(done, told(&[(0, "0"), (1, "1"), (2, "2")]));
        assert_eq!((calls.n_gathered(), calls.next_key()), (0, None));
    }

    #[tokio::test(start_paused = true)]
    async fn one_alone_is_called_as_ever() {
        let mut calls = calls();
        gather(&mut calls, &["together"]);
        let done = begin_gathered(&mut calls).await;
        assert_eq!(done, told(&[(0, "together")]));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_done_at_once_does_not_hold_up_the_rest() {
        let mut calls = calls();
        gather(&mut calls, &["later", "echo", "late-bang"]);
        let done = begin_gathered(&mut calls).await;
        assert_eq!(done, told(&[(1, "echo")]));
        assert!(calls.is_unwatched());
        assert_eq!(calls.len(), 2);
        let mut later = Vec::new();
        for _ in 0..2 {
            let (_, key, outcome) = poll_fn(|cx| calls.poll_finished(cx)).await;
            later.push((key, text(outcome).await));
        }
        assert_eq!(later, told(&[(2, "internal"), (0, "later")]));
    }
}
