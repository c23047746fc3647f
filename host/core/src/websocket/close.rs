//! The payload of a Close frame (RFC 6455 section 5.5.1).

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use super::{code::CloseCode, fault::WebSocketFault, frame::CONTROL_BYTES_MAX};
use crate::text::Text;

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
                let code = u16::from_be_bytes(*code);
                let code = CloseCode::received(code).ok_or(WebSocketFault::CloseCode(code))?;
                let reason = Text::from_utf8(payload.slice(2..));
                let reason = reason.map_err(|_| WebSocketFault::NotUtf8)?;
                Ok(Some(Self { code, reason }))
            }
        }
    }

    /// The payload; a reason that is too long is cut at a character.
    pub(super) fn write(&self) -> Bytes {
        let mut payload = BytesMut::with_capacity(2 + self.reason.len());
        payload.put_u16(self.code.value());
        let reason = self.reason.as_str();
        let end = reason.floor_char_boundary(CONTROL_BYTES_MAX - 2);
        payload.extend_from_slice(reason.get(..end).unwrap_or_default().as_bytes());
        payload.freeze()
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
