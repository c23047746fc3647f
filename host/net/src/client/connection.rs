//! The driver of a client on a stream link.

use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use postern_core::wire::{CloseReason, Connection, Event, Frame, Role, SendError, SessionConfig};

use super::{
    ClientConfig, Speak,
    dispatch::{Commands, Dispatch, Established, Machine, Unsent},
};
use crate::{
    counters::Counters,
    driver::{self, Line, LineError},
    link::StreamLink,
};

/// Rounds of read, answer, write before other tasks of the thread have their turn.
const ROUNDS_MAX: usize = 8;

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
    let line = Line::new(
        link,
        connection,
        config.write_timeout,
        Arc::clone(&counters),
    );
    run(
        line,
        Dispatch::new(address, commands, established),
        counters,
    )
}

async fn run<S: StreamLink>(mut line: Line<S>, mut dispatch: Dispatch, counters: Arc<Counters>) {
    counters.connections_opened.add(1);
    match poll_fn(|cx| poll(&mut line, &mut dispatch, cx)).await {
        Ok(reason) => {
            dispatch.end(&reason);
            line.close().await;
        }
        Err(error) => dispatch.end(&error),
    }
    dispatch.closed();
    counters.connections_closed.add(1);
}

/// Ready when the session is over, with its reason, or the link is.
fn poll<S: StreamLink>(
    line: &mut Line<S>,
    dispatch: &mut Dispatch,
    cx: &mut Context<'_>,
) -> Poll<Result<CloseReason, LineError>> {
    for _ in 0..ROUNDS_MAX {
        let now = driver::now();
        let mut is_busy = dispatch.take_commands(cx, now, &mut line.connection);
        if let Poll::Ready(handled) = line.poll_timer(cx) {
            handled?;
            is_busy = true;
        }
        if let Poll::Ready(read) = line.poll_read(cx, now) {
            read?;
            is_busy = true;
        }
        if let Some(reason) = handle_events(&mut line.connection, dispatch, now) {
            return Poll::Ready(Ok(reason));
        }
        if let Poll::Ready(written) = line.poll_write(cx, now) {
            written?;
        }
        // What is written may have been the last thing that held a closing session open.
        if let Some(reason) = handle_events(&mut line.connection, dispatch, now) {
            return Poll::Ready(Ok(reason));
        }
        if !is_busy {
            return Poll::Pending;
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

fn handle_events(
    connection: &mut Connection,
    dispatch: &mut Dispatch,
    now: Instant,
) -> Option<CloseReason> {
    loop {
        match connection.poll_event()? {
            Event::Established(dialect) => dispatch.on_established(dialect),
            Event::Message(frame) => dispatch.on_message(now, frame, connection),
            Event::Acknowledged(_) | Event::PeerDraining => {}
            Event::Closed(reason) => return Some(reason),
        }
    }
}

impl Machine for Connection {
    fn begin(&mut self) -> bool {
        Self::begin(self)
    }

    fn finish(&mut self) {
        Self::finish(self);
    }

    fn send(&mut self, now: Instant, _: u64, frame: Frame) -> Result<(), Unsent> {
        Self::send(self, now, frame).map_err(|error| match error {
            SendError::TooLong { .. } => Unsent::TooLong(error.to_string()),
            SendError::Closed | SendError::QueueFull { .. } => Unsent::Closed(error.to_string()),
        })
    }

    fn close(&mut self, now: Instant) {
        Self::close(self, now, CloseReason::Requested);
    }
}
