//! The protocol-neutral unit: kind, headers, payload.

use bytes::Bytes;

use crate::headers::Headers;

/// One whole, reassembled message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub kind: MessageKind,
    pub headers: Headers,
    pub payload: Bytes,
}

/// What a message is for. VSP header `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageKind {
    Request,
    Response,
    Error,
    Event,
}

impl MessageKind {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
            Self::Error => "error",
            Self::Event => "event",
        }
    }
}
