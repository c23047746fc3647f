//! A call in the role that it is for.

use std::sync::Arc;

use postern_core::{BoxFuture, Call, Error, Reply};

use super::{
    async_stream::HandleAsync,
    handler::{self, Handle},
    stream::{self, HandleStream},
    text::HandleText,
    web,
};
use crate::{generation::WorkerShard, role::Role};

/// Answers a call of the role `handler`, `text-handler`, `stream-handler` or `async-stream-handler`, or a
/// request of HTTP.
pub(crate) fn call_one(
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
