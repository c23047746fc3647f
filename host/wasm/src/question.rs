//! What a role is asked in one entry: what goes into the store, the function that is called, and what comes
//! back. For roles that are entered directly, on this worker's own instance (`ask`), or through the pool
//! (`Lease::ask`): each says here once what it asks.

use std::time::Instant;

use postern_core::Error;
use wasmtime::Store;

use crate::{
    bindings::Failure,
    state::StoreState,
    worker_local::{DirectFunctions, WorkerLocal},
};

/// One question to a role.
pub(crate) trait Question: Send + Sized + 'static {
    type Functions: DirectFunctions + Sync;
    /// What the function is called with.
    type Params: Send;
    /// What the guest says unless it fails.
    type Said: Send;
    /// What the store was given and gives back; the default where the guest was not entered.
    type Kept: Default + Send;
    /// What whoever asks gets.
    type Answer: Send + 'static;

    /// The name under which its placement is remembered.
    const NAME: &'static str;

    /// Until when whoever asks waits.
    fn deadline(&self) -> Option<Instant>;

    /// Puts the ambient call, and what else the guest works on, into the store.
    fn begin(self, state: &mut StoreState) -> Self::Params;

    /// Calls the function on this thread.
    fn enter(
        functions: &Self::Functions,
        store: &mut Store<StoreState>,
        params: Self::Params,
    ) -> wasmtime::Result<Said<Self>>;

    /// Calls the function on a fiber.
    fn enter_async(
        functions: &Self::Functions,
        store: &mut Store<StoreState>,
        params: Self::Params,
    ) -> impl Future<Output = wasmtime::Result<Said<Self>>> + Send;

    /// Takes out of the store what `begin` has put there; no call is ambient afterwards.
    fn end(state: &mut StoreState) -> Self::Kept;

    /// The answer of a guest of `plugin`; `said` is an error where the guest is broken.
    fn answer(kept: Self::Kept, said: Result<Said<Self>, Error>, plugin: &str) -> Self::Answer;

    /// The answer where no guest could be asked.
    fn refuse(self, error: Error) -> Self::Answer;

    /// The answer where the question went with its guest.
    fn lose(error: Error) -> Self::Answer;
}

/// What a guest says to a question.
pub(crate) type Said<Q> = Result<<Q as Question>::Said, Failure>;

/// Asks an instance of this worker, or of another while that one is taken.
pub(crate) fn ask<Q: Question>(local: &WorkerLocal<Q::Functions>, question: Q) -> Q::Answer {
    let mut entry = match local.take() {
        Ok(entry) => entry,
        Err(absent) => return question.refuse(local.on_absent(absent)),
    };
    let result = entry.run(1, |store, functions| {
        let params = question.begin(store.data_mut());
        Q::enter(functions, store, params)
    });
    let kept = entry.state().map(Q::end).unwrap_or_default();
    let time = entry.time();
    drop(entry);
    let said = local.settle(time, result);
    Q::answer(kept, said, &local.code().guest.plugin)
}
