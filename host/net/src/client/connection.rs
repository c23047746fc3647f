//! The driver of a client on a stream link: calls in, frames out; frames in, answers out.

use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use postern_core::{
    Blame, Error, Kind,
    wire::{CloseReason, Connection, Dialect, Event, Frame, Role, SendError, SessionConfig},
};
use tokio::sync::{mpsc, oneshot};

use super::{
    ClientConfig, Command, Speak,
    exchange::{Exchange, Order},
    lost,
};
use crate::{
    counters::Counters,
    driver::{self, Line, LineError},
    link::StreamLink,
};

/// Rounds of read, answer, write before other tasks of the thread have their turn.
const ROUNDS_MAX: usize = 8;
/// Commands taken before what they sent is written.
const COMMANDS_MAX: usize = 256;

type Commands = mpsc::UnboundedReceiver<Command>;
type Established = oneshot::Sender<Result<Dialect, Error>>;

/// Drives a session until it is over; then every call has its answer or its error.
pub(super) fn drive<S: StreamLink>(
    link: S,
    address: SocketAddr,
    config: &ClientConfig,
    commands: Commands,
    established: Established,
) -> impl Future<Output = ()> + Send + use<S> {
    let hello = config.speak != Speak::Base;
    let session = Arc::new(SessionConfig {
        hello,
        ..config.session.clone()
    });
    let id = driver::random_session_id();
    let connection = Connection::new(session, Role::Client, id, driver::now());
    let counters = Arc::clone(&config.counters);
    let driver = Driver {
        line: Line::new(
            link,
            connection,
            config.write_timeout,
            Arc::clone(&counters),
        ),
        exchange: Exchange::default(),
        address,
        commands,
        established: Some(established),
        closed: Vec::new(),
    };
    run(driver, counters)
}

async fn run<S: StreamLink>(mut driver: Driver<S>, counters: Arc<Counters>) {
    counters.connections_opened.add(1);
    let ended = poll_fn(|cx| driver.poll(cx)).await;
    driver.close(ended).await;
    counters.connections_closed.add(1);
}

struct Driver<S> {
    line: Line<S>,
    exchange: Exchange,
    address: SocketAddr,
    commands: Commands,
    /// Told once, when the dialect is settled.
    established: Option<Established>,
    /// Told when the session is over.
    closed: Vec<oneshot::Sender<()>>,
}

impl<S: StreamLink> Driver<S> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<CloseReason, LineError>> {
        for _ in 0..ROUNDS_MAX {
            let now = driver::now();
            let mut is_busy = self.take_commands(cx, now);
            if let Poll::Ready(handled) = self.line.poll_timer(cx) {
                handled?;
                is_busy = true;
            }
            if let Poll::Ready(read) = self.line.poll_read(cx, now) {
                read?;
                is_busy = true;
            }
            if let Some(reason) = self.handle_events(now) {
                return Poll::Ready(Ok(reason));
            }
            if let Poll::Ready(written) = self.line.poll_write(cx, now) {
                written?;
            }
            // What is written may have been the last thing that held a closing session open.
            if let Some(reason) = self.handle_events(now) {
                return Poll::Ready(Ok(reason));
            }
            if !is_busy {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// True when there may be more.
    fn take_commands(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        for _ in 0..COMMANDS_MAX {
            match self.commands.poll_recv(cx) {
                Poll::Ready(Some(Command::Call(request))) => {
                    let begun = self.exchange.begin(now, request);
                    self.send(now, begun);
                }
                Poll::Ready(Some(Command::Cancel(id))) => {
                    if self.exchange.abandon(id) {
                        self.line.connection.finish();
                    }
                }
                Poll::Ready(Some(Command::Close(closed))) => {
                    self.closed.push(closed);
                    self.line.connection.close(now, CloseReason::Requested);
                }
                // The client is gone, and this task is about to be aborted.
                Poll::Ready(None) | Poll::Pending => return false,
            }
        }
        true
    }

    fn handle_events(&mut self, now: Instant) -> Option<CloseReason> {
        loop {
            match self.line.connection.poll_event()? {
                Event::Established(dialect) => self.on_established(dialect),
                Event::Message(frame) => self.on_message(now, frame),
                Event::Acknowledged(_) | Event::PeerDraining => {}
                Event::Closed(reason) => return Some(reason),
            }
        }
    }

    fn on_established(&mut self, dialect: Dialect) {
        self.exchange.set_order(match dialect {
            Dialect::Base => Order::OneByOne,
            Dialect::Full(_) => Order::Any,
        });
        if let Some(established) = self.established.take() {
            // Whoever connects may have given up.
            let _ = established.send(Ok(dialect));
        }
    }

    fn on_message(&mut self, now: Instant, frame: Frame) {
        if !self.exchange.answer(frame) {
            tracing::debug!(address = %self.address, "answer to no call that is under way");
            return;
        }
        self.line.connection.finish();
        let begun = self.exchange.begin_waiting(now);
        self.send(now, begun);
    }

    fn send(&mut self, now: Instant, mut begun: Option<(u64, Frame)>) {
        while let Some((id, frame)) = begun {
            let error = if !self.line.connection.begin() {
                lost(self.address, &"it is closing")
            } else if let Err(error) = self.line.connection.send(now, frame) {
                self.line.connection.finish();
                unsent(self.address, &error)
            } else {
                return;
            };
            self.exchange.finish(id, Err(error));
            begun = self.exchange.begin_waiting(now);
        }
    }

    async fn close(mut self, ended: Result<CloseReason, LineError>) {
        let address = self.address;
        let error = || match &ended {
            Ok(reason) => lost(address, reason),
            Err(error) => lost(address, error),
        };
        let calls = self.exchange.len();
        tracing::debug!(%address, calls, ended = %error(), "session ended");
        self.commands.close();
        self.exchange.fail_all(error);
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Call(request) => drop(request.reply.send(Err(error()))),
                Command::Close(closed) => self.closed.push(closed),
                Command::Cancel(_) => {}
            }
        }
        if let Some(established) = self.established.take() {
            let _ = established.send(Err(error()));
        }
        if ended.is_ok() {
            self.line.close().await;
        }
        for closed in self.closed {
            let _ = closed.send(());
        }
    }
}

/// Why a request was not sent.
fn unsent(address: SocketAddr, error: &SendError) -> Error {
    match error {
        SendError::TooLong { length, limit } => Error::new(
            Kind::OutOfRange,
            Blame::Client,
            format!("the request of {length} octets exceeds the limit of {address}, {limit}"),
        ),
        SendError::Closed | SendError::QueueFull { .. } => lost(address, error),
    }
}
