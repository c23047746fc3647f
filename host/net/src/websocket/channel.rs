//! One WebSocket on its stream: what is read comes as plain pieces of messages, what is sent is packed
//! and framed. Never waits by itself: its owner polls it, and bounds the time.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes, BytesMut};
use postern_core::{
    websocket::{
        CloseFrame, ClosedBy, DataPiece, MessageKind, Utf8Check, WebSocket, WebSocketDecoder,
        WebSocketFault, WebSocketTimes,
    },
    wire::Role,
};
use postern_system::{clock, random};
use tokio::io::AsyncReadExt;

use super::{
    deflate::{self, INFLATE_BYTES, Inflate},
    extension::Deflation,
};
use crate::{ConnectionBytes, driver::Alarm, link::StreamLink};

/// How a connection is driven.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChannelConfig {
    pub(crate) role: Role,
    /// Messages of the other kind are refused.
    pub(crate) kind: MessageKind,
    pub(crate) deflation: Option<Deflation>,
    pub(crate) message_bytes_max: usize,
    pub(crate) times: WebSocketTimes,
}

/// A connection whose handshake is over.
pub(crate) struct Channel<S> {
    stream: S,
    machine: WebSocket,
    config: ChannelConfig,
    /// Of the connection; unpacking takes some.
    bytes: ConnectionBytes,
    input: BytesMut,
    read_bytes: usize,
    read_ended: bool,
    inflate: Option<Inflate>,
    /// Plain octets of the message that is being read.
    n_message: usize,
    text: Utf8Check,
    output: VecDeque<Bytes>,
    is_unflushed: bool,
    /// Since when the peer has not taken a single octet, while there are some for it.
    stalled_since: Option<Instant>,
    alarm: Alarm,
    ending: Ending,
}

/// A part of a message, unpacked and checked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PlainPiece {
    pub(crate) octets: Bytes,
    /// The message ends with it.
    pub(crate) is_last: bool,
}

/// How far the end has come.
#[derive(Debug, Default)]
enum Ending {
    #[default]
    Running,
    /// Close is on its way, and the peer's may be.
    Saying(Instant),
    /// Our side is closed; what still comes is dropped.
    Leaving(Instant),
    Over,
}

impl<S: StreamLink> Channel<S> {
    /// `input` is what was read of the stream behind the handshake.
    pub(crate) fn new(
        stream: S,
        input: BytesMut,
        config: ChannelConfig,
        bytes: ConnectionBytes,
    ) -> Self {
        let has_compression = config.deflation.is_some();
        let decoder = WebSocketDecoder::new(config.role, has_compression, config.message_bytes_max);
        let machine = WebSocket::new(config.role, mask, decoder, config.times, clock::now());
        Self {
            stream,
            machine,
            config,
            bytes,
            input,
            read_bytes: READ_BYTES_MIN,
            read_ended: false,
            inflate: None,
            n_message: 0,
            text: Utf8Check::default(),
            output: VecDeque::new(),
            is_unflushed: false,
            stalled_since: None,
            alarm: Alarm::default(),
            ending: Ending::Running,
        }
    }

    /// The next part of a message; `None` once no more can come, for `closed_by`, or because the stream
    /// has ended.
    pub(crate) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<PlainPiece>>> {
        loop {
            if !self.machine.is_open() {
                return Poll::Ready(Ok(None));
            }
            match self.next_buffered(clock::now()) {
                Ok(Some(piece)) => return Poll::Ready(Ok(Some(piece))),
                Ok(None) if self.read_ended => return Poll::Ready(Ok(None)),
                Ok(None) => {}
                Err(fault) => {
                    self.machine.fail(fault);
                    continue;
                }
            }
            if !self.machine.is_open() {
                continue;
            }
            if let Poll::Ready(read) = self.poll_fill(cx) {
                read?;
                continue;
            }
            // Nothing has come, so that what is late is late indeed.
            let next = self.machine.poll_timeout().map(|(at, _)| at);
            ready!(self.alarm.poll(cx, next));
            self.machine.handle_timeout(clock::now());
            // A Ping leaves; what cannot is met by whoever writes.
            let _ = self.poll_send(cx)?;
        }
    }

    /// The next part of what was read already.
    fn next_buffered(&mut self, now: Instant) -> Result<Option<PlainPiece>, WebSocketFault> {
        loop {
            if let Some(inflate) = &mut self.inflate {
                let octets = inflate.next_piece()?;
                let is_last = inflate.is_over();
                if is_last {
                    self.inflate = None;
                }
                if let Some(octets) = octets {
                    return self.checked(octets, is_last).map(Some);
                }
                if is_last {
                    return self.checked(Bytes::new(), true).map(Some);
                }
            }
            let Some(piece) = self.machine.handle_bytes(now, &mut self.input) else {
                return Ok(None);
            };
            let DataPiece {
                kind,
                is_compressed,
                octets,
                is_last,
            } = piece;
            if kind != self.config.kind {
                return Err(WebSocketFault::Unacceptable(kind));
            }
            if !is_compressed {
                return self.checked(octets, is_last).map(Some);
            }
            let inflate = match &mut self.inflate {
                Some(inflate) => inflate,
                none => {
                    let held = self.bytes.hold(INFLATE_BYTES);
                    let held = held.map_err(|error| WebSocketFault::NoRoom(error.to_string()))?;
                    none.insert(Inflate::new(held))
                }
            };
            inflate.push(octets, is_last);
        }
    }

    fn checked(&mut self, octets: Bytes, is_last: bool) -> Result<PlainPiece, WebSocketFault> {
        self.n_message = self.n_message.saturating_add(octets.len());
        if self.n_message > self.config.message_bytes_max {
            let limit = self.config.message_bytes_max;
            return Err(WebSocketFault::TooLong { limit });
        }
        let is_text = self.config.kind == MessageKind::Text;
        if is_text && !(self.text.push(&octets) && (!is_last || self.text.finish())) {
            return Err(WebSocketFault::NotUtf8);
        }
        if is_last {
            self.n_message = 0;
        }
        Ok(PlainPiece { octets, is_last })
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let room = self.input.capacity() - self.input.len();
        if room < self.read_bytes / 2 {
            self.input.reserve(self.read_bytes);
        }
        let room = self.input.capacity() - self.input.len();
        let read = pin!(self.stream.read_buf(&mut self.input)).poll(cx);
        if read.is_pending() && self.input.is_empty() && room > READ_BYTES_MIN {
            // Nothing is under way: an idle connection does not keep a large buffer.
            self.input = BytesMut::new();
            self.read_bytes = READ_BYTES_MIN;
        }
        let n_octets = ready!(read)?;
        self.read_ended = n_octets == 0;
        if n_octets >= room {
            self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
        }
        Poll::Ready(Ok(()))
    }

    /// Queues a message, packed where that was agreed upon. Text must be UTF-8.
    pub(crate) fn send(&mut self, message: Bytes) {
        let deflation = self.config.deflation;
        let packed = deflation.and_then(|deflation| deflate::pack(&message, deflation));
        let is_packed = packed.is_some();
        let payload = packed.unwrap_or(message);
        self.machine.send(self.config.kind, is_packed, payload);
    }

    /// Writes until nothing is left (ready) or the stream is full (pending).
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.fill_output();
            let written = match self.output.is_empty() {
                true => self.poll_flush(cx).map_ok(|()| 0),
                false => self.poll_write_once(cx),
            };
            match written {
                Poll::Pending => {
                    self.stalled_since.get_or_insert_with(clock::now);
                    return Poll::Pending;
                }
                Poll::Ready(written) => {
                    let n_octets = written?;
                    self.stalled_since = None;
                    if self.output.is_empty() {
                        return Poll::Ready(Ok(()));
                    }
                    if n_octets == 0 {
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                    self.on_written(n_octets);
                }
            }
        }
    }

    fn fill_output(&mut self) {
        while self.output.len() < SLICES_MAX
            && let Some(frame) = self.machine.poll_transmit()
        {
            self.output.push_back(frame.head);
            if !frame.payload.is_empty() {
                self.output.push_back(frame.payload);
            }
        }
    }

    fn poll_write_once(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.is_unflushed = true;
        let mut slices = [IoSlice::new(&[]); SLICES_MAX + 1];
        for (slice, chunk) in slices.iter_mut().zip(&self.output) {
            *slice = IoSlice::new(chunk);
        }
        let slices = slices.get(..self.output.len()).unwrap_or(&slices);
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn on_written(&mut self, n_octets: usize) {
        let mut left = n_octets;
        while let Some(chunk) = self.output.front_mut() {
            if left < chunk.len() {
                chunk.advance(left);
                return;
            }
            left -= chunk.len();
            self.output.pop_front();
        }
    }

    /// Frames and octets that wait for the peer.
    pub(crate) fn queued(&self) -> (usize, usize) {
        let n_output: usize = self.output.iter().map(Bytes::len).sum();
        let n_frames = self.machine.n_queued() + usize::from(n_output > 0);
        (n_frames, self.machine.queued_bytes() + n_output)
    }

    /// Since when the peer has taken nothing of what is for it.
    pub(crate) const fn stalled_since(&self) -> Option<Instant> {
        self.stalled_since
    }

    /// Takes the place of `poll_piece` while the peer is not read. Whether it answers cannot be seen, but
    /// a Ping that finds nobody is answered by a reset.
    pub(crate) fn poll_unread(&mut self, cx: &mut Context<'_>) {
        self.machine.on_unread(clock::now());
        loop {
            let next = self
                .machine
                .poll_timeout()
                .filter(|(_, why)| *why == "ping");
            if self.alarm.poll(cx, next.map(|(at, _)| at)).is_pending() {
                return;
            }
            let now = clock::now();
            self.machine.handle_timeout(now);
            self.machine.on_unread(now);
        }
    }

    pub(crate) fn close(&mut self, close: &CloseFrame) {
        self.machine.close(close);
    }

    pub(crate) fn fail(&mut self, fault: WebSocketFault) {
        self.machine.fail(fault);
    }

    pub(crate) fn is_open(&self) -> bool {
        self.machine.is_open()
    }

    pub(crate) const fn closed_by(&self) -> Option<&ClosedBy> {
        self.machine.closed_by()
    }

    /// Says the last word and waits for the peer's, at most `LAST_WORD` for each: a stream that is closed
    /// with unread octets may destroy what was written before.
    pub(crate) fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.ending {
                Ending::Running => self.ending = Ending::Saying(clock::now() + LAST_WORD),
                Ending::Saying(until) => {
                    let said = self.poll_last_word(cx);
                    if said.is_pending() && self.alarm.poll(cx, Some(until)).is_pending() {
                        return Poll::Pending;
                    }
                    self.ending = match said {
                        Poll::Ready(Ok(())) => Ending::Leaving(clock::now() + LAST_WORD),
                        Poll::Ready(Err(_)) | Poll::Pending => Ending::Over,
                    };
                }
                Ending::Leaving(until) => {
                    let left = self.poll_leave(cx);
                    if left.is_pending() && self.alarm.poll(cx, Some(until)).is_pending() {
                        return Poll::Pending;
                    }
                    self.ending = Ending::Over;
                }
                Ending::Over => return Poll::Ready(()),
            }
        }
    }

    /// As `poll_finish`.
    pub(crate) async fn finish(&mut self) {
        poll_fn(|cx| self.poll_finish(cx)).await;
    }

    /// Ready when Close has left, and the peer's has come or cannot.
    fn poll_last_word(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        while !self.machine.is_closed() && !self.read_ended {
            let _ = self.machine.handle_bytes(clock::now(), &mut self.input);
            if !self.machine.is_closed() {
                ready!(self.poll_fill(cx))?;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Closes our side; ready when the peer has closed its own.
    fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        while !self.read_ended {
            self.input.clear();
            ready!(self.poll_fill(cx))?;
        }
        Poll::Ready(Ok(()))
    }
}

/// A mask that a peer cannot foresee from those before: whoever it relays could write to a proxy what
/// the proxy takes for HTTP (RFC 6455 section 10.3).
fn mask() -> [u8; 4] {
    let [a, b, c, d, ..] = random::secret().to_ne_bytes();
    [a, b, c, d]
}

/// First size of the read buffer, and how far it grows while reads fill it.
const READ_BYTES_MIN: usize = 4 * 1024;
const READ_BYTES_MAX: usize = 64 * 1024;
/// Chunks of one vectored write.
const SLICES_MAX: usize = 32;
/// How long the last word may take to be written, and to be answered.
const LAST_WORD: Duration = Duration::from_secs(1);
