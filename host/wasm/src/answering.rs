//! What `handler` and `text-handler` have in common: one message in, one message out. `entry/handler.rs` has
//! what is done with either.

use bytes::Bytes;
use postern_core::Error;
use wasmtime::Store;

use crate::{bindings::HandleResult, exports::Functions, state::StoreState};

/// A role that answers calls of one message.
pub(crate) trait Answering: Functions + Sync {
    /// The message, as the guest takes it.
    type Body: Send + Sync;

    /// # Errors
    /// What the caller is told whose message is no such body.
    fn read(body: Bytes) -> Result<Self::Body, Error>;

    /// Calls the function on this thread, for service and method.
    fn enter(
        &self,
        store: &mut Store<StoreState>,
        target: (&str, &str),
        body: &Self::Body,
    ) -> wasmtime::Result<HandleResult>;

    /// Calls the function on a fiber.
    fn enter_async(
        &self,
        store: &mut Store<StoreState>,
        target: (&str, &str),
        body: &Self::Body,
    ) -> impl Future<Output = wasmtime::Result<HandleResult>> + Send;
}
