//! The only joint. Plugins, upstreams, the pipeline and test doubles implement it; fronts call it.

use std::sync::Arc;

use crate::{
    bounded::{contain, failed},
    boxed::BoxFuture,
    call::{Call, Reply},
    error::Error,
};

/// Answers calls.
///
/// The future owns everything it needs, so that a driver may poll it in place first and move it to
/// a task of its own only when it does not complete at once.
pub trait Handler: Send + Sync + 'static {
    /// Starts answering `call`. Dropping the future cancels it.
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>>;

    /// Starts answering calls that arrived together: as many futures as there are `calls`, in their
    /// order. By default each call is started by itself; whoever has a price to pay for being called
    /// at all may pay it once for all of them. What becomes of one is no concern of the others.
    fn call_batch(&self, calls: Vec<Call>) -> Vec<BoxFuture<Result<Reply, Error>>> {
        let mut futures = Vec::with_capacity(calls.len());
        let mut calls = calls.into_iter();
        while calls.len() > 0 {
            // Most often all of them, in one piece of work: a call is large, and is moved once.
            let begun = contain(|| {
                for call in calls.by_ref() {
                    futures.push(self.call(call));
                }
            });
            if let Err(panicked) = begun {
                futures.push(failed(panicked));
            }
        }
        futures
    }
}

impl<H: Handler + ?Sized> Handler for Arc<H> {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        (**self).call(call)
    }

    fn call_batch(&self, calls: Vec<Call>) -> Vec<BoxFuture<Result<Reply, Error>>> {
        (**self).call_batch(calls)
    }
}
