//! The brokers of a channel: those that the configuration names elsewhere, and those at URLs, which the
//! channel has for itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use postern_core::{
    Text,
    channel::ExpectedEchoes,
    event::{Event, broker::EventBroker},
};
use postern_net::{
    event_brokers::{EventBrokerConfig, TextForm, VstpBroker, WebSocketBroker},
    tls::ClientTls,
};
use postern_system::{clock, random};

use crate::config::{
    BrokerUrl, ChannelMember, ChannelSettings, Config, StoreSettings, bridges::Bridge,
};

/// Where brokers are found that others have as well. Each is there until its table changes.
pub(crate) trait BrokerSource: Send + Sync {
    /// The channels of the Redis of that name.
    fn store(&self, name: &str) -> Option<Arc<dyn EventBroker>>;

    /// The bridge of that name.
    fn bridge(&self, name: &str) -> Option<Arc<dyn EventBroker>>;
}

/// One broker of a channel.
pub(super) struct Member {
    /// As it is written.
    pub(super) label: Text,
    pub(super) broker: Arc<dyn EventBroker>,
    /// What it gives back of what was sent to it.
    echoes: Mutex<ExpectedEchoes>,
    /// Connections when it was looked at last.
    n_connects: AtomicU64,
    pub(super) n_sent: AtomicU64,
    pub(super) n_failed: AtomicU64,
    pub(super) n_received: AtomicU64,
}

/// A broker as the configuration wants it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    source: ChannelMember,
    /// What its table says, where it has one.
    store: Option<StoreSettings>,
    bridge: Option<Bridge>,
}

/// The brokers that `settings` name, in order.
pub(super) fn wanted(settings: &ChannelSettings, config: &Config) -> Vec<Wanted> {
    let members = settings.members(&config.redis_stores(), &config.bridge_names());
    let members = members.unwrap_or_default().into_iter();
    let wanted = members.map(|source| {
        let (mut store, mut bridge) = (None, None);
        match &source {
            ChannelMember::Store(name) => store = config.stores.get(name).cloned(),
            ChannelMember::Bridge(name) => bridge = config.bridges.get(name).cloned(),
            ChannelMember::Url { .. } => {}
        }
        Wanted {
            source,
            store,
            bridge,
        }
    });
    wanted.collect()
}

impl Wanted {
    /// None where it is not there, though the configuration was checked.
    pub(super) fn open(
        &self,
        settings: &ChannelSettings,
        brokers: &dyn BrokerSource,
        tls: &Arc<ClientTls>,
    ) -> Option<Member> {
        let broker = match &self.source {
            ChannelMember::Store(name) => brokers.store(name)?,
            ChannelMember::Bridge(name) => brokers.bridge(name)?,
            ChannelMember::Url { url, topic } => dialled(url, topic.clone(), settings, tls),
        };
        Some(Member::new(&self.source, broker))
    }
}

/// The broker at a URL.
fn dialled(
    url: &BrokerUrl,
    topic: Option<String>,
    settings: &ChannelSettings,
    tls: &Arc<ClientTls>,
) -> Arc<dyn EventBroker> {
    let config = EventBrokerConfig {
        address: url.address.clone(),
        token: settings.token.as_ref().map(|token| token.expose().into()),
        connect_timeout: CONNECT_TIMEOUT,
        tls: Arc::clone(tls),
    };
    if url.is_session() {
        return Arc::new(VstpBroker::new(config));
    }
    let form = match topic {
        Some(topic) => TextForm::Plain {
            topic: topic.into(),
        },
        None => TextForm::Json,
    };
    Arc::new(WebSocketBroker::new(config, form))
}

impl Member {
    pub(super) fn new(source: &ChannelMember, broker: Arc<dyn EventBroker>) -> Self {
        Self {
            label: source.to_string().into(),
            broker,
            echoes: Mutex::new(ExpectedEchoes::new(random::secret(), ECHOES_MAX, ECHO_AGE)),
            n_connects: AtomicU64::new(0),
            n_sent: AtomicU64::new(0),
            n_failed: AtomicU64::new(0),
            n_received: AtomicU64::new(0),
        }
    }

    /// What the broker has acknowledged or may have, and will give back where this end subscribes.
    pub(super) fn on_sending(&self, event: &Event) {
        self.n_sent.fetch_add(1, Relaxed);
        if !self.broker.gives_back() {
            return;
        }
        self.echoes
            .lock()
            .on_sent(clock::now(), &event.topic, &event.payload);
    }

    /// Whether an event that came in is one that was sent from here.
    pub(super) fn is_echo(&self, event: &Event) -> bool {
        self.echoes
            .lock()
            .is_echo(clock::now(), &event.topic, &event.payload)
    }

    /// How it stands with the connection, and whether that was lost and made anew since the last look.
    pub(super) fn look(&self) -> (bool, bool) {
        let standing = self.broker.standing();
        let before = self.n_connects.swap(standing.n_connects, Relaxed);
        let is_new = standing.n_connects > before;
        if is_new || !standing.is_connected {
            self.echoes.lock().clear();
        }
        (
            standing.is_connected,
            standing.is_connected && is_new && before > 0,
        )
    }
}

/// Events of ours that one broker may still give back, and how long it takes to.
const ECHOES_MAX: usize = 8192;
const ECHO_AGE: Duration = Duration::from_secs(10);
/// Time to reach a broker at a URL.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
