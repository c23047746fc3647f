//! The sending side of a call's stream: chunks in, octets out, and the end when the peer has them.

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use postern_core::{
    Error, Kind,
    wire::{Frame, Role},
};
use quinn::{SendStream, StreamId, VarInt, WriteError};
use tokio::time::timeout;

use super::Party;
use crate::quic::code;

/// A payload of more octets is a chunk of its own, so that it is sent from where it lies.
const PAYLOAD_COPIED_MAX: usize = 4 * 1024;

/// A sending side. One that is dropped before its end is reset, so that the peer takes no part of a
/// call for the whole.
#[derive(Debug)]
pub(super) struct Writer {
    send: SendStream,
    is_finished: bool,
}

/// What became of a write.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) stream: StreamId,
    /// Octets that wait no more.
    pub(super) n_bytes: usize,
    pub(super) outcome: Result<Progress, WriteFault>,
}

#[derive(Debug)]
pub(super) enum Progress {
    /// There may be more.
    Open(Writer),
    /// The peer has all that was sent.
    Delivered,
}

/// Why nothing more can be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum WriteFault {
    #[error("the peer stopped the call's stream with code {0:#x}")]
    Stopped(u64),
    #[error("slow reader: took nothing of the call's stream for {0:?}")]
    Late(Duration),
    #[error("the connection is lost")]
    Lost,
}

impl Writer {
    pub(super) const fn new(send: SendStream) -> Self {
        Self {
            send,
            is_finished: false,
        }
    }

    /// Ends the stream at once.
    pub(super) fn reset(mut self, code: VarInt) {
        self.abandon(code);
    }

    fn abandon(&mut self, code: VarInt) {
        self.is_finished = true;
        // One that the peer has stopped, or whose connection is lost, is over already.
        let _ = self.send.reset(code);
    }

    /// Writes `chunks`, as long as the peer takes some of them within `patience`.
    pub(super) async fn write(mut self, mut chunks: Vec<Bytes>, patience: Duration) -> Written {
        let stream = self.send.id();
        let n_bytes = chunks.iter().map(Bytes::len).sum();
        let mut rest = &mut chunks[..];
        while !rest.is_empty() {
            match timeout(patience, self.send.write_chunks(rest)).await {
                Ok(Ok(written)) => rest = rest.get_mut(written.chunks..).unwrap_or_default(),
                Ok(Err(error)) => {
                    let outcome = Err(WriteFault::from(error));
                    return Written {
                        stream,
                        n_bytes,
                        outcome,
                    };
                }
                Err(_) => {
                    self.abandon(code::of_kind(Kind::ResourceExhausted));
                    let outcome = Err(WriteFault::Late(patience));
                    return Written {
                        stream,
                        n_bytes,
                        outcome,
                    };
                }
            }
        }
        Written {
            stream,
            n_bytes,
            outcome: Ok(Progress::Open(self)),
        }
    }

    /// Ends the stream in order, and waits until the peer has it all.
    pub(super) async fn deliver(mut self, patience: Duration) -> Written {
        let stream = self.send.id();
        let outcome = match self.send.finish() {
            Ok(()) => match timeout(patience, self.send.stopped()).await {
                Ok(Ok(None)) => Ok(Progress::Delivered),
                Ok(Ok(Some(code))) => Err(WriteFault::Stopped(code.into_inner())),
                Ok(Err(_)) => Err(WriteFault::Lost),
                Err(_) => {
                    self.abandon(code::of_kind(Kind::ResourceExhausted));
                    Err(WriteFault::Late(patience))
                }
            },
            Err(_) => Err(WriteFault::Lost),
        };
        self.is_finished |= outcome.is_ok();
        Written {
            stream,
            n_bytes: 0,
            outcome,
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.is_finished {
            self.abandon(code::of_kind(Kind::Cancelled));
        }
    }
}

impl WriteFault {
    /// What the call is told; none where it can go on. A server that wants no more of a request may
    /// answer all the same; a client that wants no more of a reply has ended the call.
    pub(super) fn error(&self, party: Party) -> Option<Error> {
        let wants_no_more = *self == Self::Stopped(code::NO_ERROR.into_inner());
        if wants_no_more && party == Party(Role::Client) {
            return None;
        }
        let kind = match self {
            Self::Stopped(code) => VarInt::from_u64(*code)
                .ok()
                .and_then(code::kind_of)
                .unwrap_or(Kind::Cancelled),
            Self::Late(_) => Kind::ResourceExhausted,
            // The session's own stream tells.
            Self::Lost => return None,
        };
        Some(party.error(kind, self.to_string()))
    }
}

impl From<WriteError> for WriteFault {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped(code) => Self::Stopped(code.into_inner()),
            WriteError::ConnectionLost(_)
            | WriteError::ClosedStream
            | WriteError::ZeroRttRejected => Self::Lost,
        }
    }
}

/// The octets of `frame`, a long payload as it lies.
///
/// # Errors
/// For a payload that no frame can have.
pub(super) fn encode(frame: &Frame, into: &mut Vec<Bytes>) -> io::Result<()> {
    let too_long = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
    let n_bytes = frame.encoded_len();
    if frame.payload.len() <= PAYLOAD_COPIED_MAX {
        let mut octets = BytesMut::with_capacity(n_bytes);
        frame.encode(&mut octets).map_err(too_long)?;
        into.push(octets.freeze());
        return Ok(());
    }
    let mut head = BytesMut::with_capacity(n_bytes - frame.payload.len());
    let crc = frame.encode_around_payload(&mut head).map_err(too_long)?;
    let payload = frame.payload.clone();
    into.extend([head.freeze(), payload, Bytes::copy_from_slice(&crc)]);
    Ok(())
}
