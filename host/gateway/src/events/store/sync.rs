//! How what consumers have done comes into the file: those that changed are noted, and the writer is
//! asked once for all of them.

use std::sync::Arc;

use postern_core::{BoxFuture, Error, event::durable::ConsumerId};
use postern_wasm::StoreError;
use tokio::sync::oneshot;

use super::{
    log::{LogCore, LogInner},
    writer::Request,
};

/// Whoever waits until a consumer's state is on disk.
pub(super) type Waiting = oneshot::Sender<Result<(), StoreError>>;

impl LogCore {
    /// Has the state of `id` written. What is returned need not be polled for that.
    pub(super) fn sync(
        self: &Arc<Self>,
        inner: &mut LogInner,
        id: ConsumerId,
    ) -> BoxFuture<Result<(), Error>> {
        let (done, written) = oneshot::channel();
        inner.unsynced.insert(id);
        inner.waiting.push(done);
        if !inner.is_sync_requested {
            inner.is_sync_requested = true;
            // A store that is closed drops the sender, which is the answer.
            drop(self.store.requests.send(Request::Sync(Arc::clone(self))));
        }
        Box::pin(async move {
            let written = written.await.unwrap_or(Err(StoreError::Closed));
            written.map_err(|error| error.to_error())
        })
    }
}
