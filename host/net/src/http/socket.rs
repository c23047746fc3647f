//! The socket of one HTTP connection as hyper reads and writes it: octets are counted, heads of
//! HTTP/1 are passed on when they are whole and sound, and those of HTTP/2 are timed.
//!
//! After a head that is not taken the connection ends for hyper, as if the client had closed it: what
//! was asked before is answered, then `Socket`'s owner answers the refusal itself. So does it before a
//! head of more fields than this hyper takes, which is for another one.
//!
//! A client of HTTP/2 that floods the connection (flood.rs) is told so by a GOAWAY between hyper's frames,
//! and is gone for hyper.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut, BytesMut};
use postern_system::clock;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;
use tracing::debug;

use super::{
    activity::Activity,
    flood::{FloodGuard, FloodLimits},
    frames::{Frames, PREFACE},
    head::{self, FEW_FIELDS, FIELDS_MAX, HeadError, Scanner},
};
use crate::{Counters, link::StreamLink};

/// A stream and what was read of it too early.
pub(super) struct Socket<S> {
    stream: S,
    shared: Arc<SocketState>,
    /// Read and not handed on.
    buffer: BytesMut,
    /// How much of `buffer` may be handed on.
    n_admitted: usize,
    /// Most fields of a head of HTTP/1 that are handed on.
    fields_max: usize,
    /// What is admitted begins with a head of more.
    has_many_fields: bool,
    is_at_end: bool,
    /// What the stream has taken and holds itself waits for the client.
    is_flush_blocked: bool,
    /// What is still to be written of `INTERIM`, or of the GOAWAY to a client that floods.
    interim: &'static [u8],
    protocol: Protocol,
}

/// What a socket tells its owner, who has given it to hyper.
#[derive(Debug)]
pub(super) struct SocketState {
    pub(super) activity: Arc<Activity>,
    counters: Arc<Counters>,
    flood_limits: FloodLimits,
    refusal: OnceLock<HeadError>,
    /// The request that is being read has octets which nobody has read.
    unread: AtomicBool,
    /// The last request takes interim responses: it is of HTTP/1.1.
    takes_interim: AtomicBool,
    /// The client is to be sent one.
    is_interim_due: AtomicBool,
}

#[derive(Debug)]
enum Protocol {
    Http1(Scanner),
    Http2(Frames, FloodGuard),
}

impl SocketState {
    pub(super) fn new(
        activity: Arc<Activity>,
        counters: Arc<Counters>,
        flood_limits: FloodLimits,
    ) -> Self {
        Self {
            activity,
            counters,
            flood_limits,
            refusal: OnceLock::new(),
            unread: AtomicBool::new(false),
            takes_interim: AtomicBool::new(false),
            is_interim_due: AtomicBool::new(false),
        }
    }

    /// Whether the client may be sent responses before the one that counts.
    pub(super) fn takes_interim(&self) -> bool {
        self.takes_interim.load(Ordering::Relaxed)
    }

    /// Has the client sent an interim response when the connection is driven next and nothing else is
    /// to be written.
    pub(super) fn send_interim(&self) {
        self.is_interim_due.store(true, Ordering::Relaxed);
    }

    /// The head that was not taken.
    pub(super) fn refusal(&self) -> Option<&HeadError> {
        self.refusal.get()
    }

    /// Whether the client may be sending still what nobody reads any more.
    pub(super) fn has_unread(&self) -> bool {
        self.refusal.get().is_some() || self.unread.load(Ordering::Relaxed)
    }
}

impl<S: StreamLink> Socket<S> {
    pub(super) fn new(stream: S, shared: Arc<SocketState>) -> Self {
        Self {
            stream,
            shared,
            buffer: BytesMut::new(),
            n_admitted: 0,
            fields_max: FEW_FIELDS,
            has_many_fields: false,
            is_at_end: false,
            is_flush_blocked: false,
            interim: &[],
            protocol: Protocol::Http1(Scanner::default()),
        }
    }

    /// Reads as much as tells HTTP/2 from HTTP/1; says whether it is HTTP/2. Where TLS has agreed on
    /// that (`is_agreed`) it is, whatever comes: another preface breaks its rules (RFC 9113 section
    /// 3.4) and is no request of HTTP/1.
    pub(super) async fn detect(&mut self, is_agreed: bool) -> io::Result<bool> {
        let is_http2 = self.has_preface().await? || is_agreed;
        if is_http2 {
            let guard = FloodGuard::new(self.shared.flood_limits, clock::now());
            self.protocol = Protocol::Http2(Frames::default(), guard);
        }
        Ok(is_http2)
    }

    async fn has_preface(&mut self) -> io::Result<bool> {
        loop {
            let n_same = self.buffer.len().min(PREFACE.len());
            if self.buffer.get(..n_same) != PREFACE.get(..n_same) {
                return Ok(false);
            }
            if n_same == PREFACE.len() {
                return Ok(true);
            }
            std::future::poll_fn(|cx| self.poll_fill(cx)).await?;
            if self.is_at_end {
                return Ok(false);
            }
        }
    }

    pub(super) const fn fields_max(&self) -> usize {
        self.fields_max
    }

    /// Has the head handed on that was held back for its many fields; says whether there was one.
    pub(super) fn admit_many_fields(&mut self) -> bool {
        self.fields_max = FIELDS_MAX;
        std::mem::take(&mut self.has_many_fields)
    }

    /// What the connection is carried by, and what was read of it and not handed on.
    pub(super) fn into_parts(self) -> (S, BytesMut) {
        (self.stream, self.buffer)
    }

    /// What the connection is carried by, once hyper is done with it.
    pub(super) fn into_stream(self) -> S {
        self.stream
    }

    /// Whether the client has sent anything yet.
    pub(super) fn has_read(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Reads what is there into `buffer`, which is given back while nothing comes.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Most polls find nothing, so no memory is taken before there is something.
        let mut octets = [MaybeUninit::uninit(); READ_BYTES];
        let mut read = ReadBuf::uninit(&mut octets);
        match Pin::new(&mut self.stream).poll_read(cx, &mut read) {
            Poll::Ready(result) => result?,
            Poll::Pending => {
                if self.buffer.is_empty() {
                    self.buffer = BytesMut::new();
                }
                return Poll::Pending;
            }
        }
        self.buffer.extend_from_slice(read.filled());
        self.on_read(read.filled().len());
        Poll::Ready(Ok(()))
    }

    /// Reads at most `limit` octets past `self.buffer`, which is empty.
    fn poll_read_directly(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        let mut limited = buffer.limit(limit);
        let read = poll_read_buf(Pin::new(&mut self.stream), cx, &mut limited);
        let n_octets = ready!(read)?;
        self.on_read(n_octets);
        Poll::Ready(Ok(n_octets))
    }

    fn on_read(&mut self, n_octets: usize) {
        self.is_at_end = n_octets == 0;
        self.shared.counters.bytes_in.add(n_octets as u64);
    }

    /// Looks at what is read of HTTP/1; says whether anything may be handed on.
    fn admit(&mut self) -> bool {
        let Protocol::Http1(scanner) = &mut self.protocol else {
            self.n_admitted = self.buffer.len();
            return self.n_admitted > 0;
        };
        if scanner.is_at_head() {
            self.buffer.advance(head::n_blank(&self.buffer));
        }
        match scanner.admit(&self.buffer) {
            Ok(n_admitted) => {
                self.n_admitted = n_admitted;
                self.has_many_fields = n_admitted > 0 && scanner.n_fields() > self.fields_max;
                let takes_interim = &self.shared.takes_interim;
                takes_interim.store(!scanner.is_http_1_0(), Ordering::Relaxed);
            }
            Err(refusal) => {
                // The first one stays: nothing is read after it.
                let _ = self.shared.refusal.set(refusal);
                return false;
            }
        }
        let is_in_head = self.n_admitted == 0 && !self.buffer.is_empty();
        self.shared.activity.set_in_head(is_in_head);
        self.n_admitted > 0
    }

    /// Hands on what may be.
    fn hand_on(&mut self, buffer: &mut ReadBuf<'_>) {
        let n_before = buffer.filled().len();
        let n_octets = self.n_admitted.min(buffer.remaining());
        let octets = self.buffer.get(..n_octets).unwrap_or_default();
        buffer.put_slice(octets);
        self.take_frames(buffer.filled().get(n_before..).unwrap_or_default());
        self.buffer.advance(n_octets);
        self.n_admitted -= n_octets;
        self.note_unread();
    }

    /// Follows octets that are handed on, of frames where they are of HTTP/2. A client that floods is at
    /// its end: what it sends is dropped from here on.
    fn take_frames(&mut self, octets: &[u8]) {
        let Protocol::Http2(frames, guard) = &mut self.protocol else {
            return;
        };
        let before = frames.counts();
        frames.take(octets);
        let SocketState {
            activity, counters, ..
        } = &*self.shared;
        activity.set_in_head(frames.is_in_head());
        if frames.counts() == before {
            return;
        }
        let judged = guard.handle_frames(clock::now(), frames.counts(), activity.progress());
        if let Err(flood) = judged {
            debug!(?flood, "http/2 connection is flooded");
            counters.protocol_errors.add(1);
            self.is_at_end = true;
            // hyper leaves a frame half written only where the client takes nothing.
            if !activity.is_write_blocked() {
                self.interim = flood.goaway();
            }
        }
    }

    /// Tells a client that floods of its end, before hyper closes the connection. Where that cannot be
    /// written at once, the client takes nothing.
    fn poll_goaway(&mut self, cx: &mut Context<'_>) {
        let is_due = self.is_at_end && !self.interim.is_empty();
        if is_due && matches!(self.poll_interim(cx), Poll::Ready(Ok(()))) {
            let _ = Pin::new(&mut self.stream).poll_flush(cx);
        }
    }

    fn note_unread(&self) {
        let is_unread = match &self.protocol {
            Protocol::Http1(scanner) => !scanner.is_at_head() || self.n_admitted > 0,
            Protocol::Http2(..) => false,
        };
        let unread = &self.shared.unread;
        unread.store(is_unread, Ordering::Relaxed);
    }

    fn on_write(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if result.is_pending() {
            self.shared.activity.on_write_blocked();
            return Poll::Pending;
        }
        let result = ready!(result);
        if let Ok(n_octets) = result {
            self.shared.activity.on_written(n_octets);
            self.shared.counters.bytes_out.add(n_octets as u64);
        }
        Poll::Ready(result)
    }

    /// Writes what is left of an interim response that was begun.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.interim.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(cx, self.interim);
            let n_octets = ready!(self.on_write(written))?;
            if n_octets == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.interim = self.interim.get(n_octets..).unwrap_or_default();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: StreamLink> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.n_admitted > 0 && !this.has_many_fields {
                this.hand_on(buffer);
                this.poll_goaway(cx);
                return Poll::Ready(Ok(()));
            }
            if this.has_many_fields || this.is_at_end || this.shared.refusal.get().is_some() {
                return Poll::Ready(Ok(()));
            }
            let n_before = buffer.filled().len();
            match &this.protocol {
                _ if !this.buffer.is_empty() => {
                    if this.admit() || this.shared.refusal.get().is_some() {
                        continue;
                    }
                }
                Protocol::Http1(scanner) if scanner.body_left() > 0 => {
                    let left = usize::try_from(scanner.body_left()).unwrap_or(usize::MAX);
                    let n_octets = ready!(this.poll_read_directly(cx, buffer, left))?;
                    if let Protocol::Http1(scanner) = &mut this.protocol {
                        scanner.pass(n_octets);
                    }
                    this.note_unread();
                    return Poll::Ready(Ok(()));
                }
                Protocol::Http2(..) => {
                    ready!(this.poll_read_directly(cx, buffer, usize::MAX))?;
                    this.take_frames(buffer.filled().get(n_before..).unwrap_or_default());
                    this.poll_goaway(cx);
                    return Poll::Ready(Ok(()));
                }
                Protocol::Http1(_) => {}
            }
            ready!(this.poll_fill(cx))?;
        }
    }
}

impl<S: StreamLink> AsyncWrite for Socket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        let result = Pin::new(&mut self.stream).poll_write(cx, octets);
        self.on_write(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.on_write(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes whenever it is driven, and only when all that it had to write is written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_due = &self.shared.is_interim_due;
        if is_due.load(Ordering::Relaxed) {
            is_due.store(false, Ordering::Relaxed);
            self.interim = INTERIM;
        }
        ready!(self.poll_interim(cx))?;
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_pending() {
            self.shared.activity.on_write_blocked();
            self.is_flush_blocked = true;
        } else if std::mem::take(&mut self.is_flush_blocked) {
            self.shared.activity.on_written(0);
        }
        flushed
    }

    /// The owner closes a connection of HTTP/1, when it has answered what hyper has not seen.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.protocol {
            Protocol::Http1(_) => Poll::Ready(Ok(())),
            Protocol::Http2(..) => Pin::new(&mut self.stream).poll_shutdown(cx),
        }
    }
}

const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// Octets that a request head and a short body fit in.
const READ_BYTES: usize = 4 * 1024;
