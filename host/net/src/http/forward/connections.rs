//! The connections with one address: those that wait for their next request, those that requests
//! share, and new ones. Bounded by `connections_max` and `idle_connections_max`.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use http::{Request, Response};
use hyper::{body::Incoming, client::conn::TrySendError};
use parking_lot::Mutex;
use postern_core::{Blame, Error};
use tokio::{task::JoinSet, time::timeout};

use super::{
    ForwardAddress, ForwardConfig, HttpVersions,
    connect::{self, Connected},
    http1::{self, FreeHttp1, Http1Lease},
    http2::{self, Http2Lease, SharedHttp2},
    outbound::Head,
    request_body::RequestBody,
    root_cause,
};

/// Those with one address. What runs them ends with this; calls under way keep it.
pub(super) struct Connections {
    address: ForwardAddress,
    config: ForwardConfig,
    /// Without a request, the last used at the end.
    kept: Mutex<Vec<FreeHttp1>>,
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
            kept: Mutex::default(),
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

    /// A connection for one request of `client`. `needs_http1`: it asks for another protocol, which
    /// takes the connection with it.
    ///
    /// # Errors
    /// `unavailable` where none can be had. Nothing was sent.
    pub(super) async fn lease(
        self: &Arc<Self>,
        client: Option<SocketAddr>,
        needs_http1: bool,
    ) -> Result<Lease, Error> {
        // What the upstream was told of a client holds for all that comes over the connection.
        if self.config.send_proxy.is_some() {
            return self.open(client, needs_http1).await;
        }
        if let Some(lease) = self.reuse(needs_http1) {
            return Ok(lease);
        }
        if needs_http1 || !self.is_http2.load(Ordering::Relaxed) {
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
        loop {
            let free = self.kept.lock().pop()?;
            // One that has ended may be in the list for a moment.
            if free.sender.is_ready() {
                return Some(self.http1(free.lease(true)));
            }
        }
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
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let failed = |error: hyper::Error| {
            let message = format!(
                "{} does not speak http: {}",
                self.address,
                root_cause(&error)
            );
            Error::unavailable(Blame::Upstream, message).with_source(error)
        };
        if !is_http2 {
            let free = http1::open(self, stream, id, open).await.map_err(failed)?;
            return Ok(self.http1(free.lease(false)));
        }
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

    /// Keeps one for the next request; the one that was used longest ago makes room.
    pub(super) fn keep(&self, free: FreeHttp1) {
        let mut kept = self.kept.lock();
        kept.push(free);
        if kept.len() > self.config.idle_connections_max {
            let first = kept.remove(0);
            drop(kept);
            drop(first);
        }
    }

    pub(super) fn forget(&self, id: u64) {
        let free = {
            let mut kept = self.kept.lock();
            let idx = kept.iter().position(|free| free.id == id);
            idx.map(|idx| kept.remove(idx))
        };
        drop(free);
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

    pub(super) async fn send(&mut self, request: Request<RequestBody>) -> Sending {
        match self {
            Self::Http1 { lease, .. } => lease.sender().try_send_request(request).await,
            Self::Http2 { lease, .. } => lease.sender.try_send_request(request).await,
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
                    lease.give_back();
                }
            }
            Self::Http2 { .. } => {}
        }
    }
}
