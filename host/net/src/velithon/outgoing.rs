//! One connection of this end: requests go out as they come, and responses go to whoever waits, whichever
//! connection they come over.

use std::{
    future::poll_fn,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use parking_lot::Mutex;
use postern_core::{
    Blame, Error, Kind, Origin, Peer, Retry, Transport,
    velithon::{CallId, OversizeResponse, PendingCalls, TooManyCalls},
};
use postern_system::clock;
use rustls::pki_types::ServerName;
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
};
use tokio_rustls::TlsConnector;

use super::{
    config::{VelithonAddress, VelithonUpstreamConfig},
    conversation::{Bounds, Conversation, ConversationEnd, Responses},
    front::Front,
};
use crate::{ByteBudget, Counters, driver::Alarm, http::ForwardAddress, link::StreamLink};

/// What a call waits for.
pub(super) type Outcome = Result<Bytes, Error>;

/// The calls of one instance that wait, over all its connections.
pub(super) struct Waiting {
    address: VelithonAddress,
    calls: Mutex<PendingCalls<oneshot::Sender<Outcome>>>,
}

/// A connection that is open.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Among those of the instance; never used again.
    pub(super) number: u64,
    requests: mpsc::Sender<Bytes>,
    n_calls: Arc<AtomicUsize>,
    is_over: AtomicBool,
}

/// A call that has a connection, which counts it until this is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) connection: Arc<Outgoing>,
}

/// Forgets a call when nobody waits for its response any more.
pub(super) struct Waiter<'a> {
    waiting: &'a Waiting,
    id: CallId,
}

/// What moves a connection.
struct Driver {
    conversation: Conversation<Box<dyn StreamLink>>,
    requests: mpsc::Receiver<Bytes>,
    n_calls: Arc<AtomicUsize>,
    /// Since when it has no call.
    idle_since: Option<Instant>,
    alarm: Alarm,
}

impl Waiting {
    pub(super) const fn new(address: VelithonAddress, calls_max: usize) -> Self {
        Self {
            address,
            calls: Mutex::new(PendingCalls::new(calls_max)),
        }
    }

    /// Waits for the response to `id`, sent on `connection`.
    ///
    /// # Errors
    /// When as many wait as may.
    pub(super) fn begin(
        &self,
        id: CallId,
        connection: u64,
    ) -> Result<(Waiter<'_>, oneshot::Receiver<Outcome>), TooManyCalls> {
        let (sender, receiver) = oneshot::channel();
        self.calls.lock().begin(id, connection, sender)?;
        Ok((Waiter { waiting: self, id }, receiver))
    }

    /// `connection` is over: what was sent on it is not answered any more.
    fn end_connection(&self, connection: u64, ended: &Result<(), ConversationEnd>) {
        let reason = match ended {
            Ok(()) => "it was closed".to_owned(),
            Err(error) => error.to_string(),
        };
        let ended = self.calls.lock().end_connection(connection);
        for waiter in ended {
            let message = format!("the connection with {} is over: {reason}", self.address);
            let error = Error::unavailable(Blame::Upstream, message);
            // The instance may have carried out what it was sent.
            let _ = waiter.send(Err(error.with_retry(Retry::IfIdempotent)));
        }
    }
}

impl Responses for Waiting {
    fn on_response(&self, id: Option<CallId>, body: Result<Bytes, OversizeResponse>) -> bool {
        let waiter = id.and_then(|id| self.calls.lock().end(id));
        let Some(waiter) = waiter else {
            return false;
        };
        let outcome = body.map_err(|OversizeResponse { length, limit }| {
            let message = format!(
                "a response of {length} octets exceeds the limit of {limit} (velithon.frame-bytes-max)"
            );
            Error::new(Kind::ResourceExhausted, Blame::Upstream, message).with_too_large()
        });
        waiter.send(outcome).is_ok()
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        drop(self.waiting.calls.lock().end(self.id));
    }
}

impl Outgoing {
    /// Begins a connection on `stream`; the future moves it until it is over.
    pub(super) fn begin(
        number: u64,
        stream: Box<dyn StreamLink>,
        waiting: &Arc<Waiting>,
        config: &VelithonUpstreamConfig,
    ) -> (Arc<Self>, impl Future<Output = ()> + Send + use<>) {
        let (sender, requests) = mpsc::channel(REQUESTS_QUEUED);
        let n_calls = Arc::<AtomicUsize>::default();
        let connection = Arc::new(Self {
            number,
            requests: sender,
            n_calls: Arc::clone(&n_calls),
            is_over: AtomicBool::new(false),
        });
        let peer = Arc::new(Peer::new(Transport::Velithon, Origin::Local));
        let bounds = Bounds {
            calls_max: CALLS_OF_INSTANCE_MAX,
            write_timeout: config.write_timeout,
            frame_bytes_max: config.frame_bytes_max,
            frame_timeout: config.frame_timeout,
        };
        let bytes = Arc::new(ByteBudget::unlimited()).connection(usize::MAX);
        let conversation = Conversation::new(
            stream,
            (Front::closed(peer), Arc::clone(waiting) as _),
            (bounds, FRAME_LIMIT),
            (bytes, Arc::<Counters>::default()),
        );
        let driver = Driver {
            conversation,
            requests,
            n_calls,
            idle_since: None,
            alarm: Alarm::default(),
        };
        let (waiting, keep) = (Arc::clone(waiting), config.keep_timeout);
        let driven = Arc::downgrade(&connection);
        let driving = async move {
            let mut driver = driver;
            let ended = poll_fn(|cx| driver.poll(cx, keep)).await;
            if let Some(connection) = driven.upgrade() {
                connection.is_over.store(true, Ordering::Release);
            }
            waiting.end_connection(number, &ended);
            driver.conversation.close(ended).await;
        };
        (connection, driving)
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire) || self.requests.is_closed()
    }

    pub(super) fn n_calls(&self) -> usize {
        self.n_calls.load(Ordering::Relaxed)
    }

    pub(super) fn lease(self: &Arc<Self>) -> Lease {
        self.n_calls.fetch_add(1, Ordering::Relaxed);
        Lease {
            connection: Arc::clone(self),
        }
    }

    /// Queues a request.
    ///
    /// # Errors
    /// When the connection is over. Nothing was sent.
    pub(super) async fn send(&self, request: Bytes) -> Result<(), Closed> {
        self.requests.send(request).await.map_err(|_| Closed)
    }
}

/// A connection is over.
#[derive(Debug)]
pub(super) struct Closed;

impl Drop for Lease {
    fn drop(&mut self) {
        self.connection.n_calls.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Driver {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        keep: std::time::Duration,
    ) -> Poll<Result<(), ConversationEnd>> {
        let mut has_read = false;
        loop {
            let is_closed = self.take_requests(cx);
            let polled = self.conversation.poll(cx, &mut has_read);
            if polled.is_ready() {
                return polled;
            }
            // Nobody has it any more, and nobody waits.
            let has_calls = self.n_calls.load(Ordering::Relaxed) > 0;
            if is_closed && !has_calls && self.conversation.is_idle() {
                return Poll::Ready(Ok(()));
            }
            if self.requests.is_empty() || !self.conversation.has_room() {
                break;
            }
        }
        self.poll_idle(cx, keep)
    }

    /// Whether no request can come any more.
    fn take_requests(&mut self, cx: &mut Context<'_>) -> bool {
        while self.conversation.has_room() {
            match self.requests.poll_recv(cx) {
                Poll::Ready(Some(request)) => self.conversation.send(request),
                Poll::Ready(None) => return true,
                Poll::Pending => return false,
            }
        }
        false
    }

    fn poll_idle(
        &mut self,
        cx: &mut Context<'_>,
        keep: std::time::Duration,
    ) -> Poll<Result<(), ConversationEnd>> {
        loop {
            let now = clock::now();
            let has_calls = self.n_calls.load(Ordering::Relaxed) > 0 || !self.requests.is_empty();
            let idle_since = match self.idle_since {
                Some(since) if !has_calls => since,
                Some(_) | None => now,
            };
            self.idle_since = Some(idle_since);
            if !has_calls && now >= idle_since + keep {
                // What is queued meanwhile fails unsent, and goes over another connection.
                self.requests.close();
                if self.requests.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                return Poll::Pending;
            }
            if self.alarm.poll(cx, Some(idle_since + keep)).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

/// Opens a stream. The caller bounds the time.
///
/// # Errors
/// `unavailable` with what failed.
pub(super) async fn connect(
    address: &VelithonAddress,
    config: &VelithonUpstreamConfig,
) -> Result<Box<dyn StreamLink>, Error> {
    let failed = |error: io::Error| {
        let message = format!("cannot connect to {address}: {error}");
        Error::unavailable(Blame::Upstream, message).with_source(error)
    };
    let (is_secure, host, port) = match &address.0 {
        ForwardAddress::Unix(socket) => {
            return Ok(Box::new(socket.connect().await.map_err(failed)?));
        }
        ForwardAddress::Host {
            is_secure,
            host,
            port,
        } => (*is_secure, host, *port),
    };
    let stream = TcpStream::connect((host.as_str(), port)).await;
    let stream = stream.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    if !is_secure {
        return Ok(Box::new(stream));
    }
    let unusable = |reason: String| {
        let message = format!("cannot verify {address}: {reason}");
        Error::unavailable(Blame::Gateway, message)
    };
    let tls = config.tls.config(&[]);
    let tls = tls.map_err(|error| unusable(error.to_string()))?;
    let name = ServerName::try_from(host.to_string());
    let name = name.map_err(|error| unusable(error.to_string()))?;
    // Boxed: the state of a handshake is large.
    let handshake = Box::pin(TlsConnector::from(tls).connect(name, stream));
    Ok(Box::new(handshake.await.map_err(failed)?))
}

/// Requests that wait for the connection to take them; whoever has one more waits.
const REQUESTS_QUEUED: usize = 64;
/// Requests of an instance over connections of this end, which nobody answers but as unknown.
const CALLS_OF_INSTANCE_MAX: usize = 64;
const FRAME_LIMIT: &str = "velithon.frame-bytes-max";
