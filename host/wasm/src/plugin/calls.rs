//! Calls of a plugin: converted where their service has a schema, recorded while a recording is made, and
//! entered in the role that they are for.

use std::sync::Arc;

use postern_core::{BoxFuture, Call, Error, Handler, Reply};

use super::{Plugin, recording};
use crate::{
    coded_call,
    entry::{
        async_stream::HandleAsync,
        batch,
        handler::{self, Handle},
        stream::{self, HandleStream},
        text::HandleText,
        web,
    },
    generation::WorkerShard,
    role::Role,
};

impl Handler for Plugin {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        let shard = match self.answering() {
            Ok(shard) => shard,
            Err(error) => return coded_call::refused(error),
        };
        match coded_call::conversion(&shard.generation().guest.spec, &call) {
            Ok(None) => self.enter(shard, call),
            Ok(Some(conversion)) => {
                coded_call::call(conversion, call, |call| self.enter(shard, call))
            }
            Err(error) => coded_call::refused(error),
        }
    }

    fn call_batch(&self, calls: Vec<Call>) -> Vec<BoxFuture<Result<Reply, Error>>> {
        let Ok(shard) = self.answering() else {
            return calls.into_iter().map(|call| self.call(call)).collect();
        };
        let spec = &shard.generation().guest.spec;
        match spec.schema {
            None => self.enter_batch(&shard, calls),
            Some(_) => coded_call::call_batch(spec, calls, |calls| self.enter_batch(&shard, calls)),
        }
    }
}

impl Plugin {
    /// Answers a call as the guest is to see it.
    fn enter(&self, shard: Arc<WorkerShard>, call: Call) -> BoxFuture<Result<Reply, Error>> {
        // Its octets move once: from here on it is handed on by pointer.
        if self.recorder.is_on() {
            recording::call(&self.recorder, shard, call)
        } else {
            call_one(shard, Box::new(call))
        }
    }

    /// As `enter`, for calls that came together.
    fn enter_batch(
        &self,
        shard: &Arc<WorkerShard>,
        calls: Vec<Call>,
    ) -> Vec<BoxFuture<Result<Reply, Error>>> {
        if self.recorder.is_on() {
            return recording::call_batch(&self.recorder, shard, calls);
        }
        batch::call(shard, calls, |call| {
            call_one(Arc::clone(shard), Box::new(call))
        })
    }
}

/// Answers a call of the role `handler`, `text-handler`, `stream-handler` or `async-stream-handler`, or a
/// request of HTTP.
pub(super) fn call_one(
    shard: Arc<WorkerShard>,
    call: Box<Call>,
) -> BoxFuture<Result<Reply, Error>> {
    if shard.generation().takes_as_request(&call) {
        Box::pin(web::call(shard, call))
    } else if shard.generation().streams(&call) {
        if shard.generation().has(Role::AsyncStreamHandler) {
            Box::pin(stream::call::<HandleAsync>(shard, call))
        } else {
            Box::pin(stream::call::<HandleStream>(shard, call))
        }
    } else if shard.generation().has(Role::Handler) {
        handler::call::<Handle>(shard, call)
    } else {
        handler::call::<HandleText>(shard, call)
    }
}
