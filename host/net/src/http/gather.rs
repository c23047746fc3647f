//! Requests of one HTTP/2 connection that arrive together are called together, as those of a VSTP
//! connection are (calls.rs): a component takes a batch in one go.
//!
//! hyper tells of all requests that it has read before any of their tasks runs. The first that comes to
//! its call lets the others come to theirs, then hands over all that are there.
//!
//! ```text
//! request 1: read ─▶ gather ─▶ yield ──────────────▶ call_batch(1, 2, 3) ─▶ reply 1
//! request 2:   read ─▶ gather ─▶ wait ────────────────────┼──────────────▶ reply 2
//! request 3:     read ─▶ gather ─▶ wait ──────────────────┴──────────────▶ reply 3
//! ```
//! A request that is alone on its connection is called at once.

use std::{mem, sync::Arc};

use parking_lot::Mutex;
use postern_core::{BoxFuture, Call, Error, Handler, Reply};
use tokio::{sync::oneshot, task::yield_now};

type Outcome = Result<Reply, Error>;

/// The calls of one connection that are not begun. Clones are of the same connection.
#[derive(Clone, Default)]
pub(super) struct Gather(Arc<Mutex<Gathered>>);

/// Calls, and who waits for the future of each, in the same order.
#[derive(Default)]
struct Gathered {
    calls: Vec<Call>,
    waiting: Vec<oneshot::Sender<BoxFuture<Outcome>>>,
}

/// Hands over what is gathered when it is dropped, so that a request that is reset while it lets others
/// come holds none of them up.
struct Lead<'a> {
    gather: &'a Gather,
    handler: &'a Arc<dyn Handler>,
}

impl Gather {
    /// Makes a call, with others if `is_alone` is false.
    pub(super) fn call(
        &self,
        handler: &Arc<dyn Handler>,
        call: Call,
        is_alone: bool,
    ) -> BoxFuture<Outcome> {
        // Most are. A call is large: it is moved to its handler and nowhere else.
        if is_alone {
            return handler.call(call);
        }
        let (gather, handler) = (self.clone(), Arc::clone(handler));
        Box::pin(async move { gather.call_with_others(&handler, call).await })
    }

    async fn call_with_others(&self, handler: &Arc<dyn Handler>, call: Call) -> Outcome {
        // Dropped after `begun` where this request is reset, so that its call is not begun.
        let lead;
        let (n_gathered, begun) = self.push(call);
        if n_gathered == 1 {
            lead = Lead {
                gather: self,
                handler,
            };
            yield_now().await;
            drop(lead);
        } else if n_gathered >= BATCH_MAX {
            self.begin(handler);
        }
        match begun.await {
            Ok(future) => future.await,
            Err(_) => Err(Error::internal("the handler panicked")),
        }
    }

    fn push(&self, call: Call) -> (usize, oneshot::Receiver<BoxFuture<Outcome>>) {
        let (sender, begun) = oneshot::channel();
        let mut gathered = self.0.lock();
        gathered.calls.push(call);
        gathered.waiting.push(sender);
        (gathered.calls.len(), begun)
    }

    fn begin(&self, handler: &Arc<dyn Handler>) {
        let Gathered {
            mut calls,
            mut waiting,
        } = mem::take(&mut *self.0.lock());
        // What was reset meanwhile need not be worked out.
        let mut is_wanted = waiting
            .iter()
            .map(|sender| !sender.is_closed())
            .collect::<Vec<_>>()
            .into_iter();
        let mut is_wanted_too = is_wanted.clone();
        calls.retain(|_| is_wanted.next().unwrap_or(false));
        waiting.retain(|_| is_wanted_too.next().unwrap_or(false));
        let futures = match calls.len() {
            0 => return,
            1 => calls.into_iter().map(|call| handler.call(call)).collect(),
            _ => handler.call_batch(calls),
        };
        for (sender, future) in waiting.into_iter().zip(futures) {
            // Who is gone meanwhile drops its future.
            let _ = sender.send(future);
        }
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.gather.begin(self.handler);
    }
}

/// Calls that are begun together at most, as of a VSTP connection.
const BATCH_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    /// Tells each call how many began with it.
    #[derive(Default)]
    struct Batches {
        n_begun: AtomicUsize,
    }

    impl Handler for Batches {
        fn call(&self, _: Call) -> BoxFuture<Outcome> {
            self.n_begun.fetch_add(1, Ordering::SeqCst);
            Box::pin(async { Ok(Reply::one("1")) })
        }

        fn call_batch(&self, calls: Vec<Call>) -> Vec<BoxFuture<Outcome>> {
            let n_calls = calls.len();
            self.n_begun.fetch_add(n_calls, Ordering::SeqCst);
            let reply = move || Ok(Reply::one(n_calls.to_string()));
            calls
                .into_iter()
                .map(|_| Box::pin(async move { reply() }) as BoxFuture<Outcome>)
                .collect()
        }
    }

    fn call() -> Call {
        Call::unary("s", "m", "x")
    }

    async fn text(outcome: Outcome) -> String {
        let body = outcome.expect("answered").body.into_one(10).await;
        String::from_utf8(body.expect("short").to_vec()).expect("text")
    }

    async fn answers(n_calls: usize, is_alone: bool) -> Vec<String> {
        let (gather, handler) = (Gather::default(), Arc::new(Batches::default()));
        let handler: Arc<dyn Handler> = handler;
        let calls = (0..n_calls).map(|_| async {
            let outcome = gather.call(&handler, call(), is_alone).await;
            text(outcome).await
        });
        join_all(calls).await
    }

    #[tokio::test]
    async fn what_is_at_hand_begins_together_and_32_at_most() {
        assert_eq!(answers(5, false).await, ["5"; 5]);
        let many = answers(40, false).await;
        assert_eq!((&*many[0], &*many[31], &*many[39]), ("32", "32", "8"));
    }

    #[tokio::test]
    async fn one_alone_is_called_as_ever() {
        assert_eq!(answers(1, true).await, ["1"]);
        assert_eq!(answers(1, false).await, ["1"]);
    }

    #[tokio::test]
    async fn who_is_reset_while_others_come_holds_none_of_them_up() {
        let (gather, batches) = (Gather::default(), Arc::new(Batches::default()));
        let handler: Arc<dyn Handler> = Arc::clone(&batches) as Arc<dyn Handler>;
        let mut first = Box::pin(gather.call(&handler, call(), false));
        let mut second = Box::pin(gather.call(&handler, call(), false));
        assert!(futures_util::poll!(&mut first).is_pending());
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        assert_eq!(text(second.await).await, "1");
        assert_eq!(batches.n_begun.load(Ordering::SeqCst), 1);
    }
}
