//! One connection, without its socket: what is answered, what is asked, what is to be written, and how
//! it ends.
//!
//! ```text
//!        close(), or a fault              Close of the peer
//!  open ─────────────────────▶ closing ─────────────────────▶ closed
//!    └──── Close of the peer, which is answered ───────────────▶┘
//! ```
//! Driven by its owner: `handle_bytes` until it gives nothing, `poll_transmit` until nothing is left,
//! `handle_timeout` when `poll_timeout` has passed.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};

use super::{
    close::{CloseCode, CloseFrame},
    decoder::{DataPiece, MessageKind, WebSocketDecoder, WebSocketPiece},
    fault::WebSocketFault,
    frame::{HEAD_BYTES_MAX, Opcode, WebSocketHead, apply_mask},
};
use crate::wire::Role;

/// When a silent peer is asked for a sign of life, and given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebSocketTimes {
    /// Silence after which a Ping is sent; `None` sends none.
    pub ping_interval: Option<Duration>,
    /// How long anything may then take to come.
    pub ping_timeout: Duration,
    /// Silence after which the connection is closed, where no Pings are sent.
    pub idle_timeout: Duration,
}

/// A connection.
#[derive(Debug)]
pub struct WebSocket {
    role: Role,
    /// Of a client's frames. Nobody but the client may foresee them (section 5.3).
    next_mask: fn() -> [u8; 4],
    decoder: WebSocketDecoder,
    times: WebSocketTimes,
    state: WebSocketState,
    closed_by: Option<ClosedBy>,
    queue: VecDeque<Outgoing>,
    queued_bytes: usize,
    /// The answer to the last Ping; those before need none (section 5.5.3).
    pong: Option<Bytes>,
    heard: Instant,
    /// A Ping was sent then, and nothing came since.
    pinged: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WebSocketState {
    Open,
    Closing,
    Closed,
}

/// Who ended it, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClosedBy {
    Us(CloseCode),
    Peer(Option<CloseFrame>),
    Fault(WebSocketFault),
}

/// A frame to be written, head first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    pub head: Bytes,
    pub payload: Bytes,
}

impl WebSocket {
    #[must_use]
    pub const fn new(
        role: Role,
        next_mask: fn() -> [u8; 4],
        decoder: WebSocketDecoder,
        times: WebSocketTimes,
        now: Instant,
    ) -> Self {
        Self {
            role,
            next_mask,
            decoder,
            times,
            state: WebSocketState::Open,
            closed_by: None,
            queue: VecDeque::new(),
            queued_bytes: 0,
            pong: None,
            heard: now,
            pinged: None,
        }
    }

    /// The next part of a message in `input`, as far as octets have come. `None` until more of them
    /// come, or for good once the connection closes.
    pub fn handle_bytes(&mut self, now: Instant, input: &mut BytesMut) -> Option<DataPiece> {
        if !input.is_empty() {
            self.on_heard(now);
        }
        while self.state != WebSocketState::Closed {
            match self.decoder.decode(input) {
                Ok(None) => return None,
                Ok(Some(WebSocketPiece::Data(piece))) if self.state == WebSocketState::Open => {
                    return Some(piece);
                }
                // Nobody is there for it any more.
                Ok(Some(WebSocketPiece::Data(_) | WebSocketPiece::Pong(_))) => {}
                Ok(Some(WebSocketPiece::Ping(payload))) => {
                    if self.state == WebSocketState::Open {
                        self.pong = Some(payload);
                    }
                }
                Ok(Some(WebSocketPiece::Close(close))) => self.on_close(close),
                Err(fault) => {
                    self.fail(fault);
                    self.state = WebSocketState::Closed;
                }
            }
        }
        input.clear();
        None
    }

    /// Queues a whole message; one after the close is dropped.
    pub fn send(&mut self, kind: MessageKind, is_compressed: bool, payload: Bytes) {
        let opcode = match kind {
            MessageKind::Text => Opcode::Text,
            MessageKind::Binary => Opcode::Binary,
        };
        if self.state == WebSocketState::Open {
            let frame = self.frame(opcode, is_compressed, payload);
            self.push(frame);
        }
    }

    /// Closes it after what is queued.
    pub fn close(&mut self, close: &CloseFrame) {
        if self.state == WebSocketState::Open {
            self.state = WebSocketState::Closing;
            self.closed_by = Some(ClosedBy::Us(close.code));
            let frame = self.frame(Opcode::Close, false, close.write());
            self.push(frame);
        }
    }

    /// Closes it in the place of what is queued: the peer has broken a rule, or cannot be served.
    pub fn fail(&mut self, fault: WebSocketFault) {
        if self.state == WebSocketState::Open {
            self.queue.clear();
            self.queued_bytes = 0;
            self.pong = None;
            self.close(&CloseFrame::new(fault.code(), fault.to_string()));
            self.closed_by = Some(ClosedBy::Fault(fault));
        }
    }

    /// The next frame to be written. A Pong goes before what is queued.
    pub fn poll_transmit(&mut self) -> Option<Outgoing> {
        if let Some(payload) = self.pong.take() {
            return Some(self.frame(Opcode::Pong, false, payload));
        }
        let frame = self.queue.pop_front()?;
        self.queued_bytes -= frame.len();
        Some(frame)
    }

    /// Octets that wait to be written.
    #[must_use]
    pub const fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Frames that wait to be written.
    #[must_use]
    pub fn n_queued(&self) -> usize {
        self.queue.len()
    }

    /// When `handle_timeout` is to be called, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        if self.state != WebSocketState::Open {
            return None;
        }
        Some(match (self.pinged, self.times.ping_interval) {
            (Some(pinged), _) => (pinged + self.times.ping_timeout, "pong"),
            (None, Some(interval)) => (self.heard + interval, "ping"),
            (None, None) => (self.heard + self.times.idle_timeout, "idle"),
        })
    }

    /// Asks a silent peer for a sign of life, or gives it up.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.poll_timeout() {
            Some((at, "ping")) if at <= now => {
                self.pinged = Some(now);
                let frame = self.frame(Opcode::Ping, false, Bytes::new());
                // Behind what waits already: its answer shows that the peer reads that, too.
                self.push(frame);
            }
            Some((at, "pong")) if at <= now => {
                self.fail(WebSocketFault::PingTimeout(self.times.ping_timeout));
            }
            Some((at, _)) if at <= now => self.fail(WebSocketFault::Idle(self.times.idle_timeout)),
            Some(_) | None => {}
        }
    }

    /// The peer is not read at present, so that its silence means nothing.
    pub fn on_unread(&mut self, now: Instant) {
        if self.pinged.is_some() {
            self.on_heard(now);
        }
    }

    /// The peer was heard, or its silence is not its own.
    pub fn on_heard(&mut self, now: Instant) {
        self.heard = now;
        self.pinged = None;
    }

    /// Whether messages may still come and go.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state == WebSocketState::Open
    }

    /// Whether nothing more is to be read.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == WebSocketState::Closed
    }

    /// Why it closes, once it does.
    #[must_use]
    pub const fn closed_by(&self) -> Option<&ClosedBy> {
        self.closed_by.as_ref()
    }

    /// Answers a Close with its own code (section 5.5.1), after what is queued.
    fn on_close(&mut self, close: Option<CloseFrame>) {
        if self.state == WebSocketState::Open {
            let answer = close
                .as_ref()
                .map_or_else(Bytes::new, |close| CloseFrame::new(close.code, "").write());
            let frame = self.frame(Opcode::Close, false, answer);
            self.push(frame);
            self.closed_by = Some(ClosedBy::Peer(close));
        }
        self.state = WebSocketState::Closed;
    }

    fn push(&mut self, frame: Outgoing) {
        self.queued_bytes += frame.len();
        self.queue.push_back(frame);
    }

    fn frame(&self, opcode: Opcode, is_compressed: bool, payload: Bytes) -> Outgoing {
        let mask = match self.role {
            Role::Client => Some((self.next_mask)()),
            Role::Server => None,
        };
        let head = WebSocketHead {
            is_final: true,
            is_compressed,
            opcode,
            length: payload.len() as u64,
            mask,
        };
        let mut octets = Vec::with_capacity(HEAD_BYTES_MAX);
        head.write(&mut octets);
        let payload = match mask {
            None => payload,
            Some(key) => {
                let mut masked = BytesMut::from(&payload[..]);
                apply_mask(&mut masked, key, 0);
                masked.freeze()
            }
        };
        Outgoing {
            head: octets.into(),
            payload,
        }
    }
}

impl Outgoing {
    /// Octets on the wire.
    #[must_use]
    pub fn len(&self) -> usize {
        self.head.len() + self.payload.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
