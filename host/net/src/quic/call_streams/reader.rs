//! The receiving side of a call's stream: octets in, frames out. A frame that has not arrived whole
//! counts as held, and may take so long.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use postern_core::{
    Error, Kind,
    limits::Limits,
    wire::{Decoder, Frame, FrameError, SessionError},
};
use quinn::{ReadError, RecvStream, StreamId, VarInt};
use tokio::{io::AsyncReadExt, time::timeout};

use super::Party;
use crate::{
    byte_budget::{ByteBudgetError, ConnectionBytes, HeldBytes},
    counters::Counters,
    driver::count_violation,
    quic::code,
};

/// First size of a read, and what an unfinished frame may take without being counted.
const READ_BYTES_MIN: usize = 4 * 1024;
/// The size of a read doubles up to here while reads fill it.
const READ_BYTES_MAX: usize = 64 * 1024;

/// A receiving side. Dropped, it tells the peer that no more is wanted.
#[derive(Debug)]
pub(super) struct Reader {
    recv: RecvStream,
    decoder: Decoder,
    input: BytesMut,
    read_bytes: usize,
    bytes: ConnectionBytes,
    held: Option<HeldBytes>,
    frame_age_max: Duration,
    counters: Arc<Counters>,
}

/// What a read gave.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) stream: StreamId,
    pub(super) outcome: Result<(Reader, Frame), ReadFault>,
}

/// Why no frame comes any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReadFault {
    /// Between two frames.
    #[error("the peer ended the call's stream before the end of the call")]
    Ended,
    #[error("the peer ended the call's stream within a frame")]
    Cut,
    #[error("the peer reset the call's stream with code {0:#x}")]
    Reset(u64),
    #[error("on the stream of a call: {0}")]
    Frame(#[from] FrameError),
    #[error("on the stream of a call: {0}")]
    Unfit(&'static str),
    #[error(transparent)]
    NoRoom(#[from] ByteBudgetError),
    #[error("nothing came of the rest of a frame for {0:?}")]
    Late(Duration),
    #[error("the connection is lost")]
    Lost,
}

impl Reader {
    pub(super) fn new(
        recv: RecvStream,
        limits: &Limits,
        bytes: ConnectionBytes,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            recv,
            decoder: Decoder::new(limits.frame_bytes_max),
            input: BytesMut::new(),
            read_bytes: READ_BYTES_MIN,
            bytes,
            held: None,
            frame_age_max: limits.fragment_age_max,
            counters,
        }
    }

    /// The next frame. A peer that broke the rules is told so by the code that stops its stream.
    pub(super) async fn next(mut self) -> Read {
        let stream = self.recv.id();
        let outcome = match self.next_frame().await {
            Ok(frame) => Ok((self, frame)),
            Err(fault) => {
                self.stop(&fault);
                Err(fault)
            }
        };
        Read { stream, outcome }
    }

    /// What came is not for the stream of a call.
    pub(super) fn refuse(mut self, fault: &ReadFault) {
        self.stop(fault);
    }

    async fn next_frame(&mut self) -> Result<Frame, ReadFault> {
        loop {
            if let Some(frame) = self.decoder.decode(&mut self.input)? {
                self.held = None;
                self.counters.frames_in.add(1);
                return Ok(frame);
            }
            let room = self.make_room()?;
            let is_unfinished = !self.input.is_empty();
            let reading = read(&mut self.recv, &mut self.input);
            let n_octets = if is_unfinished {
                let patience = self.frame_age_max;
                let in_time = timeout(patience, reading).await;
                in_time.map_err(|_| ReadFault::Late(patience))??
            } else {
                reading.await?
            };
            if n_octets == 0 {
                return Err(if is_unfinished {
                    ReadFault::Cut
                } else {
                    ReadFault::Ended
                });
            }
            self.counters.bytes_in.add(n_octets as u64);
            if n_octets >= room {
                self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
            }
        }
    }

    /// Finds room for what is read next, and counts it where it is much.
    fn make_room(&mut self) -> Result<usize, ByteBudgetError> {
        let room = match self.decoder.missing(&self.input) {
            // What a head declares is believed as far as octets have come for it.
            Some(missing) => missing.min(self.input.len().max(READ_BYTES_MAX)),
            None => self.read_bytes,
        };
        let n_bytes = self.input.len() + room;
        if self.decoder.missing(&self.input).is_some() && n_bytes > READ_BYTES_MIN {
            let counted = self.held.as_ref().map_or(0, HeldBytes::len);
            match &mut self.held {
                Some(held) => held.grow(n_bytes.saturating_sub(counted))?,
                None => self.held = Some(self.bytes.hold(n_bytes)?),
            }
        }
        if self.input.is_empty() {
            // A stream on which nothing is under way keeps no large buffer.
            self.input = BytesMut::new();
        }
        self.input.reserve(room);
        Ok(room)
    }

    fn stop(&mut self, fault: &ReadFault) {
        match fault {
            ReadFault::Frame(error) => {
                count_violation(&self.counters, &SessionError::Frame(error.clone()));
            }
            ReadFault::Unfit(what) => {
                tracing::debug!(what, "protocol violation on the stream of a call");
                self.counters.protocol_errors.add(1);
            }
            ReadFault::Ended
            | ReadFault::Cut
            | ReadFault::Reset(_)
            | ReadFault::NoRoom(_)
            | ReadFault::Late(_)
            | ReadFault::Lost => {}
        }
        if let Some(code) = fault.code() {
            // One that is over already needs no word.
            let _ = self.recv.stop(code);
        }
    }
}

impl ReadFault {
    /// The kind of error that the call ends with; none where the session's own stream tells.
    fn kind(&self) -> Option<Kind> {
        Some(match self {
            Self::Ended | Self::Cut => Kind::Unavailable,
            Self::Reset(code) => VarInt::from_u64(*code)
                .ok()
                .and_then(code::kind_of)
                .unwrap_or(Kind::Cancelled),
            Self::Frame(_) | Self::Unfit(_) => Kind::InvalidArgument,
            Self::NoRoom(_) | Self::Late(_) => Kind::ResourceExhausted,
            Self::Lost => return None,
        })
    }

    /// What the peer's sending side is stopped with.
    pub(super) fn code(&self) -> Option<VarInt> {
        self.kind().map(code::of_kind)
    }

    /// What the call is told.
    pub(super) fn error(&self, party: Party) -> Option<Error> {
        if let Self::NoRoom(error) = self {
            return Some((*error).into());
        }
        Some(party.error(self.kind()?, self.to_string()))
    }
}

impl From<ReadError> for ReadFault {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(code) => Self::Reset(code.into_inner()),
            ReadError::ConnectionLost(_)
            | ReadError::ClosedStream
            | ReadError::IllegalOrderedRead
            | ReadError::ZeroRttRejected => Self::Lost,
        }
    }
}

/// Reads what there is into the room of `input`; 0 at the end of the stream.
async fn read(recv: &mut RecvStream, input: &mut BytesMut) -> Result<usize, ReadFault> {
    let read = recv.read_buf(input).await;
    read.map_err(|error| {
        error
            .downcast::<ReadError>()
            .map_or(ReadFault::Lost, ReadFault::from)
    })
}
