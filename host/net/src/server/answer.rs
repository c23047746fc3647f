//! What a server says beyond what `postern_core::vsp` says for it.

use std::{fmt::Display, sync::Arc};

use futures_util::FutureExt;
use postern_core::{
    Blame, Body, BodyStream, BoxFuture, Call, Error, Handler, Kind, Reply,
    vsp::{Payload, ReplyHead, ReplyToken},
    wire::Frame,
};

use super::settings::Shared;
use crate::calls::CallResult;

/// Collects replies that flow: one frame is all that a datagram link has for one. Messages are left
/// as they are, and refused.
struct Collecting {
    handler: Arc<dyn Handler>,
    bytes_max: usize,
}

/// The handler of a datagram link.
pub(super) fn collecting(shared: &Shared) -> Arc<dyn Handler> {
    Arc::new(Collecting {
        handler: Arc::clone(&shared.handler),
        bytes_max: shared.session.limits.message_bytes_max,
    })
}

impl Collecting {
    fn collect(&self, answering: BoxFuture<CallResult>) -> BoxFuture<CallResult> {
        let bytes_max = self.bytes_max;
        Box::pin(async move {
            let reply = answering.await?;
            let Body::Octets(_) = reply.body else {
                return Ok(reply);
            };
            let (octets, trailers) = reply.body.collect(bytes_max).await?;
            Ok(Reply {
                body: Body::Octets(BodyStream::once(octets, trailers)),
                ..reply
            })
        })
    }
}

impl Handler for Collecting {
    fn call(&self, call: Call) -> BoxFuture<CallResult> {
        self.collect(self.handler.call(call))
    }

    fn call_batch(&self, calls: Vec<Call>) -> Vec<BoxFuture<CallResult>> {
        let answering = self.handler.call_batch(calls).into_iter();
        answering.map(|answering| self.collect(answering)).collect()
    }
}

/// The frame that answers a call. A stream fits into one when it is of octets that are at hand.
pub(super) fn answer(token: &ReplyToken, outcome: CallResult) -> Frame {
    let what = match outcome {
        Ok(Reply {
            headers,
            body: body @ Body::Octets(_),
            status,
        }) => match Payload::collect(body, usize::MAX).now_or_never() {
            Some(Ok(payload)) => {
                let head = ReplyHead {
                    headers,
                    status,
                    kind: None,
                };
                return token.answer_with(&head, payload);
            }
            Some(Err(error)) => return token.error_frame(&error),
            None => "the reply is a body that flows",
        },
        Ok(reply) if reply.body.is_stream() => "the reply is a stream of messages",
        outcome => return token.answer(outcome),
    };
    let message = format!(
        "{what}: open the call as a stream (feature mux, over TCP) or call the method over HTTP"
    );
    token.error_frame(&Error::new(Kind::Unimplemented, Blame::Client, message))
}

/// What the caller is told when its reply does not fit into what the session carries.
pub(super) fn too_long(reason: &impl Display) -> Error {
    Error::new(
        Kind::OutOfRange,
        Blame::Gateway,
        format!("the reply cannot be sent: {reason}"),
    )
}

/// What the caller is told when its reply does not fit into what its address may be sent. Short, as
/// it must fit.
pub(super) fn unvalidated() -> Error {
    Error::new(
        Kind::FailedPrecondition,
        Blame::Client,
        "the reply needs a validated address",
    )
}

/// Why a subscriber misses an event.
pub(super) fn unsent(reason: &impl Display) -> Error {
    Error::unavailable(Blame::Client, format!("the event cannot be sent: {reason}"))
}

/// What a call over the limit is told.
pub(super) fn busy(limit: usize) -> Error {
    let message = format!("more than {limit} calls are in flight");
    Error::new(Kind::ResourceExhausted, Blame::Client, message)
}
