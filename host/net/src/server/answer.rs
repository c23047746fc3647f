//! What a server says beyond what `postern_core::vsp` says for it.

use postern_core::{
    Blame, Body, Error, Kind,
    vsp::ReplyToken,
    wire::{Frame, SendError},
};

use crate::calls::Outcome;

/// The frame that answers a call.
pub(super) fn answer(token: &ReplyToken, outcome: Outcome) -> Frame {
    match outcome {
        Ok(reply) if matches!(reply.body, Body::Many(_)) => token.error_frame(&Error::new(
            Kind::Unimplemented,
            Blame::Client,
            "the reply is a stream of messages, and this session carries one message per reply; \
             call the method over HTTP",
        )),
        outcome => token.answer(outcome),
    }
}

/// The frame that answers a call whose reply cannot be sent; none when nothing can.
pub(super) fn unsendable(token: &ReplyToken, error: &SendError) -> Option<Frame> {
    match error {
        SendError::TooLong { length, limit } => {
            let message =
                format!("the reply of {length} octets exceeds the caller's limit of {limit}");
            Some(token.error_frame(&Error::new(Kind::OutOfRange, Blame::Client, message)))
        }
        SendError::Closed | SendError::QueueFull { .. } => None,
    }
}
