//! One connection from its first octet to its last: which HTTP it speaks, what drives it, how it ends.
//!
//! ```text
//! detect ─▶ HTTP/1 or HTTP/2 by hyper ─▶ the refusal of a head, where there is one ─▶ linger ─▶ closed
//!    └──────────── expired, reset, ended: dropped ─────────────────────────────────────────▶┘
//! ```
//! Lingering (RFC 9112 section 9.6): a client that is still sending when it is refused would lose
//! the answer if the connection were reset, so what it sends is read and dropped for a while.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    mem,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    server::conn::{
        http1::{self, Parts},
        http2,
    },
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use postern_system::{clock, random};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::unconstrained,
    time::{sleep, sleep_until, timeout},
};
use tracing::debug;

use super::{
    ERROR_HEADER, JSON,
    activity::{Activity, Expiry, Watch},
    age::{AgeStep, ConnectionAge},
    asker::{Answer, Asker},
    counted::Counted,
    flood::FloodLimits,
    head::{FEW_FIELDS, HEAD_BYTES_MAX, HeadError},
    server::Shared,
    socket::{Socket, SocketState},
    tracked::{StreamExecutor, Tracked},
    upgrade::{Upgrade, UpgradedStream, Upgrades},
};
use crate::{
    Shutdown,
    link::{PeerWatch, StreamLink, WatchedLink},
};

/// How the driving of a connection ended.
enum Ended {
    /// All is answered; the client may be sending still.
    Answered,
    /// By this refusal, if the connection can carry it.
    Refused(HeadError),
    /// It goes on as something else, behind what was read.
    Upgraded(Upgrade, BytesMut),
    /// Nothing is to be said.
    Gone,
}

/// Serves a connection until it ends, expires or has drained.
pub(super) async fn serve<A: Answer, S: WatchedLink>(
    shared: &Arc<Shared<A>>,
    stream: S,
    asker: Arc<Asker>,
    mut upgrades: Upgrades,
    shutdown: &Shutdown,
) {
    let watch = stream.watch();
    let activity = Arc::new(Activity::new(clock::now()));
    let (header_timeout, flood_limits) = {
        let config = shared.config.load();
        (config.header_timeout, FloodLimits::of(&config.http2))
    };
    let counters = Arc::clone(&shared.counters);
    let state = Arc::new(SocketState::new(activity, counters, flood_limits));
    let mut socket = Socket::new(stream, Arc::clone(&state));
    let draining = async {
        shutdown.draining().await;
        sleep(LAST_LOOK).await;
    };
    let detected = tokio::select! {
        biased;
        detected = timeout(header_timeout, socket.detect(asker.has_agreed_on_http2())) => detected,
        () = draining => return,
    };
    let driver = Driver {
        shared,
        watch: &watch,
        state: &state,
        asker: &asker,
        shutdown,
    };
    let (ended, mut stream) = match detected {
        Err(_) if !socket.has_read() => return,
        Err(_) => {
            let refusal = HeadError::TooLate(header_timeout.as_millis());
            (Ended::Refused(refusal), socket.into_stream())
        }
        Ok(Err(_)) => return,
        Ok(Ok(true)) => return driver.http2(socket, upgrades).await,
        Ok(Ok(false)) => driver.http1(socket, &mut upgrades).await,
    };
    let refusal = match ended {
        Ended::Gone => return,
        Ended::Upgraded(upgrade, input) => {
            let link = Box::new(Counted::new(stream, Arc::clone(&shared.counters)));
            let serving = upgrade.serve(UpgradedStream { link, input }, shutdown.clone());
            // A client that has gone is seen also while nobody reads what it has sent.
            tokio::select! {
                () = serving => {}
                () = watch.reset() => {}
            }
            return;
        }
        Ended::Answered => state.refusal().cloned(),
        Ended::Refused(refusal) => Some(refusal),
    };
    if let Some(refusal) = &refusal {
        shared.counters.protocol_errors.add(1);
        if !tell(&mut stream, refusal).await {
            return;
        }
    }
    let closing = timeout(REFUSAL_WAIT, stream.shutdown()).await;
    if matches!(closing, Ok(Ok(()))) && (refusal.is_some() || state.has_unread()) {
        linger(&mut stream).await;
    }
}

/// Answers with a refusal; says whether all of it could be written.
async fn tell(stream: &mut impl StreamLink, refusal: &HeadError) -> bool {
    // Whoever speaks something else reads no answer of HTTP/1.
    if *refusal == HeadError::OtherProtocol {
        return true;
    }
    let response = refusal.to_response();
    let writing = async {
        stream.write_all(&response).await?;
        stream.flush().await
    };
    matches!(timeout(REFUSAL_WAIT, writing).await, Ok(Ok(())))
}

/// Drops what still comes on a connection whose sending side is closed, until the client has closed,
/// too.
async fn linger(stream: &mut impl StreamLink) {
    let dropping = async {
        let (mut buffer, mut n_left) = (BytesMut::with_capacity(LINGER_BUFFER), LINGER_BYTES);
        while n_left > 0 {
            buffer.clear();
            match timeout(LINGER_SILENCE, stream.read_buf(&mut buffer)).await {
                Ok(Ok(n_octets @ 1..)) => n_left = n_left.saturating_sub(n_octets),
                _ => return,
            }
        }
    };
    // Over either way.
    let _ = timeout(LINGER, dropping).await;
}

struct Driver<'a, A, W> {
    shared: &'a Arc<Shared<A>>,
    watch: &'a W,
    state: &'a Arc<SocketState>,
    asker: &'a Arc<Asker>,
    shutdown: &'a Shutdown,
}

impl<A: Answer, W: PeerWatch> Driver<'_, A, W> {
    /// The stream is given back for what is left to be said.
    async fn http1<S: StreamLink>(
        &self,
        mut socket: Socket<S>,
        upgrades: &mut Upgrades,
    ) -> (Ended, S) {
        loop {
            let (ended, mut after) = self.http1_of_fields(socket, upgrades).await;
            match ended {
                Ended::Answered if after.admit_many_fields() => socket = after,
                Ended::Upgraded(upgrade, mut input) => {
                    let (stream, behind) = after.into_parts();
                    input.extend_from_slice(&behind);
                    return (Ended::Upgraded(upgrade, input), stream);
                }
                ended @ (Ended::Answered | Ended::Refused(_) | Ended::Gone) => {
                    return (ended, after.into_stream());
                }
            }
        }
    }

    /// Serves the heads that have no more fields than the socket hands on.
    async fn http1_of_fields<S: StreamLink>(
        &self,
        socket: Socket<S>,
        upgrades: &mut Upgrades,
    ) -> (Ended, Socket<S>) {
        let mut builder = http1::Builder::new();
        builder
            .half_close(true)
            // The socket looks after heads: hyper sees whole ones that are within the bounds.
            .header_read_timeout(None)
            .max_buf_size(HEAD_BYTES_MAX);
        if socket.fields_max() > FEW_FIELDS {
            builder.max_headers(socket.fields_max());
        }
        let service = service_fn(|request| self.answer(request));
        let mut connection = builder.serve_connection(TokioIo::new(socket), service);
        let ended = self.drive(Pin::new(&mut connection), true, |connection| {
            connection.graceful_shutdown();
        });
        let ended = ended.await;
        let Parts { io, read_buf, .. } = connection.into_parts();
        let ended = match ended {
            Ok(()) => match upgrades.take() {
                None => Ended::Answered,
                Some(upgrade) => Ended::Upgraded(upgrade, BytesMut::from(read_buf)),
            },
            Err(Some(Expiry::SlowHead)) if self.state.activity.is_in_head() => {
                let limit = self.shared.config.load().header_timeout;
                Ended::Refused(HeadError::TooLate(limit.as_millis()))
            }
            Err(_) => Ended::Gone,
        };
        (ended, io.into_inner())
    }

    async fn http2<S: StreamLink>(self, socket: Socket<S>, mut upgrades: Upgrades) {
        let config = self.shared.config.load_full();
        let executor = StreamExecutor {
            config: Arc::clone(&self.shared.config),
            counters: Arc::clone(&self.shared.counters),
        };
        let mut builder = http2::Builder::new(executor);
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(config.streams_max)
            .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
            .keep_alive_interval(config.http2.ping_interval)
            .keep_alive_timeout(config.http2.ping_timeout)
            // WebSocket (RFC 8441); what asks for anything else is answered as any request.
            .enable_connect_protocol();
        let service = service_fn(|request| self.answer(request));
        let mut connection = pin!(builder.serve_connection(TokioIo::new(socket), service));
        let ended = self.drive(connection.as_mut(), false, |connection| {
            connection.graceful_shutdown();
        });
        // Expired or not: there is nothing to say to an HTTP/2 client outside of its frames. What the
        // connection carries ends with it.
        tokio::select! {
            _ = ended => {}
            () = upgrades.serve_streams(self.shutdown) => {}
        }
    }

    fn answer(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Tracked<A::Body>>, Infallible>> + Send + use<A, W>
    {
        let (shared, asker) = (Arc::clone(self.shared), Arc::clone(self.asker));
        let mut in_flight = self.state.activity.begin();
        async move {
            let response = shared.answer.answer(request, &asker, &in_flight).await;
            in_flight.on_reply();
            Ok(response.map(|body| Tracked::new(body, in_flight)))
        }
    }

    /// Moves a connection until it ends or has drained. `is_probed`: the client may have closed its
    /// sending side only.
    ///
    /// The connection moves first: a request that has arrived is begun before draining or expiry takes
    /// effect. What stands behind it is outside of tokio's budget for a task, which a connection that
    /// always has something to read uses up each time.
    ///
    /// # Errors
    /// Why it expired; `None` where the client has gone.
    async fn drive<C: Future<Output = hyper::Result<()>>>(
        &self,
        mut connection: Pin<&mut C>,
        is_probed: bool,
        drain: impl Fn(Pin<&mut C>),
    ) -> Result<(), Option<Expiry>> {
        let Self { shared, state, .. } = self;
        let activity = &state.activity;
        let peer = &self.asker.peer.origin;
        let mut reset = pin!(unconstrained(self.watch.reset()));
        let mut draining = pin!(unconstrained(async {
            self.shutdown.draining().await;
            if activity.is_idle() {
                sleep(LAST_LOOK).await;
            }
        }));
        let mut watch = Watch::new(clock::now());
        let age = ConnectionAge::new(clock::now(), random::even());
        let mut wake = clock::now();
        let (mut is_draining, mut is_probe_due, mut probed) = (false, false, 0);
        loop {
            let moving = poll_fn(|cx| match connection.as_mut().poll(cx) {
                Poll::Ready(result) => Poll::Ready(Some(result)),
                Poll::Pending if is_probed && !is_probe_due && activity.is_waiting() => {
                    Poll::Ready(None)
                }
                Poll::Pending => Poll::Pending,
            });
            tokio::select! {
                biased;
                moved = moving => match moved {
                    Some(result) => {
                        if let Err(error) = result {
                            shared.counters.protocol_errors.add(1);
                            debug!(%error, ?peer, "http connection failed");
                        }
                        return Ok(());
                    }
                    None => {
                        is_probe_due = true;
                        wake = wake.min(clock::now() + PROBE_AFTER);
                    }
                },
                () = reset.as_mut() => return Err(None),
                () = draining.as_mut(), if !is_draining => {
                    is_draining = true;
                    drain(connection.as_mut());
                }
                () = unconstrained(sleep_until(wake.into())) => {
                    if mem::take(&mut is_probe_due) && probed != activity.n_requests() && self.probe() {
                        probed = activity.n_requests();
                    }
                    match self.due(&mut watch, age) {
                        Ok((later, is_old)) => {
                            wake = later;
                            if is_old && !mem::replace(&mut is_draining, true) {
                                drain(connection.as_mut());
                            }
                        }
                        Err(expiry) => {
                            self.expire(expiry, connection, drain).await;
                            return Err(Some(expiry));
                        }
                    }
                }
            }
        }
    }

    /// When a connection is to be looked at next, and whether it is too old for new requests.
    ///
    /// # Errors
    /// Why it has expired.
    fn due(&self, watch: &mut Watch, age: ConnectionAge) -> Result<(Instant, bool), Expiry> {
        let (now, held) = (clock::now(), self.asker.bytes.held());
        let config = self.shared.config.load();
        let later = match watch.handle_timeout(now, &self.state.activity, held, &config) {
            Ok(expiry) => return Err(expiry),
            Err(later) => later,
        };
        match age.step(now, config.connection_age_max, config.connection_age_grace) {
            AgeStep::Wait(None) => Ok((later, false)),
            AgeStep::Wait(Some(due)) => Ok((due.min(later), false)),
            AgeStep::Drain(end) => Ok((end.min(later), true)),
            AgeStep::CutOff => Err(Expiry::Old),
        }
    }

    /// Ends a connection that has expired; a client that still takes something is told.
    async fn expire<C: Future<Output = hyper::Result<()>>>(
        &self,
        expiry: Expiry,
        mut connection: Pin<&mut C>,
        drain: impl Fn(Pin<&mut C>),
    ) {
        debug!(?expiry, peer = ?self.asker.peer.origin, "http connection expired");
        match expiry {
            Expiry::SlowReader => self.shared.counters.slow_readers.add(1),
            // It was told before.
            Expiry::Old => {}
            Expiry::SlowHead | Expiry::Idle => {
                drain(connection.as_mut());
                let _ = timeout(GOODBYE, connection).await;
            }
        }
    }

    /// Asks a client that has closed its sending side whether it still reads: one that has closed
    /// both answers octets by a reset, which ends the connection. Sent only where nothing of the
    /// reply is on its way, and once for a request: clients take such responses before the one that
    /// counts (RFC 9110 section 15.2), but some only a few, and those of HTTP/1.0 none.
    fn probe(&self) -> bool {
        let may_ask = self.watch.has_closed_sending()
            && self.state.activity.is_waiting()
            && self.state.takes_interim();
        if may_ask {
            self.state.send_interim();
        }
        may_ask
    }
}

impl HeadError {
    /// The whole answer to a head that is not taken, as every refusal is written.
    fn to_response(&self) -> Vec<u8> {
        let (status, error) = (self.status(), self.to_error());
        let body = error.to_json_as(status.as_u16());
        let reason = status.canonical_reason().unwrap_or_default();
        let mut response = format!(
            "HTTP/1.1 {} {reason}\r\ncontent-type: {JSON}\r\n{ERROR_HEADER}: {}\r\n\
             connection: close\r\ncontent-length: {}\r\n\r\n",
            status.as_u16(),
            error.kind.name(),
            body.len()
        )
        .into_bytes();
        response.extend_from_slice(&body);
        response
    }
}

/// How long a connection with nothing in flight stays after draining began: a request may have been
/// sent before that the system has not told of yet.
const LAST_LOOK: Duration = Duration::from_millis(100);
/// How long a call may take before its client is asked whether it is still there, and how often.
const PROBE_AFTER: Duration = Duration::from_secs(1);
/// How long an expired connection may take to close once it was told to.
const GOODBYE: Duration = Duration::from_secs(1);
/// How long a refusal may take to be written.
const REFUSAL_WAIT: Duration = Duration::from_secs(1);
/// How long what a client sends is dropped for after its last answer, in all and between octets; and
/// how much of it. A client on a line of 50 Mbit/s has sent the largest message by then.
const LINGER: Duration = Duration::from_secs(10);
const LINGER_SILENCE: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 64 * 1024 * 1024;
const LINGER_BUFFER: usize = 16 * 1024;
