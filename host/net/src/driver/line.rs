//! A `Connection` on a stream link: reads many frames at once, writes all that is ready at once.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes, BytesMut};
use postern_core::wire::{Connection, FrameError, Role, SessionError};
use postern_system::clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Alarm, held::Held};
use crate::{
    byte_budget::{ByteBudgetError, ConnectionBytes},
    counters::Counters,
    link::StreamLink,
};

/// First size of the read buffer; an idle connection holds this much.
const READ_BYTES_MIN: usize = 4 * 1024;
/// The read buffer doubles up to here while reads fill it.
const READ_BYTES_MAX: usize = 256 * 1024;
/// Chunks of one vectored write.
const SLICES_MAX: usize = 32;
/// Octets taken out of the session's bounded queue ahead of the write that takes them.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;
/// Bytes that may be queued without room in the budget: errors in the place of replies, PONGs and
/// events, each of which has a bound of its own.
const UNASKED_BYTES_MAX: usize = 2 * 1024 * 1024;
/// How long the last word (ERR, BYE) may take to be written and read.
const LAST_WORD: Duration = Duration::from_secs(1);

/// The moving parts of a connection that both ends share.
#[derive(Debug)]
pub(crate) struct Line<S> {
    link: S,
    pub(crate) connection: Connection,
    input: BytesMut,
    read_bytes: usize,
    output: VecDeque<Bytes>,
    output_bytes: usize,
    /// Since when the peer has not taken a single octet, while there are some for it.
    stalled_since: Option<Instant>,
    /// Something was written since the link was flushed.
    is_unflushed: bool,
    write_timeout: Duration,
    read_ended: bool,
    /// Memory for a frame that has not arrived whole.
    held_input: Held,
    /// What is queued for the peer.
    held_output: Held,
    /// When something came last of such a frame.
    unfinished_since: Option<Instant>,
    /// Whole frames are left in `input`: the session was congested.
    has_undecoded: bool,
    alarm: Alarm,
    counters: Arc<Counters>,
    /// Octets are counted here, and not by what carries the link.
    counts_octets: bool,
}

/// Room for what waits for a peer, while its session queues more of it.
#[derive(Debug)]
pub(crate) struct OutputRoom<'a> {
    held: &'a mut Held,
    /// What waits outside of the session's queue.
    beside: usize,
}

/// Why a line is cut without a last word.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    #[error("the link broke: {0}")]
    Io(#[from] io::Error),
    #[error("slow reader: took nothing for {0:?}")]
    WriteTimeout(Duration),
    #[error("{0}")]
    Cut(String),
}

impl OutputRoom<'_> {
    /// Counts what waits, and `more`.
    ///
    /// # Errors
    /// Where there is no room for it.
    pub(crate) fn try_hold(
        &mut self,
        connection: &Connection,
        more: usize,
    ) -> Result<(), ByteBudgetError> {
        let waiting = connection.queued().1 + self.beside;
        self.held.try_grow_to(waiting + more)
    }
}

impl<S: StreamLink> Line<S> {
    pub(crate) fn new(
        link: S,
        connection: Connection,
        write_timeout: Duration,
        bytes: &ConnectionBytes,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            link,
            connection,
            input: BytesMut::new(),
            read_bytes: READ_BYTES_MIN,
            output: VecDeque::new(),
            output_bytes: 0,
            stalled_since: None,
            is_unflushed: false,
            write_timeout,
            read_ended: false,
            held_input: Held::new(bytes.clone()),
            held_output: Held::new(bytes.clone()),
            unfinished_since: None,
            has_undecoded: false,
            alarm: Alarm::new(),
            counters,
            counts_octets: true,
        }
    }

    /// Leaves the octets of the link to whoever carries it to count.
    pub(crate) const fn count_no_octets(&mut self) {
        self.counts_octets = false;
    }

    /// Feeds the session with what is left of the last read, or reads once; whether there was
    /// something, so that there may be events. If not, more wakes the task.
    ///
    /// A server asks only while its session is not congested. A client always asks: were both ends to
    /// wait for the other to read, neither would.
    pub(crate) fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, LineError> {
        if self.has_undecoded {
            self.decode(now);
            return Ok(true);
        }
        match self.poll_read(cx, now) {
            Poll::Ready(read) => read.map(|()| true),
            Poll::Pending => Ok(false),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Result<(), LineError>> {
        if self.read_ended || self.connection.is_closed() {
            return Poll::Pending;
        }
        if let Err(error) = self.make_room() {
            self.connection.refuse(error.to_string());
            return Poll::Ready(Ok(()));
        }
        let room = self.input.capacity() - self.input.len();
        let read = pin!(self.link.read_buf(&mut self.input)).poll(cx);
        if read.is_pending() && self.input.is_empty() && room > READ_BYTES_MIN {
            // Nothing is under way: an idle connection does not keep a large buffer.
            self.input = BytesMut::new();
            self.read_bytes = READ_BYTES_MIN;
        }
        let n_octets = ready!(read)?;
        if n_octets == 0 {
            self.read_ended = true;
            self.unfinished_since = None;
            self.connection.handle_link_end(now);
            return Poll::Ready(Ok(()));
        }
        if n_octets >= room {
            self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
        }
        if self.counts_octets {
            self.counters.bytes_in.add(n_octets as u64);
        }
        self.decode(now);
        self.unfinished_since = (self.held_input.counted() > 0).then_some(now);
        Poll::Ready(Ok(()))
    }

    /// Hands whole frames to the session, as long as it has room for its answers to them. A client
    /// whose server takes nothing goes on: responses may be among them.
    fn decode(&mut self, now: Instant) {
        let reads_on = self.connection.role() == Role::Client && self.is_stalled();
        let decoded = if reads_on {
            self.connection
                .handle_bytes(now, &mut self.input)
                .map(|()| false)
        } else {
            self.connection.handle_bytes_with_room(now, &mut self.input)
        };
        self.has_undecoded = decoded.unwrap_or_else(|error| {
            count_violation(&self.counters, &error);
            false
        });
        if self.held_input.counted() > 0 && self.connection.missing(&self.input).is_none() {
            self.held_input.shrink_to(0);
        }
        self.count_frames();
    }

    /// Counts what waits for the peer, in the session's queue, here, and `beside` them.
    ///
    /// # Errors
    /// Where there is no room for `more`.
    pub(crate) fn try_hold_output(
        &mut self,
        beside: usize,
        more: usize,
    ) -> Result<(), ByteBudgetError> {
        let (connection, mut room) = self.with_room(beside);
        room.try_hold(connection, more)
    }

    /// The session, and room for what is queued there; `beside` waits elsewhere.
    pub(crate) fn with_room(&mut self, beside: usize) -> (&mut Connection, OutputRoom<'_>) {
        let room = OutputRoom {
            held: &mut self.held_output,
            beside: self.output_bytes + beside,
        };
        (&mut self.connection, room)
    }

    /// Gives back what was counted and is written; what was queued without asking must find room.
    pub(crate) fn settle_output(&mut self, beside: usize) {
        let waiting = self.unwritten_bytes() + beside;
        if self.held_output.counted() > waiting {
            self.held_output.shrink_to(waiting);
        } else if let Err(error) = self.held_output.try_grow_to(waiting)
            && waiting > self.held_output.counted() + UNASKED_BYTES_MAX
        {
            self.connection.refuse(error.to_string());
        }
    }

    /// Bytes of frames that have not arrived whole, and of what waits for the peer, as far as counted.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_input.counted() + self.held_output.counted()
    }

    /// The caller does not read at present: that nothing comes of a frame is not the peer's doing.
    pub(crate) fn on_not_read(&mut self, now: Instant) {
        if self.unfinished_since.is_some() {
            self.unfinished_since = Some(now);
        }
    }

    /// Writes until nothing is left (ready) or the link is full (pending).
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Poll<Result<(), LineError>> {
        loop {
            self.fill_output();
            if self.output.is_empty() {
                let flushed = self.poll_flush(cx);
                if flushed.is_pending() {
                    self.stalled_since.get_or_insert(now);
                }
                ready!(flushed)?;
                self.stalled_since = None;
                return Poll::Ready(Ok(()));
            }
            let written = self.poll_write_once(cx);
            if written.is_pending() {
                self.stalled_since.get_or_insert(now);
            }
            let n_octets = ready!(written)?;
            if n_octets == 0 {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()));
            }
            self.stalled_since = None;
            if self.counts_octets {
                self.counters.bytes_out.add(n_octets as u64);
            }
            self.on_written(n_octets);
        }
    }

    /// Moves what the link has taken and holds itself, as TLS does.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_unflushed {
            ready!(Pin::new(&mut self.link).poll_flush(cx))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Hands what is to be written to the link, in one system call.
    fn poll_write_once(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.is_unflushed = true;
        let link = Pin::new(&mut self.link);
        if let ([chunk], []) = self.output.as_slices() {
            // The kernel does less for it than for a list of one.
            return link.poll_write(cx, chunk);
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        for (slice, chunk) in slices.iter_mut().zip(&self.output) {
            *slice = IoSlice::new(chunk);
        }
        let slices = slices.get(..self.output.len()).unwrap_or(&slices);
        link.poll_write_vectored(cx, slices)
    }

    /// Ready when a timer was due and was handled; then there may be events.
    pub(crate) fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LineError>> {
        let session = self.connection.poll_timeout().map(|(at, _)| at);
        let stalled = self.stalled_since.map(|since| since + self.write_timeout);
        let patience = self.connection.limits().fragment_age_max;
        let unfinished = self.unfinished_since.map(|since| since + patience);
        let next = [session, stalled, unfinished].into_iter().flatten().min();
        ready!(self.alarm.poll(cx, next));
        let now = now();
        if stalled.is_some_and(|at| at <= now) {
            return Poll::Ready(Err(LineError::WriteTimeout(self.write_timeout)));
        }
        if unfinished.is_some_and(|at| at <= now) {
            self.unfinished_since = Some(now);
            if !self.connection.is_congested() {
                let reason = format!("nothing came of the rest of a frame for {patience:?}");
                self.connection.refuse(reason);
            }
            return Poll::Ready(Ok(()));
        }
        if !self.output.is_empty() {
            self.connection.on_unwritten(now);
        }
        self.connection.handle_timeout(now);
        Poll::Ready(Ok(()))
    }

    fn unwritten_bytes(&self) -> usize {
        self.connection.queued().1 + self.output_bytes
    }

    pub(crate) fn set_write_timeout(&mut self, write_timeout: Duration) {
        self.write_timeout = write_timeout;
    }

    /// Something was queued after the last write, and nothing would wake the task for it.
    pub(crate) fn has_unwritten(&self) -> bool {
        !self.is_stalled() && self.connection.queued().0 > 0
    }

    /// Octets wait because the peer does not take them.
    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled_since.is_some()
    }

    pub(crate) fn read_ended(&self) -> bool {
        self.read_ended
    }

    /// Writes what is left, as long as the peer takes some of it within `write_timeout`.
    pub(crate) async fn flush(&mut self) {
        let patience = self.write_timeout;
        let mut is_going_on = true;
        while is_going_on {
            let some = std::future::poll_fn(|cx| {
                let left = self.unwritten_bytes();
                match self.poll_write(cx, now()) {
                    Poll::Ready(_) => Poll::Ready(false),
                    Poll::Pending if self.unwritten_bytes() < left => Poll::Ready(true),
                    Poll::Pending => Poll::Pending,
                }
            });
            let taken = tokio::time::timeout(patience, some).await;
            is_going_on = taken.unwrap_or(false);
        }
    }

    /// Writes the last word and closes. What the peer still sends is read and dropped for a
    /// moment, because closing a socket with unread octets may destroy what was written before.
    pub(crate) async fn close(mut self) {
        let last_word = async {
            std::future::poll_fn(|cx| self.poll_write(cx, now())).await?;
            self.link.shutdown().await?;
            let mut dropped = BytesMut::with_capacity(READ_BYTES_MIN);
            while !self.read_ended {
                dropped.clear();
                self.read_ended = self.link.read_buf(&mut dropped).await? == 0;
            }
            Ok::<(), LineError>(())
        };
        match tokio::time::timeout(LAST_WORD, last_word).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the last word was not written"),
            Err(_) => tracing::debug!("the peer did not close within {LAST_WORD:?}"),
        }
    }

    /// # Errors
    /// Where there is no room for a frame that has begun.
    fn make_room(&mut self) -> Result<(), ByteBudgetError> {
        let room = match self.connection.missing(&self.input) {
            // What a head declares is believed as far as octets have come for it.
            Some(missing) => {
                let room = missing.min(self.input.len().max(READ_BYTES_MAX));
                self.held_input.try_grow_to(self.input.len() + room)?;
                room
            }
            None => self.read_bytes,
        };
        if self.input.capacity() - self.input.len() < room.min(self.read_bytes / 2).max(1) {
            self.input.reserve(room);
        }
        Ok(())
    }

    fn fill_output(&mut self) {
        while self.output.len() < SLICES_MAX && self.output_bytes < OUTPUT_BYTES_MAX {
            let Some(chunk) = self.connection.poll_transmit() else {
                break;
            };
            self.output_bytes += chunk.len();
            self.output.push_back(chunk);
        }
        self.count_frames();
    }

    fn count_frames(&mut self) {
        let traffic = self.connection.take_traffic();
        self.counters.frames_in.add(traffic.frames_in);
        self.counters.frames_out.add(traffic.frames_out);
    }

    fn on_written(&mut self, mut n_octets: usize) {
        self.output_bytes -= n_octets;
        while let Some(chunk) = self.output.front_mut() {
            if chunk.len() > n_octets {
                chunk.advance(n_octets);
                return;
            }
            n_octets -= chunk.len();
            self.output.pop_front();
        }
    }
}

/// tokio's clock, so that tests may hold it.
pub(crate) fn now() -> Instant {
    clock::now()
}

pub(crate) fn count_violation(counters: &Counters, error: &SessionError) {
    tracing::debug!(%error, "protocol violation");
    match error {
        SessionError::Frame(FrameError::Crc { .. }) => counters.crc_errors.add(1),
        SessionError::Frame(_) | SessionError::Unexpected { .. } | SessionError::Header { .. } => {
            counters.protocol_errors.add(1)
        }
    }
}
