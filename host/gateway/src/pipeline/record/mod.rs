//! The access record: one line and one booking per call, whatever becomes of it. A record that is
//! dropped before its call has ended says `cancelled`, or `internal` where a panic drops it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use bytes::Bytes;
use postern_core::{
    Blame, Body, BodyKind, BoxFuture, Call, Error, HttpStatus, Kind, Origin, Peer, Reply, Text,
    TraceContext, Transport, bounded::Panicked,
};
use postern_system::clock;
use tracing::{Level, debug, enabled, error, info};

use super::{answer::counted, route::Route};
use crate::{
    cluster::{DecisionLog, Decisions},
    config::AccessLog,
    telemetry::calls::{BookedOutcome, Booking},
};

/// One call from its beginning to its end.
#[derive(Debug)]
pub(crate) struct CallRecord {
    begun: Instant,
    transport: Transport,
    route: Arc<Route>,
    method: Text,
    bytes_in: u64,
    /// Of a streamed request, counted while it is read.
    streamed_in: Option<Arc<AtomicU64>>,
    bytes_out: u64,
    /// What comes of the reply is no messages, but pieces of one body.
    is_in_pieces: bool,
    /// Why the call went where it went.
    decision_log: DecisionLog,
    /// What only the line needs; absent when nobody reads it.
    line: Option<Box<Line>>,
    /// What the status of a reply says that is none of success.
    failed: Option<Kind>,
    is_ended: bool,
}

#[derive(Debug)]
struct Line {
    level: AccessLog,
    service: Text,
    method: Text,
    peer: Arc<Peer>,
    correlation: Text,
    trace: Option<TraceContext>,
}

impl CallRecord {
    /// Begins the record of `call`, which must have its trace.
    #[must_use]
    pub(crate) fn begin(now: Instant, call: &Call, route: Arc<Route>, level: AccessLog) -> Self {
        route.metrics.begin();
        let line = is_read(level).then(|| {
            Box::new(Line {
                level,
                service: call.service.clone(),
                method: call.method.clone(),
                peer: Arc::clone(&call.context.peer),
                correlation: call.context.correlation.clone(),
                trace: call.context.trace,
            })
        });
        Self {
            begun: now,
            transport: call.context.peer.transport,
            route,
            method: call.method.clone(),
            bytes_in: 0,
            streamed_in: None,
            bytes_out: 0,
            is_in_pieces: false,
            decision_log: match line {
                Some(_) => DecisionLog::on(),
                None => DecisionLog::off(),
            },
            line,
            failed: None,
            is_ended: false,
        }
    }

    /// Where the call goes.
    #[must_use]
    pub(crate) const fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// Whose fault it is when whoever answers does not.
    #[must_use]
    pub(crate) fn blame(&self) -> Blame {
        self.route.blame()
    }

    /// Where the decisions on the call's way are noted; nowhere when nobody reads them.
    pub(crate) const fn decision_log(&self) -> &DecisionLog {
        &self.decision_log
    }

    /// Counts the request's octets, those of a stream while they pass; a message of it that is longer
    /// than `bytes_max` is an error, and the last.
    pub(crate) fn count_request(&mut self, body: &mut Body, bytes_max: usize) {
        match body {
            Body::Empty => {}
            Body::One(message) => {
                self.bytes_in = message.len() as u64;
                self.route.metrics.on_request_message(message.len());
            }
            Body::Messages(_) | Body::Octets(_) => {
                let bytes = Arc::<AtomicU64>::default();
                let total = Arc::clone(&bytes);
                let route = match body.kind() {
                    BodyKind::Messages => Some(Arc::clone(&self.route)),
                    BodyKind::One | BodyKind::Octets => None,
                };
                let counted = |stream| counted(stream, total, bytes_max, route);
                *body = std::mem::take(body).map_stream(counted);
                self.streamed_in = Some(bytes);
            }
        }
    }

    /// Notes how the reply comes, before anything of it is counted.
    pub(crate) fn note_reply(&mut self, kind: BodyKind) {
        self.is_in_pieces = kind == BodyKind::Octets;
    }

    /// Counts a message of the reply, or a piece of it.
    pub(crate) fn add_reply(&mut self, message: &Bytes) {
        self.bytes_out += message.len() as u64;
        if !self.is_in_pieces {
            self.route.metrics.on_reply_message(message.len());
        }
    }

    /// Notes what an upstream answered with: a status of a server's failure counts as one.
    pub(crate) fn note_status(&mut self, status: Option<HttpStatus>) {
        let status = status.map(HttpStatus::number);
        self.failed = status.filter(|status| *status >= 500).map(Kind::from_http);
    }

    pub(crate) fn succeed(mut self) {
        let outcome = self
            .failed
            .map_or(BookedOutcome::Success, BookedOutcome::Failed);
        self.end(outcome, None);
    }

    /// Ends with `error` and hands it on.
    #[must_use]
    pub(crate) fn fail(mut self, error: Error) -> Error {
        if let Some(Panicked { message: panic }) = Panicked::behind(&error) {
            let (service, plugin) = (&self.route.service, non_empty(&self.route.plugin));
            error!(%service, plugin, panic, "a handler panicked");
        }
        self.end(BookedOutcome::Failed(error.kind), Some(&error));
        error
    }

    /// Ends with `error` as the answer.
    #[must_use]
    pub(crate) fn refuse(self, error: Error) -> BoxFuture<Result<Reply, Error>> {
        Box::pin(std::future::ready(Err(self.fail(error))))
    }

    fn end(&mut self, outcome: BookedOutcome, error: Option<&Error>) {
        self.is_ended = true;
        let streamed_in = self
            .streamed_in
            .as_ref()
            .map_or(0, |bytes| bytes.load(Relaxed));
        let booking = Booking {
            transport: self.transport,
            outcome,
            duration: clock::since(self.begun),
            bytes_in: self.bytes_in + streamed_in,
            bytes_out: self.bytes_out,
        };
        self.route.metrics.end(&self.method, &booking);
        if let Some(line) = &self.line {
            line.write(
                &self.route,
                &booking,
                error,
                self.decision_log.decisions().as_ref(),
            );
        }
    }
}

impl Drop for CallRecord {
    fn drop(&mut self) {
        if self.is_ended {
            return;
        }
        // What starts the call may panic; `contain` tells the caller so.
        let is_broken = std::thread::panicking();
        if is_broken {
            let (service, plugin) = (&self.route.service, non_empty(&self.route.plugin));
            error!(%service, plugin, "a handler panicked");
        }
        let kind = if is_broken {
            Kind::Internal
        } else {
            Kind::Cancelled
        };
        self.end(BookedOutcome::Failed(kind), None);
    }
}

impl Line {
    fn write(
        &self,
        route: &Route,
        booking: &Booking,
        error: Option<&Error>,
        decisions: Option<&Decisions>,
    ) {
        // Of a call that no cluster has seen nothing is to be told.
        let decisions = decisions.filter(|decisions| **decisions != Decisions::default());
        match self.level {
            AccessLog::Off => {}
            AccessLog::Debug => write_line!(debug, self, route, booking, error, decisions),
            AccessLog::Info => write_line!(info, self, route, booking, error, decisions),
        }
    }
}

/// Whether somebody reads the lines.
fn is_read(level: AccessLog) -> bool {
    match level {
        AccessLog::Off => false,
        AccessLog::Debug => enabled!(target: TARGET, Level::DEBUG),
        AccessLog::Info => enabled!(target: TARGET, Level::INFO),
    }
}

// The level of an event is part of its call site, so the two levels need one each.
macro_rules! write_line {
    ($level:ident, $line:expr, $route:expr, $booking:expr, $error:expr, $why:expr) => {
        $level!(
            target: TARGET,
            service = $line.service.as_str(),
            method = $line.method.as_str(),
            outcome = $booking.outcome.name(),
            duration_us = u64::try_from($booking.duration.as_micros()).unwrap_or(u64::MAX),
            transport = $booking.transport.name(),
            plugin = non_empty(&$route.plugin),
            generation = (!$route.plugin.is_empty()).then_some($route.generation),
            bytes_in = $booking.bytes_in,
            bytes_out = $booking.bytes_out,
            peer = shown(&$line.peer.origin).map(tracing::field::display),
            session = non_empty(&$line.peer.session),
            correlation = non_empty(&$line.correlation),
            trace = $line.trace.map(|trace| format!("{:032x}", trace.trace_id)),
            why = $why.map(tracing::field::display),
            blame = $error.map(|error| error.blame.name()),
            error = $error.map(|error| &*error.message),
            cause = $error.and_then(|error| error.source.as_deref()).map(tracing::field::display),
            "call"
        )
    };
}
use write_line;

/// Who calls from without.
fn shown(origin: &Origin) -> Option<&Origin> {
    match origin {
        Origin::Local => None,
        Origin::Ip(_) | Origin::Unix(_) => Some(origin),
    }
}

fn non_empty(text: &Text) -> Option<&str> {
    (!text.is_empty()).then_some(text.as_str())
}

/// For filters: `postern::access=info`.
const TARGET: &str = "postern::access";

#[cfg(test)]
mod tests;
