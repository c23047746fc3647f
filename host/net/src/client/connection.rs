//! The driver of a client on a stream link.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use postern_core::{
    vsp::mux::Mux,
    wire::{
        CloseReason, Connection, Features, Frame, FrameType, Role, SendError, SessionConfig,
        SessionEvent,
    },
};

use super::{
    command::StreamRequest,
    config::{ClientConfig, Speak},
    dispatch::{Dispatch, Machine, Unsent},
    streaming::Streaming,
};
use crate::{
    byte_budget::ByteBudget,
    counters::Counters,
    dial::Destination,
    driver::{self, Line, LineError},
    link::StreamLink,
};

/// Rounds of read, answer, write before other tasks of the thread have their turn.
const ROUNDS_MAX: usize = 8;

/// Drives a session until it is over; then every call has its answer or its error.
pub(super) fn drive<S: StreamLink>(
    link: S,
    destination: &Destination,
    config: &ClientConfig,
    dispatch: Dispatch,
) -> impl Future<Output = ()> + Send + use<S> {
    let hello = config.speak != Speak::Base;
    let features = config.session.features.with(Features::MUX);
    let session = Arc::new(SessionConfig {
        hello,
        features,
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
            // What a client holds is bounded by the calls that it has under way.
            &Arc::new(ByteBudget::unlimited()).connection(usize::MAX),
            Arc::clone(&counters),
        ),
        streaming: Streaming::new(destination.clone()),
    };
    run(driver, dispatch, counters)
}

async fn run<S: StreamLink>(
    mut driver: Driver<S>,
    mut dispatch: Dispatch,
    counters: Arc<Counters>,
) {
    counters.connections_opened.add(1);
    match poll_fn(|cx| driver.poll(&mut dispatch, cx)).await {
        Ok(reason) => {
            driver.streaming.fail_all(&reason);
            dispatch.end(&reason);
            driver.line.close().await;
        }
        Err(error) => {
            driver.streaming.fail_all(&error);
            dispatch.end(&error);
        }
    }
    dispatch.closed();
    counters.connections_closed.add(1);
}

struct Driver<S> {
    line: Line<S>,
    streaming: Streaming,
}

impl<S: StreamLink> Driver<S> {
    /// Ready when the session is over, with its reason, or the link is.
    fn poll(
        &mut self,
        dispatch: &mut Dispatch,
        cx: &mut Context<'_>,
    ) -> Poll<Result<CloseReason, LineError>> {
        for _ in 0..ROUNDS_MAX {
            let now = driver::now();
            let mut is_busy = dispatch.take_commands(cx, now, self);
            if let Some(reason) = dispatch.take_cut() {
                return Poll::Ready(Err(LineError::Cut(reason)));
            }
            let mut has_read = self.line.read(cx, now)?;
            if let Some(reason) = self.handle_events(dispatch, now) {
                return Poll::Ready(Ok(reason));
            }
            let may_stream = Streaming::may_send(&self.line.connection);
            is_busy |= self
                .streaming
                .poll(cx, now, &mut self.line.connection)
                .is_ready();
            if let Poll::Ready(written) = self.line.poll_write(cx, now) {
                written?;
            }
            is_busy |= dispatch.begin_waiting(now, self);
            // What is written may have been the last thing that held a closing session open.
            if let Some(reason) = self.handle_events(dispatch, now) {
                return Poll::Ready(Ok(reason));
            }
            if let Poll::Ready(handled) = self.line.poll_timer(cx) {
                handled?;
                is_busy = true;
            }
            // Most often there is nothing more to read. To ask here spares the round that would find
            // it out.
            if has_read && !is_busy {
                has_read = self.line.read(cx, now)?;
            }
            // Messages that were held back must be asked for before sleeping.
            let is_held = may_stream || !Streaming::may_send(&self.line.connection);
            if !is_busy && !has_read && is_held && !self.line.has_unwritten() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn handle_events(&mut self, dispatch: &mut Dispatch, now: Instant) -> Option<CloseReason> {
        loop {
            match self.line.connection.poll_event()? {
                SessionEvent::Established(dialect) => dispatch.on_established(now, dialect, self),
                SessionEvent::Message(frame) if Mux::takes(&frame) => {
                    if let Some((id, reply)) = dispatch.take_streamed(&frame) {
                        self.streaming.adopt(id, reply, &mut self.line.connection);
                    }
                    self.streaming
                        .handle_frame(now, frame, &mut self.line.connection);
                }
                SessionEvent::Message(frame) => dispatch.on_message(now, frame, self),
                SessionEvent::Pong(payload) => dispatch.on_pong(&payload),
                SessionEvent::PeerDraining => dispatch.on_closing(),
                SessionEvent::Acknowledged(_) => {}
                SessionEvent::Closed(reason) => return Some(reason),
            }
        }
    }
}

impl<S: StreamLink> Machine for Driver<S> {
    fn begin(&mut self) -> bool {
        self.line.connection.begin()
    }

    fn finish(&mut self) {
        self.line.connection.finish();
    }

    fn has_room(&self) -> bool {
        !self.line.connection.is_congested()
    }

    fn send(&mut self, now: Instant, _: u64, frame: Frame) -> Result<(), Unsent> {
        self.line
            .connection
            .send(now, frame)
            .map_err(|error| match error {
                SendError::TooLong { .. } => Unsent::TooLong(error.to_string()),
                SendError::Closed | SendError::QueueFull { .. } => {
                    Unsent::Closed(error.to_string())
                }
            })
    }

    fn ping(&mut self, now: Instant, payload: Bytes) {
        let ping = Frame {
            payload,
            ..Frame::new(FrameType::Ping)
        };
        // Whoever waits for the PONG has a limit.
        let _ = self.line.connection.send(now, ping);
    }

    fn stream(&mut self, now: Instant, request: StreamRequest) {
        self.streaming
            .begin(now, request, &mut self.line.connection);
    }

    fn cancel_stream(&mut self, now: Instant, id: u64) {
        self.streaming.cancel(now, id, &mut self.line.connection);
    }

    fn close(&mut self, now: Instant) {
        self.line.connection.close(now, CloseReason::Requested);
    }
}
