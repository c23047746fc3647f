//! The gateway's side of MQTT: who may connect and use which topics, what publishes become, and what is
//! kept over a restart. The broker itself is `postern_net::mqtt`.
//!
//! ```text
//! CONNECT ─▶ credentials ─▶ call mqtt/connect through the pipeline ─▶ principal ─▶ rules
//! PUBLISH ─▶ rules ─▶ routes ─▶ a call, its answer a publication        (calls, request)
//!                      └─▶ retained, log of sessions, events ─▶ acknowledged (store, retained)
//! ```
//!
//! **Invariant:** what is acknowledged with QoS 1 or 2 is on disk wherever it is to outlive the process:
//! retained messages, messages for sessions that are kept, durable topics.

mod backend;
mod calls;
pub(crate) mod credentials;
mod expiry;
mod record;
mod refusal;
mod request;
mod retained;
mod routes;
mod rules;
mod service;
mod shares;
mod store;
mod view;

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use postern_core::{
    Blame, Error, Kind, Principal, Text,
    event::{Event, EventTap, OWN_TOPICS, Publisher},
    mqtt::{Publication, Qos, Reason, TopicName},
};
use postern_net::{
    Shutdown,
    mqtt::{Acceptance, Broker, BrokerConfig, ClientLimits, MqttClient, MqttRefusal},
};
use postern_system::clock;
use postern_wasm::Records;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub(crate) use self::{
    backend::ListenerBackend,
    service::{ConnectService, info},
    view::MqttNumbers,
};
use self::{
    calls::RunningCalls,
    credentials::KnownCredentials,
    expiry::TokenExpiry,
    retained::{RetainedBounds, RetainedMessages, unavailable},
    routes::TopicRoutes,
    rules::ClientRules,
    store::SessionStore,
};
use crate::{
    config::{Config, Mqtt},
    events::EventService,
    guard::Moment,
};

/// MQTT of a gateway, for all listeners together.
#[derive(Debug)]
pub(crate) struct MqttGateway {
    settings: ArcSwap<MqttSettings>,
    /// Counts settings, and whatever else changes who may do what.
    version: AtomicU64,
    store: Arc<SessionStore>,
    broker: Broker,
    events: EventService,
    calls: RunningCalls,
    tokens: Mutex<TokenExpiry>,
    /// Nothing is published any more.
    closing: CancellationToken,
}

/// What the configuration says.
#[derive(Debug)]
struct MqttSettings {
    mqtt: Mqtt,
    rules: ClientRules,
    routes: TopicRoutes,
    credentials: KnownCredentials,
    /// Largest message of a call.
    body_bytes_max: usize,
}

/// Gives events of others to the broker's subscribers.
#[derive(Debug)]
struct MqttTap(Weak<MqttGateway>);

/// Tables of the gateway's file.
pub(crate) struct MqttRecords {
    pub retained: Records,
    pub sessions: Records,
}

impl MqttGateway {
    /// A broker with what `records` has kept.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn open(
        config: &Config,
        records: MqttRecords,
        events: EventService,
    ) -> Result<Arc<Self>, Error> {
        let mqtt = &config.mqtt;
        let retained = RetainedMessages::open(records.retained, retained_bounds(mqtt));
        let retained = retained.await.map_err(|error| unavailable(&error))?;
        let retained = Arc::new(retained);
        let store = SessionStore::new(retained, records.sessions, events.clone(), mqtt);
        let store = Arc::new(store);
        let kept = Arc::clone(&store);
        let broker = Broker::open(broker_config(mqtt), kept).await?;
        let gateway = Arc::new(Self {
            settings: ArcSwap::from_pointee(MqttSettings::of(config)),
            version: AtomicU64::new(1),
            store,
            broker,
            events,
            calls: RunningCalls::default(),
            tokens: Mutex::default(),
            closing: CancellationToken::new(),
        });
        let tap = MqttTap(Arc::downgrade(&gateway));
        gateway.events.hub().set_tap(Arc::new(tap));
        Ok(gateway)
    }

    /// Puts a changed configuration in force.
    pub(crate) fn apply(&self, config: &Config) {
        self.settings.store(Arc::new(MqttSettings::of(config)));
        self.store
            .retained
            .set_bounds(retained_bounds(&config.mqtt));
        self.broker.reconfigure(broker_config(&config.mqtt));
        // Last: whoever asks anew must be answered by what is in force.
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Runs until `close`: what is retained is written as long as anybody may publish.
    pub(crate) async fn run(self: Arc<Self>, shutdown: Shutdown) {
        let writing = async {
            tokio::select! {
                () = self.store.retained.run() => {}
                () = self.closing.cancelled() => {}
            }
        };
        let draining = shutdown.clone();
        tokio::join!(
            self.broker.run(shutdown),
            writing,
            self.follow_tokens(draining)
        );
    }

    /// A client has connected.
    fn on_connected(&self, client_id: &Text, principal: Option<&Principal>) {
        let sessions_max = self.settings.load().mqtt.sessions_max;
        let mut tokens = self.tokens.lock();
        tokens.on_connected(client_id, principal);
        if tokens.len() > sessions_max {
            let session = |client_id: &Text| self.broker.session_info(client_id);
            tokens.retain(|client_id| session(client_id).is_some_and(|found| found.is_connected));
        }
    }

    /// Ends connections whose tokens have expired, until `shutdown` drains.
    async fn follow_tokens(&self, shutdown: Shutdown) {
        let mut interval = tokio::time::interval(TOKENS_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = interval.tick() => {}
                () = shutdown.draining() => return,
            }
            let now = Moment::now().unix;
            loop {
                let expired = self.tokens.lock().take_expired(now);
                let Some(client) = expired else { break };
                if self.broker.disconnect(&client) {
                    info!(%client, "disconnected: its token has expired");
                }
            }
        }
    }

    /// Completes when no call of a publish is under way, or `cut_off` is ready, and everything is written.
    /// To be called when nobody is connected.
    pub(crate) async fn close(&self, cut_off: impl Future<Output = ()>) {
        tokio::select! {
            biased;
            () = self.calls.close() => {}
            () = cut_off => warn!("calls of publishes are cut off"),
        }
        self.store.retained.write().await;
        self.closing.cancel();
    }

    #[must_use]
    pub(crate) const fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Bounds of each client.
    #[must_use]
    pub(crate) fn client_limits(mqtt: &Mqtt) -> ClientLimits {
        let limit = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
        let bound = |time: Duration| (!time.is_zero()).then_some(time);
        ClientLimits {
            packet_bytes_max: u32::try_from(mqtt.packet_bytes_max.octets()).unwrap_or(u32::MAX),
            receive_max: limit(mqtt.receive_maximum),
            in_flight_max: limit(mqtt.in_flight_max),
            topic_alias_max: limit(mqtt.topic_alias_max),
            qos_max: match mqtt.qos_max {
                0 => Qos::AtMostOnce,
                1 => Qos::AtLeastOnce,
                _ => Qos::ExactlyOnce,
            },
            keep_alive_max: bound(mqtt.keep_alive_max),
            session_expiry_max: mqtt.session_expiry_max,
            message_expiry_max: bound(mqtt.message_expiry_max),
            subscriptions_max: mqtt.subscriptions_per_session_max,
            queue_messages_max: mqtt.queue_messages_max,
            queue_bytes_max: mqtt.queue_bytes_max.octets(),
            retain: mqtt.retain,
            wildcards: mqtt.wildcards,
            shared_subscriptions: mqtt.shared,
        }
    }

    const fn calls(&self) -> &RunningCalls {
        &self.calls
    }

    fn calls_in_flight_max(&self) -> usize {
        self.settings.load().mqtt.calls_in_flight_max
    }

    fn body_bytes_max(&self) -> usize {
        self.settings.load().body_bytes_max
    }

    /// Whether `client` may publish to `topic`.
    fn may_publish(&self, client: &MqttClient, topic: &TopicName) -> Result<(), Reason> {
        let settings = self.settings.load();
        let name = topic.name.as_str();
        let is_own = topic.event.as_str().starts_with(OWN_TOPICS)
            || (name.starts_with('$') && settings.routes.find(name).is_none());
        let topics = settings.rules.of(&client.client_id, principal_of(client));
        match !is_own && topics.may_publish(name) {
            true => Ok(()),
            false => Err(Reason::NOT_AUTHORIZED),
        }
    }

    /// As `may_publish`, for what is published in the client's name.
    fn check_publish(&self, client: &MqttClient, topic: &TopicName) -> Result<(), Error> {
        // A reply is no request.
        let is_call = topic.name.as_str().starts_with('$');
        let may = self.may_publish(client, topic);
        may.ok().filter(|()| !is_call).ok_or_else(|| {
            let message = format!(
                "client {} may not publish to its response topic {}; see [mqtt.rules]",
                client.client_id, topic.name
            );
            Error::new(Kind::PermissionDenied, Blame::Client, message)
        })
    }

    /// Takes a publication that is no call: everything that its QoS promises, but for MQTT subscribers.
    fn take(
        &self,
        client: &MqttClient,
        publication: &Arc<Publication>,
        is_kept: bool,
    ) -> Acceptance {
        let publisher = Publisher {
            principal: client.principal.clone(),
            ..Publisher::of(Arc::clone(&client.peer))
        };
        let by = (publisher, client.client_id.as_str());
        self.store.take(by, publication, is_kept)
    }

    /// Publishes in the name of `client`, to MQTT subscribers as well.
    async fn publish_for(
        &self,
        client: &MqttClient,
        publication: Publication,
    ) -> Result<u32, Error> {
        let publication = Arc::new(publication);
        let is_kept = publication.qos != Qos::AtMostOnce
            && self.broker.keeps(publication.topic.event.as_str());
        let taken = match self.take(client, &publication, is_kept) {
            Acceptance::Now(taken) => taken,
            Acceptance::Later(taken) | Acceptance::Call(taken) => taken.await,
        };
        let n_told = taken.map_err(|refused: MqttRefusal| {
            let kind = match refused.reason {
                Reason::QUOTA_EXCEEDED => Kind::ResourceExhausted,
                _ => Kind::Unavailable,
            };
            Error::new(kind, Blame::Gateway, refused.text.to_string())
        })?;
        Ok(n_told + self.broker.deliver(&publication))
    }

    /// Gives an event of somebody else to the broker's subscribers.
    fn tell(&self, event: &Event) -> u32 {
        if !event.topic.as_str().starts_with(OWN_TOPICS) {
            return self.broker.deliver_event(event);
        }
        // What the gateway itself tells is kept for nobody.
        let mut publication = Publication::of_event(event, clock::now(), Duration::ZERO);
        publication.qos = Qos::AtMostOnce;
        self.broker.deliver(&Arc::new(publication))
    }
}

impl EventTap for MqttTap {
    fn tell(&self, event: &Event) -> u32 {
        let gateway = self.0.upgrade();
        gateway.map_or(0, |gateway| gateway.tell(event))
    }
}

impl MqttSettings {
    fn of(config: &Config) -> Self {
        let mqtt = &config.mqtt;
        Self {
            mqtt: mqtt.clone(),
            rules: ClientRules::new(&mqtt.rules),
            routes: TopicRoutes::new(mqtt.routes.clone(), mqtt.calls),
            credentials: KnownCredentials::of(&config.auth),
            body_bytes_max: config.calls.body_bytes_max.octets(),
        }
    }
}

fn principal_of(client: &MqttClient) -> Option<&Principal> {
    client.principal.as_deref()
}

fn broker_config(mqtt: &Mqtt) -> BrokerConfig {
    let interval = mqtt.sys_interval;
    BrokerConfig {
        sessions_max: mqtt.sessions_max,
        sys_interval: (!interval.is_zero()).then_some(interval),
    }
}

fn retained_bounds(mqtt: &Mqtt) -> RetainedBounds {
    RetainedBounds {
        messages_max: mqtt.retained_max,
        bytes_max: mqtt.retained_bytes_max.octets(),
    }
}

/// How often tokens are looked at.
const TOKENS_INTERVAL: Duration = Duration::from_secs(1);
