//! Events that go out to the channels of a store, and those that come in from there.
//!
//! ```text
//! hub ─▶ out: did it come from here? dropped ─▶ PUBLISH, in order, some at a time
//! channel ─▶ in: is it what went out a moment ago? dropped ─▶ published here
//! ```
//! Both ways are at most once, as channels of Redis are: what nobody listens to, and what is on its way when a
//! connection breaks, is lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesOrdered};
use parking_lot::Mutex;
use postern_core::{
    Text,
    channel::ExpectedEchoes,
    event::{
        Event, Subscription, TopicPattern,
        broker::{EventBroker as _, EventSource},
    },
};
use postern_net::redis::{RedisChannels, RedisChannelsConfig, RedisStore};
use postern_system::{clock, random};
use serde::Serialize;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use crate::{
    config::{StoreChannels, Topics},
    events::EventService,
};

/// The tasks of one store, which end with it.
pub(super) struct Forwarding {
    shared: Arc<Shared>,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

/// Events of one store since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ForwardingCounts {
    pub sent: u64,
    /// Lost because the store was away or slow.
    pub unsent: u64,
    pub received: u64,
    /// Refused here: too large, or under a topic that is the gateway's own.
    pub refused: u64,
}

struct Shared {
    store: Text,
    channels: RedisChannels,
    prefixes: RedisChannelsConfig,
    incoming: Vec<TopicPattern>,
    events: EventService,
    echoes: Mutex<ExpectedEchoes>,
    sent: AtomicU64,
    unsent: AtomicU64,
    received: AtomicU64,
    refused: AtomicU64,
}

impl Forwarding {
    /// None where nothing is to be forwarded.
    pub(super) fn start(
        name: &str,
        settings: &StoreChannels,
        store: &RedisStore,
        events: &EventService,
    ) -> Option<Self> {
        let patterns =
            |topics: &[Topics]| topics.iter().map(|one| one.0.clone()).collect::<Vec<_>>();
        let (outgoing, incoming) = (patterns(&settings.publish), patterns(&settings.subscribe));
        if outgoing.is_empty() && incoming.is_empty() {
            return None;
        }
        let shared = Arc::new(Shared {
            store: name.into(),
            channels: store.channels().clone(),
            prefixes: store.config().channels.clone(),
            incoming,
            events: events.clone(),
            echoes: Mutex::new(ExpectedEchoes::new(random::secret(), ECHOES_MAX, ECHO_AGE)),
            sent: AtomicU64::new(0),
            unsent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        });
        let mut tasks = Vec::new();
        if !shared.incoming.is_empty() {
            tasks.push(tokio::spawn(Arc::clone(&shared).receive()));
        }
        if !outgoing.is_empty() {
            let owner = Text::from(format!("store {name}"));
            match events.hub().subscribe(&owner, outgoing, None) {
                Ok(subscription) => {
                    tasks.push(tokio::spawn(Arc::clone(&shared).send(subscription)));
                }
                Err(error) => {
                    warn!(store = name, %error, "no events go out to the channels of the store");
                }
            }
        }
        Some(Self {
            shared,
            _tasks: tasks.into_iter().map(AbortOnDropHandle::new).collect(),
        })
    }

    pub(super) fn counts(&self) -> ForwardingCounts {
        ForwardingCounts {
            sent: self.shared.sent.load(Relaxed),
            unsent: self.shared.unsent.load(Relaxed),
            received: self.shared.received.load(Relaxed),
            refused: self.shared.refused.load(Relaxed),
        }
    }
}

impl Shared {
    /// Sends until the subscription ends.
    async fn send(self: Arc<Self>, mut subscription: Subscription) {
        let mut sending = FuturesOrdered::new();
        loop {
            tokio::select! {
                Some(()) = sending.next(), if !sending.is_empty() => {}
                delivery = subscription.next(), if sending.len() < SENDING_MAX => {
                    let Some(delivery) = delivery else { return };
                    self.unsent.fetch_add(delivery.missed, Relaxed);
                    if !self.channels.is_from_here(&delivery.event) {
                        sending.push_back(Arc::clone(&self).send_one(delivery.event));
                    }
                }
            }
        }
    }

    async fn send_one(self: Arc<Self>, event: Event) {
        let channel = format!("{}{}", self.prefixes.out_prefix, event.topic);
        let comes_back = self.comes_back(&channel);
        if comes_back {
            self.echoes
                .lock()
                .on_sent(clock::now(), &channel, &event.payload);
        }
        match self.channels.publish(event.clone()).await {
            Ok(()) => drop(self.sent.fetch_add(1, Relaxed)),
            Err(error) => {
                self.unsent.fetch_add(1, Relaxed);
                if comes_back {
                    self.echoes.lock().on_unsent(&channel, &event.payload);
                }
                debug!(store = %self.store, topic = %event.topic, %error, "event not sent to its channel");
            }
        }
    }

    /// Whether what is published to `channel` is subscribed to here.
    fn comes_back(&self, channel: &str) -> bool {
        let Some(topic) = channel.strip_prefix(self.prefixes.in_prefix.as_str()) else {
            return false;
        };
        self.incoming.iter().any(|pattern| pattern.matches(topic))
    }

    /// Receives for ever.
    async fn receive(self: Arc<Self>) {
        loop {
            match self.channels.subscribe(self.incoming.clone()).await {
                Ok(source) => self.receive_from(source).await,
                // The store itself says once that it is away.
                Err(error) => debug!(store = %self.store, %error, "channels are not subscribed to"),
            }
            tokio::time::sleep(SUBSCRIBE_PAUSE).await;
        }
    }

    async fn receive_from(&self, mut source: Box<dyn EventSource>) {
        while let Some(event) = source.next().await {
            let channel = format!("{}{}", self.prefixes.in_prefix, event.topic);
            let is_echo = self
                .echoes
                .lock()
                .is_echo(clock::now(), &channel, &event.payload);
            if is_echo {
                continue;
            }
            self.received.fetch_add(1, Relaxed);
            if let Err(error) = self.events.publisher().publish_stored(event).await {
                self.refused.fetch_add(1, Relaxed);
                debug!(store = %self.store, channel, %error, "an event of a channel is not taken");
            }
        }
    }
}

/// Events on their way to a store.
const SENDING_MAX: usize = 64;
/// Messages that a store may still give back, and how long it takes to.
const ECHOES_MAX: usize = 16_384;
const ECHO_AGE: Duration = Duration::from_secs(10);
const SUBSCRIBE_PAUSE: Duration = Duration::from_secs(1);
