//! Octets to pieces of messages and control frames. A payload of data is handed on as it comes, so
//! that a frame of any length takes no memory here.

use std::fmt;

use bytes::{Bytes, BytesMut};

use super::{
    close::CloseFrame,
    fault::WebSocketFault,
    frame::{CONTROL_BYTES_MAX, HEAD_BYTES_MAX, Opcode, WebSocketHead, apply_mask},
};
use crate::wire::Role;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    Text,
    Binary,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebSocketPiece {
    Data(DataPiece),
    Ping(Bytes),
    Pong(Bytes),
    Close(Option<CloseFrame>),
}

/// A part of a message: the octets that have come since the part before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataPiece {
    pub kind: MessageKind,
    pub is_compressed: bool,
    pub octets: Bytes,
    /// The message ends with it.
    pub is_last: bool,
}

/// Reads one direction of a connection.
#[derive(Debug)]
pub struct WebSocketDecoder {
    /// Of this end.
    role: Role,
    /// Compression was agreed upon, so that RSV1 means something.
    has_compression: bool,
    message_bytes_max: usize,
    frame: Option<OpenFrame>,
    message: Option<OpenMessage>,
}

/// A frame whose payload has not come whole.
#[derive(Debug)]
struct OpenFrame {
    head: WebSocketHead,
    n_read: u64,
}

/// A message whose last frame has not begun, or not ended.
#[derive(Debug, Clone, Copy)]
struct OpenMessage {
    kind: MessageKind,
    is_compressed: bool,
    /// As its frames declare.
    n_declared: u64,
}

impl WebSocketDecoder {
    /// `message_bytes_max` bounds what the frames of a message declare together.
    #[must_use]
    pub const fn new(role: Role, has_compression: bool, message_bytes_max: usize) -> Self {
        Self {
            role,
            has_compression,
            message_bytes_max,
            frame: None,
            message: None,
        }
    }

    /// Takes the next piece off the front of `input`; `None` until more comes.
    ///
    /// # Errors
    /// What breaks a rule; nothing is to be read after it.
    pub fn decode(
        &mut self,
        input: &mut BytesMut,
    ) -> Result<Option<WebSocketPiece>, WebSocketFault> {
        loop {
            let Some(frame) = &mut self.frame else {
                let Some((head, n_octets)) = WebSocketHead::read(input)? else {
                    debug_assert!(input.len() < HEAD_BYTES_MAX);
                    return Ok(None);
                };
                self.begin(head)?;
                let _ = input.split_to(n_octets);
                self.frame = Some(OpenFrame { head, n_read: 0 });
                continue;
            };
            let left = frame.head.length - frame.n_read;
            let n_octets = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
            let is_whole = n_octets as u64 == left;
            if !is_whole && (frame.head.opcode.is_control() || n_octets == 0) {
                return Ok(None);
            }
            let mut octets = input.split_to(n_octets);
            if let Some(key) = frame.head.mask {
                // A mask has four octets, so that only the last bits of the offset count.
                apply_mask(&mut octets, key, (frame.n_read % 4) as usize);
            }
            frame.n_read += n_octets as u64;
            let head = frame.head;
            if is_whole {
                self.frame = None;
            }
            match self.piece(head, octets.freeze(), is_whole)? {
                Some(piece) => return Ok(Some(piece)),
                None => continue,
            }
        }
    }

    /// Checks a head against what came before it.
    fn begin(&mut self, head: WebSocketHead) -> Result<(), WebSocketFault> {
        match (self.role, head.mask) {
            (Role::Server, None) => return Err(WebSocketFault::Unmasked),
            (Role::Client, Some(_)) => return Err(WebSocketFault::Masked),
            (Role::Server, Some(_)) | (Role::Client, None) => {}
        }
        let is_first = matches!(head.opcode, Opcode::Text | Opcode::Binary);
        if head.is_compressed && !(self.has_compression && is_first) {
            return Err(WebSocketFault::ReservedBits(0b100));
        }
        if head.opcode.is_control() {
            if head.length > CONTROL_BYTES_MAX as u64 {
                return Err(WebSocketFault::LongControl(head.length));
            }
            return match head.is_final {
                true => Ok(()),
                false => Err(WebSocketFault::FragmentedControl),
            };
        }
        let kind = match head.opcode {
            Opcode::Text => MessageKind::Text,
            _ => MessageKind::Binary,
        };
        let message = match (&mut self.message, is_first) {
            (Some(_), true) => return Err(WebSocketFault::MessageWithin),
            (None, false) => return Err(WebSocketFault::NothingToContinue),
            (Some(message), false) => message,
            (none, true) => none.insert(OpenMessage {
                kind,
                is_compressed: head.is_compressed,
                n_declared: 0,
            }),
        };
        message.n_declared = message.n_declared.saturating_add(head.length);
        if message.n_declared > self.message_bytes_max as u64 {
            let limit = self.message_bytes_max;
            return Err(WebSocketFault::TooLong { limit });
        }
        Ok(())
    }

    /// `None` where there is nothing to tell: an empty frame that ends no message.
    fn piece(
        &mut self,
        head: WebSocketHead,
        octets: Bytes,
        is_whole: bool,
    ) -> Result<Option<WebSocketPiece>, WebSocketFault> {
        let data = match head.opcode {
            Opcode::Ping => return Ok(Some(WebSocketPiece::Ping(octets))),
            Opcode::Pong => return Ok(Some(WebSocketPiece::Pong(octets))),
            Opcode::Close => {
                return CloseFrame::read(&octets).map(|close| Some(WebSocketPiece::Close(close)));
            }
            Opcode::Continuation | Opcode::Text | Opcode::Binary => self.message,
        };
        let message = data.ok_or(WebSocketFault::NothingToContinue)?;
        let is_last = is_whole && head.is_final;
        if is_last {
            self.message = None;
        }
        let piece = DataPiece {
            kind: message.kind,
            is_compressed: message.is_compressed,
            octets,
            is_last,
        };
        let says_something = is_last || !piece.octets.is_empty();
        Ok(says_something.then_some(WebSocketPiece::Data(piece)))
    }
}

impl fmt::Display for MessageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Binary => "binary",
        })
    }
}
