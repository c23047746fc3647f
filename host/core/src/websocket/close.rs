//! Close codes (RFC 6455 section 7.4, and the IANA registry) and the payload of a Close frame.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use super::{fault::WebSocketFault, frame::CONTROL_BYTES_MAX};
use crate::text::Text;

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseCode(u16);

/// What a Close frame says.
///
/// ```text
///  0       2
/// +-------+--------------------------------+
/// | code  | reason, UTF-8, 123 octets most |
/// +-------+--------------------------------+
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseFrame {
    pub code: CloseCode,
    pub reason: Text,
}

impl CloseCode {
    pub const NORMAL: Self = Self(1000);
    pub const GOING_AWAY: Self = Self(1001);
    pub const PROTOCOL_ERROR: Self = Self(1002);
    pub const UNACCEPTABLE: Self = Self(1003);
    pub const INVALID_DATA: Self = Self(1007);
    pub const POLICY: Self = Self(1008);
    pub const TOO_LONG: Self = Self(1009);
    pub const INTERNAL_ERROR: Self = Self(1011);
    pub const TRY_AGAIN_LATER: Self = Self(1013);

    #[must_use]
    pub const fn value(self) -> u16 {
        self.0
    }

    /// A code that a peer may send: registered, for libraries (3000), or for applications (4000).
    /// 1004, 1005, 1006 and 1015 stand for what no frame says.
    fn received(code: u16) -> Result<Self, WebSocketFault> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Ok(Self(code)),
            _ => Err(WebSocketFault::CloseCode(code)),
        }
    }
}

impl CloseFrame {
    #[must_use]
    pub fn new(code: CloseCode, reason: impl Into<Text>) -> Self {
        let reason = reason.into();
        Self { code, reason }
    }

    /// Reads the payload of a Close frame; `None` where it says nothing.
    ///
    /// # Errors
    /// A payload that section 5.5.1 does not allow.
    pub(super) fn read(payload: &Bytes) -> Result<Option<Self>, WebSocketFault> {
        match payload.split_first_chunk::<2>() {
            None if payload.is_empty() => Ok(None),
            None => Err(WebSocketFault::ClosePayload),
            Some((code, _)) => {
                let code = CloseCode::received(u16::from_be_bytes(*code))?;
                let reason = Text::from_utf8(payload.slice(2..));
                let reason = reason.map_err(|_| WebSocketFault::NotUtf8)?;
                Ok(Some(Self { code, reason }))
            }
        }
    }

    /// The payload; a reason that is too long is cut at a character.
    pub(super) fn write(&self) -> Bytes {
        let mut payload = BytesMut::with_capacity(2 + self.reason.len());
        payload.put_u16(self.code.0);
        let reason = self.reason.as_str();
        let end = reason.floor_char_boundary(CONTROL_BYTES_MAX - 2);
        payload.extend_from_slice(reason.get(..end).unwrap_or_default().as_bytes());
        payload.freeze()
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for CloseFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason.is_empty() {
            true => self.code.fmt(f),
            false => write!(f, "{} {}", self.code, self.reason),
        }
    }
}
