//! Role `handler`: one message in, one message out.

use std::{mem, sync::Arc, time::Duration};

use bytes::Bytes;
use postern_core::{Blame, Body, BoxFuture, Call, Error, Kind, Reply, Text};

use crate::{
    bindings::HandleResult,
    call_path::{Bailout, CallPath},
    convert::{self, Stop},
    executor,
    generation::Generation,
    instance::InlineError,
    lease::Lease,
    limits::octets,
    offload::{self, Purpose},
    placement::{IN_PLACE_MAX, Placement},
    reply_draft::ReplyDraft,
    serving::WorkerShard,
    state::{AmbientCall, CallContext},
    stats::Outcome,
};

/// What goes into the guest.
struct Request {
    service: Text,
    method: Text,
    body: Bytes,
}

/// Answers `call` by the guest's `handle`.
///
/// With its message at hand and an instance idle, a call is handed to the instance at once: what the
/// future then holds is small, and a small future is a cheap one (every octet of it is copied when it
/// is boxed).
pub(crate) fn call(shard: Arc<WorkerShard>, call: Call) -> BoxFuture<Result<Reply, Error>> {
    if call.body.is_stream() {
        let gathered = Box::pin(gather(Arc::clone(&shard), call));
        return offload::run_at(
            Placement::InPlace,
            &shard,
            Purpose::role("gather"),
            Err,
            gathered,
        );
    }
    let placement = shard
        .generation()
        .placements
        .of(&call.service, &call.method);
    let path = path_of(&shard, placement);
    match shard.try_lease(path) {
        Ok(lease) => begin(lease, call, placement),
        Err(shard) => Box::pin(wait(shard, call, placement)),
    }
}

/// The kind of instance that a call wants.
fn path_of(shard: &WorkerShard, placement: Placement) -> CallPath {
    match placement {
        Placement::InPlace | Placement::Measured => shard.generation().path(),
        Placement::Offloaded => CallPath::Async,
    }
}

/// Reads a stream that must hold one message, then goes on as ever.
async fn gather(shard: Arc<WorkerShard>, call: Call) -> Result<Reply, Error> {
    let limit = shard.generation().guest.spec.limits.input_bytes_max;
    let body = Body::One(call.body.into_one(limit).await?);
    self::call(shard, Call { body, ..call }).await
}

/// Waits for an instance, then goes on as ever.
async fn wait(shard: Arc<WorkerShard>, call: Call, placement: Placement) -> Result<Reply, Error> {
    let path = path_of(&shard, placement);
    let lease = shard.lease(call.context.deadline, path).await?;
    // More may be known by now.
    let placements = &lease.shard().generation().placements;
    let placement = placements.of(&call.service, &call.method);
    begin(lease, call, placement).await
}

fn begin(
    mut lease: Lease,
    mut call: Call,
    placement: Placement,
) -> BoxFuture<Result<Reply, Error>> {
    let body = match mem::take(&mut call.body) {
        Body::One(message) => message,
        Body::Empty | Body::Messages(_) | Body::Octets(_) => Bytes::new(),
    };
    if let Err(error) = check_input(body.len(), lease.guest().spec.limits.input_bytes_max) {
        lease.hand_back();
        return Box::pin(std::future::ready(Err(error)));
    }
    let request = Request {
        // Only log lines ask the store for the names, and those are written on fibers.
        service: mem::take(&mut call.service),
        method: mem::take(&mut call.method),
        body,
    };
    lease.begin(Some(CallContext::new(AmbientCall::Owned(Box::new(call)))));
    match (lease.path(), placement) {
        (CallPath::Inline, Placement::InPlace) => enter(lease, request, None),
        (CallPath::Inline, Placement::Measured) => {
            enter(lease, request, Some(executor::thread_time()))
        }
        (CallPath::Inline, Placement::Offloaded) | (CallPath::Async, _) => {
            suspend(lease, request, placement)
        }
    }
}

/// Runs the guest here and now. `before` is the processor time that this thread has used, where that
/// of the call is measured.
fn enter(
    mut lease: Lease,
    request: Request,
    before: Option<Duration>,
) -> BoxFuture<Result<Reply, Error>> {
    let Request {
        service,
        method,
        body,
    } = &request;
    let told = |generation: &Generation, took: Duration| {
        if took > IN_PLACE_MAX || before.is_some() {
            let computed = before.map(|before| executor::thread_time().saturating_sub(before));
            let placements = &generation.placements;
            placements.on_in_place(service, method, took, computed);
        }
    };
    let answered = match lease.instance().handle_inline(service, method, body) {
        Ok(answer) => finish(lease, answer, told),
        Err(InlineError::Trapped(trapped)) => {
            told(lease.shard().generation(), lease.time());
            Err(lease.trap(trapped))
        }
        Err(InlineError::Bailout(bailout)) => return bail_out(lease, request, bailout),
    };
    Box::pin(std::future::ready(answered))
}

/// Begins a call anew on the async path.
fn bail_out(lease: Lease, request: Request, bailout: Bailout) -> BoxFuture<Result<Reply, Error>> {
    match bailout {
        // All calls of a component that asks once are likely to ask.
        Bailout::HostCall => {
            lease.bail_out();
            suspend(lease, request, Placement::InPlace)
        }
        Bailout::Overran => {
            let placements = &lease.shard().generation().placements;
            placements.on_overrun(&request.service, &request.method);
            suspend(lease, request, Placement::Offloaded)
        }
    }
}

/// Runs the guest on a fiber.
fn suspend(
    lease: Lease,
    request: Request,
    placement: Placement,
) -> BoxFuture<Result<Reply, Error>> {
    let shard = Arc::clone(lease.shard());
    let purpose = Purpose::call(request.service.clone(), request.method.clone());
    offload::run_at(
        placement,
        &shard,
        purpose,
        Err,
        Box::pin(run(lease, request)),
    )
}

/// Runs the guest on a fiber, from the beginning.
async fn run(mut lease: Lease, request: Request) -> Result<Reply, Error> {
    if !lease.is_async() {
        lease = lease.renew().await?;
    }
    let Request {
        service,
        method,
        body,
    } = &request;
    let instance = lease.instance();
    instance.set_names(service, method);
    match instance.handle(service, method, body).await {
        Ok(answer) => finish(lease, answer, |_, _| ()),
        Err(trapped) => Err(lease.trap(trapped)),
    }
}

/// What the caller gets. `told` is told how long the instance was out for it.
fn finish(
    mut lease: Lease,
    answer: HandleResult,
    told: impl FnOnce(&Generation, Duration),
) -> Result<Reply, Error> {
    let draft = lease.instance().end();
    match answer {
        Ok(octets) => {
            let (length, limit) = (octets.len(), lease.guest().spec.limits.output_bytes_max);
            if length > limit {
                told(lease.shard().generation(), lease.time());
                return Err(lease.trap(Stop::Output { length, limit }.into()));
            }
            lease.finish_told(Outcome::Ok, told);
            Ok(ReplyDraft::into_reply(
                draft,
                Body::One(Bytes::from(octets)),
            ))
        }
        Err(failure) => {
            lease.finish_told(Outcome::Failed, told);
            Err(convert::to_error(failure))
        }
    }
}

/// Refuses a message that is larger than what the guest may be handed.
pub(crate) fn check_input(length: usize, limit: usize) -> Result<(), Error> {
    if length <= limit {
        return Ok(());
    }
    let limit = octets(limit);
    let message = format!("message of {length} octets exceeds the plugin's limit of {limit}");
    Err(Error::new(Kind::ResourceExhausted, Blame::Client, message).with_too_large())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_the_limit_fits_and_one_more_does_not() {
        assert!(check_input(1024, 1024).is_ok());
        let error = check_input(1025, 1024).unwrap_err();
        assert_eq!(
            error.message,
            "message of 1025 octets exceeds the plugin's limit of 1 KiB"
        );
    }
}
