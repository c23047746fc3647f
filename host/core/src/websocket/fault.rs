//! Why a connection is failed, and the close code that says so.

use std::time::Duration;

use super::{close::CloseCode, decoder::MessageKind};

/// What a peer did, or did not do. Each ends the connection with its close code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebSocketFault {
    #[error("reserved bits {0:#05b} are set and nothing gives them a meaning")]
    ReservedBits(u8),
    #[error("opcode {0:#x} is reserved")]
    ReservedOpcode(u8),
    #[error("a frame of a client is not masked")]
    Unmasked,
    #[error("a frame of a server is masked")]
    Masked,
    #[error("control frame of {0} octets exceeds the limit of 125")]
    LongControl(u64),
    #[error("a control frame is fragmented")]
    FragmentedControl,
    #[error("a continuation without a message that it continues")]
    NothingToContinue,
    #[error("a message begins within another one")]
    MessageWithin,
    #[error("length {0} is not written in its shortest form, or has its first bit set")]
    Length(u64),
    #[error("Close has a payload of one octet")]
    ClosePayload,
    #[error("close code {0} may not be sent")]
    CloseCode(u16),
    #[error("message of more than {limit} octets")]
    TooLong { limit: usize },
    #[error("text is not UTF-8")]
    NotUtf8,
    #[error("{0} messages are not taken here")]
    Unacceptable(MessageKind),
    #[error("compressed data is broken")]
    Compression,
    #[error("a rule of this endpoint: {0}")]
    Policy(String),
    #[error("no room: {0}")]
    NoRoom(String),
    #[error("no Pong within {0:?}")]
    PingTimeout(Duration),
    #[error("silent for {0:?}")]
    Idle(Duration),
}

impl WebSocketFault {
    /// RFC 6455 section 7.4.1.
    #[must_use]
    pub const fn code(&self) -> CloseCode {
        match self {
            Self::ReservedBits(_)
            | Self::ReservedOpcode(_)
            | Self::Unmasked
            | Self::Masked
            | Self::LongControl(_)
            | Self::FragmentedControl
            | Self::NothingToContinue
            | Self::MessageWithin
            | Self::Length(_)
            | Self::ClosePayload
            | Self::CloseCode(_)
            | Self::Compression => CloseCode::PROTOCOL_ERROR,
            Self::TooLong { .. } => CloseCode::TOO_LONG,
            Self::NotUtf8 => CloseCode::INVALID_DATA,
            Self::Unacceptable(_) => CloseCode::UNACCEPTABLE,
            Self::Policy(_) => CloseCode::POLICY,
            Self::NoRoom(_) => CloseCode::TRY_AGAIN_LATER,
            Self::PingTimeout(_) => CloseCode::INTERNAL_ERROR,
            Self::Idle(_) => CloseCode::GOING_AWAY,
        }
    }
}
