//! What a server makes of a peer's messages, and of the outcomes of its calls, whatever link carries
//! them.

use std::time::Instant;

use postern_core::{
    Call, Error, Origin,
    vsp::{Inbound, Reader, ReplyToken},
    wire::Frame,
};

use super::{
    answer::answer,
    frames::{self, Frames},
    held,
};
use crate::{ConnectionBytes, calls::CallResult};

/// What is to be done about a message.
#[expect(
    clippy::large_enum_variant,
    reason = "most are calls, and none is kept"
)]
pub(super) enum Message {
    /// A call. Nobody waits for its outcome where there is no token: it is an event's.
    Call(Call, Option<ReplyToken>),
    /// This is to be sent. `keeps_order`: its caller has only the order of replies to go by.
    Refused {
        frame: Frame,
        keeps_order: bool,
    },
    Nothing,
}

/// Reads a message of the peer at `origin`. What it holds counts against `bytes`.
pub(super) fn read(
    reader: &Reader,
    bytes: &ConnectionBytes,
    origin: &Origin,
    now: Instant,
    frame: Frame,
) -> Message {
    let frame = match held::hold_long(bytes, frame) {
        Ok(frame) => frame,
        Err((frame, error)) => return refuse(reader, now, frame, &error.into()),
    };
    match reader.read(now, frame) {
        Inbound::Request { call, token } => Message::Call(call, Some(token)),
        Inbound::Event(call) => Message::Call(call, None),
        Inbound::Refused { frame, error } => {
            tracing::debug!(%origin, %error, "request refused");
            let keeps_order = frame.headers.get_bytes(b"correlation-id").is_none();
            Message::Refused { frame, keeps_order }
        }
        Inbound::Unfit { error } => {
            tracing::debug!(%origin, %error, "event not handed on");
            Message::Nothing
        }
        Inbound::Response(response) => {
            tracing::debug!(%origin, correlation = ?response.correlation, "response to no call");
            Message::Nothing
        }
        Inbound::Probe => Message::Nothing,
    }
}

/// Answers a request with `error`; whatever else is refused is forgotten.
pub(super) fn refuse(reader: &Reader, now: Instant, frame: Frame, error: &Error) -> Message {
    let Inbound::Request { token, .. } = reader.read(now, frame) else {
        return Message::Nothing;
    };
    Message::Refused {
        frame: token.error_frame(error),
        keeps_order: token.keeps_order(),
    }
}

/// The frame that answers a call, as the extension leaves it; none where it is not to be sent.
pub(super) fn reply(extension: &Frames, token: &ReplyToken, outcome: CallResult) -> Option<Frame> {
    frames::outbound(extension, answer(token, outcome))
        .unwrap_or_else(|error| Some(token.error_frame(&error)))
}
