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
//! | `module` | this gateway as a module |
//! | `function` | requests of others, over Redis and sockets |
//! | `goal_function` | goals of others |
//! | `publishing` | events that go out and come in |
//! | `peer_service` | the service that stands for a module of others |
//! | `requests`, `goals` | requests and goals to it |
//! | `view` | what operators are shown |

mod function;
mod goal_function;
mod goals;
mod module;
mod peer_service;
mod publishing;
mod redis;
mod requests;
#[cfg(test)]
mod tests;
mod view;

use std::{collections::BTreeMap, pin::Pin, sync::Arc};

use parking_lot::Mutex;
use postern_core::{
    Handler, Text,
    service::{MethodInfo, ServiceInfo},
};
use postern_system::random;
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

use self::{
    module::{FunctionCounts, OwnModule},
    peer_service::PeerService,
};
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
            start_function(&module, name, &mut tasks);
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

/// Begins to serve function `name` over all that it is spoken over.
fn start_function(module: &Arc<OwnModule>, name: &str, tasks: &mut Vec<AbortOnDropHandle<()>>) {
    let Some(settings) = module.config.functions.get(name) else {
        return;
    };
    let Ok(topic) = settings.vyra_topic(&module.module, name) else {
        return;
    };
    let spawn = |task| AbortOnDropHandle::new(tokio::spawn(task));
    for over in &settings.over {
        let (module, name, topic) = (Arc::clone(module), Text::from(name), topic.clone());
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
            (VyraKind::Publish, over) => Box::pin(publishing::publish(module, name, topic, *over)),
            (VyraKind::Subscribe, over) => {
                Box::pin(publishing::subscribe(module, name, topic, *over))
            }
        };
        tasks.push(spawn(task));
    }
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

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
