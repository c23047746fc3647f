//! What a server says beyond what `postern_core::vsp` says for it.

use std::fmt::Display;

use postern_core::{Blame, Body, Error, Kind, vsp::ReplyToken, wire::Frame};

use crate::calls::Outcome;

/// The frame that answers a call.
pub(super) fn answer(token: &ReplyToken, outcome: Outcome) -> Frame {
    match outcome {
        Ok(reply) if matches!(reply.body, Body::Many(_)) => token.error_frame(&Error::new(
            Kind::Unimplemented,
            Blame::Client,
            "the reply is a stream of messages: open the call as a stream (feature mux, over TCP) or \
             call the method over HTTP",
        )),
        outcome => token.answer(outcome),
    }
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
