//! What a server makes of a peer's messages, and of the outcomes of its calls, whatever link carries
//! them.

use std::time::Instant;

use postern_core::{
    Error, Origin,
    vsp::{Inbound, Reader, ReplyToken},
    wire::Frame,
};

use super::{
    answer::answer,
    frames::{self, Frames},
    held,
};
use crate::{ConnectionBytes, calls::CallResult};

/// The answer to a message that begins no call.
pub(super) struct Refusal {
    pub frame: Frame,
    /// Its caller has only the order of replies to go by.
    pub keeps_order: bool,
}

/// Reads a message of the peer. What it holds counts against `bytes`.
///
/// A call is large, so it is left in what the reader gives until it is gathered.
pub(super) fn read(
    reader: &Reader,
    bytes: &ConnectionBytes,
    now: Instant,
    frame: Frame,
) -> Inbound {
    if !held::is_long(&frame) {
        return reader.read(now, frame);
    }
    match held::hold(bytes, frame) {
        Ok(frame) => reader.read(now, frame),
        Err((frame, error)) => refuse(reader, now, frame, error.into()),
    }
}

/// Answers a request with `error`; whatever else is refused is forgotten.
pub(super) fn refuse(reader: &Reader, now: Instant, frame: Frame, error: Error) -> Inbound {
    let Inbound::Request { token, .. } = reader.read(now, frame) else {
        return Inbound::Probe;
    };
    let frame = token.error_frame(&error);
    Inbound::Refused { frame, error }
}

/// What is to be sent to the peer at `origin` for a message that begins no call.
pub(super) fn refusal(inbound: Inbound, origin: &Origin) -> Option<Refusal> {
    match inbound {
        Inbound::Refused { frame, error } => {
            tracing::debug!(%origin, %error, "request refused");
            let keeps_order = frame.headers.get_bytes(b"correlation-id").is_none();
            Some(Refusal { frame, keeps_order })
        }
        Inbound::Unfit { error } => {
            tracing::debug!(%origin, %error, "event not handed on");
            None
        }
        Inbound::Response(response) => {
            tracing::debug!(%origin, correlation = ?response.correlation, "response to no call");
            None
        }
        // The first two are calls.
        Inbound::Request { .. } | Inbound::Event(_) | Inbound::Probe => None,
    }
}

/// The frame that answers a call, as the extension leaves it; none where it is not to be sent.
pub(super) fn reply(extension: &Frames, token: &ReplyToken, outcome: CallResult) -> Option<Frame> {
    frames::outbound(extension, answer(token, outcome))
        .unwrap_or_else(|error| Some(token.error_frame(&error)))
}
