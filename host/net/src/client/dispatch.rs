//! Between a client's handles and the machine that its driver drives: commands in, answers out.

use std::{
    collections::HashMap,
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use postern_core::{
    Blame, Error, Kind, Retry,
    event::Mailbox,
    vsp,
    wire::{Dialect, Frame, Undelivered},
};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    command::{Command, StreamRequest},
    exchange::{Answer, Exchange, Matched, Order},
    failure::{lost, unanswered},
    life::Life,
};
use crate::dial::Destination;

/// Commands taken before what they sent is written.
const COMMANDS_MAX: usize = 256;

type Commands = mpsc::UnboundedReceiver<Command>;

/// Who is told how both ends speak.
pub(super) struct Established {
    /// Told once, when the dialect is settled.
    pub(super) settled: Option<oneshot::Sender<Result<(), Error>>>,
    /// Told whenever it is.
    pub(super) spoken: watch::Sender<Dialect>,
}

/// What the calls of a session need of its machine.
pub(super) trait Machine {
    /// A call begins; false when none may.
    fn begin(&mut self) -> bool;

    /// Whether calls can be kept apart from the answers of those before, although nothing names them:
    /// by sending them from an address of their own, which datagram links do.
    fn can_renew(&self) -> bool {
        false
    }

    /// What comes from here on may answer a call before. The next request leaves from another address.
    fn on_unproven(&mut self) {}

    /// A call that `begin` admitted is done.
    fn finish(&mut self);

    /// Whether a request can be queued. Without room it waits, and the session goes on reading.
    fn has_room(&self) -> bool {
        true
    }

    fn send(&mut self, now: Instant, id: u64, frame: Frame) -> Result<(), Unsent>;

    /// Says PING with `payload`. What cannot be said will not be answered.
    fn ping(&mut self, now: Instant, payload: Bytes);

    /// Makes a streaming call.
    fn stream(&mut self, now: Instant, request: StreamRequest);

    /// Nobody waits for streaming call `id` any more, if there is one.
    fn cancel_stream(&mut self, now: Instant, id: u64);

    fn close(&mut self, now: Instant);
}

/// Why a request was not sent.
pub(super) enum Unsent {
    /// It will never fit.
    TooLong(String),
    /// The session is over.
    Closed(String),
}

/// The calls of a session and whoever waits for its beginning and its end.
pub(super) struct Dispatch {
    destination: Destination,
    exchange: Exchange,
    commands: Commands,
    events: Arc<Mailbox>,
    established: Established,
    /// PINGs whose PONG is awaited, by their number.
    pings: HashMap<u64, oneshot::Sender<()>>,
    life: watch::Sender<Life>,
    /// Why the session is to end at once.
    cut: Option<String>,
    /// Told when the session is over.
    closed: Vec<oneshot::Sender<()>>,
}

impl Dispatch {
    pub(super) fn new(
        destination: Destination,
        commands: Commands,
        events: Arc<Mailbox>,
        established: Established,
        life: watch::Sender<Life>,
    ) -> Self {
        Self {
            destination,
            exchange: Exchange::default(),
            commands,
            events,
            established,
            pings: HashMap::new(),
            life,
            cut: None,
            closed: Vec::new(),
        }
    }

    /// True when there may be more.
    pub(super) fn take_commands(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        machine: &mut impl Machine,
    ) -> bool {
        for _ in 0..COMMANDS_MAX {
            match self.commands.poll_recv(cx) {
                Poll::Ready(Some(Command::Call(request))) => {
                    self.exchange.wait(request);
                    self.begin_waiting(now, machine);
                }
                Poll::Ready(Some(Command::Stream(request))) => machine.stream(now, *request),
                Poll::Ready(Some(Command::Cancel(id))) => {
                    self.abandon(now, id, machine);
                    machine.cancel_stream(now, id);
                    self.pings.remove(&id);
                }
                Poll::Ready(Some(Command::Ping(id, pong))) => {
                    self.pings.extend(pong.map(|pong| (id, pong)));
                    machine.ping(now, Bytes::copy_from_slice(&id.to_be_bytes()));
                }
                Poll::Ready(Some(Command::Cut(reason))) => self.cut = Some(reason),
                Poll::Ready(Some(Command::Close(closed))) => {
                    self.closed.push(closed);
                    self.on_closing();
                    machine.close(now);
                }
                // The client is gone, and this task is about to be aborted.
                Poll::Ready(None) | Poll::Pending => return false,
            }
        }
        true
    }

    /// Sends calls that wait, as far as it is their turn and there is room. Says whether it did.
    pub(super) fn begin_waiting(&mut self, now: Instant, machine: &mut impl Machine) -> bool {
        let mut has_begun = false;
        while machine.has_room()
            && let Some(begun) = self.exchange.begin_waiting(now)
        {
            has_begun = true;
            self.send(now, begun, machine);
        }
        has_begun
    }

    /// Why the session is to end at once, when it is.
    pub(super) fn take_cut(&mut self) -> Option<String> {
        self.cut.take()
    }

    pub(super) fn is_established(&self) -> bool {
        self.established.settled.is_none()
    }

    pub(super) fn on_established(
        &mut self,
        now: Instant,
        dialect: Dialect,
        machine: &mut impl Machine,
    ) {
        self.exchange.set_order(match dialect {
            Dialect::Base => Order::OneByOne,
            Dialect::Full(_) => Order::Any,
        });
        self.established.spoken.send_replace(dialect);
        if let Some(settled) = self.established.settled.take() {
            // Whoever connects may have given up.
            let _ = settled.send(Ok(()));
        }
        self.begin_waiting(now, machine);
    }

    /// The server knows nothing of the session before: what had arrived there will not be answered.
    pub(super) fn on_restart(
        &mut self,
        now: Instant,
        is_under_way: impl Fn(u64) -> bool,
        machine: &mut impl Machine,
    ) {
        for id in self.exchange.sent_ids() {
            let error = unanswered(&self.destination, &"the server was restarted");
            if !is_under_way(id) && self.exchange.finish(id, Err(error)) {
                machine.finish();
            }
        }
        self.begin_waiting(now, machine);
    }

    /// Nobody waits for call `id` any more.
    fn abandon(&mut self, now: Instant, id: u64, machine: &mut impl Machine) {
        if self.exchange.abandon(id) {
            machine.finish();
        } else if machine.can_renew() && self.exchange.give_up(id) {
            machine.on_unproven();
            machine.finish();
            self.begin_waiting(now, machine);
        }
    }

    pub(super) fn on_pong(&mut self, payload: &Bytes) {
        let id = payload.first_chunk().copied().map(u64::from_be_bytes);
        if let Some(pong) = id.and_then(|id| self.pings.remove(&id)) {
            // Whoever asked may have given up.
            let _ = pong.send(());
        }
    }

    /// No more calls may begin.
    pub(super) fn on_closing(&self) {
        self.life.send_replace(Life::Closing);
    }

    pub(super) fn on_message(&mut self, now: Instant, frame: Frame, machine: &mut impl Machine) {
        if vsp::is_event(&frame) {
            self.events.push(vsp::read_event(frame));
            return;
        }
        match self.exchange.answer(frame) {
            Matched::No => {
                tracing::debug!(destination = %self.destination, "answer to no call that is under way");
                return;
            }
            Matched::ByName => {}
            Matched::ByOrder => machine.on_unproven(),
        }
        machine.finish();
        self.begin_waiting(now, machine);
    }

    /// The call whose reply begins as a stream with `frame`, although it opened none.
    pub(super) fn take_streamed(&mut self, frame: &Frame) -> Option<(u64, Answer)> {
        let id = vsp::mux::opened_id(frame)?.parse().ok()?;
        Some((id, self.exchange.take(id)?))
    }

    /// The request of call `id` did not arrive, or nobody knows whether it did.
    pub(super) fn on_undelivered(
        &mut self,
        now: Instant,
        id: u64,
        reason: &Undelivered,
        machine: &mut impl Machine,
    ) {
        let message = format!("request to {} not delivered: {reason}", self.destination);
        let retry = match reason {
            Undelivered::NotAcknowledged { .. } | Undelivered::Closed(_) => Retry::IfIdempotent,
            Undelivered::Split(_) | Undelivered::Session(_) | Undelivered::Unvalidated => {
                Retry::Elsewhere
            }
        };
        let error = Error::unavailable(Blame::Upstream, message)
            .with_retry(retry)
            .with_source(reason.clone());
        if self.exchange.finish(id, Err(error)) {
            machine.on_unproven();
            machine.finish();
            self.begin_waiting(now, machine);
        }
    }

    /// The session is over: every call has its answer or gets this error.
    pub(super) fn end(&mut self, reason: &dyn fmt::Display) {
        let destination = &self.destination;
        let calls = self.exchange.len();
        tracing::debug!(%destination, calls, %reason, "session ended");
        // Told before the errors, so that nobody who got one finds the session open.
        self.on_closing();
        self.commands.close();
        self.exchange.fail_all(
            || unanswered(destination, reason),
            || lost(destination, reason),
        );
        self.pings.clear();
        self.events.close();
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Call(request) => drop(request.reply.send(Err(lost(destination, reason)))),
                Command::Stream(request) => {
                    drop(request.reply.send(Err(lost(destination, reason))))
                }
                Command::Close(closed) => self.closed.push(closed),
                Command::Cancel(_) | Command::Ping(..) | Command::Cut(_) => {}
            }
        }
        if let Some(settled) = self.established.settled.take() {
            let _ = settled.send(Err(lost(destination, reason)));
        }
        let reason = reason.to_string();
        self.life.send_replace(Life::Ended(reason.into()));
    }

    /// The last word is written.
    pub(super) fn closed(self) {
        for closed in self.closed {
            let _ = closed.send(());
        }
    }

    fn send(&mut self, now: Instant, (id, frame): (u64, Frame), machine: &mut impl Machine) {
        let error = if !machine.begin() {
            lost(&self.destination, &"it is closing")
        } else if let Err(unsent) = machine.send(now, id, frame) {
            machine.finish();
            self.error_of(unsent)
        } else {
            return;
        };
        self.exchange.finish(id, Err(error));
    }

    fn error_of(&self, unsent: Unsent) -> Error {
        let destination = &self.destination;
        match unsent {
            Unsent::TooLong(reason) => {
                let message = format!("the request cannot be sent to {destination}: {reason}");
                Error::new(Kind::OutOfRange, Blame::Client, message)
            }
            Unsent::Closed(reason) => lost(destination, &reason),
        }
    }
}
