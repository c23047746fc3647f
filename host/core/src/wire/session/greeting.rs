//! The contents of HELLO, WELCOME, ACK and ERR. Format: wire/mod.rs, "header keys of the session".

use super::{
    config::{Features, SessionConfig, SessionId},
    event::{Greeting, SessionError},
};
use crate::{
    headers::{Headers, HeadersBuilder},
    text::Text,
    wire::frame::{Flags, Frame, FrameType},
};

/// Longest `reason` of an ERR, in octets; it quotes what the peer sent.
const REASON_BYTES_MAX: usize = 255;

/// Least `max-frame` that a peer may name, in octets: an error with its headers must reach it.
const MAX_FRAME_MIN: usize = 1024;

pub(super) fn hello(config: &SessionConfig) -> Frame {
    let max_frame = config.limits.frame_bytes_max.to_string();
    let features = config.features.to_string();
    let headers = [
        ("agent", &*config.agent),
        ("features", &features),
        ("max-frame", &max_frame),
    ];
    Frame {
        headers: build(&headers),
        ..Frame::new(FrameType::Hello)
    }
}

pub(super) fn welcome(config: &SessionConfig, id: SessionId, features: Features) -> Frame {
    let max_frame = config.limits.frame_bytes_max.to_string();
    let (id, features) = (id.to_string(), features.to_string());
    let headers = [
        ("session-id", &*id),
        ("features", &features),
        ("max-frame", &max_frame),
    ];
    Frame {
        headers: build(&headers),
        ..Frame::new(FrameType::Welcome)
    }
}

pub(super) fn err(error: &str, reason: &str) -> Frame {
    let cut = reason.floor_char_boundary(REASON_BYTES_MAX);
    let reason = reason.get(..cut).unwrap_or_default();
    Frame {
        headers: build(&[("code", error), ("reason", reason)]),
        ..Frame::new(FrameType::Err)
    }
}

/// The ACK of a frame with `REQ_ACK` on a stream link: bare unless the frame has a `msg-id` that is
/// a decimal u64, which comes back in canonical form.
///
/// The published easy client asks without a `msg-id` and takes any ACK.
pub(super) fn ack_of(frame: &Frame) -> Option<Frame> {
    if !frame.flags.contains(Flags::REQ_ACK) {
        return None;
    }
    let mut ack = Frame::new(FrameType::Ack);
    if let Some(id) = frame.headers.get_str("msg-id") {
        // No ACK for what is no number: the published server gives none either.
        let id: u64 = id.parse().ok()?;
        ack.headers = build(&[("msg-id", &id.to_string())]);
    }
    Some(ack)
}

/// What a HELLO says, as far as this end can follow.
///
/// # Errors
/// `Header` where `max-frame` is no number, or too small for an error.
pub(super) fn read_hello(
    config: &SessionConfig,
    id: SessionId,
    frame: &Frame,
) -> Result<Greeting, SessionError> {
    Ok(Greeting {
        session: id,
        agent: agent(&frame.headers),
        features: features(&frame.headers).and(config.features),
        frame_bytes_max: max_frame(config, frame)?,
    })
}

/// What a WELCOME says.
///
/// # Errors
/// `Header` where `session-id` is not 32 hexadecimal digits, or `max-frame` is as in `read_hello`.
pub(super) fn read_welcome(
    config: &SessionConfig,
    frame: &Frame,
) -> Result<Greeting, SessionError> {
    let id = frame.headers.get_str("session-id").unwrap_or_default();
    let Some(session) = SessionId::parse(&id) else {
        let (kind, found) = (frame.kind, id.into_owned());
        return Err(SessionError::Header {
            kind,
            key: "session-id",
            found,
        });
    };
    Ok(Greeting {
        session,
        agent: agent(&frame.headers),
        features: features(&frame.headers).and(config.features),
        frame_bytes_max: max_frame(config, frame)?,
    })
}

/// `code` and `reason` of an ERR, empty where the peer gives none.
pub(super) fn read_err(frame: &Frame) -> (Text, Text) {
    let text = |key: &str| frame.headers.get_str(key).map(|text| Text::from(&*text));
    (
        text("code").unwrap_or_default(),
        text("reason").unwrap_or_default(),
    )
}

fn agent(headers: &Headers) -> Text {
    headers
        .get_str("agent")
        .map(|agent| Text::from(&*agent))
        .unwrap_or_default()
}

fn features(headers: &Headers) -> Features {
    headers
        .get_str("features")
        .map(|list| Features::parse(&list))
        .unwrap_or_default()
}

fn max_frame(config: &SessionConfig, frame: &Frame) -> Result<usize, SessionError> {
    let Some(value) = frame.headers.get(b"max-frame") else {
        return Ok(config.limits.frame_bytes_max);
    };
    let number = std::str::from_utf8(&value)
        .ok()
        .and_then(|text| text.parse().ok())
        .filter(|number| *number >= MAX_FRAME_MIN);
    number.ok_or_else(|| {
        let found = value.escape_ascii().to_string();
        SessionError::Header {
            kind: frame.kind,
            key: "max-frame",
            found,
        }
    })
}

/// Every value is either bounded here or by `SessionConfig`; one that is too long is left out.
fn build(headers: &[(&str, &str)]) -> Headers {
    let mut builder = HeadersBuilder::with_capacity(128);
    for (key, value) in headers {
        // Cannot fail for the short keys above and values below 64 KiB.
        let _ = builder.push(key, value);
    }
    builder.build()
}
