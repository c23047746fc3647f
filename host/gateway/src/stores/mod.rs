//! Redis servers of the configuration, by name: key/value tables of plugins lie in them, and events go out to
//! their channels and come in from there.
//!
//! ```text
//! [stores.NAME] ─▶ Stores ─▶ RedisStore ─▶ tables of plugins (`Runtime::set_stores`)
//!                                        ─▶ Forwarding: events ◀─▶ channels
//!                                        ─▶ logs of durable topics (`NamedStoreLog`)
//! ```
//! A change of the configuration opens what is new, closes what is gone, and leaves the rest alone.

mod forwarding;
mod log;
mod view;

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use postern_core::{
    Error, Text,
    event::TopicPattern,
    key_value::{KeyValueStore, no_such_store},
};
use postern_net::redis::{DeadLetters, RedisLog, RedisLogConfig, RedisSnapshot, RedisStore};
use postern_wasm::Runtime;
use tracing::info;

use self::forwarding::Forwarding;
pub(crate) use self::view::StoreView;
use crate::{
    certificates::{Certificates, store_table},
    config::{Config, StoreSettings},
    events::EventService,
    readiness::{Readiness, ReasonKind},
};

/// All stores of a gateway.
pub(crate) struct Stores {
    /// It holds the events, and they hold this.
    runtime: Weak<Runtime>,
    /// Whose events go out and come in; none before the gateway serves.
    events: OnceLock<EventService>,
    open_stores: Mutex<BTreeMap<String, OpenStore>>,
}

struct OpenStore {
    settings: StoreSettings,
    store: Arc<RedisStore>,
    /// None where no events go out or come in.
    forwarding: Option<Forwarding>,
}

/// What of a durable topic matters for its stream.
#[derive(Debug, Clone)]
struct StreamSettings {
    name: Text,
    patterns: Vec<TopicPattern>,
    events_max: Option<u64>,
    age_max: Option<Duration>,
}

impl Stores {
    /// None is open until `apply`.
    pub(crate) fn new(runtime: &Arc<Runtime>) -> Self {
        Self {
            runtime: Arc::downgrade(runtime),
            events: OnceLock::new(),
            open_stores: Mutex::default(),
        }
    }

    /// Events of `events` go out to channels and come in from there, from the next `apply` on.
    pub(crate) fn set_events(&self, events: EventService) {
        // There is one for the life of a gateway.
        let _ = self.events.set(events);
    }

    /// Opens, closes and changes what `config` says. Must be called on a runtime.
    pub(crate) fn apply(&self, config: &Config, certificates: &Certificates) {
        let mut open = self.open_stores.lock();
        open.retain(|name, _| {
            let is_kept = config.stores.contains_key(name);
            if !is_kept {
                info!(store = name, "store closed");
            }
            is_kept
        });
        for (name, settings) in &config.stores {
            let is_same = open.get(name).is_some_and(|one| one.settings == *settings);
            if is_same {
                continue;
            }
            if let Some(one) = self.open_store(name, settings, certificates, open.get(name)) {
                open.insert(name.clone(), one);
            }
        }
        let key_values = open.iter().map(|(name, one)| {
            let store: Arc<dyn KeyValueStore> = Arc::new(one.store.key_values());
            (name.clone(), store)
        });
        if let Some(runtime) = self.runtime.upgrade() {
            runtime.set_stores(key_values.collect());
        }
    }

    fn open_store(
        &self,
        name: &str,
        settings: &StoreSettings,
        certificates: &Certificates,
        before: Option<&OpenStore>,
    ) -> Option<OpenStore> {
        let config = settings.to_config(name)?;
        let same = before.filter(|before| *before.store.config() == config);
        let store = match same {
            Some(before) => Arc::clone(&before.store),
            None => {
                info!(store = name, url = %config.location, "store opened");
                let tls = certificates.dialer(&store_table(name)).unwrap_or_default();
                RedisStore::open(config, tls)
            }
        };
        Some(OpenStore {
            forwarding: self
                .events
                .get()
                .and_then(|events| Forwarding::start(name, &settings.channels, &store, events)),
            settings: settings.clone(),
            store,
        })
    }

    /// The store of that name.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<RedisStore>> {
        let open = self.open_stores.lock();
        open.get(name).map(|one| Arc::clone(&one.store))
    }

    /// As `find`.
    ///
    /// # Errors
    /// `unavailable` where there is none of that name.
    fn open(&self, name: &str) -> Result<Arc<RedisStore>, Error> {
        self.find(name).ok_or_else(|| no_such_store(name))
    }

    /// A stream of the store `name` as a log of events.
    ///
    /// # Errors
    /// `unavailable` where there is no store of that name.
    fn stream(
        &self,
        name: &str,
        stream: StreamSettings,
        dead_letters: DeadLetters,
    ) -> Result<RedisLog, Error> {
        let open = self.open_stores.lock();
        let one = open.get(name).ok_or_else(|| no_such_store(name))?;
        let config = RedisLogConfig {
            events_max: stream.events_max,
            age_max: stream.age_max,
            claim_idle: one.settings.claim_idle,
            ..RedisLogConfig::new(stream.name, stream.patterns)
        };
        Ok(one.store.log(config, Some(dead_letters)))
    }

    /// Every store, for whoever looks at it.
    pub(crate) fn views(&self) -> Vec<StoreView> {
        let open = self.open_stores.lock();
        let view = |(name, one): (&String, &OpenStore)| {
            let counts = one.forwarding.as_ref().map(Forwarding::counts);
            StoreView::new(name, &one.store.snapshot(), counts.unwrap_or_default())
        };
        open.iter().map(view).collect()
    }

    /// The numbers of each store.
    pub(crate) fn numbers(&self) -> Vec<(String, RedisSnapshot)> {
        let open = self.open_stores.lock();
        let numbers = open
            .iter()
            .map(|(name, one)| (name.clone(), one.store.snapshot()));
        numbers.collect()
    }

    /// Tells the readiness which stores are away, for ever.
    pub(crate) async fn follow(&self, readiness: &Readiness) {
        loop {
            let away = self.numbers().into_iter().filter_map(|(name, snapshot)| {
                let standing = snapshot.standing;
                // One that was opened a moment ago may connect yet.
                let is_away = !standing.is_connected && standing.since > CONNECTS_WITHIN;
                let fault = standing
                    .fault
                    .unwrap_or_else(|| Text::from_static("not connected"));
                is_away.then(|| (name, fault.to_string()))
            });
            let away = away.collect();
            readiness.replace(ReasonKind::NamedStore, away);
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Closes all.
    pub(crate) fn close(&self) {
        let closed = std::mem::take(&mut *self.open_stores.lock());
        drop(closed);
    }
}

const LOOK_INTERVAL: Duration = Duration::from_secs(1);
const CONNECTS_WITHIN: Duration = Duration::from_secs(1);
