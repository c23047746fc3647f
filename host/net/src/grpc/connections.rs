//! The connections with one instance. A call goes to the one with the fewest calls; another is opened
//! when each has `streams_max` of them, up to `connections_max`. What the instance allows on a connection
//! is never exceeded: when all are full, calls wait.

use std::{
    fmt,
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use postern_core::{Blame, Error};
use tokio::{sync::Notify, task::JoinSet, time::timeout};

use super::{
    config::{GrpcAddress, GrpcUpstreamConfig},
    connection::{self, Connection, Lease},
};
use crate::http::{ForwardConfig, HttpVersions, open_http2};

/// Those with one instance. What runs them ends with this; calls under way keep it.
pub(super) struct Connections {
    address: GrpcAddress,
    config: GrpcUpstreamConfig,
    dial: ForwardConfig,
    open: Mutex<Vec<Arc<Connection>>>,
    tasks: Mutex<JoinSet<()>>,
    /// One is opened at a time.
    opening: tokio::sync::Mutex<()>,
    /// A call has ended, or a connection was opened.
    freed: Notify,
    /// How often one was opened.
    n_opened: AtomicU64,
}

/// How many calls a connection may have that takes one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fill {
    /// Fewer than from which another is opened.
    Spread,
    /// Fewer than the instance allows.
    Full,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connections").field(&self.address).finish()
    }
}

impl Connections {
    pub(super) fn new(address: GrpcAddress, config: GrpcUpstreamConfig) -> Arc<Self> {
        let dial = ForwardConfig {
            connect_timeout: config.connect_timeout,
            version: HttpVersions::Http2,
            tls: Arc::clone(&config.tls),
            ..ForwardConfig::default()
        };
        Arc::new(Self {
            address,
            config,
            dial,
            open: Mutex::default(),
            tasks: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            freed: Notify::new(),
            n_opened: AtomicU64::new(0),
        })
    }

    pub(super) const fn address(&self) -> &GrpcAddress {
        &self.address
    }

    pub(super) const fn config(&self) -> &GrpcUpstreamConfig {
        &self.config
    }

    /// How often a connection was opened: with each, another life of the instance may have begun.
    pub(super) fn n_opened(&self) -> u64 {
        self.n_opened.load(Ordering::Relaxed)
    }

    /// A place for one call.
    ///
    /// # Errors
    /// `unavailable` where none can be had in time. Nothing was sent.
    pub(super) async fn lease(self: &Arc<Self>) -> Result<Lease, Error> {
        if let Some(lease) = self.try_lease(Fill::Spread) {
            return Ok(lease);
        }
        let limit = self.config.connect_timeout;
        // Boxed: few calls need a connection of their own, and opening one takes room.
        let waiting = Box::pin(self.wait_for_lease());
        let leased = timeout(limit, waiting).await;
        leased.unwrap_or_else(|_| Err(self.late()))
    }

    /// Whether a connection can be had.
    ///
    /// # Errors
    /// `unavailable`.
    pub(super) async fn knock(self: &Arc<Self>) -> Result<(), Error> {
        self.lease().await.map(drop)
    }

    /// A call has ended.
    pub(super) fn on_freed(&self) {
        self.freed.notify_one();
    }

    /// Gives no call to connections that take none any more.
    pub(super) fn forget_draining(&self) {
        self.open.lock().retain(|one| !one.is_draining());
        self.freed.notify_waiters();
    }

    fn try_lease(self: &Arc<Self>, fill: Fill) -> Option<Lease> {
        let mut open = self.open.lock();
        open.retain(|one| !one.is_draining());
        let has_room = |one: &&Arc<Connection>| {
            let n_calls = one.n_calls();
            let is_spread = fill == Fill::Full || n_calls < self.config.streams_max;
            is_spread && n_calls < one.n_allowed()
        };
        let least = open.iter().min_by_key(|one| one.n_calls())?;
        // Nearly always the one with the fewest calls has room, or none has.
        let found = Some(least).filter(has_room);
        let found = found.or_else(|| open.iter().find(has_room));
        found.map(|one| one.lease(self))
    }

    async fn wait_for_lease(self: &Arc<Self>) -> Result<Lease, Error> {
        loop {
            let mut freed = pin!(self.freed.notified());
            // From here on nothing is missed that happens before it is awaited.
            freed.as_mut().enable();
            if let Some(lease) = self.try_lease(Fill::Spread) {
                return Ok(lease);
            }
            if self.n_open() >= self.config.connections_max {
                if let Some(lease) = self.try_lease(Fill::Full) {
                    return Ok(lease);
                }
                freed.await;
                continue;
            }
            let opening = match self.opening.try_lock() {
                Ok(opening) => opening,
                // Somebody opens one; whoever comes meanwhile takes what has room.
                Err(_) => match self.try_lease(Fill::Full) {
                    Some(lease) => return Ok(lease),
                    None => tokio::select! {
                        opening = self.opening.lock() => opening,
                        () = freed => continue,
                    },
                },
            };
            // It is this call's to open one, unless that was done while it waited.
            if let Some(lease) = self.try_lease(Fill::Spread) {
                return Ok(lease);
            }
            if self.n_open() < self.config.connections_max {
                let opened = self.open().await;
                drop(opening);
                return opened;
            }
        }
    }

    async fn open(self: &Arc<Self>) -> Result<Lease, Error> {
        let link = open_http2(&self.address.0, &self.dial, &self.address).await?;
        let begun = connection::begin(link, &self.config).await;
        let (connection, http2) = begun.map_err(|error| {
            let message = format!("{} does not speak HTTP/2: {error}", self.address);
            Error::unavailable(Blame::Upstream, message).with_source(error)
        })?;
        self.n_opened.fetch_add(1, Ordering::Relaxed);
        let (all, one) = (Arc::downgrade(self), Arc::downgrade(&connection));
        self.spawn(connection::drive(all, one, http2, self.config.clone()));
        let lease = connection.lease(self);
        self.open.lock().push(connection);
        self.freed.notify_waiters();
        Ok(lease)
    }

    pub(super) fn n_open(&self) -> usize {
        self.open.lock().len()
    }

    fn late(&self) -> Error {
        let limit_ms = self.config.connect_timeout.as_millis();
        let n_open = self.n_open();
        if n_open >= self.config.connections_max {
            let message = format!(
                "{} takes no more calls on {n_open} connections, which is the limit \
                 (grpc.connections-max), for {limit_ms} ms",
                self.address
            );
            return Error::unavailable(Blame::Gateway, message);
        }
        let message = format!("cannot connect to {} within {limit_ms} ms", self.address);
        Error::unavailable(Blame::Upstream, message)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }
}
