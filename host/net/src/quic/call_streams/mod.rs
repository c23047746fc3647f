//! The QUIC streams of a session's streaming calls: each call has one of its own for its frames in both
//! directions, so that a call whose peer is slow holds up no other.
//!
//! ```text
//!  client                                                         server
//!    open ─▶ frames of the call, credit among them ─▶ accept, bound by the first frame (`open`)
//!    call over: FIN                                    call over: FIN, when the peer has all: told
//! ```
//! A call whose peer has no stream free goes over the session's own stream, as over TCP. Bounded by the
//! streams that the peer is allowed, by the credit of each call, by `QUEUED_BYTES_MAX` for each and by the
//! byte budget for unfinished frames and what waits.

mod reader;
mod writer;

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    FutureExt, StreamExt,
    future::{AbortHandle, Abortable, Aborted},
    stream::FuturesUnordered,
};
use postern_core::{
    Blame, BoxFuture, Error, Kind, Retry, Text,
    limits::Limits,
    vsp::mux::{Mux, opened_id},
    wire::{Frame, FrameType, Role},
};
use quinn::{Connection, ConnectionError, RecvStream, SendStream, StreamId};

use self::{
    reader::{Read, ReadFault, Reader},
    writer::{Progress, WriteFault, Writer, Written, encode},
};
use crate::{byte_budget::ConnectionBytes, counters::Counters};

/// While more octets of a call wait for its peer, no more messages are made for it.
const QUEUED_BYTES_MAX: usize = 64 * 1024;

/// What the streams of calls are told at the beginning.
pub(crate) struct CallStreamsConfig {
    pub(crate) role: Role,
    pub(crate) limits: Limits,
    /// How long a peer may take nothing of a stream while there is something for it.
    pub(crate) write_timeout: Duration,
    pub(crate) bytes: ConnectionBytes,
    pub(crate) counters: Arc<Counters>,
}

/// The streams of one connection's calls. Polled by the driver of its session.
pub(crate) struct CallStreams {
    connection: Connection,
    config: CallStreamsConfig,
    streams: HashMap<StreamId, CallStream>,
    /// The stream of each call that has one.
    by_call: HashMap<Text, StreamId>,
    accepting: Option<BoxFuture<Result<(SendStream, RecvStream), ConnectionError>>>,
    reads: FuturesUnordered<BoxFuture<Result<Read, Aborted>>>,
    writes: FuturesUnordered<BoxFuture<Written>>,
    /// Streams that may have something to write, or are over.
    changed: Vec<StreamId>,
    /// Of all streams, what was queued and is not written.
    queued_bytes: usize,
    events: VecDeque<CallStreamEvent>,
}

/// What a driver is told.
#[derive(Debug)]
pub(crate) enum CallStreamEvent {
    /// A frame of a call, for `Mux`.
    Frame { call: Text, frame: Frame },
    /// Server: the peer sends nothing more of this call, not even credit.
    InputEnded(Text),
    /// The call cannot go on.
    Broken { call: Text, error: Error },
    /// There is room again after `QueueRoom::Full`.
    Writable(Text),
    /// The peer has all of a call that was `finish`ed, or will never have it.
    Delivered,
}

/// Whether more may be made for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueueRoom {
    Free,
    Full,
}

/// Which end this is, for errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Party(Role);

/// The stream of one call.
struct CallStream {
    /// None until its first frame has come.
    call: Option<Text>,
    /// None while a write is under way, and when nothing can be sent any more.
    writer: Option<Writer>,
    can_send: bool,
    queue: Vec<Bytes>,
    /// Of the queue, and of a write that is under way.
    queued_bytes: usize,
    is_full: bool,
    /// Nothing is sent after what is queued.
    is_over: bool,
    /// Whoever called `finish` waits for `Delivered`.
    is_awaited: bool,
    reading: AbortHandle,
}

impl CallStreams {
    pub(crate) fn new(connection: Connection, config: CallStreamsConfig) -> Self {
        Self {
            connection,
            config,
            streams: HashMap::new(),
            by_call: HashMap::new(),
            accepting: None,
            reads: FuturesUnordered::new(),
            writes: FuturesUnordered::new(),
            changed: Vec::new(),
            queued_bytes: 0,
            events: VecDeque::new(),
        }
    }

    pub(crate) fn set_write_timeout(&mut self, write_timeout: Duration) {
        self.config.write_timeout = write_timeout;
    }

    /// Opens a stream for call `call`, if the peer has one free at present.
    pub(crate) fn open(&mut self, call: &Text) -> bool {
        // Nobody waits: what has no stream of its own goes over the session's.
        let opened = {
            let opening = pin!(self.connection.open_bi());
            opening.poll(&mut Context::from_waker(Waker::noop()))
        };
        let Poll::Ready(Ok((send, recv))) = opened else {
            return false;
        };
        let stream = self.add(send, recv, Some(call.clone()));
        self.by_call.insert(call.clone(), stream);
        true
    }

    /// Whether a call has a stream of its own.
    pub(crate) fn carries(&self, call: &str) -> bool {
        self.by_call.contains_key(call)
    }

    /// Queues a frame of a call that has a stream.
    pub(crate) fn send(&mut self, call: &str, frame: &Frame) -> QueueRoom {
        let id = self.by_call.get(call).copied();
        let Some((id, stream)) = id.and_then(|id| Some((id, self.streams.get_mut(&id)?))) else {
            return QueueRoom::Full;
        };
        if stream.can_send {
            let n_chunks = stream.queue.len();
            // The session has checked its length.
            if encode(frame, &mut stream.queue).is_ok() {
                let queued = stream.queue.iter().skip(n_chunks);
                let n_bytes: usize = queued.map(Bytes::len).sum();
                stream.queued_bytes += n_bytes;
                self.queued_bytes += n_bytes;
                self.config.counters.frames_out.add(1);
            }
        }
        stream.is_over |= is_last(self.config.role, frame);
        stream.is_full = !stream.can_send || stream.queued_bytes >= QUEUED_BYTES_MAX;
        let is_full = stream.is_full;
        self.changed.push(id);
        if is_full {
            QueueRoom::Full
        } else {
            QueueRoom::Free
        }
    }

    /// The call is over here: its stream ends when what is queued is written, and `Delivered` follows.
    pub(crate) fn finish(&mut self, call: &str) {
        self.end(call, true);
    }

    /// Nobody here has such a call: its stream ends.
    pub(crate) fn dismiss(&mut self, call: &str) {
        self.end(call, false);
    }

    /// Octets that wait for the peer.
    pub(crate) const fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Something is to be done before the task sleeps.
    pub(crate) fn has_work(&self) -> bool {
        !self.changed.is_empty() || !self.events.is_empty()
    }

    /// What happened. A stream that the peer opens is taken while `may_accept`.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, may_accept: bool) -> Poll<CallStreamEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(event);
            }
            if let Some(id) = self.changed.pop() {
                self.advance(id);
            } else if let Poll::Ready(Some(written)) = self.writes.poll_next_unpin(cx) {
                self.on_written(written);
            } else if let Poll::Ready(Some(read)) = self.reads.poll_next_unpin(cx) {
                // An aborted one is of a stream that is over.
                if let Ok(Read { stream, outcome }) = read {
                    self.on_read(stream, outcome);
                }
            } else if may_accept {
                ready!(self.poll_accept(cx));
            } else {
                return Poll::Pending;
            }
        }
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let accepting = self.accepting.get_or_insert_with(|| {
            let connection = self.connection.clone();
            Box::pin(async move { connection.accept_bi().await })
        });
        let accepted = ready!(accepting.poll_unpin(cx));
        match accepted {
            Ok((send, recv)) => {
                self.accepting = None;
                self.add(send, recv, None);
                Poll::Ready(())
            }
            Err(_) => {
                // The session's own stream tells of a lost connection.
                self.accepting = Some(Box::pin(std::future::pending()));
                Poll::Pending
            }
        }
    }

    fn add(&mut self, send: SendStream, recv: RecvStream, call: Option<Text>) -> StreamId {
        let id = send.id();
        let reader = Reader::new(
            recv,
            &self.config.limits,
            self.config.bytes.clone(),
            Arc::clone(&self.config.counters),
        );
        let stream = CallStream {
            call,
            writer: Some(Writer::new(send)),
            can_send: true,
            queue: Vec::new(),
            queued_bytes: 0,
            is_full: false,
            is_over: false,
            is_awaited: false,
            reading: read_next(&self.reads, reader),
        };
        self.streams.insert(id, stream);
        id
    }

    fn end(&mut self, call: &str, is_awaited: bool) {
        let Some(id) = self.by_call.get(call) else {
            return;
        };
        if let Some(stream) = self.streams.get_mut(id) {
            stream.is_over = true;
            stream.is_awaited |= is_awaited;
            self.changed.push(*id);
        }
    }

    /// Writes what is queued, or ends a stream that is over.
    fn advance(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let patience = self.config.write_timeout;
        match stream.writer.take() {
            Some(writer) if !stream.queue.is_empty() => {
                let chunks = std::mem::take(&mut stream.queue);
                self.writes.push(Box::pin(writer.write(chunks, patience)));
            }
            Some(writer) if stream.is_over => {
                // What still comes of the call is not wanted.
                stream.reading.abort();
                self.writes.push(Box::pin(writer.deliver(patience)));
            }
            Some(writer) => stream.writer = Some(writer),
            None if !stream.can_send && stream.is_over => self.remove(id),
            None => {}
        }
    }

    fn on_written(&mut self, written: Written) {
        let Written {
            stream: id,
            n_bytes,
            outcome,
        } = written;
        // A stream is not removed while it is written to.
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.queued_bytes -= n_bytes;
        self.queued_bytes -= n_bytes;
        match outcome {
            Ok(Progress::Open(writer)) => {
                self.config.counters.bytes_out.add(n_bytes as u64);
                stream.writer = Some(writer);
                self.changed.push(id);
                if stream.is_full && stream.queued_bytes < QUEUED_BYTES_MAX {
                    stream.is_full = false;
                    let writable = stream.call.clone().map(CallStreamEvent::Writable);
                    self.events.extend(writable);
                }
            }
            Ok(Progress::Delivered) => self.remove(id),
            Err(fault) => self.on_write_fault(id, &fault),
        }
    }

    fn on_write_fault(&mut self, id: StreamId, fault: &WriteFault) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if matches!(fault, WriteFault::Late(_)) {
            self.config.counters.slow_readers.add(1);
            tracing::warn!(call = ?stream.call, %fault, "streaming call ended");
        }
        stream.can_send = false;
        stream.is_full = true;
        self.queued_bytes -= std::mem::take(&mut stream.queued_bytes);
        stream.queue.clear();
        if stream.is_over {
            self.remove(id);
        } else if let Some(call) = stream.call.clone()
            && let Some(error) = fault.error(Party(self.config.role))
        {
            self.events
                .push_back(CallStreamEvent::Broken { call, error });
        }
    }

    fn on_read(&mut self, id: StreamId, outcome: Result<(Reader, Frame), ReadFault>) {
        let (reader, frame) = match outcome {
            Ok(read) => read,
            Err(fault) => return self.on_read_fault(id, &fault),
        };
        match self.call_of(id, &frame) {
            Ok(call) => {
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.reading = read_next(&self.reads, reader);
                }
                let event = CallStreamEvent::Frame { call, frame };
                self.events.push_back(event);
            }
            Err(unfit) => {
                let fault = ReadFault::Unfit(unfit);
                reader.refuse(&fault);
                self.on_read_fault(id, &fault);
            }
        }
    }

    /// The call of a frame that came on stream `id`. The first frame says whose stream it is.
    fn call_of(&mut self, id: StreamId, frame: &Frame) -> Result<Text, &'static str> {
        if frame.kind != FrameType::Data || !Mux::takes(frame) {
            return Err("a frame that is of no streaming call");
        }
        let stream = self.streams.get_mut(&id).ok_or("a stream that is over")?;
        match &stream.call {
            Some(call) => {
                let named = frame.headers.get_bytes(b"correlation-id");
                let is_same = named.is_some_and(|named| named == call.as_bytes());
                let call = is_same.then(|| call.clone());
                call.ok_or("a frame of another call")
            }
            None => {
                let call = opened_id(frame).ok_or("a first frame that opens no call")?;
                if self.by_call.contains_key(&call) {
                    return Err("a call that has a stream already");
                }
                stream.call = Some(call.clone());
                self.by_call.insert(call.clone(), id);
                Ok(call)
            }
        }
    }

    fn on_read_fault(&mut self, id: StreamId, fault: &ReadFault) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        match (&stream.call, fault) {
            (None, fault) => {
                // Nobody here knows of it. Its peer is told by the code.
                if let Some((writer, code)) = stream.writer.take().zip(fault.code()) {
                    writer.reset(code);
                }
                self.remove(id);
            }
            (Some(_), _) if stream.is_over => {}
            (Some(call), ReadFault::Ended) if self.config.role == Role::Server => {
                self.events
                    .push_back(CallStreamEvent::InputEnded(call.clone()));
            }
            (Some(call), fault) => {
                if let Some(error) = fault.error(Party(self.config.role)) {
                    let call = call.clone();
                    self.events
                        .push_back(CallStreamEvent::Broken { call, error });
                }
            }
        }
    }

    fn remove(&mut self, id: StreamId) {
        let Some(stream) = self.streams.remove(&id) else {
            return;
        };
        self.queued_bytes -= stream.queued_bytes;
        stream.reading.abort();
        if let Some(call) = stream.call {
            self.by_call.remove(&call);
        }
        if stream.is_awaited {
            self.events.push_back(CallStreamEvent::Delivered);
        }
    }
}

impl Party {
    fn error(self, kind: Kind, message: String) -> Error {
        match self {
            Self(Role::Server) => Error::new(kind, Blame::Client, message),
            // The server may have begun the call.
            Self(Role::Client) => {
                Error::new(kind, Blame::Upstream, message).with_retry(Retry::IfIdempotent)
            }
        }
    }
}

impl fmt::Debug for CallStreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallStreams")
            .field("calls", &self.by_call)
            .field("queued_bytes", &self.queued_bytes)
            .finish_non_exhaustive()
    }
}

/// Whether `frame`, as this end sends it, ends its call.
fn is_last(role: Role, frame: &Frame) -> bool {
    match frame.headers.get(b"stream").as_deref() {
        Some(b"reset") => true,
        Some(b"end") => role == Role::Server,
        _ => false,
    }
}

fn read_next(
    reads: &FuturesUnordered<BoxFuture<Result<Read, Aborted>>>,
    reader: Reader,
) -> AbortHandle {
    let (handle, registration) = AbortHandle::new_pair();
    reads.push(Box::pin(Abortable::new(reader.next(), registration)));
    handle
}
