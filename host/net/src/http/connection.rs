//! One HTTP connection: its octets are counted, and it is closed when it only takes up a place.
//!
//! ```text
//!            no request yet   ──header_timeout──▶ dropped
//!            nothing in flight ──idle_timeout──▶ told to go, then dropped
//!            client reads nothing ──write_timeout──▶ dropped
//! ```

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Instant,
};

use super::HttpConfig;
use crate::Counters;

/// What one connection is doing, as its watcher sees it.
#[derive(Debug, Default)]
pub(super) struct Activity {
    n_requests: AtomicU64,
    n_in_flight: AtomicU64,
    bytes_out: AtomicU64,
    is_write_blocked: AtomicBool,
}

/// A request being answered, until its reply has been handed to the connection.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

/// Why a connection has to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    NoRequest,
    Idle,
    SlowReader,
}

/// Decides when a connection has been of no use for too long.
#[derive(Debug)]
pub(super) struct Watch {
    since: Instant,
    n_requests: u64,
    bytes_out: u64,
}

impl Activity {
    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.n_requests.fetch_add(1, Ordering::Relaxed);
        self.n_in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.n_in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Watch {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            n_requests: 0,
            bytes_out: 0,
        }
    }

    /// Looks at the connection; `Err` says when to look again.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        activity: &Activity,
        config: &HttpConfig,
    ) -> Result<Expiry, Instant> {
        let n_requests = activity.n_requests.load(Ordering::Relaxed);
        let bytes_out = activity.bytes_out.load(Ordering::Relaxed);
        let is_write_blocked = activity.is_write_blocked.load(Ordering::Relaxed);
        let is_answering = activity.n_in_flight.load(Ordering::Relaxed) > 0 && !is_write_blocked;
        if is_answering || (n_requests, bytes_out) != (self.n_requests, self.bytes_out) {
            *self = Self {
                since: now,
                n_requests,
                bytes_out,
            };
        }
        let (expiry, limit) = match (is_write_blocked, n_requests) {
            (true, _) => (Expiry::SlowReader, config.write_timeout),
            (false, 0) => (Expiry::NoRequest, config.header_timeout),
            (false, _) => (Expiry::Idle, config.idle_timeout),
        };
        let deadline = self.since + limit;
        if now >= deadline {
            return Ok(expiry);
        }
        // What changes meanwhile is noticed at most one of its own timeouts later.
        let period = config.write_timeout.min(config.idle_timeout);
        Err(deadline.min(now + period.max(Duration::from_millis(1))))
    }
}

/// A socket that counts what passes.
pub(super) struct Metered {
    socket: TcpStream,
    activity: Arc<Activity>,
    counters: Arc<Counters>,
}

impl Metered {
    pub(super) fn new(socket: TcpStream, activity: Arc<Activity>, counters: Arc<Counters>) -> Self {
        Self {
            socket,
            activity,
            counters,
        }
    }

    fn on_write(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if result.is_pending() {
            self.activity
                .is_write_blocked
                .store(true, Ordering::Relaxed);
            return Poll::Pending;
        }
        self.activity
            .is_write_blocked
            .store(false, Ordering::Relaxed);
        let result = ready!(result);
        if let Ok(n_octets) = result {
            self.activity
                .bytes_out
                .fetch_add(n_octets as u64, Ordering::Relaxed);
            self.counters.bytes_out.add(n_octets as u64);
        }
        Poll::Ready(result)
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let n_before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
        self.counters
            .bytes_in
            .add((buffer.filled().len() - n_before) as u64);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write(cx, octets);
        self.on_write(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.on_write(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn config() -> HttpConfig {
        HttpConfig {
            header_timeout: SECOND,
            idle_timeout: 3 * SECOND,
            write_timeout: 2 * SECOND,
            ..HttpConfig::default()
        }
    }

    /// Looks after `seconds` of nothing.
    fn check(activity: &Activity, seconds: u32, expected: Option<Expiry>) {
        let now = Instant::now();
        let mut watch = Watch::new(now);
        // Takes note of what has happened so far.
        let _ = watch.handle_timeout(now, activity, &config());
        let late = now + seconds * SECOND;
        assert_eq!(
            watch.handle_timeout(late, activity, &config()).ok(),
            expected,
            "{seconds} s"
        );
    }

    #[test]
    fn a_fresh_connection_has_the_header_timeout() {
        let activity = Activity::default();
        check(&activity, 0, None);
        check(&activity, 1, Some(Expiry::NoRequest));
    }

    #[test]
    fn an_answered_connection_has_the_idle_timeout() {
        let activity = Arc::new(Activity::default());
        drop(activity.begin());
        check(&activity, 2, None);
        check(&activity, 3, Some(Expiry::Idle));
    }

    #[test]
    fn a_call_in_flight_keeps_the_connection_unless_the_client_stops_reading() {
        let activity = Arc::new(Activity::default());
        let _in_flight = activity.begin();
        check(&activity, 1000, None);
        activity.is_write_blocked.store(true, Ordering::Relaxed);
        check(&activity, 1, None);
        check(&activity, 2, Some(Expiry::SlowReader));
    }
}
