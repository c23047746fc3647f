//! One client with its connection: moves octets and time between its stream, the machine of
//! `core::mqtt`, the backend and the broker.
//!
//! ```text
//! read ─▶ inbound (packets) ─▶ backend ─▶ taking, in their order ─▶ acknowledged, told to subscribers
//! inbox, stored queue, retained ─▶ outbound ─▶ machine ─▶ output ─▶ write
//! ```
//! An idle client holds no buffer: what is read lies in a buffer of the thread until it is handled, and
//! only the beginning of a packet that is not whole is kept.

mod closing;
mod durable;
mod inbound;
mod opening;
mod outbound;
mod retained;
mod serving;
mod shared_queues;
mod steps;
mod stored_queue;
mod subscribing;
mod taking;
mod topics;

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use postern_core::mqtt::{
    ClientLimits, MqttConnection, OutgoingPublish, PacketBuffer, PacketFault, Reason, Will,
};
use postern_system::clock;

pub(crate) use self::serving::serve_stream;
use self::{
    opening::Opened, retained::Retained, shared_queues::SharedQueue, stored_queue::StoredQueue,
    taking::Taking, topics::Topics,
};
use super::{
    Broker, MqttClient, MqttService,
    routes::Told,
    session::{Ending, Session},
};
use crate::{ConnectionBytes, HeldBytes, driver::Alarm, link::StreamLink};

/// A client's connection after CONNACK.
struct Connection<S> {
    stream: S,
    service: Arc<MqttService>,
    broker: Broker,
    client: Arc<MqttClient>,
    session: Arc<Session>,
    limits: Arc<ClientLimits>,
    machine: MqttConnection,
    will: Option<Box<Will>>,
    /// Read, and not handled.
    input: BytesMut,
    /// Whether `input` may hold a whole packet.
    has_input: bool,
    bytes: ConnectionBytes,
    held: Option<HeldBytes>,
    out: PacketBuffer,
    /// What is being taken of the client's, in its order.
    taking: Taking,
    topics: Topics,
    /// PublishOutcome from the inbox, and not sent.
    waiting: VecDeque<OutgoingPublish>,
    /// What is retained for filters that were subscribed to.
    retained: Retained,
    stored: Option<Box<StoredQueue>>,
    /// Stored shares that it takes from.
    shares: Vec<SharedQueue>,
    told: Told,
    alarm: Alarm,
    write_timeout: Duration,
    /// Since when the client has not taken a single octet, while there are some for it.
    stalled_since: Option<Instant>,
    /// Until when nothing is read, so that subscribers that lag can catch up.
    paced_until: Option<Instant>,
    counts: Counts,
}

/// What happened since it was added to the numbers of all.
#[derive(Debug, Default)]
struct Counts {
    packets_in: u64,
    packets_out: u64,
    bytes_in: u64,
    bytes_out: u64,
    received: u64,
    sent: u64,
    dropped: u64,
}

/// Why a connection ends.
#[derive(Debug)]
struct End {
    /// What the client of MQTT 5 is told; none where it has gone itself.
    told: Option<(Reason, String)>,
    /// Whether its will is published.
    has_will: bool,
    /// What the client's DISCONNECT says.
    session_expiry_s: Option<u32>,
}

impl End {
    fn with(reason: Reason, text: impl Into<String>) -> Self {
        Self {
            told: Some((reason, text.into())),
            has_will: true,
            session_expiry_s: None,
        }
    }

    /// The stream has ended.
    const fn lost() -> Self {
        Self {
            told: None,
            has_will: true,
            session_expiry_s: None,
        }
    }
}

impl From<PacketFault> for End {
    fn from(fault: PacketFault) -> Self {
        Self::with(fault.reason(), fault.to_string())
    }
}

impl<S: StreamLink> Connection<S> {
    fn new(service: Arc<MqttService>, stream: S, input: BytesMut, opened: Opened) -> Self {
        let Opened {
            machine,
            client,
            session,
            limits,
            will,
            stored,
            write_timeout,
            bytes,
            connack,
        } = opened;
        let mut out = PacketBuffer::default();
        out.tail().extend_from_slice(&connack);
        let held = session.take_held_shares().into_iter();
        let shares = held.map(|held| SharedQueue::of_held(held, limits.in_flight_max));
        let shares = shares.collect();
        if session.has_shares() {
            session.on_shares_changed();
        }
        Self {
            stream,
            broker: service.broker.clone(),
            service,
            client,
            session,
            limits,
            machine,
            will,
            has_input: !input.is_empty(),
            input,
            bytes,
            held: None,
            out,
            taking: Taking::default(),
            topics: Topics::default(),
            waiting: VecDeque::new(),
            retained: Retained::default(),
            stored: stored.map(Box::new),
            shares,
            told: Told::default(),
            alarm: Alarm::default(),
            write_timeout,
            stalled_since: None,
            paced_until: None,
            counts: Counts::default(),
        }
    }

    /// Ready when the connection is to end.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut draining: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<End> {
        let polled = match draining.as_mut().poll(cx) {
            Poll::Ready(()) => Err(End::with(Reason::SHUTTING_DOWN, "the gateway stops")),
            Poll::Pending => self.poll_rounds(cx),
        };
        self.tell();
        self.count();
        match polled {
            Ok(()) => Poll::Pending,
            Err(end) => Poll::Ready(end),
        }
    }

    fn poll_rounds(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        for _ in 0..ROUNDS_MAX {
            let now = clock::now();
            let mut is_busy = self.poll_taking(cx, now)?;
            is_busy |= self.poll_input(cx, now)?;
            self.tell();
            is_busy |= self.poll_outbound(cx, now)?;
            is_busy |= self.poll_write(cx, now)?;
            self.poll_timer(cx, now)?;
            if !is_busy {
                self.shrink();
                return Ok(());
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Writes what is queued. True where some of it left and there may be more to send.
    fn poll_write(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, End> {
        let was_full = self.is_output_full();
        while !self.out.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let n_slices = self.out.slices(&mut slices);
            let slices = slices.get(..n_slices).unwrap_or_default();
            match Pin::new(&mut self.stream).poll_write_vectored(cx, slices) {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Err(End::lost()),
                Poll::Ready(Ok(n_octets)) => {
                    self.out.advance(n_octets);
                    self.counts.bytes_out += n_octets as u64;
                    self.stalled_since = None;
                }
                Poll::Pending => {
                    self.stalled_since.get_or_insert(now);
                    return Ok(false);
                }
            }
        }
        self.stalled_since = None;
        let flushed: Poll<io::Result<()>> = Pin::new(&mut self.stream).poll_flush(cx);
        match flushed {
            Poll::Ready(Err(_)) => Err(End::lost()),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(was_full),
        }
    }

    /// Nothing more is made for a client that does not take what there is.
    fn is_output_full(&self) -> bool {
        self.out.len() >= OUTPUT_BYTES
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<(), End> {
        let stalled = self.stalled_since.map(|since| since + self.write_timeout);
        loop {
            let times = [self.machine.poll_timeout(), stalled, self.paced_until];
            let next = times.into_iter().flatten().min();
            if self.alarm.poll(cx, next).is_pending() {
                return Ok(());
            }
            let now = now.max(clock::now());
            self.machine.handle_timeout(now)?;
            if stalled.is_some_and(|at| at <= now) {
                self.service.counters.slow_readers.add(1);
                let text = format!("nothing was taken for {:?}", self.write_timeout);
                return Err(End::with(Reason::UNSPECIFIED, text));
            }
            if self.paced_until.is_some_and(|at| at <= now) {
                self.paced_until = None;
                // Reads in the round that comes.
                cx.waker().wake_by_ref();
            }
        }
    }

    /// Wakes the subscribers of what was published in this round.
    fn tell(&mut self) {
        self.broker.on_told(&mut self.told);
        self.told.n_told = 0;
        self.told.n_lost = 0;
        if std::mem::take(&mut self.told.is_crowded) {
            self.paced_until = Some(clock::now() + LAG_WAIT);
        }
    }

    fn count(&mut self) {
        let counts = std::mem::take(&mut self.counts);
        let counters = &self.service.counters;
        counters.frames_in.add(counts.packets_in);
        counters.frames_out.add(counts.packets_out);
        counters.bytes_in.add(counts.bytes_in);
        counters.bytes_out.add(counts.bytes_out);
        let tally = &self.broker.shared.tally;
        for (total, n) in [
            (&tally.received, counts.received),
            (&tally.sent, counts.sent),
            (&tally.dropped, counts.dropped),
            (&tally.bytes_received, counts.bytes_in),
            (&tally.bytes_sent, counts.bytes_out),
        ] {
            if n > 0 {
                total.fetch_add(n, Relaxed);
            }
        }
    }

    /// Gives back memory that an idle client does not need.
    fn shrink(&mut self) {
        if self.input.is_empty() && self.input.capacity() > 0 {
            self.input = BytesMut::new();
        }
        if self.waiting.is_empty() && self.waiting.capacity() > 0 {
            self.waiting = VecDeque::new();
        }
    }

    fn on_ending(ending: Ending) -> End {
        match ending {
            Ending::TakenOver => End::with(
                Reason::SESSION_TAKEN_OVER,
                "another connection has the client identifier",
            ),
            Ending::Administrative => {
                End::with(Reason::ADMINISTRATIVE_ACTION, "an operator ended it")
            }
        }
    }
}

/// Rounds of read, handle, write before other tasks of the thread have their turn.
const ROUNDS_MAX: usize = 8;
/// Slices of one write.
const SLICES_MAX: usize = 16;
/// Octets that wait for the socket, beyond which nothing is added: what one write takes.
const OUTPUT_BYTES: usize = 64 * 1024;
/// How long a publisher waits for subscribers that lag: some thousand messages are taken in it.
const LAG_WAIT: Duration = Duration::from_millis(2);
