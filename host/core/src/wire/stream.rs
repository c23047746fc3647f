//! A session on a stream link: octets in, octets out.

#[cfg(test)]
mod tests;

use std::{collections::VecDeque, sync::Arc, time::Instant};

use bytes::{Bytes, BytesMut};

use crate::{limits::Limits, text::Text};

use super::{
    decoder::Decoder,
    frame::{CRC_BYTES, Frame},
    session::{
        CloseReason, Dialect, Role, SendError, Session, SessionConfig, SessionError, SessionEvent,
        SessionId,
    },
};

/// Small frames are gathered until a chunk has this many octets.
const CHUNK_BYTES: usize = 64 * 1024;
/// A payload of more octets is a chunk of its own, so that it is written from where it lies.
/// Copying 16 KiB costs about as much as one more entry in a vectored write.
const PAYLOAD_COPIED_MAX: usize = 16 * 1024;

/// `Decoder` + `Session` for links that carry octets in order.
///
/// The run loop is that of `Session`, with `poll_transmit` in place of `poll_frame`.
#[derive(Debug)]
pub struct Connection {
    decoder: Decoder,
    session: Session,
    /// Where chunks are built. Its memory is used again once the chunks before are written.
    gathered: BytesMut,
    ready: VecDeque<Bytes>,
    traffic: Traffic,
}

/// Frames since they were last asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    pub frames_in: u64,
    pub frames_out: u64,
}

impl Connection {
    /// See `Session::new`.
    #[must_use]
    pub fn new(config: Arc<SessionConfig>, role: Role, id: SessionId, now: Instant) -> Self {
        Self {
            decoder: Decoder::new(config.limits.frame_bytes_max),
            session: Session::new(config, role, id, now),
            gathered: BytesMut::new(),
            ready: VecDeque::new(),
            traffic: Traffic::default(),
        }
    }

    /// Takes every whole frame off the front of `buffer`. What is left is the start of the next.
    ///
    /// # Errors
    /// What the peer did wrong. The session has answered with ERR and is closed; `buffer` is empty.
    pub fn handle_bytes(
        &mut self,
        now: Instant,
        buffer: &mut BytesMut,
    ) -> Result<(), SessionError> {
        self.handle_bytes_until(now, buffer, |_| false).map(drop)
    }

    /// As `handle_bytes`, and leaves whole frames in `buffer` when the session becomes congested. Says
    /// whether it did.
    ///
    /// # Errors
    /// As `handle_bytes`.
    pub fn handle_bytes_with_room(
        &mut self,
        now: Instant,
        buffer: &mut BytesMut,
    ) -> Result<bool, SessionError> {
        self.handle_bytes_until(now, buffer, Session::is_congested)
    }

    fn handle_bytes_until(
        &mut self,
        now: Instant,
        buffer: &mut BytesMut,
        must_stop: impl Fn(&Session) -> bool,
    ) -> Result<bool, SessionError> {
        while !self.session.is_closed() {
            if must_stop(&self.session) {
                return Ok(!buffer.is_empty());
            }
            match self.decoder.decode(buffer) {
                Ok(Some(frame)) => {
                    self.traffic.frames_in += 1;
                    if let Err(error) = self.session.handle_frame(now, frame) {
                        buffer.clear();
                        return Err(error);
                    }
                }
                Ok(None) => return Ok(false),
                Err(error) => {
                    buffer.clear();
                    let error = SessionError::from(error);
                    self.session.handle_violation(error.clone());
                    return Err(error);
                }
            }
        }
        buffer.clear();
        Ok(false)
    }

    /// The peer ended its side of the link.
    pub fn handle_link_end(&mut self, now: Instant) {
        self.session.handle_link_end(now);
    }

    /// See `Session::handle_timeout`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.session.handle_timeout(now);
    }

    /// See `Session::poll_timeout`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.session.poll_timeout()
    }

    /// See `Session::poll_event`.
    pub fn poll_event(&mut self) -> Option<SessionEvent> {
        self.session.poll_event()
    }

    /// The next chunk to write: many small frames together, or a large payload as it lies.
    ///
    /// Ask only when the link takes it, and for as many chunks as one vectored write takes: what
    /// was polled has left the queue and its bounds.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        while self.ready.is_empty() && self.gathered.len() < CHUNK_BYTES {
            let Some(frame) = self.session.poll_frame() else {
                break;
            };
            self.gather(&frame);
        }
        if let Some(chunk) = self.ready.pop_front() {
            return Some(chunk);
        }
        if self.gathered.is_empty() {
            None
        } else {
            Some(self.gathered.split().freeze())
        }
    }

    /// Octets still missing from a frame that has begun to arrive; see `Decoder::missing`.
    #[must_use]
    pub fn missing(&self, buffer: &BytesMut) -> Option<usize> {
        self.decoder.missing(buffer)
    }

    /// See `Session::send`.
    ///
    /// # Errors
    /// As `Session::send`.
    pub fn send(&mut self, now: Instant, frame: Frame) -> Result<(), SendError> {
        self.session.send(now, frame)
    }

    /// See `Session::check_length`.
    ///
    /// # Errors
    /// As `Session::check_length`.
    pub fn check_length(&self, frame: &Frame) -> Result<(), SendError> {
        self.session.check_length(frame)
    }

    /// See `Session::set_patience`.
    pub fn set_patience(&mut self, from: &SessionConfig) {
        self.session.set_patience(from);
    }

    /// See `Session::refuse`.
    pub fn refuse(&mut self, reason: impl Into<Text>) {
        self.session.refuse(reason);
    }

    /// See `Session::limits`.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        self.session.limits()
    }

    /// See `Session::close`.
    pub fn close(&mut self, now: Instant, reason: CloseReason) {
        self.session.close(now, reason);
    }

    /// See `Session::begin`.
    #[must_use]
    pub fn begin(&mut self) -> bool {
        self.session.begin()
    }

    /// See `Session::finish`.
    pub fn finish(&mut self) {
        self.session.finish();
    }

    /// See `Session::dialect`.
    #[must_use]
    pub fn dialect(&self) -> Option<&Dialect> {
        self.session.dialect()
    }

    /// See `Session::id`.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.session.id()
    }

    /// See `Session::in_flight`.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.session.in_flight()
    }

    /// See `Session::queued`.
    #[must_use]
    pub fn queued(&self) -> (usize, usize) {
        self.session.queued()
    }

    /// The frames since the last time, for a driver to count in batches.
    pub fn take_traffic(&mut self) -> Traffic {
        std::mem::take(&mut self.traffic)
    }

    /// See `Session::is_congested`.
    #[must_use]
    pub fn is_congested(&self) -> bool {
        self.session.is_congested()
    }

    /// See `Session::has_events`.
    #[must_use]
    pub fn has_events(&self) -> bool {
        self.session.has_events()
    }

    /// See `Session::on_unwritten`.
    pub fn on_unwritten(&mut self, now: Instant) {
        self.session.on_unwritten(now);
    }

    /// See `Session::role`.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.session.role()
    }

    /// See `Session::is_closed`.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.session.is_closed()
    }

    fn gather(&mut self, frame: &Frame) {
        self.traffic.frames_out += 1;
        let copied = match frame.payload.len() {
            len if len > PAYLOAD_COPIED_MAX => frame.encoded_len() - len,
            _ => frame.encoded_len(),
        };
        if self.gathered.capacity() - self.gathered.len() < copied {
            // For what is queued behind it too, so that an idle session keeps little memory.
            let (_, queued) = self.session.queued();
            self.gathered.reserve(copied + queued.min(CHUNK_BYTES));
        }
        // Only a payload of 4 GiB or more cannot be encoded, and `Session::send` refuses that.
        if frame.payload.len() <= PAYLOAD_COPIED_MAX {
            let _ = frame.encode(&mut self.gathered);
        } else if let Ok(crc) = frame.encode_around_payload(&mut self.gathered) {
            self.ready.push_back(self.gathered.split().freeze());
            self.ready.push_back(frame.payload.clone());
            self.gathered.reserve(CRC_BYTES);
            self.gathered.extend_from_slice(&crc);
        }
    }
}
