//! VYRA, revision J: this gateway as a module, and modules of others as services.
//!
//! ```text
//! peer ─▶ srv:TOPIC:requests, TOPIC/goal, srv_….sock ─▶ function ─▶ a call ─▶ the pipeline
//! pipeline ─▶ service of a peer ─▶ request or goal ─▶ the peer
//! hub ─▶ TOPIC, datagrams ─▶ peers        peers ─▶ TOPIC, datagrams ─▶ hub
//! ```
//!
//! | file | what it does |
//! | --- | --- |
//! | `redis` | what of a Redis is used |
//! | `function` | requests of others, over Redis and sockets |
//! | `goal_function` | goals of others |
//! | `publishing` | events that go out and come in |
//! | `peer_service` | the service that stands for a module of others |
//! | `requests`, `goals` | requests and goals to it |
//! | `view` | what operators are shown |

mod function;
mod goal_function;
mod goals;
mod peer_service;
mod publishing;
mod redis;
mod requests;
#[cfg(test)]
mod tests;
mod view;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use postern_core::{
    Blame, Call, Context, Error, Handler, Headers, Origin, Peer, Text, Transport,
    service::{MethodInfo, ServiceInfo},
    vyra::VyraModule,
};
use postern_system::{clock, random};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use self::peer_service::PeerService;
pub(crate) use self::{
    redis::{StoreRedis, VyraRedis},
    view::VyraNumbers,
};
use crate::{
    channels::ChannelEvents,
    config::{Config, Vyra, VyraKind, VyraTransport},
    control::BuiltIn,
};

/// The Redis of a store, as its modules use it.
pub(crate) trait VyraStores: Send + Sync {
    fn redis(&self, store: &str) -> Option<Arc<dyn VyraRedis>>;
}

/// VYRA at a gateway.
pub(crate) struct VyraGateway {
    events: Arc<dyn ChannelEvents>,
    /// What calls of peers go to.
    handler: Arc<dyn Handler>,
    stores: Arc<dyn VyraStores>,
    running: Mutex<Option<Running>>,
}

/// What is at work under one configuration. Dropping it ends its tasks.
struct Running {
    config: Vyra,
    module: Arc<OwnModule>,
    peers: BTreeMap<String, Arc<PeerService>>,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

/// This gateway as a module, as all its functions share it.
struct OwnModule {
    module: VyraModule,
    config: Vyra,
    body_bytes_max: usize,
    redis: Option<Arc<dyn VyraRedis>>,
    handler: Arc<dyn Handler>,
    events: Arc<dyn ChannelEvents>,
    /// 8 hex digits, by which answers find this gateway.
    client: String,
    permits: Arc<Semaphore>,
    counts: BTreeMap<String, FunctionCounts>,
}

/// What was asked of one function.
#[derive(Debug, Default)]
struct FunctionCounts {
    /// Requests, goals or events that were taken.
    taken: AtomicU64,
    failed: AtomicU64,
    /// Messages that are none, or that there was no room for.
    passed_over: AtomicU64,
}

impl VyraGateway {
    pub(crate) fn new(
        events: Arc<dyn ChannelEvents>,
        handler: Arc<dyn Handler>,
        stores: Arc<dyn VyraStores>,
    ) -> Self {
        Self {
            events,
            handler,
            stores,
            running: Mutex::default(),
        }
    }

    /// Ends everything: sockets are closed, and their files go.
    pub(crate) fn close(&self) {
        let ended = self.running.lock().take();
        drop(ended);
    }

    /// Does what `config` says, and gives the services that modules of others are. Must be called on a
    /// runtime.
    pub(crate) fn apply(&self, config: &Config) -> Vec<BuiltIn> {
        let mut running = self.running.lock();
        let redis = self.redis(config);
        let is_same = running.as_ref().is_some_and(|running| {
            running.config == config.vyra
                && is_same_redis(running.module.redis.as_ref(), redis.as_ref())
        });
        if !is_same {
            // Sockets are bound under the same names, so the one before ends first.
            *running = None;
            *running = self.begin(config, redis);
        }
        let peers = running.iter().flat_map(|running| &running.peers);
        peers.map(|(name, peer)| built_in(name, peer)).collect()
    }

    fn redis(&self, config: &Config) -> Option<Arc<dyn VyraRedis>> {
        if !config.vyra.uses_redis() {
            return None;
        }
        let only = config.redis_stores().first().map(|name| (*name).to_owned());
        let store = config.vyra.store.clone().or(only)?;
        self.stores.redis(&store)
    }

    fn begin(&self, config: &Config, redis: Option<Arc<dyn VyraRedis>>) -> Option<Running> {
        let vyra = &config.vyra;
        if !vyra.is_on() {
            return None;
        }
        // The configuration was checked.
        let module = vyra.own_module().ok()?;
        let counted = vyra.functions.keys();
        let module = Arc::new(OwnModule {
            module,
            config: vyra.clone(),
            body_bytes_max: config.calls.body_bytes_max.octets(),
            redis,
            handler: Arc::clone(&self.handler),
            events: Arc::clone(&self.events),
            client: format!("{:08x}", random::even() >> 32),
            permits: Arc::new(Semaphore::new(vyra.calls_max)),
            counts: counted
                .map(|name| (name.clone(), FunctionCounts::default()))
                .collect(),
        });
        let mut tasks = Vec::new();
        for name in vyra.functions.keys() {
            module.start_function(name, &mut tasks);
        }
        let mut peers = BTreeMap::new();
        for (name, peer) in &vyra.peers {
            if let Some(service) = PeerService::new(&module, peer) {
                let service = Arc::new(service);
                tasks.extend(publishing::follow_peer(&module, name, peer));
                peers.insert(name.clone(), service);
            }
        }
        Some(Running {
            config: vyra.clone(),
            module,
            peers,
            _tasks: tasks,
        })
    }
}

impl OwnModule {
    fn start_function(self: &Arc<Self>, name: &str, tasks: &mut Vec<AbortOnDropHandle<()>>) {
        let Some(settings) = self.config.functions.get(name) else {
            return;
        };
        let Ok(topic) = settings.vyra_topic(&self.module, name) else {
            return;
        };
        let spawn = |task| AbortOnDropHandle::new(tokio::spawn(task));
        for over in &settings.over {
            let (module, name, topic) = (Arc::clone(self), Text::from(name), topic.clone());
            let task: Task = match (settings.kind, over) {
                (VyraKind::Request, VyraTransport::Redis) => {
                    Box::pin(function::serve_redis(module, name, topic))
                }
                (VyraKind::Request, VyraTransport::Sockets) => {
                    Box::pin(function::serve_socket(module, name, topic))
                }
                (VyraKind::Goal, VyraTransport::Redis) => {
                    Box::pin(goal_function::serve(module, name, topic))
                }
                // Refused with the configuration.
                (VyraKind::Goal, VyraTransport::Sockets) => continue,
                (VyraKind::Publish, over) => {
                    Box::pin(publishing::publish(module, name, topic, *over))
                }
                (VyraKind::Subscribe, over) => {
                    Box::pin(publishing::subscribe(module, name, topic, *over))
                }
            };
            tasks.push(spawn(task));
        }
    }

    /// The call that a request or a goal of function `name` is.
    fn call(&self, name: &str, data: bytes::Bytes, origin: Option<Origin>) -> Result<Call, Error> {
        let settings = self.config.functions.get(name);
        let settings = settings.ok_or_else(|| Error::internal("a function without settings"))?;
        let service = settings.service.clone().unwrap_or_default();
        let method = settings.method.clone();
        let method = method.unwrap_or_else(|| settings.function_name(name));
        let peer = match origin {
            Some(origin) => Peer::new(Transport::Unix, origin),
            None => Peer::new(Transport::Tcp, Origin::Local),
        };
        let mut call = Call::unary(service, method, data);
        call.context = Context::of(Arc::new(peer.with_session(format!("vyra {name}"))));
        call.headers = json_headers(
            self.config
                .token
                .as_ref()
                .map(crate::config::Secret::expose),
        )?;
        Ok(call)
    }

    fn socket_folder(&self) -> PathBuf {
        self.config.socket_folder.clone()
    }

    fn counts(&self, name: &str) -> Option<&FunctionCounts> {
        self.counts.get(name)
    }
}

type Task = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

impl FunctionCounts {
    fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }
}

/// Of a call, which shows `token` where there is one.
fn json_headers(token: Option<&str>) -> Result<Headers, Error> {
    let mut headers = Headers::new();
    let unfit = |error| Error::internal(format!("vyra.token: {error}"));
    headers
        .push("content-type", "application/json")
        .map_err(unfit)?;
    if let Some(token) = token {
        headers
            .push("authorization", format!("Bearer {token}"))
            .map_err(unfit)?;
    }
    Ok(headers)
}

fn is_same_redis(one: Option<&Arc<dyn VyraRedis>>, other: Option<&Arc<dyn VyraRedis>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.identity() == other.identity(),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn built_in(name: &str, peer: &Arc<PeerService>) -> BuiltIn {
    let method = |name: &Text, summary| MethodInfo::new(name.clone(), false).with_summary(summary);
    let requests = peer.functions().map(|name| method(name, "A request."));
    let goals = peer
        .goal_names()
        .map(|name| method(name, "A goal: feedback, then the result."));
    BuiltIn {
        info: ServiceInfo {
            name: name.into(),
            summary: format!("Module {} of VYRA.", peer.prefix()).into(),
            methods: requests.chain(goals).collect(),
            ..ServiceInfo::default()
        },
        handler: Arc::clone(peer) as Arc<dyn Handler>,
    }
}

/// Runs `work` again and again, until it ends by itself: each time after a pause, and told once.
async fn persist<F: Future<Output = Result<(), Error>>>(what: String, mut work: impl FnMut() -> F) {
    let mut told = None;
    loop {
        match work().await {
            Ok(()) => {}
            Err(error) => {
                let reason = error.to_string();
                if told.as_ref() != Some(&reason) {
                    warn!(what, %error, "not served; it is tried again");
                    told = Some(reason);
                }
            }
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// There is no Redis to speak over.
fn no_redis() -> Error {
    Error::unavailable(Blame::Gateway, "the store of vyra.store is not there")
}

/// Until when an answer is waited for that is due in `timeout`, or by the caller's own deadline.
fn deadline(call: &Call, timeout: Duration) -> std::time::Instant {
    let own = clock::now() + timeout;
    call.context
        .deadline
        .map_or(own, |deadline| deadline.min(own))
}

/// Between two tries of what failed.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
