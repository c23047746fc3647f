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
    streaming::{StreamCarriers, Streaming},
};
use crate::{
    byte_budget::ByteBudget,
    counters::Counters,
    dial::Destination,
    driver::{self, Line, LineError},
    link::StreamLink,
    quic::{CallStreamEvent, CallStreamsConfig, QuicSession},
};

/// Rounds of read, answer, write before other tasks of the thread have their turn.
const ROUNDS_MAX: usize = 8;
/// Frames of calls and datagrams that come beside the session's stream, of one round.
const QUIC_EVENTS_MAX: usize = 64;

/// Drives a session until it is over; then every call has its answer or its error. `quic` is what the
/// link is a stream of, where it is one.
pub(super) fn drive<S: StreamLink>(
    link: S,
    quic: Option<quinn::Connection>,
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
    // What a client holds is bounded by the calls that it has under way.
    let bytes = Arc::new(ByteBudget::unlimited()).connection(usize::MAX);
    let quic = quic.map(|connection| {
        let config = CallStreamsConfig {
            role: Role::Client,
            limits: config.session.limits.clone(),
            write_timeout: config.write_timeout,
            bytes: bytes.clone(),
            counters: Arc::clone(&counters),
        };
        Box::new(QuicSession::new(connection, config))
    });
    let driver = Driver {
        line: Line::new(
            link,
            connection,
            config.write_timeout,
            &bytes,
            Arc::clone(&counters),
        ),
        streaming: Streaming::new(destination.clone()),
        quic,
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
            if let Some(quic) = driver.quic {
                quic.close(&reason);
            }
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
    /// What the session has beside this stream, over QUIC.
    quic: Option<Box<QuicSession>>,
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
            is_busy |= self.poll_quic(dispatch, cx, now);
            let may_stream = Streaming::may_send(&self.line.connection);
            let (streaming, mut carriers) = self.streaming();
            is_busy |= streaming.poll(cx, now, &mut carriers).is_ready();
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
            let has_work = self.line.has_unwritten() || self.has_quic_work();
            if !is_busy && !has_read && is_held && !has_work {
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
                    self.on_stream_frame(dispatch, now, frame);
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

impl<S> Driver<S> {
    fn streaming(&mut self) -> (&mut Streaming, StreamCarriers<'_>) {
        let Self {
            line,
            streaming,
            quic,
        } = self;
        let carriers = StreamCarriers {
            connection: &mut line.connection,
            own: quic.as_mut().map(|quic| &mut quic.calls),
        };
        (streaming, carriers)
    }

    fn on_stream_frame(&mut self, dispatch: &mut Dispatch, now: Instant, frame: Frame) {
        let streamed = dispatch.take_streamed(&frame);
        let (streaming, mut carriers) = self.streaming();
        if let Some((id, reply)) = streamed {
            streaming.adopt(id, reply, &mut carriers);
        }
        streaming.handle_frame(now, frame, &mut carriers);
    }

    /// Takes what has come beside the session's stream. True when there may be more.
    fn poll_quic(&mut self, dispatch: &mut Dispatch, cx: &mut Context<'_>, now: Instant) -> bool
    where
        S: StreamLink,
    {
        let mut n_events = 0;
        while n_events < QUIC_EVENTS_MAX
            && let Some(quic) = &mut self.quic
        {
            if let Poll::Ready(event) = quic.calls.poll(cx, true) {
                self.on_call_stream(dispatch, now, event);
            } else if let Poll::Ready(event) = quic.datagrams.poll_event(cx) {
                dispatch.on_message(now, event, self);
            } else {
                break;
            }
            n_events += 1;
        }
        n_events > 0
    }

    fn on_call_stream(&mut self, dispatch: &mut Dispatch, now: Instant, event: CallStreamEvent) {
        match event {
            CallStreamEvent::Frame { call, frame } => {
                self.on_stream_frame(dispatch, now, frame);
                let (streaming, carriers) = self.streaming();
                if let Some(own) = carriers.own
                    && !streaming.has_call(&call)
                {
                    own.dismiss(&call);
                }
            }
            CallStreamEvent::Broken { call, error } => {
                let (streaming, mut carriers) = self.streaming();
                streaming.on_own_broken(now, &call, error, &mut carriers);
            }
            CallStreamEvent::Writable(call) => self.streaming.on_own_writable(&call),
            // A server hears no more of its client than credit, and a client waits for nobody.
            CallStreamEvent::InputEnded(_) | CallStreamEvent::Delivered => {}
        }
    }

    fn has_quic_work(&self) -> bool {
        self.quic.as_ref().is_some_and(|quic| quic.calls.has_work())
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
        let (streaming, mut carriers) = self.streaming();
        streaming.begin(now, request, &mut carriers);
    }

    fn cancel_stream(&mut self, now: Instant, id: u64) {
        let (streaming, mut carriers) = self.streaming();
        streaming.cancel(now, id, &mut carriers);
    }

    fn close(&mut self, now: Instant) {
        self.line.connection.close(now, CloseReason::Requested);
    }
}
