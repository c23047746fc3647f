//! The connections with one address: those that wait for their next request, those that requests
//! share, and new ones. Bounded by `connections_max` and `idle_connections_max`.

use std::{
    fmt,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame};
use hyper::{body::Incoming, client::conn::TrySendError};
use parking_lot::Mutex;
use postern_core::{Blame, Error};
use postern_system::clock;
use tokio::{task::JoinSet, time::timeout};

use super::{
    config::{ForwardAddress, ForwardConfig, HttpVersions},
    connect::{self, Connected},
    fault::root_cause,
    http1::{self, FreeHttp1, Http1Lease, KeptConnections},
    http2::{self, Http2Lease, SharedHttp2},
    outbound::Head,
    request_body::RequestBody,
};

/// Those with one address. What runs them ends with this; calls under way keep it.
pub(super) struct Connections {
    address: ForwardAddress,
    config: ForwardConfig,
    kept: KeptConnections,
    /// What is kept is looked after.
    has_upkeep: AtomicBool,
    shared: Mutex<Vec<SharedHttp2>>,
    tasks: Mutex<JoinSet<()>>,
    n_open: Arc<AtomicUsize>,
    next_id: AtomicU64,
    /// The last that was opened speaks HTTP/2, so that one is enough for many who wait.
    is_http2: AtomicBool,
    opening: tokio::sync::Mutex<()>,
}

/// Counts one that is open.
#[derive(Debug)]
pub(super) struct OpenConnection(Arc<AtomicUsize>);

/// A connection that has a request.
pub(super) enum Lease {
    Http1 {
        lease: Http1Lease,
        /// Calls under way keep what runs their connections.
        connections: Arc<Connections>,
    },
    Http2 {
        lease: Http2Lease,
        _connections: Arc<Connections>,
    },
}

/// What became of sending a request: one of which nothing was sent is given back.
pub(super) type Sending = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>;

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connections").field(&self.address).finish()
    }
}

impl Connections {
    pub(super) fn new(address: ForwardAddress, config: ForwardConfig) -> Arc<Self> {
        let is_http2 = config.version == HttpVersions::Http2;
        Arc::new(Self {
            address,
            config,
            kept: KeptConnections::default(),
            has_upkeep: AtomicBool::new(false),
            shared: Mutex::default(),
            tasks: Mutex::default(),
            n_open: Arc::default(),
            next_id: AtomicU64::new(0),
            is_http2: AtomicBool::new(is_http2),
            opening: tokio::sync::Mutex::default(),
        })
    }

    pub(super) const fn address(&self) -> &ForwardAddress {
        &self.address
    }

    pub(super) const fn config(&self) -> &ForwardConfig {
        &self.config
    }

    pub(super) const fn kept(&self) -> &KeptConnections {
        &self.kept
    }

    /// A connection that is there, for one request. `needs_http1`: it asks for another protocol, which
    /// takes the connection with it.
    pub(super) fn try_lease(self: &Arc<Self>, needs_http1: bool) -> Option<Lease> {
        // What the upstream was told of a client holds for all that comes over the connection.
        if self.config.send_proxy.is_some() {
            return None;
        }
        self.reuse(needs_http1)
    }

    /// A connection for one request of `client`, where none was there.
    ///
    /// # Errors
    /// `unavailable` where none can be had. Nothing was sent.
    pub(super) async fn lease(
        self: &Arc<Self>,
        client: Option<SocketAddr>,
        needs_http1: bool,
    ) -> Result<Lease, Error> {
        if self.config.send_proxy.is_some() || needs_http1 || !self.is_http2.load(Ordering::Relaxed)
        {
            return self.open(client, needs_http1).await;
        }
        let _opening = self.opening.lock().await;
        match self.reuse(false) {
            Some(lease) => Ok(lease),
            None => self.open(client, false).await,
        }
    }

    /// Whether a connection can be had.
    ///
    /// # Errors
    /// `unavailable`.
    pub(super) async fn knock(&self) -> Result<(), Error> {
        let limit = self.config.connect_timeout;
        let connecting = connect::connect(&self.address, &self.config, None, false);
        let connected = timeout(limit, connecting).await.unwrap_or_else(|_| {
            let message = format!("no connection within {} ms", limit.as_millis());
            Err(Error::unavailable(Blame::Upstream, message))
        });
        connected.map(drop)
    }

    fn reuse(self: &Arc<Self>, needs_http1: bool) -> Option<Lease> {
        if !needs_http1 {
            let mut shared = self.shared.lock();
            shared.retain(|one| !one.is_closed());
            if let Some(lease) = shared.iter().find_map(|one| one.lease(true)) {
                return Some(self.http2(lease));
            }
        }
        self.kept.pop().map(|free| self.http1(free.lease()))
    }

    async fn open(
        self: &Arc<Self>,
        client: Option<SocketAddr>,
        needs_http1: bool,
    ) -> Result<Lease, Error> {
        let open = Arc::new(self.admit()?);
        let connecting = connect::connect(&self.address, &self.config, client, needs_http1);
        let Connected { stream, is_http2 } = connecting.await?;
        if !needs_http1 {
            self.is_http2.store(is_http2, Ordering::Relaxed);
        }
        let failed = |error: hyper::Error| {
            let message = format!(
                "{} does not speak http: {}",
                self.address,
                root_cause(&error)
            );
            Error::unavailable(Blame::Upstream, message).with_source(error)
        };
        if !is_http2 {
            self.begin_upkeep();
            let lease = http1::open(self, stream, open).await.map_err(failed)?;
            return Ok(self.http1(lease));
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let shared = http2::open(self, stream, id, open).await.map_err(failed)?;
        let lease = shared.lease(false);
        if self.config.send_proxy.is_none() {
            self.shared.lock().push(shared);
        }
        let lease = lease.ok_or_else(|| {
            let message = format!("{} closed a new connection", self.address);
            Error::unavailable(Blame::Upstream, message)
        })?;
        Ok(self.http2(lease))
    }

    /// Counts a new one, if there may be one more.
    fn admit(&self) -> Result<OpenConnection, Error> {
        let limit = self.config.connections_max;
        let counted = OpenConnection(Arc::clone(&self.n_open));
        if self.n_open.fetch_add(1, Ordering::AcqRel) >= limit {
            let message = format!(
                "{limit} connections with {} are open, which is the limit (http.connections-max)",
                self.address
            );
            return Err(Error::unavailable(Blame::Gateway, message));
        }
        Ok(counted)
    }

    fn begin_upkeep(self: &Arc<Self>) {
        if !self.has_upkeep.swap(true, Ordering::Relaxed) {
            let upkeep = Arc::clone(self.kept.upkeep());
            self.spawn(http1::look_after(Arc::downgrade(self), upkeep));
        }
    }

    /// Keeps one for the next request.
    pub(super) fn keep(&self, free: FreeHttp1) {
        self.kept.push(free, self.config.idle_connections_max);
    }

    /// Until when one is kept that is given back.
    pub(super) fn kept_until(&self) -> Instant {
        clock::now() + self.config.keep_timeout
    }

    /// Gives no request to a connection of HTTP/2 any more.
    pub(super) fn forget(&self, id: u64) {
        self.shared.lock().retain(|shared| shared.id != id);
    }

    pub(super) fn is_idle(&self, id: u64) -> bool {
        let shared = self.shared.lock();
        let mut of_id = shared.iter().filter(|shared| shared.id == id);
        of_id.any(SharedHttp2::is_idle)
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    fn http1(self: &Arc<Self>, lease: Http1Lease) -> Lease {
        let connections = Arc::clone(self);
        Lease::Http1 { lease, connections }
    }

    fn http2(self: &Arc<Self>, lease: Http2Lease) -> Lease {
        Lease::Http2 {
            lease,
            _connections: Arc::clone(self),
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Lease {
    /// The request that `head` and `body` are, as the connection speaks.
    ///
    /// # Errors
    /// `invalid-argument` for what cannot stand in a request.
    pub(super) fn request(
        &self,
        head: &Head,
        address: &ForwardAddress,
        body: RequestBody,
    ) -> Result<Request<RequestBody>, Error> {
        match self {
            Self::Http1 { .. } => head.to_http1(body),
            Self::Http2 { .. } => head.to_http2(address, body),
        }
    }

    /// Sends `request`; one that `goes_on` may switch to another protocol.
    pub(super) async fn send(&mut self, request: Request<RequestBody>, goes_on: bool) -> Sending {
        match self {
            Self::Http1 { lease, connections } => {
                if goes_on || !request.body().is_at_hand() {
                    lease.leave_to_task(connections, goes_on);
                }
                lease.send(request).await
            }
            Self::Http2 { lease, .. } => lease.sender.try_send_request(request).await,
        }
    }

    /// The next frame of the response.
    pub(super) fn poll_frame(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        match self {
            Self::Http1 { lease, .. } => lease.poll_frame(body, cx),
            Self::Http2 { .. } => Pin::new(body).poll_frame(cx),
        }
    }

    /// Sends what is left of the request, whether or not the response is read.
    pub(super) fn send_on(&mut self) {
        if let Self::Http1 { lease, connections } = self {
            lease.leave_to_task(connections, false);
        }
    }

    pub(super) const fn is_reused(&self) -> bool {
        match self {
            Self::Http1 { lease, .. } => lease.is_reused,
            Self::Http2 { lease, .. } => lease.is_reused,
        }
    }

    /// The response is over; the request, too, if `is_sent`.
    pub(super) fn finish(self, is_sent: bool) {
        match self {
            Self::Http1 { lease, connections } => {
                if is_sent && connections.config.send_proxy.is_none() {
                    lease.give_back(&connections);
                }
            }
            Self::Http2 { .. } => {}
        }
    }
}
