//! Messages that may be lost, as QUIC datagrams (RFC 9221): events, one frame each. Whoever offers
//! datagrams takes them so. What does not fit, or finds no room, goes over the session's stream.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use postern_core::{
    BoxFuture, vsp,
    wire::{Flags, Frame, FrameError, FrameType, SessionError},
};
use quinn::{Connection, ConnectionError};

use crate::{counters::Counters, driver::count_violation};

/// The datagrams of one connection.
pub(crate) struct Datagrams {
    connection: Connection,
    frame_bytes_max: usize,
    receiving: Option<BoxFuture<Result<Bytes, ConnectionError>>>,
    n_received: u64,
    counters: Arc<Counters>,
}

impl Datagrams {
    pub(crate) fn new(
        connection: Connection,
        frame_bytes_max: usize,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            connection,
            frame_bytes_max,
            receiving: None,
            n_received: 0,
            counters,
        }
    }

    /// Sends a message that may be lost. False where the peer takes no datagrams, the message is too
    /// long for one, or others fill the room: datagrams that wait are not dropped for later ones.
    pub(crate) fn try_send(&self, frame: &Frame) -> bool {
        let n_bytes = frame.encoded_len();
        let fits = self
            .connection
            .max_datagram_size()
            .is_some_and(|max| n_bytes <= max);
        if !fits || n_bytes > self.connection.datagram_send_buffer_space() {
            return false;
        }
        let mut octets = BytesMut::with_capacity(n_bytes);
        let is_sent = frame.encode(&mut octets).is_ok()
            && self.connection.send_datagram(octets.freeze()).is_ok();
        if is_sent {
            self.counters.frames_out.add(1);
            self.counters.bytes_out.add(n_bytes as u64);
        }
        is_sent
    }

    /// The next event that the peer sent as a datagram. Whatever else comes so is counted and dropped.
    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Frame> {
        loop {
            let receiving = self.receiving.get_or_insert_with(|| {
                let connection = self.connection.clone();
                Box::pin(async move { connection.read_datagram().await })
            });
            let Ok(octets) = ready!(receiving.as_mut().poll(cx)) else {
                // The session's stream tells of a lost connection.
                self.receiving = Some(Box::pin(std::future::pending()));
                return Poll::Pending;
            };
            self.receiving = None;
            self.n_received += 1;
            self.counters.bytes_in.add(octets.len() as u64);
            match self.decode(octets) {
                Ok(frame) if is_event(&frame) => {
                    self.counters.frames_in.add(1);
                    return Poll::Ready(frame);
                }
                Ok(frame) => {
                    tracing::debug!(%frame, "a datagram that is no event");
                    self.counters.protocol_errors.add(1);
                }
                Err(error) => count_violation(&self.counters, &SessionError::Frame(error)),
            }
        }
    }

    fn decode(&self, octets: Bytes) -> Result<Frame, FrameError> {
        Frame::decode_datagram(octets, self.frame_bytes_max)
    }

    /// Datagrams that came faster than they were read.
    pub(crate) fn n_dropped(&self) -> u64 {
        let n_arrived = self.connection.stats().frame_rx.datagram;
        n_arrived.saturating_sub(self.n_received)
    }
}

impl fmt::Debug for Datagrams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datagrams")
            .field("n_received", &self.n_received)
            .finish_non_exhaustive()
    }
}

/// Whether a message may come as a datagram: one that nobody answers, and that asks for no
/// acknowledgement.
fn is_event(frame: &Frame) -> bool {
    frame.kind == FrameType::Data && !frame.flags.contains(Flags::REQ_ACK) && vsp::is_event(frame)
}
