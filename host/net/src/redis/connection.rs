//! One connection with one server: opened within a bound, shared by many commands at a time, of no more use
//! once anything about it is in doubt.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use postern_core::{Blame, Error, Text, redis::RedisNode};
use postern_system::clock;
use redis::{
    AsyncConnectionConfig, Cmd, Pipeline, ProtocolVersion, PushInfo, RedisConnectionInfo,
    RedisError, RedisResult, Value, aio::MultiplexedConnection,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::OwnedSemaphorePermit,
};
use tokio_util::task::AbortOnDropHandle;

use super::{config::RedisCredentials, failure::Failure};
use crate::{
    dial::{Destination, unreachable},
    tcp,
    tls::{self, ClientTls},
    unix::UnixAddress,
};

/// What is told of every message that is no reply.
pub(super) type Pushes = Arc<dyn Fn(PushInfo) + Send + Sync>;

/// What is needed to open one.
#[derive(Debug, Clone)]
pub(super) struct Dialing {
    pub(super) store: Text,
    /// None where connections are plain.
    pub(super) tls: Option<Arc<ClientTls>>,
    pub(super) credentials: RedisCredentials,
    pub(super) database: u32,
    pub(super) connect_timeout: Duration,
}

/// An open connection. Dropping it closes it.
pub(super) struct RedisConnection {
    store: Text,
    node: RedisNode,
    multiplexed: MultiplexedConnection,
    n_in_flight: AtomicUsize,
    /// A reply did not come in time, or what came made no sense.
    is_broken: AtomicBool,
    /// Milliseconds from `opened` to the last use.
    used_ms: AtomicU64,
    opened: Instant,
    driver: AbortOnDropHandle<()>,
    _permits: Vec<OwnedSemaphorePermit>,
}

/// One command, or some that are sent together.
#[derive(Debug, Clone)]
pub(super) enum Request {
    One(Cmd),
    /// A transaction: what its `EXEC` gives is the reply.
    Atomic(Pipeline),
    /// Commands behind one another; an array of their replies is the reply.
    Many(Pipeline),
}

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

impl Dialing {
    /// Opens a connection with `node`. It holds `permits` as long as it is open.
    ///
    /// # Errors
    /// `unavailable` with the reason, within `connect_timeout`.
    pub(super) async fn open(
        &self,
        node: &RedisNode,
        pushes: Option<Pushes>,
        permits: Vec<OwnedSemaphorePermit>,
    ) -> Result<RedisConnection, Error> {
        let opening = Box::pin(self.open_unbounded(node, pushes));
        let opened = tokio::time::timeout(self.connect_timeout, opening).await;
        let (multiplexed, driver) = opened.map_err(|_| {
            let (store, limit) = (&self.store, self.connect_timeout);
            let message = format!(
                "store {store}: no connection with {node} within {limit:?} (connect-timeout)"
            );
            Error::unavailable(Blame::Upstream, message)
        })??;
        Ok(RedisConnection {
            store: self.store.clone(),
            node: node.clone(),
            multiplexed,
            n_in_flight: AtomicUsize::new(0),
            is_broken: AtomicBool::new(false),
            used_ms: AtomicU64::new(0),
            opened: clock::now(),
            driver,
            _permits: permits,
        })
    }

    async fn open_unbounded(
        &self,
        node: &RedisNode,
        pushes: Option<Pushes>,
    ) -> Result<(MultiplexedConnection, AbortOnDropHandle<()>), Error> {
        let wire = self.wire(node).await.map_err(|mut error| {
            error.message = format!("store {}: {}", self.store, error.message).into();
            error
        })?;
        // Bounds of time are those of whoever asks: a wait for events has none.
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        if let Some(pushes) = pushes {
            config = config.set_push_sender(move |info: PushInfo| {
                pushes(info);
                Ok::<(), std::convert::Infallible>(())
            });
        }
        let greeted = MultiplexedConnection::new_with_config(&self.greeting(), wire, config).await;
        let (multiplexed, driver) = greeted.map_err(|error| {
            let message = format!(
                "store {}: {node} does not take the connection: {error}",
                self.store
            );
            Error::unavailable(Blame::Upstream, message)
        })?;
        Ok((multiplexed, AbortOnDropHandle::new(tokio::spawn(driver))))
    }

    fn greeting(&self) -> RedisConnectionInfo {
        let mut info = RedisConnectionInfo::default()
            .set_db(self.database.into())
            .set_protocol(ProtocolVersion::RESP3)
            .set_lib_name("postern", env!("CARGO_PKG_VERSION"));
        if let Some(username) = &self.credentials.username {
            info = info.set_username(username);
        }
        if let Some(password) = &self.credentials.password {
            info = info.set_password(password);
        }
        info
    }

    async fn wire(&self, node: &RedisNode) -> Result<Box<dyn Wire>, Error> {
        let RedisNode::Host { host, port } = node else {
            let path = node.to_string();
            let failed = |reason: String| {
                let message = format!("cannot connect to {path}: {reason}");
                Error::unavailable(Blame::Upstream, message)
            };
            let address = path.parse::<UnixAddress>();
            let address = address.map_err(|error| failed(error.to_string()))?;
            let stream = address.connect().await;
            return Ok(Box::new(stream.map_err(|error| failed(error.to_string()))?));
        };
        let found = tokio::net::lookup_host((host.as_str(), *port)).await;
        let found: Vec<SocketAddr> = found
            .map_err(|error| {
                let message = format!("{node} is not found: {error}");
                Error::unavailable(Blame::Upstream, message)
            })?
            .take(ADDRESSES_MAX)
            .collect();
        let mut failed = None;
        for address in found {
            match self.dial(host, address).await {
                Ok(wire) => return Ok(wire),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(|| {
            let message = format!("{node} is not found: the name has no address");
            Error::unavailable(Blame::Upstream, message)
        }))
    }

    async fn dial(&self, host: &Text, address: SocketAddr) -> Result<Box<dyn Wire>, Error> {
        match &self.tls {
            None => {
                let stream = tcp::dial(address).await;
                let stream = stream.map_err(|error| unreachable(&address.into(), error))?;
                Ok(Box::new(stream))
            }
            Some(tls) => {
                let destination = Destination::Host {
                    host: host.clone(),
                    address,
                };
                Ok(Box::new(tls::connect(&destination, tls.config(&[])).await?))
            }
        }
    }
}

impl RedisConnection {
    pub(super) const fn node(&self) -> &RedisNode {
        &self.node
    }

    /// Whether nothing more is to be sent over it.
    pub(super) fn is_closed(&self) -> bool {
        self.is_broken.load(Relaxed) || self.driver.is_finished()
    }

    pub(super) fn n_in_flight(&self) -> usize {
        self.n_in_flight.load(Relaxed)
    }

    /// For how long nobody has used it.
    pub(super) fn idle(&self) -> Duration {
        let used = Duration::from_millis(self.used_ms.load(Relaxed));
        clock::since(self.opened).saturating_sub(used)
    }

    /// The reply to `request`, within `most`.
    pub(super) async fn ask(&self, request: &Request, most: Duration) -> Result<Value, Failure> {
        let _in_flight = InFlight::begin(self);
        let answered = tokio::time::timeout(most, self.send(request)).await;
        let result = answered.map_err(|_| {
            // What came before it may be as late, and what comes after it is later.
            self.is_broken.store(true, Relaxed);
            let (store, node) = (&self.store, &self.node);
            Failure::Lost(format!(
                "store {store}: no reply of {node} within {most:?} (response-timeout)"
            ))
        })?;
        result.and_then(Value::extract_error).map_err(|error| {
            let failure = Failure::of(&self.store, &error);
            if matches!(failure, Failure::Lost(_)) {
                self.is_broken.store(true, Relaxed);
            }
            failure
        })
    }

    /// Asks for channels, or for globs of channels.
    pub(super) async fn subscribe(
        &self,
        change: SubscriptionChange,
        names: &[&str],
        most: Duration,
    ) -> Result<(), Failure> {
        let mut multiplexed = self.multiplexed.clone();
        let asking = async {
            match change {
                SubscriptionChange::Channels => multiplexed.subscribe(names).await,
                SubscriptionChange::Globs => multiplexed.psubscribe(names).await,
                SubscriptionChange::NoChannels => multiplexed.unsubscribe(names).await,
                SubscriptionChange::NoGlobs => multiplexed.punsubscribe(names).await,
            }
        };
        let asked = tokio::time::timeout(most, asking).await;
        let late = || Failure::Lost(format!("store {}: no reply within {most:?}", self.store));
        let asked: Result<(), RedisError> = asked.map_err(|_| late())?;
        asked.map_err(|error| Failure::of(&self.store, &error))
    }

    async fn send(&self, request: &Request) -> RedisResult<Value> {
        let mut multiplexed = self.multiplexed.clone();
        match request {
            Request::One(command) => multiplexed.send_packed_command(command).await,
            Request::Atomic(pipeline) => {
                // `MULTI`, the commands as they are queued, and then `EXEC` with all replies.
                let n_queued = pipeline.len() + 1;
                let replies = multiplexed
                    .send_packed_commands(pipeline, n_queued, 1)
                    .await?;
                Ok(replies.into_iter().next().unwrap_or_default())
            }
            Request::Many(pipeline) => {
                let replies = multiplexed
                    .send_packed_commands(pipeline, 0, pipeline.len())
                    .await?;
                Ok(Value::Array(replies))
            }
        }
    }
}

/// How subscriptions of a connection change.
#[derive(Debug, Clone, Copy)]
pub(super) enum SubscriptionChange {
    Channels,
    Globs,
    NoChannels,
    NoGlobs,
}

impl fmt::Debug for RedisConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConnection")
            .field("node", &self.node)
            .field("in_flight", &self.n_in_flight)
            .finish_non_exhaustive()
    }
}

/// A command that has no reply yet.
struct InFlight<'a>(&'a RedisConnection);

impl<'a> InFlight<'a> {
    fn begin(connection: &'a RedisConnection) -> Self {
        connection.n_in_flight.fetch_add(1, Relaxed);
        Self(connection)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let used = clock::since(self.0.opened).as_millis();
        let used = u64::try_from(used).unwrap_or(u64::MAX);
        self.0.used_ms.store(used, Relaxed);
        self.0.n_in_flight.fetch_sub(1, Relaxed);
    }
}

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;
