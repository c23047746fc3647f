//! Where a command goes, and what is done when it fails: sent again to the node that has the key, or after a
//! pause, as long as there is time; never where it may have been carried out and repeating it matters.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use postern_core::{
    Blame, Error, Kind,
    redis::{RedisNode, RedisTopology, SlotMap, slot_of},
};
use postern_system::clock;
use redis::{Pipeline, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{
    config::RedisConfig,
    connection::{Dialing, Pushes, RedisConnection, Request},
    counts::{StoreCounters, count},
    failure::{Failure, unknown},
    node_pool::{Choice, NodePool, Opening},
    snapshot::RedisSnapshot,
    standing::Standing,
};
use crate::tls::ClientTls;

/// A store's connections, and what is known of its nodes.
#[derive(Debug)]
pub(super) struct Routing {
    pub(super) config: RedisConfig,
    pub(super) dialing: Dialing,
    pub(super) counters: StoreCounters,
    pub(super) standing: Standing,
    nodes: Mutex<HashMap<RedisNode, Arc<NodePool>>>,
    /// Connections of commands, and those that somebody waits on alone.
    shared: Arc<Semaphore>,
    alone: Arc<Semaphore>,
    /// Of a cluster.
    pub(super) slots: ArcSwap<SlotMap>,
    /// Held by whoever asks for them.
    pub(super) refreshing: tokio::sync::Mutex<Option<Instant>>,
    /// Whom the sentinels named last.
    pub(super) master: Mutex<Option<RedisNode>>,
    /// The store is closed: whoever waits for events is told.
    pub(super) closed: CancellationToken,
}

/// Which node a command is for.
#[derive(Debug, Clone)]
pub(super) enum Route<'a> {
    /// The one that has this key.
    Key(&'a [u8]),
    Node(&'a RedisNode),
    /// Any: all are told of what is published.
    Any,
}

/// Whether a command that may have been carried out may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    Harmless,
    Never,
}

impl Routing {
    pub(super) fn new(config: RedisConfig, tls: Arc<ClientTls>) -> Self {
        let dialing = Dialing {
            store: config.name.clone(),
            tls: config.location.is_tls.then_some(tls),
            credentials: config.credentials.clone(),
            database: config.location.database.unwrap_or_default(),
            connect_timeout: config.connect_timeout,
        };
        let alone = config.connections_max / 2;
        Self {
            standing: Standing::new(config.name.clone()),
            dialing,
            counters: StoreCounters::default(),
            nodes: Mutex::default(),
            shared: Arc::new(Semaphore::new((config.connections_max - alone).max(1))),
            alone: Arc::new(Semaphore::new(alone)),
            slots: ArcSwap::default(),
            refreshing: tokio::sync::Mutex::new(None),
            master: Mutex::new(None),
            closed: CancellationToken::new(),
            config,
        }
    }

    pub(super) const fn config(&self) -> &RedisConfig {
        &self.config
    }

    /// The reply to `request`, from whoever has it.
    ///
    /// # Errors
    /// Why there is none, within the bound of one operation.
    pub(super) async fn ask(
        &self,
        route: Route<'_>,
        request: &Request,
        repeat: Repeat,
    ) -> Result<Value, Error> {
        self.ask_by(Choice::LeastBusy, route, request, repeat).await
    }

    /// As `ask`; with `Choice::Same` what is asked first arrives first.
    pub(super) async fn ask_by(
        &self,
        choice: Choice,
        route: Route<'_>,
        request: &Request,
        repeat: Repeat,
    ) -> Result<Value, Error> {
        let begin = clock::now();
        let answered = Box::pin(self.ask_until(choice, route, request, repeat, begin)).await;
        let time = clock::since(begin);
        // A refusal is an answer: the server is well.
        let is_answer = match &answered {
            Ok(_) => true,
            Err(failure) => matches!(failure, Failure::Refused(_) | Failure::NoScript),
        };
        let result = answered.map_err(|failure| self.error_of(failure));
        self.counters.on_operation(time, result.is_ok());
        if is_answer {
            self.standing.on_answer();
        }
        result
    }

    /// As `ask`, for scripts: none where the server does not know it.
    pub(super) async fn ask_script(
        &self,
        route: Route<'_>,
        request: &Request,
    ) -> Result<Option<Value>, Error> {
        let begin = clock::now();
        let asking = self.ask_until(Choice::LeastBusy, route, request, Repeat::Never, begin);
        let answered = Box::pin(asking).await;
        let result = match answered {
            Ok(value) => Ok(Some(value)),
            Err(Failure::NoScript) => return Ok(None),
            Err(failure) => Err(self.error_of(failure)),
        };
        self.counters
            .on_operation(clock::since(begin), result.is_ok());
        result
    }

    async fn ask_until(
        &self,
        choice: Choice,
        route: Route<'_>,
        request: &Request,
        repeat: Repeat,
        begin: Instant,
    ) -> Result<Value, Failure> {
        let end = begin + self.config.operation_max();
        let mut redirected: Option<(RedisNode, bool)> = None;
        let mut n_redirects = 0;
        loop {
            let failure = match self
                .try_once(choice, &route, redirected.take(), request, end)
                .await
            {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            match failure {
                Failure::Moved { slot, node } if n_redirects < REDIRECTS_MAX => {
                    n_redirects += 1;
                    self.on_moved(slot, node);
                }
                Failure::Ask { node } if n_redirects < REDIRECTS_MAX => {
                    n_redirects += 1;
                    redirected = Some((node, true));
                }
                Failure::Lost(reason) if repeat == Repeat::Harmless => {
                    if !self.pause_before(end).await {
                        return Err(Failure::Lost(reason));
                    }
                }
                Failure::Later(reason) => {
                    self.forget_master();
                    if !self.pause_before(end).await {
                        return Err(Failure::Later(reason));
                    }
                    drop(tokio::time::timeout_at(end.into(), self.refresh(end)).await);
                }
                Failure::Unsent(error) => {
                    // Another node may have taken over; one server alone is tried again by those who come
                    // after.
                    let may_move =
                        !matches!(self.config.location.topology, RedisTopology::Single(_));
                    let is_full = error.kind == Kind::ResourceExhausted;
                    if !may_move || is_full || !self.pause_before(end).await {
                        return Err(Failure::Unsent(error));
                    }
                    self.forget_master();
                    drop(tokio::time::timeout_at(end.into(), self.refresh(end)).await);
                }
                Failure::Moved { .. }
                | Failure::Ask { .. }
                | Failure::Lost(_)
                | Failure::NoScript
                | Failure::Refused(_) => return Err(failure),
            }
            count(&self.counters.repeated);
        }
    }

    async fn try_once(
        &self,
        choice: Choice,
        route: &Route<'_>,
        redirected: Option<(RedisNode, bool)>,
        request: &Request,
        end: Instant,
    ) -> Result<Value, Failure> {
        let connecting = self.connection_for(choice, route, redirected);
        let connected = tokio::time::timeout_at(end.into(), connecting).await;
        let late = || Failure::Unsent(self.late());
        let (connection, asks) = connected.map_err(|_| late())?.map_err(Failure::Unsent)?;
        let left = end.saturating_duration_since(clock::now());
        let most = self.config.response_timeout.min(left);
        match (asks, request) {
            (false, request) => connection.ask(request, most).await,
            (true, Request::One(command)) => {
                // The node takes the one command behind it.
                let mut pipeline = Pipeline::new();
                pipeline.cmd("ASKING").add_command(command.clone());
                let replies = connection.ask(&Request::Many(pipeline), most).await?;
                let replies = replies.into_sequence().unwrap_or_default();
                Ok(replies.into_iter().nth(1).unwrap_or_default())
            }
            (true, Request::Atomic(_) | Request::Many(_)) => {
                let (store, node) = (&self.config.name, connection.node());
                let message = format!("store {store}: a slot moves to {node}");
                Err(Failure::Later(message))
            }
        }
    }

    /// A connection for `route`, and whether the node there is to be told that it is asked on purpose.
    async fn connection_for(
        &self,
        choice: Choice,
        route: &Route<'_>,
        redirected: Option<(RedisNode, bool)>,
    ) -> Result<(Arc<RedisConnection>, bool), Error> {
        let (node, asks) = match redirected {
            Some(redirected) => redirected,
            None => (self.node_of(route).await?, false),
        };
        Ok((self.acquire(&node, choice).await?, asks))
    }

    fn late(&self) -> Error {
        let (name, limit) = (&self.config.name, self.config.operation_max());
        let message = format!("store {name}: no connection within {limit:?}");
        Error::unavailable(Blame::Upstream, message)
    }

    /// A connection of commands with `node`.
    pub(super) async fn acquire(
        &self,
        node: &RedisNode,
        choice: Choice,
    ) -> Result<Arc<RedisConnection>, Error> {
        let pool = Arc::clone(
            self.nodes
                .lock()
                .entry(node.clone())
                .or_insert_with(|| Arc::new(NodePool::new(node.clone()))),
        );
        let opening = Opening {
            config: &self.config,
            dialing: &self.dialing,
            counters: &self.counters,
            permits: &self.shared,
        };
        let acquired = Box::pin(pool.acquire(opening, choice)).await;
        acquired.inspect_err(|error| {
            if error.kind == Kind::Unavailable {
                self.on_unreachable(error);
            }
        })
    }

    /// A connection for one who waits on it, with whoever has `route`.
    ///
    /// # Errors
    /// As `NodePool::acquire`.
    pub(super) async fn connect_alone(
        &self,
        route: Route<'_>,
        pushes: Option<Pushes>,
    ) -> Result<RedisConnection, Error> {
        let permit = self.permit_alone().await?;
        let opened = async {
            let node = self.node_of(&route).await?;
            Box::pin(self.dialing.open(&node, pushes, vec![permit])).await
        };
        let opened: Result<RedisConnection, Error> = Box::pin(opened).await;
        match opened {
            Ok(connection) => {
                count(&self.counters.connects);
                self.standing.on_answer();
                Ok(connection)
            }
            Err(error) => {
                count(&self.counters.connects_failed);
                self.on_unreachable(&error);
                self.forget_master();
                self.refresh(clock::now() + self.config.operation_max())
                    .await;
                Err(error)
            }
        }
    }

    async fn permit_alone(&self) -> Result<OwnedSemaphorePermit, Error> {
        let waiting = Arc::clone(&self.alone).acquire_owned();
        let permit = tokio::time::timeout(self.config.connect_timeout, waiting).await;
        let permit = permit.ok().and_then(Result::ok);
        permit.ok_or_else(|| {
            let RedisConfig {
                name,
                connections_max,
                ..
            } = &self.config;
            let n_alone = connections_max / 2;
            let message = format!(
                "store {name}: all {n_alone} connections for subscribers and consumers, the half of its \
                 {connections_max}, are in use; raise stores.{name}.connections-max"
            );
            Error::new(Kind::ResourceExhausted, Blame::Gateway, message)
        })
    }

    /// Who has `route`.
    pub(super) async fn node_of(&self, route: &Route<'_>) -> Result<RedisNode, Error> {
        if let Route::Node(node) = route {
            return Ok((*node).clone());
        }
        match &self.config.location.topology {
            RedisTopology::Single(node) => Ok(node.clone()),
            RedisTopology::Sentinel { .. } => self.find_master().await,
            RedisTopology::Cluster(_) => {
                if self.slots.load().is_empty() {
                    self.refresh(clock::now() + self.config.operation_max())
                        .await;
                }
                let slots = self.slots.load();
                let found = match route {
                    Route::Key(key) => slots.node_of(slot_of(key)).cloned(),
                    Route::Node(_) | Route::Any => self.any_node(&slots),
                };
                found.ok_or_else(|| {
                    let name = &self.config.name;
                    let message = match self.standing.read().fault {
                        Some(fault) => format!(
                            "store {name}: no node of the cluster has the key's slot: {fault}"
                        ),
                        None => format!("store {name}: no node of the cluster has the key's slot"),
                    };
                    Error::unavailable(Blame::Upstream, message)
                })
            }
        }
    }

    /// Every node that has keys.
    ///
    /// # Errors
    /// As `ask`.
    pub(super) async fn masters(&self) -> Result<Vec<RedisNode>, Error> {
        match &self.config.location.topology {
            RedisTopology::Single(_) | RedisTopology::Sentinel { .. } => {
                Ok(vec![self.node_of(&Route::Any).await?])
            }
            RedisTopology::Cluster(_) => {
                self.node_of(&Route::Any).await?;
                Ok(self.slots.load().masters().into_iter().collect())
            }
        }
    }

    /// One that can be reached, where it is known of any.
    fn any_node(&self, slots: &SlotMap) -> Option<RedisNode> {
        let masters = slots.masters();
        let nodes = self.nodes.lock();
        let is_open = |node: &&RedisNode| nodes.get(*node).is_some_and(|pool| pool.n_open() > 0);
        let open = masters.iter().find(is_open);
        open.or_else(|| masters.first()).cloned()
    }

    fn on_unreachable(&self, error: &Error) {
        // Of a cluster the others may be well.
        if !matches!(self.config.location.topology, RedisTopology::Cluster(_)) {
            self.standing.on_failure(&error.message);
        }
    }

    fn error_of(&self, failure: Failure) -> Error {
        match failure {
            Failure::Unsent(error) | Failure::Refused(error) => error,
            Failure::Lost(reason) => {
                self.standing.on_failure(&reason);
                unknown(reason)
            }
            Failure::Later(reason) => Error::unavailable(Blame::Upstream, reason),
            Failure::NoScript => Error::internal("a script is not known"),
            Failure::Moved { node, .. } | Failure::Ask { node } => {
                let name = &self.config.name;
                let message = format!(
                    "store {name}: its nodes send each other's commands on, {node} at last"
                );
                Error::unavailable(Blame::Upstream, message)
            }
        }
    }

    /// Waits a little. False where there is no time left for it.
    async fn pause_before(&self, end: Instant) -> bool {
        if clock::now() + REPEAT_PAUSE >= end {
            return false;
        }
        tokio::time::sleep(REPEAT_PAUSE).await;
        true
    }

    /// Keeps connections up, and looks at them, for ever.
    pub(super) async fn keep(self: Arc<Self>) {
        loop {
            let masters = self.masters().await.unwrap_or_default();
            for node in &masters {
                let ping = Request::One(redis::cmd("PING"));
                // What comes of it is counted and told by those who ask.
                drop(self.ask(Route::Node(node), &ping, Repeat::Harmless).await);
            }
            self.tidy(&masters);
            let pause = match self.standing.is_connected() {
                true => KEEP_INTERVAL,
                false => self.config.reconnect_max.min(KEEP_INTERVAL),
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Closes what is not needed.
    fn tidy(&self, masters: &[RedisNode]) {
        let mut nodes = self.nodes.lock();
        nodes.retain(|node, pool| {
            pool.tidy();
            let is_kept = masters.is_empty() || masters.contains(node);
            if !is_kept {
                pool.close();
            }
            is_kept
        });
    }

    pub(super) fn snapshot(&self) -> RedisSnapshot {
        let nodes = self.nodes.lock();
        let by_node: BTreeMap<_, _> = nodes.iter().collect();
        let open = by_node.iter().filter(|(_, pool)| pool.n_open() > 0);
        let alone = self.config.connections_max / 2;
        RedisSnapshot {
            location: self.config.location.clone(),
            standing: self.standing.read(),
            counts: self.counters.read(),
            n_connections: by_node.values().map(|pool| pool.n_open()).sum::<usize>()
                + alone.saturating_sub(self.alone.available_permits()),
            connections_max: self.config.connections_max,
            n_in_flight: by_node.values().map(|pool| pool.n_in_flight()).sum(),
            nodes: open.map(|(node, _)| (*node).clone()).collect(),
        }
    }

    pub(super) async fn connected_within(&self, most: Duration) -> bool {
        let mut changes = self.standing.changes();
        let waiting = changes.wait_for(|is_connected| *is_connected);
        matches!(tokio::time::timeout(most, waiting).await, Ok(Ok(_)))
    }
}

/// Nodes that one command is sent on to.
const REDIRECTS_MAX: u32 = 8;
/// Before a command is sent again.
const REPEAT_PAUSE: Duration = Duration::from_millis(50);
/// From one look at the connections to the next.
const KEEP_INTERVAL: Duration = Duration::from_secs(5);
