//! One accepted connection: requests are begun as they come, answers and events written as they are
//! ready.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use postern_core::{
    BoxFuture, Peer,
    event::wake_together,
    resp::{Lane, RespCommand, RespDecoder, RespRequest, RespValue, Unknown},
};
use postern_system::clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{EventsEnded, RespAnswer, RespClient, RespConfig, replies::Replies, server::Shared};
use crate::{
    byte_budget::{ByteBudgetError, ConnectionBytes},
    driver::{Alarm, Held},
    link::StreamLink,
    shutdown::Shutdown,
};

/// The parts of a connection.
struct Connection<'s, S> {
    link: S,
    shared: &'s Shared,
    config: Arc<RespConfig>,
    client: Box<dyn RespClient>,
    decoder: RespDecoder,
    input: BytesMut,
    /// A request that waits for those before it.
    waiting: Option<Begun>,
    /// A request that is judged before it begins.
    judged: Option<JudgedRequest>,
    /// The last decoding found no whole request.
    is_hungry: bool,
    /// The decoder knows whether the client has said who it is.
    is_trust_told: bool,
    replies: Replies,
    output: BytesMut,
    is_unflushed: bool,
    held: Held,
    alarm: Alarm,
    /// When something came, or an answer was given.
    active_at: Instant,
    /// Since when the peer has taken nothing, while there is something for it.
    stalled_since: Option<Instant>,
    has_input_ended: bool,
    is_draining: bool,
    /// Nothing is begun any more.
    is_closing: bool,
}

/// A request whose client may not be allowed it.
struct JudgedRequest {
    judging: BoxFuture<Result<(), RespValue>>,
    request: RespRequest,
    command: &'static RespCommand,
}

type Begun = (RespRequest, Result<&'static RespCommand, Unknown>);

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
enum Ending {
    #[error("it is done")]
    Done,
    #[error("the link broke: {0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Events(#[from] EventsEnded),
    #[error("slow reader: it takes nothing, and {0}")]
    Full(ByteBudgetError),
    #[error("slow reader: {n_bytes} octets of events wait, the limit is {limit}")]
    OutputFull { n_bytes: usize, limit: usize },
    #[error("slow reader: took nothing for {0:?}")]
    WriteTimeout(Duration),
    #[error("nothing came for {0:?}")]
    Idle(Duration),
    #[error("the gateway ends")]
    Ended,
}

/// Serves one connection until it is closed.
pub(super) async fn serve<S: StreamLink>(
    shared: &Shared,
    link: S,
    client: Box<dyn RespClient>,
    peer: &Peer,
    bytes: ConnectionBytes,
    shutdown: Shutdown,
) {
    let mut connection = Connection::new(link, shared, client, bytes);
    let ending = {
        let mut draining = pin!(shutdown.draining());
        let mut ended = pin!(shutdown.ended());
        poll_fn(|cx| connection.poll(cx, draining.as_mut(), ended.as_mut())).await
    };
    if ending.is_slow_reader() {
        shared.counters.slow_readers.add(1);
        tracing::info!(peer = %peer.origin, %ending, "connection closed");
    } else {
        tracing::debug!(peer = %peer.origin, %ending, "connection closed");
    }
    // Whether the peer hears the end is its own affair.
    let _ = tokio::time::timeout(LAST_WORD, connection.link.shutdown()).await;
}

impl Ending {
    const fn is_slow_reader(&self) -> bool {
        match self {
            Self::Events(EventsEnded::Lost)
            | Self::Full(_)
            | Self::OutputFull { .. }
            | Self::WriteTimeout(_) => true,
            Self::Done
            | Self::Io(_)
            | Self::Events(EventsEnded::Closed)
            | Self::Idle(_)
            | Self::Ended => false,
        }
    }
}

impl<'s, S: StreamLink> Connection<'s, S> {
    fn new(
        link: S,
        shared: &'s Shared,
        client: Box<dyn RespClient>,
        bytes: ConnectionBytes,
    ) -> Self {
        let config = shared.config.load_full();
        Self {
            link,
            shared,
            client,
            decoder: RespDecoder::new(config.limits),
            config,
            input: BytesMut::new(),
            waiting: None,
            judged: None,
            is_hungry: true,
            is_trust_told: false,
            replies: Replies::default(),
            output: BytesMut::new(),
            is_unflushed: false,
            held: Held::new(bytes),
            alarm: Alarm::new(),
            active_at: clock::now(),
            stalled_since: None,
            has_input_ended: false,
            is_draining: false,
            is_closing: false,
        }
    }

    /// Ready when the connection is to be closed.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        draining: Pin<&mut impl Future<Output = ()>>,
        ended: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<Ending> {
        if !self.is_draining && draining.poll(cx).is_ready() {
            self.is_draining = true;
        }
        if self.is_draining && ended.poll(cx).is_ready() {
            return Poll::Ready(Ending::Ended);
        }
        for _ in 0..ROUNDS_MAX {
            match self.round(cx) {
                Ok(true) => {}
                Ok(false) => return self.poll_timer(cx),
                Err(ending) => return Poll::Ready(ending),
            }
        }
        // Others of this thread have their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads, answers and writes once; whether something of it was done. If not, more wakes the task.
    fn round(&mut self, cx: &mut Context<'_>) -> Result<bool, Ending> {
        let mut has_done = self.read(cx)?;
        has_done |= self.answer(cx);
        has_done |= self.take_events(cx)?;
        has_done |= self.write(cx)?;
        self.settle()?;
        match self.is_done() {
            true => Err(Ending::Done),
            false => Ok(has_done),
        }
    }

    /// Whether there is nothing left to do for this client.
    fn is_done(&self) -> bool {
        if !self.output.is_empty() || self.is_unflushed {
            return false;
        }
        let is_answering = !self.replies.is_empty() || self.judged.is_some();
        let has_requests = is_answering || self.waiting.is_some();
        if self.is_closing || self.is_draining {
            return !is_answering;
        }
        // Who waits for what may never come, and is gone, waits for nothing.
        let waits_in_vain = self.replies.is_alone() && self.input.is_empty();
        self.has_input_ended && (waits_in_vain || (!has_requests && self.is_hungry))
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, Ending> {
        // What waits unread in the socket holds up a client that sends too much.
        let wants_more = self.is_hungry || self.input.len() < WAITING_BYTES_MAX;
        if self.has_input_ended || self.is_closing || !wants_more || !self.has_room() {
            return Ok(false);
        }
        if self.input.capacity() - self.input.len() < READ_BYTES_MIN {
            self.input.reserve(READ_BYTES);
        }
        let read = pin!(self.link.read_buf(&mut self.input)).poll(cx);
        let n_octets = match read {
            Poll::Ready(read) => read?,
            Poll::Pending => {
                if self.input.is_empty() {
                    // An idle connection keeps no buffer.
                    self.input = BytesMut::new();
                }
                return Ok(false);
            }
        };
        self.active_at = clock::now();
        match n_octets {
            0 => self.has_input_ended = true,
            n_octets => {
                self.shared.counters.bytes_in.add(n_octets as u64);
                self.is_hungry = false;
            }
        }
        Ok(true)
    }

    /// Whether another request may be begun.
    fn has_room(&self) -> bool {
        let waiting = self.output.len() + self.replies.waiting_bytes();
        self.replies.len() < self.config.in_flight_max && waiting < self.config.output_bytes_max
    }

    /// Begins what may begin, and encodes what is ready; whether there was something. Subscribers of what
    /// was published meanwhile are woken behind it.
    fn answer(&mut self, cx: &mut Context<'_>) -> bool {
        wake_together(|| self.begin_all(cx))
    }

    fn begin_all(&mut self, cx: &mut Context<'_>) -> bool {
        let mut has_done = self.encode(cx);
        self.resume(cx);
        self.is_trust_told = false;
        let mut n_begun = 0_u64;
        while self.has_room() && !self.is_closing {
            let Some((request, command)) = self.next_request() else {
                break;
            };
            let lane = command.map_or(Lane::Free, |command| self.client.lane(command));
            if self.judged.is_some() || !self.replies.has_room_for(lane) {
                self.waiting = Some((request, command));
                break;
            }
            n_begun += 1;
            self.begin(cx, request, command, lane);
        }
        self.shared.counters.frames_in.add(n_begun);
        has_done |= n_begun > 0;
        has_done |= self.encode(cx);
        has_done
    }

    fn encode(&mut self, cx: &mut Context<'_>) -> bool {
        let client = &self.client;
        let limit = self.config.output_bytes_max;
        let version = || client.version();
        self.replies
            .poll_encode(cx, version, &mut self.output, limit)
    }

    /// The next request, where it has come whole.
    fn next_request(&mut self) -> Option<Begun> {
        if let Some(waiting) = self.waiting.take() {
            return Some(waiting);
        }
        if self.is_draining && !self.decoder.is_within_request() {
            return None;
        }
        if !self.is_trust_told {
            self.decoder.set_trusted(self.client.is_trusted());
            self.is_trust_told = true;
        }
        match self.decoder.decode(&mut self.input) {
            Ok(Some(request)) => {
                let command = RespCommand::of(&request);
                Some((request, command))
            }
            Ok(None) => {
                self.is_hungry = true;
                None
            }
            Err(fault) => {
                self.shared.counters.protocol_errors.add(1);
                self.replies.push(RespValue::error(format!("ERR {fault}")));
                self.is_closing = true;
                None
            }
        }
    }

    fn begin(
        &mut self,
        cx: &mut Context<'_>,
        request: RespRequest,
        command: Result<&'static RespCommand, Unknown>,
        lane: Lane,
    ) {
        // What says who the client is goes on alone.
        self.is_trust_told &= lane != Lane::Alone;
        match self.client.begin(request, command) {
            RespAnswer::Now(value) if self.replies.is_empty() => {
                value.encode(self.client.version(), &mut self.output);
            }
            RespAnswer::Now(value) => self.replies.push(value),
            RespAnswer::Later(future) => self.replies.push_later(cx, future, lane, true),
            RespAnswer::Untold => {}
            RespAnswer::UntoldLater(future) => self.replies.push_later(cx, future, lane, false),
            RespAnswer::Judged(judging, request) => {
                // What is unknown is judged by nobody.
                self.judged = command.ok().map(|command| JudgedRequest {
                    judging,
                    request,
                    command,
                });
                self.resume(cx);
            }
            RespAnswer::Last(value) => {
                self.replies.push(value);
                self.is_closing = true;
            }
        }
    }

    /// Begins what was judged, or tells why not.
    fn resume(&mut self, cx: &mut Context<'_>) {
        let Some(judged) = &mut self.judged else {
            return;
        };
        let Poll::Ready(judgement) = judged.judging.as_mut().poll(cx) else {
            return;
        };
        let Some(judged) = self.judged.take() else {
            return;
        };
        let value = match judgement {
            Ok(()) => self.client.resume(judged.request, judged.command),
            Err(refused) => refused,
        };
        self.replies.push(value);
    }

    fn take_events(&mut self, cx: &mut Context<'_>) -> Result<bool, Ending> {
        // Events are taken as they come, whether or not the peer takes them, and bounded here.
        let (n_before, limit) = (self.output.len(), self.config.output_bytes_max);
        match self.client.poll_events(cx, &mut self.output, limit) {
            Poll::Ready(taken) => taken?,
            Poll::Pending => {}
        }
        let n_bytes = self.output.len();
        if n_bytes > n_before && n_bytes >= limit {
            return Err(Ending::OutputFull { n_bytes, limit });
        }
        Ok(n_bytes > n_before)
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, Ending> {
        let mut has_done = false;
        while !self.output.is_empty() {
            let n_octets = match Pin::new(&mut self.link).poll_write(cx, &self.output) {
                Poll::Ready(written) => written?,
                Poll::Pending => {
                    self.stalled_since.get_or_insert_with(clock::now);
                    return Ok(has_done);
                }
            };
            if n_octets == 0 {
                return Err(io::Error::from(io::ErrorKind::WriteZero).into());
            }
            self.output.advance(n_octets);
            self.shared.counters.bytes_out.add(n_octets as u64);
            (self.stalled_since, self.is_unflushed, has_done) = (None, true, true);
        }
        if self.is_unflushed {
            match Pin::new(&mut self.link).poll_flush(cx) {
                Poll::Ready(flushed) => flushed?,
                Poll::Pending => {
                    self.stalled_since.get_or_insert_with(clock::now);
                    return Ok(has_done);
                }
            }
            (self.is_unflushed, self.stalled_since) = (false, None);
            self.active_at = clock::now();
            if self.output.capacity() > OUTPUT_KEPT_MAX {
                self.output = BytesMut::new();
            }
        }
        Ok(has_done)
    }

    /// Counts what is held, and takes settings that have changed.
    fn settle(&mut self) -> Result<(), Ending> {
        let n_bytes = self.input.len() + self.output.len() + self.replies.waiting_bytes();
        if self.held.counted() > n_bytes {
            self.held.shrink_to(n_bytes);
        } else if let Err(full) = self.held.try_grow_to(n_bytes) {
            if self.input.len() < self.output.len() {
                return Err(Ending::Full(full));
            }
            if !self.is_closing {
                self.replies.push(RespValue::error(format!("ERR {full}")));
                (self.is_closing, self.input) = (true, BytesMut::new());
            }
        }
        let config = self.shared.config.load();
        if !Arc::ptr_eq(&config, &self.config) {
            self.config = Arc::clone(&config);
            self.decoder.apply(self.config.limits);
        }
        Ok(())
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        let is_at_rest = self.replies.is_empty() && !self.client.is_subscribed();
        let idle = is_at_rest.then(|| self.active_at + self.config.idle_timeout);
        let stalled = self
            .stalled_since
            .map(|since| since + self.config.write_timeout);
        let next = [idle, stalled].into_iter().flatten().min();
        if self.alarm.poll(cx, next).is_pending() {
            return Poll::Pending;
        }
        let now = clock::now();
        Poll::Ready(match stalled.is_some_and(|at| at <= now) {
            true => Ending::WriteTimeout(self.config.write_timeout),
            false => Ending::Idle(self.config.idle_timeout),
        })
    }
}

/// Rounds of read, answer, write before other tasks of the thread have their turn.
const ROUNDS_MAX: usize = 8;
/// Room for one read.
const READ_BYTES: usize = 16 * 1024;
/// Room below which there is made more.
const READ_BYTES_MIN: usize = 4 * 1024;
/// Octets that are read behind a request that waits: so the end of a connection is noticed.
const WAITING_BYTES_MAX: usize = 256 * 1024;
/// Room for answers that a connection keeps.
const OUTPUT_KEPT_MAX: usize = 64 * 1024;
/// How long the end of a connection may take.
const LAST_WORD: Duration = Duration::from_secs(1);
