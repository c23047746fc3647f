//! The calls of one connection or socket while they are being answered.
//!
//! Calls that arrive together are gathered and begun together. A call's future is polled once in
//! place; most handlers are done with that, and the reply leaves with the others of its batch. What
//! is not done becomes a task, so that one slow call neither holds up its neighbours nor its
//! connection. Dropping `Calls` cancels them all.

use std::{
    any::Any,
    fmt::Debug,
    future, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
    vec,
};

use futures_util::FutureExt;
use postern_core::{Blame, BoxFuture, Call, Error, Handler, Reply};
use tokio::task::{AbortHandle, Id, JoinSet};

/// Calls that are begun together at most. Twice as many would save each of them a 64th of what is
/// paid once for a batch, and lie in more of the cache.
const BATCH_MAX: usize = 32;

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
    /// Not begun yet: what is known of each call, and the calls, in the same order.
    gathered: (Vec<Asker<K>>, Vec<Call>),
    /// Begun together and not yet polled.
    begun: (vec::IntoIter<Asker<K>>, vec::IntoIter<BoxFuture<Outcome>>),
    tasks: JoinSet<(K, Outcome)>,
    /// A task was spawned after `poll_finished` was asked: nothing would tell of its end.
    is_unwatched: bool,
}

/// What is left of a call when a handler has taken it.
struct Asker<K> {
    key: K,
    deadline: Option<Instant>,
}

impl<K: Debug + Send + 'static> Calls<K> {
    pub(crate) fn new(handler: Arc<dyn Handler>) -> Self {
        Self {
            handler,
            gathered: (Vec::new(), Vec::new()),
            begun: (Vec::new().into_iter(), Vec::new().into_iter()),
            tasks: JoinSet::new(),
            is_unwatched: false,
        }
    }

    /// Begins a call.
    pub(crate) fn begin(&mut self, cx: &mut Context<'_>, key: K, call: Call) -> Begun<K> {
        let asker = Asker {
            deadline: call.context.deadline,
            key,
        };
        let handler = &self.handler;
        let first = contain(&asker.key, || {
            let mut future = handler.call(call);
            let polled = future.poll_unpin(cx);
            (future, polled)
        });
        self.settle(asker, first)
    }

    /// Keeps a call to be begun with others that are at hand.
    pub(crate) fn gather(&mut self, key: K, call: Call) {
        let (askers, calls) = &mut self.gathered;
        if calls.capacity() == 0 {
            // Room for more is taken when there are more: most connections hold this for long.
            askers.reserve_exact(1);
            calls.reserve_exact(1);
        }
        askers.push(Asker {
            deadline: call.context.deadline,
            key,
        });
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
        let next = begun.or_else(|| self.gathered.0.first());
        next.map(|asker| &asker.key)
    }

    /// Begins what is gathered, and tells of one call after the other what became of it.
    pub(crate) fn begin_next(&mut self, cx: &mut Context<'_>) -> Option<Begun<K>> {
        if self.begun.0.len() == 0 {
            let (askers, calls) = &mut self.gathered;
            if calls.len() <= 1 {
                let (Asker { key, .. }, call) = askers.pop().zip(calls.pop())?;
                return Some(self.begin(cx, key, call));
            }
            self.begin_batch();
        }
        let (askers, futures) = &mut self.begun;
        let (asker, mut future) = askers.next().zip(futures.next())?;
        let first = contain(&asker.key, || {
            let polled = future.poll_unpin(cx);
            (future, polled)
        });
        Some(self.settle(asker, first))
    }

    fn begin_batch(&mut self) {
        let (askers, calls) = mem::take(&mut self.gathered);
        let (handler, n_calls) = (&self.handler, calls.len());
        let keys: Vec<&K> = askers.iter().map(|asker| &asker.key).collect();
        let mut futures = contain(&keys, || handler.call_batch(calls)).unwrap_or_default();
        // None where it panicked.
        futures.resize_with(n_calls, || Box::pin(future::ready(Err(broken()))));
        self.begun = (askers.into_iter(), futures.into_iter());
    }

    fn settle(
        &mut self,
        asker: Asker<K>,
        first: Option<(BoxFuture<Outcome>, Poll<Outcome>)>,
    ) -> Begun<K> {
        let Asker { key, deadline } = asker;
        match first {
            Some((_, Poll::Ready(outcome))) => Begun::Done(key, outcome),
            Some((future, Poll::Pending)) => {
                self.is_unwatched = true;
                Begun::Task(self.tasks.spawn(finish(key, future, deadline)))
            }
            None => Begun::Done(key, Err(broken())),
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
        Ok(Err(panic)) => {
            log_panic(&key, &*panic);
            Err(broken())
        }
        Err(_) => Err(Error::deadline_exceeded(
            Blame::Gateway,
            "no answer within the time that the caller gave",
        )),
    };
    (key, outcome)
}

/// Runs what a handler does at once; `None` when it panics. That is the fault of one call, or of one
/// batch. Whatever it worked on is dropped and never polled again, so nothing half-changed is seen
/// afterwards.
fn contain<T>(key: &impl Debug, work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work))
        .inspect_err(|panic| log_panic(key, &**panic))
        .ok()
}

fn log_panic(key: &impl Debug, panic: &(dyn Any + Send)) {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    tracing::error!(call = ?key, panic = message, "handler panicked");
}

fn broken() -> Error {
    Error::internal("the handler panicked")
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use postern_core::Kind;

    use super::*;

    /// Answers `echo` at once, `later` after 10 ms, `never` never; `bang` and `late-bang` panic. Of a
    /// batch that begins with `together` it gives each call's place back.
    struct Moods;

    impl Handler for Moods {
        fn call(&self, call: Call) -> BoxFuture<Outcome> {
            Box::pin(async move {
                match &*call.method {
                    "later" => tokio::time::sleep(Duration::from_millis(10)).await,
                    "never" => future::pending().await,
                    "bang" => panic!("at once"),
                    "late-bang" => {
                        tokio::task::yield_now().await;
                        panic!("later")
                    }
                    _ => {}
                }
                Ok(Reply::new(call.headers, call.body))
            })
        }

        fn call_batch(&self, calls: Vec<Call>) -> Vec<BoxFuture<Outcome>> {
            match calls.first().map(|call| &*call.method) {
                Some("together") => (0..calls.len())
                    .map(|place| -> BoxFuture<Outcome> {
                        Box::pin(async move { Ok(Reply::one(place.to_string())) })
                    })
                    .collect(),
                Some("bang-together") => panic!("all of them"),
                _ => calls.into_iter().map(|call| self.call(call)).collect(),
            }
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

    async fn text(outcome: Outcome) -> String {
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

    #[tokio::test(start_paused = true)]
    async fn what_is_gathered_begins_together_and_in_order() {
        let mut calls = Calls::new(Arc::new(Moods));
        gather(&mut calls, &["together", "x", "y"]);
        assert_eq!((calls.n_gathered(), calls.len()), (3, 0));
        let done = begin_gathered(&mut calls).await;
        assert_eq!(done, told(&[(0, "0"), (1, "1"), (2, "2")]));
        assert_eq!((calls.n_gathered(), calls.next_key()), (0, None));
    }

    #[tokio::test(start_paused = true)]
    async fn one_alone_is_called_as_ever() {
        let mut calls = Calls::new(Arc::new(Moods));
        gather(&mut calls, &["together"]);
        let done = begin_gathered(&mut calls).await;
        assert_eq!(done, told(&[(0, "together")]));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_done_at_once_does_not_hold_up_the_rest() {
        let mut calls = Calls::new(Arc::new(Moods));
        gather(&mut calls, &["later", "echo", "bang", "late-bang"]);
        let done = begin_gathered(&mut calls).await;
        assert_eq!(done, told(&[(1, "echo"), (2, "internal")]));
        assert!(calls.is_unwatched());
        assert_eq!(calls.len(), 2);
        let mut later = Vec::new();
        for _ in 0..2 {
            let (_, key, outcome) = poll_fn(|cx| calls.poll_finished(cx)).await;
            later.push((key, text(outcome).await));
        }
        assert_eq!(later, told(&[(3, "internal"), (0, "later")]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_that_panics_over_a_batch_answers_all_of_it() {
        let mut calls = Calls::new(Arc::new(Moods));
        gather(&mut calls, &["bang-together", "echo"]);
        let done = begin_gathered(&mut calls).await;
        assert_eq!(done, told(&[(0, "internal"), (1, "internal")]));
        gather(&mut calls, &["echo", "echo"]);
        assert_eq!(begin_gathered(&mut calls).await.len(), 2);
    }
}
