//! Bridges: topics exchanged with brokers of MQTT (`[bridges.NAME]`, host/docs/bridges.md).
//!
//! ```text
//! events ─▶ Outbound ─▶ BrokerClient ─▶ broker
//! events ◀─ Inbound (BrokerObserver) ◀─┘
//! ```
//! Each bridge is a client of its own in two tasks, which a change of its table ends and begins anew; a
//! change of another table does not touch it.
//!
//! **Invariant:** the readiness knows nothing of bridges: a gateway whose broker is away serves.

mod bridged_events;
mod channel;
mod counts;
mod inbound;
mod outbound;
mod password;
mod route;
#[cfg(test)]
mod tests;
mod via;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;
use postern_core::{channel::ExpectedEchoes, event::broker::EventBroker, mqtt::MqttVersion};
use postern_net::mqtt_client::{
    BrokerClient, BrokerClientConfig, BrokerClientParts, BrokerDriver, BrokerObserver,
    BrokerSubscription,
};
use postern_system::random;
use serde::Serialize;
use tokio::{task::JoinSet, time::timeout};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{info, warn};

pub(crate) use self::{bridged_events::BridgedEvents, counts::BridgeNumbers};
use self::{
    channel::BridgeBroker,
    counts::BridgeCounts,
    inbound::{BridgeShared, Inbound},
    outbound::Outbound,
    password::PasswordFile,
    route::TopicRules,
    via::BridgeMark,
};
use crate::{
    certificates::{Certificates, bridge_table},
    config::{Config, bridges::Bridge},
};

/// All bridges of a gateway.
#[derive(Debug)]
pub(crate) struct Bridges {
    events: Arc<dyn BridgedEvents>,
    /// By which lists of bridges know this gateway, until it ends.
    gateway: String,
    running: Mutex<BTreeMap<String, RunningBridge>>,
}

#[derive(Debug)]
struct RunningBridge {
    settings: Bridge,
    shared: Arc<BridgeShared>,
    client: BrokerClient,
    of_channel: BrokerClientConfig,
    /// For channels: it has no rules, and gets what it publishes itself. Made when it is asked for.
    channel: Option<ChannelClient>,
    ending: CancellationToken,
    task: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct ChannelClient {
    client: BrokerClient,
    _task: AbortOnDropHandle<()>,
}

/// For operators.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BridgeView {
    pub name: String,
    pub url: String,
    pub version: &'static str,
    pub client_id: String,
    pub is_connected: bool,
    /// For how long that has been so.
    pub since_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub connects: u64,
    pub rules: usize,
    pub taken: u64,
    pub refused: u64,
    pub ignored: u64,
    pub looped: u64,
    pub sent: u64,
    pub unsent: u64,
    pub dropped: u64,
    pub queued: u64,
}

impl Bridges {
    #[must_use]
    pub(crate) fn new(events: Arc<dyn BridgedEvents>) -> Self {
        Self {
            events,
            gateway: format!("{:016x}", random::even()),
            running: Mutex::default(),
        }
    }

    /// Begins, ends and replaces the bridges whose tables `config` has changed. Must be called on a
    /// runtime.
    pub(crate) fn apply(&self, config: &Config, certificates: &Certificates) {
        let mut running = self.running.lock();
        running.retain(|name, bridge| {
            let stays = config.bridges.contains_key(name);
            if !stays {
                bridge.end();
                info!(bridge = name, "bridge removed");
            }
            stays
        });
        for (name, settings) in &config.bridges {
            let before = running.get(name);
            if before.is_some_and(|before| before.settings == *settings) {
                continue;
            }
            // Two of one name at the broker would end each other.
            let before = running.remove(name).map(RunningBridge::into_ending);
            let begun = self.begin(name, settings, certificates, before);
            running.insert(name.clone(), begun);
        }
    }

    fn begin(
        &self,
        name: &str,
        settings: &Bridge,
        certificates: &Certificates,
        before: Option<AbortOnDropHandle<()>>,
    ) -> RunningBridge {
        let rules = TopicRules::new(settings);
        let is_v5 = settings.to_client("").version == MqttVersion::V5;
        let shared = Arc::new(BridgeShared {
            name: name.into(),
            url: settings
                .url
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            events: Arc::clone(&self.events),
            mark: BridgeMark::new(&self.gateway, name),
            hops_max: settings.hops_max,
            counts: BridgeCounts::default(),
            sent: (!is_v5 && rules.may_echo())
                .then(|| Mutex::new(ExpectedEchoes::new(random::secret(), ECHOES_MAX, ECHO_AGE))),
            rules,
        });
        let client_id = format!("postern-{name}-{:08x}", random::even() >> 32);
        let mut config = settings.to_client(&client_id);
        if let Some(tls) = certificates.dialer(&bridge_table(name)) {
            config.tls = tls;
        }
        if let Some(file) = &settings.password_file {
            config.password_source = Some(Arc::new(PasswordFile(file.clone())));
        }
        let (queue, when_full) = settings.queue();
        let (mut of_channel, in_flight_max) = (config.clone(), settings.in_flight_max);
        let (client, driver) = BrokerClient::new(
            config,
            BrokerClientParts {
                subscriptions: subscriptions(&shared.rules),
                observer: Some(
                    Arc::new(Inbound::new(Arc::clone(&shared))) as Arc<dyn BrokerObserver>
                ),
                queue,
                when_full,
            },
        );
        of_channel.client_id = format!("{}-channel", of_channel.client_id).into();
        of_channel.will = None;
        of_channel.is_bridge = false;
        of_channel.is_clean = true;
        let outbound = Outbound {
            shared: Arc::clone(&shared),
            client: client.clone(),
            queue,
            in_flight_max,
        };
        let ending = CancellationToken::new();
        let running = run(before, driver, outbound, ending.clone());
        RunningBridge {
            settings: settings.clone(),
            shared,
            client,
            of_channel,
            channel: None,
            ending,
            task: AbortOnDropHandle::new(tokio::spawn(running)),
        }
    }

    /// The broker of a bridge, for channels. It finds the bridge at each use, so that it may be had before
    /// the bridge is.
    #[must_use]
    pub(crate) fn broker(self: &Arc<Self>, name: &str) -> Arc<dyn EventBroker> {
        Arc::new(BridgeBroker::new(Arc::clone(self), name.to_owned()))
    }

    /// The client of a bridge for channels, until the table of the bridge changes. Must be called on a
    /// runtime.
    fn channel(&self, name: &str) -> Option<BrokerClient> {
        let mut running = self.running.lock();
        running.get_mut(name).map(RunningBridge::channel)
    }

    /// Every bridge, in the order of their names.
    #[must_use]
    pub(crate) fn view(&self) -> Vec<BridgeView> {
        let running = self.running.lock();
        running
            .iter()
            .map(|(name, bridge)| bridge.view(name))
            .collect()
    }

    #[must_use]
    pub(crate) fn numbers(&self) -> Vec<(String, BridgeNumbers)> {
        let running = self.running.lock();
        let numbers = running.iter();
        numbers
            .map(|(name, bridge)| (name.clone(), bridge.numbers()))
            .collect()
    }

    /// Says goodbye to every broker, for a bounded time.
    pub(crate) async fn close(&self) {
        let running = std::mem::take(&mut *self.running.lock());
        let mut ending = JoinSet::new();
        for task in running.into_values().map(RunningBridge::into_ending) {
            ending.spawn(timeout(CLOSE_TIMEOUT, task));
        }
        while ending.join_next().await.is_some() {}
    }
}

impl RunningBridge {
    fn end(&self) {
        let n_queued = self.client.link().n_queued;
        if n_queued > 0 {
            warn!(bridge = %self.shared.name, n_queued, "messages of the bridge are lost with it");
        }
        self.ending.cancel();
    }

    fn channel(&mut self) -> BrokerClient {
        let (config, ending) = (&self.of_channel, &self.ending);
        let (queue, when_full) = self.settings.queue();
        let channel = self.channel.get_or_insert_with(|| {
            let parts = BrokerClientParts {
                subscriptions: Vec::new(),
                observer: None,
                queue,
                when_full,
            };
            let (client, driver) = BrokerClient::new(config.clone(), parts);
            let running = tokio::spawn(driver.run(ending.clone()));
            ChannelClient {
                client,
                _task: AbortOnDropHandle::new(running),
            }
        });
        channel.client.clone()
    }

    /// The task, which is about to end.
    fn into_ending(self) -> AbortOnDropHandle<()> {
        self.end();
        self.task
    }

    fn numbers(&self) -> BridgeNumbers {
        let (link, client) = (self.client.link(), self.client.numbers());
        let counts = &self.shared.counts;
        BridgeNumbers {
            is_connected: link.is_connected,
            taken: counts.taken.load(Relaxed),
            refused: counts.refused.load(Relaxed),
            ignored: counts.ignored.load(Relaxed),
            looped: counts.looped.load(Relaxed),
            sent: client.published,
            unsent: client.refused,
            dropped: link.n_dropped + counts.missed.load(Relaxed),
            queued: link.n_queued,
            connects: counts.connects.load(Relaxed),
            losses: counts.losses.load(Relaxed),
        }
    }

    fn view(&self, name: &str) -> BridgeView {
        let (link, numbers) = (self.client.link(), self.numbers());
        BridgeView {
            name: name.to_owned(),
            url: self.shared.url.clone(),
            version: self.settings.version.name(),
            client_id: self.client.config().client_id.to_string(),
            is_connected: link.is_connected,
            since_ms: u64::try_from(link.since.as_millis()).unwrap_or(u64::MAX),
            reason: link.fault.map(|fault| fault.to_string()),
            connects: link.n_connects,
            rules: self.settings.topics.len(),
            taken: numbers.taken,
            refused: numbers.refused,
            ignored: numbers.ignored,
            looped: numbers.looped,
            sent: numbers.sent,
            unsent: numbers.unsent,
            dropped: numbers.dropped,
            queued: numbers.queued,
        }
    }
}

/// One bridge, once the one before it has said goodbye.
async fn run(
    before: Option<AbortOnDropHandle<()>>,
    driver: BrokerDriver,
    outbound: Outbound,
    ending: CancellationToken,
) {
    if let Some(before) = before {
        // What becomes of it does not matter: it is dropped.
        let _ = timeout(CLOSE_TIMEOUT, before).await;
    }
    tokio::select! {
        () = driver.run(ending) => {}
        // Ends where nothing goes out.
        () = async { outbound.run().await; std::future::pending().await } => {}
    }
}

fn subscriptions(rules: &TopicRules) -> Vec<BrokerSubscription> {
    let mut subscriptions: Vec<BrokerSubscription> = Vec::new();
    for rule in rules.incoming() {
        let filter = rule.remote.text();
        match subscriptions.iter_mut().find(|one| one.filter == *filter) {
            Some(known) => known.qos = known.qos.max(rule.qos),
            None => subscriptions.push(BrokerSubscription {
                filter: filter.clone(),
                qos: rule.qos,
                is_bridge: true,
            }),
        }
    }
    subscriptions
}

/// For the goodbye of a bridge.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// Messages that a broker may still send back, and how long it takes to.
const ECHOES_MAX: usize = 4096;
const ECHO_AGE: Duration = Duration::from_secs(10);
