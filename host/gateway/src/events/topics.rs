//! Topics that are durable: a log for each table `topics` of the configuration, the log of dead letters,
//! and logs that other parts keep for consumers of their own.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, Weak},
};

use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use postern_core::{
    Blame, BoxFuture, Error, Kind, Text,
    event::{
        Event, Hub, TopicPattern,
        durable::{DEAD_LETTERS, EventLog, LogInfo, LogLimits},
    },
};
use postern_wasm::StoreHealth;
use tokio::sync::watch;

use super::{
    consumer_defaults::ConsumerDefaults,
    named_logs::NamedLogs,
    store::{DeadLetterSink, EventStore, EventStoreError, LogSettings, LogTopics},
};
use crate::config::{Config, LOCAL_STORE, TopicDelivery, TopicSettings};

/// The durable topics of a gateway.
pub(crate) struct DurableTopics {
    hub: Hub,
    /// The file of the embedded store, which is opened with the first log that is kept there.
    path: PathBuf,
    health: Arc<StoreHealth>,
    store: Mutex<Option<Arc<EventStore>>>,
    /// Those of others, which hold the topics themselves.
    stores: OnceLock<Weak<dyn NamedLogs>>,
    set: ArcSwap<LogSet>,
    changed: watch::Sender<()>,
}

/// Logs in force.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogSet {
    topics: Vec<DurableTopic>,
    /// Patterns whose events are not stored, whatever a wider one says.
    excluded: Vec<TopicPattern>,
    /// Logs that keep what their consumers ask for.
    asked: Vec<Arc<dyn EventLog>>,
    /// Dead letters of topics that no configured log keeps.
    dead_letters: Option<DurableTopic>,
}

/// A durable topic, or all that a pattern matches.
#[derive(Debug, Clone)]
pub(crate) struct DurableTopic {
    pub pattern: TopicPattern,
    pub log: Arc<dyn EventLog>,
    pub limits: LogLimits,
    pub dead_letter: Option<Text>,
    /// What its consumers have where they say nothing else.
    pub consumers: ConsumerDefaults,
}

type Logs = Vec<Arc<dyn EventLog>>;

impl DurableTopics {
    /// None is durable until `apply`. `path` is the file of the embedded store.
    #[must_use]
    pub(super) fn new(hub: Hub, path: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            hub,
            path,
            health: Arc::default(),
            store: Mutex::default(),
            stores: OnceLock::new(),
            set: ArcSwap::default(),
            changed: watch::channel(()).0,
        })
    }

    /// Logs may be in one of `stores` from here on.
    pub(crate) fn set_stores(&self, stores: Weak<dyn NamedLogs>) {
        // There is one set for the life of a gateway.
        let _ = self.stores.set(stores);
    }

    /// How the embedded store is.
    #[must_use]
    pub(crate) const fn health(&self) -> &Arc<StoreHealth> {
        &self.health
    }

    /// Opens the logs that `config` names. Nothing is in force until `apply`.
    ///
    /// # Errors
    /// Why a log cannot be opened.
    pub(crate) async fn prepare(self: &Arc<Self>, config: &Config) -> Result<LogSet, Error> {
        let mut set = LogSet::default();
        for (pattern, settings) in config.topics.iter() {
            match settings.delivery {
                TopicDelivery::AtMostOnce => set.excluded.push(pattern.clone()),
                TopicDelivery::AtLeastOnce => {
                    let topic = self.open_topic(pattern, settings).await?;
                    set.topics.push(topic);
                }
            }
        }
        if !set.topics.is_empty() {
            set.dead_letters = Some(self.open_dead_letters(&set).await?);
        }
        Ok(set)
    }

    /// Puts logs in force; those of the set before that are not in this one keep what they have.
    pub(crate) fn apply(&self, mut set: LogSet) {
        set.asked.clone_from(&self.set.load().asked);
        for topic in set.all() {
            topic.log.apply(topic.limits, topic.dead_letter.clone());
        }
        self.set.store(Arc::new(set));
        self.changed.send_replace(());
    }

    /// A log that keeps what its consumers ask for until they have acknowledged it, in the embedded store.
    /// It is one of the logs that `publish` asks from then on. At most `pending_max` events wait for one
    /// consumer.
    ///
    /// # Errors
    /// Why it cannot be opened.
    pub(crate) async fn open_asked(
        self: &Arc<Self>,
        name: &'static str,
        limits: LogLimits,
        pending_max: usize,
    ) -> Result<Arc<dyn EventLog>, Error> {
        let settings = LogSettings {
            name: Text::from_static(name),
            keeps: LogTopics::Asked { pending_max },
            limits,
            dead_letter: None,
        };
        let log = self.open_log(LOCAL_STORE, settings).await?;
        self.set.rcu(|set| {
            let mut set = LogSet::clone(set);
            set.asked.push(Arc::clone(&log));
            set
        });
        Ok(log)
    }

    /// The log of the configuration that keeps an event of `topic`, if one does.
    #[must_use]
    pub(super) fn configured_logs_for(&self, topic: &str) -> Logs {
        let set = self.set.load();
        if set.topics.is_empty() {
            return Logs::new();
        }
        let durable = set.find(topic).into_iter();
        durable.map(|durable| Arc::clone(&durable.log)).collect()
    }

    /// The logs that keep an event of `topic`.
    #[must_use]
    pub(super) fn logs_for(&self, topic: &str) -> Logs {
        let set = self.set.load();
        let mut logs = Logs::new();
        if set.topics.is_empty() && set.asked.is_empty() {
            return logs;
        }
        if let Some(durable) = set.find(topic) {
            logs.push(Arc::clone(&durable.log));
        }
        let asked = set.asked.iter().filter(|log| log.wants(topic));
        logs.extend(asked.cloned());
        logs
    }

    /// Whether events of `topic` are kept for whoever comes under a durable name.
    #[must_use]
    pub(crate) fn is_durable(&self, topic: &str) -> bool {
        self.set.load().find(topic).is_some()
    }

    /// The durable topics of which one of `patterns` may match an event.
    #[must_use]
    pub(crate) fn matching(&self, patterns: &[TopicPattern]) -> Vec<DurableTopic> {
        let set = self.set.load();
        let is_wanted = |topic: &&DurableTopic| {
            let mut patterns = patterns.iter();
            patterns.any(|pattern| pattern.overlaps(&topic.pattern))
        };
        set.all().filter(is_wanted).cloned().collect()
    }

    /// Tells when other topics are durable than before.
    #[must_use]
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Every log, by its name, with what its store says of it, or why that says nothing.
    pub(crate) async fn infos(&self) -> Vec<(Text, Result<LogInfo, Error>)> {
        let set = self.set.load_full();
        let mut infos = Vec::new();
        for topic in set.all() {
            let name = Text::from(topic.pattern.as_str());
            infos.push((name, topic.log.info().await));
        }
        for log in &set.asked {
            let info = log.info().await;
            let name = info
                .as_ref()
                .map_or_else(|_| Text::default(), |info| info.name.clone());
            infos.push((name, info));
        }
        infos
    }

    /// As `infos`, of logs that say at once; a store elsewhere is not waited for.
    #[must_use]
    pub(crate) fn numbers(&self) -> Vec<LogInfo> {
        let set = self.set.load();
        let own = set.all().map(|topic| &topic.log);
        let infos = own.chain(&set.asked).map(|log| log.info().now_or_never());
        infos.flatten().filter_map(Result::ok).collect()
    }

    /// The log of that name.
    #[must_use]
    pub(crate) fn log(&self, name: &str) -> Option<Arc<dyn EventLog>> {
        let set = self.set.load();
        let mut all = set.all();
        let found = all.find(|topic| topic.pattern.as_str() == name);
        found.map(|topic| Arc::clone(&topic.log))
    }

    /// Writes what waits and closes the embedded store.
    pub(crate) async fn close(&self) {
        self.set.store(Arc::default());
        let store = self.store.lock().take();
        if let Some(store) = store {
            let closing = tokio::task::spawn_blocking(move || store.close());
            drop(closing.await);
        }
    }

    async fn open_topic(
        self: &Arc<Self>,
        pattern: &TopicPattern,
        settings: &TopicSettings,
    ) -> Result<DurableTopic, Error> {
        let log = LogSettings {
            name: Text::from(pattern.as_str()),
            keeps: LogTopics::Of(pattern.clone()),
            limits: settings.limits(),
            dead_letter: settings.dead_letter.as_ref().map(|topic| topic.0.clone()),
        };
        Ok(DurableTopic {
            pattern: pattern.clone(),
            limits: log.limits,
            dead_letter: log.dead_letter.clone(),
            log: self.open_log(&settings.store, log).await?,
            consumers: settings.consumers(),
        })
    }

    /// The log of dead letters: those that the configuration puts elsewhere are elsewhere.
    async fn open_dead_letters(self: &Arc<Self>, set: &LogSet) -> Result<DurableTopic, Error> {
        let name = format!("{DEAD_LETTERS}>");
        let pattern = TopicPattern::new(&name).map_err(|error| error.refuse("topic", &name))?;
        if let Some(configured) = set.topics.iter().find(|topic| topic.pattern == pattern) {
            return Ok(configured.clone());
        }
        let settings = TopicSettings::default();
        let log = LogSettings {
            name: name.into(),
            keeps: LogTopics::Of(pattern.clone()),
            limits: settings.limits(),
            dead_letter: None,
        };
        Ok(DurableTopic {
            pattern,
            limits: log.limits,
            dead_letter: None,
            log: self.open_log(LOCAL_STORE, log).await?,
            consumers: settings.consumers(),
        })
    }

    /// Opens a log in `store`: the embedded one, or one of the configuration's.
    async fn open_log(
        self: &Arc<Self>,
        store: &str,
        settings: LogSettings,
    ) -> Result<Arc<dyn EventLog>, Error> {
        if store != LOCAL_STORE {
            return self.named(store, settings);
        }
        let store = self.local().map_err(|error| error.to_error())?;
        let log = store.open_log(settings).await;
        Ok(log.map_err(|error| error.to_error())?)
    }

    /// A log in a store of others, which is asked for nothing yet.
    fn named(
        self: &Arc<Self>,
        store: &str,
        settings: LogSettings,
    ) -> Result<Arc<dyn EventLog>, Error> {
        let stores = self.stores.get().and_then(Weak::upgrade);
        let (LogTopics::Of(pattern), Some(stores)) = (settings.keeps, stores) else {
            let message = format!("topics.\"{}\": no store is called {store:?}", settings.name);
            let kind = Kind::FailedPrecondition;
            return Err(Error::new(kind, Blame::Gateway, message));
        };
        let limits = (settings.limits, settings.dead_letter);
        stores.open_log(store, pattern, limits, self.dead_letters())
    }

    /// The embedded store, opened.
    fn local(self: &Arc<Self>) -> Result<Arc<EventStore>, EventStoreError> {
        let mut store = self.store.lock();
        if let Some(store) = &*store {
            return Ok(Arc::clone(store));
        }
        let opened = Arc::new(EventStore::open(&self.path, &self.health)?);
        opened.set_dead_letters(self.dead_letters());
        *store = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// Keeps dead letters: in the log that wants their topic, else in that of all dead letters; and tells
    /// whoever listens.
    fn dead_letters(self: &Arc<Self>) -> DeadLetterSink {
        // The topics hold the store that is to hold this.
        let topics = Arc::downgrade(self);
        Arc::new(move |event: Event| -> BoxFuture<Result<(), Error>> {
            let topics = topics.upgrade();
            Box::pin(async move {
                let Some(topics) = topics else {
                    let message = "the gateway is ending";
                    return Err(Error::unavailable(Blame::Gateway, message));
                };
                topics.keep_dead(event).await
            })
        })
    }

    async fn keep_dead(&self, event: Event) -> Result<(), Error> {
        let mut logs = self.logs_for(&event.topic);
        if logs.is_empty() {
            let set = self.set.load();
            logs.extend(set.dead_letters.iter().map(|topic| Arc::clone(&topic.log)));
        }
        for log in logs {
            log.append(event.clone()).await?;
        }
        // It is kept; who only listens may miss it.
        drop(self.hub.publish(event));
        Ok(())
    }
}

impl LogSet {
    fn all(&self) -> impl Iterator<Item = &DurableTopic> {
        let is_configured = |topic: &&DurableTopic| {
            let mut configured = self.topics.iter();
            configured.any(|one| one.pattern == topic.pattern)
        };
        let dead_letters = self.dead_letters.iter();
        let own = dead_letters.filter(move |topic| !is_configured(topic));
        self.topics.iter().chain(own)
    }

    fn find(&self, topic: &str) -> Option<&DurableTopic> {
        let found = self.all().find(|durable| durable.log.wants(topic))?;
        let mut excluded = self.excluded.iter();
        let is_excluded = excluded.any(|pattern| pattern.matches(topic));
        (!is_excluded).then_some(found)
    }
}

impl fmt::Debug for DurableTopics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableTopics")
            .field("set", &self.set.load())
            .finish_non_exhaustive()
    }
}

/// The file of the embedded store below `data-dir`.
#[must_use]
pub(crate) fn store_file(data_dir: &Path) -> PathBuf {
    data_dir.join("events.redb")
}
