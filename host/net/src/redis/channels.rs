//! Channels of a Redis as a broker of events. All who subscribe share one connection, which asks for what any
//! of them wants; whoever publishes does so over those of commands.
//!
//! ```text
//! push ─▶ each source: is it a topic behind its prefix, and does a pattern match it? ─▶ its mailbox
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, future,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use postern_core::{
    Blame, BoxFuture, Call, Error, Headers, Kind, Peer, Reply, Text,
    event::{
        Delivery, Event, Mailbox, Publisher, QueueBounds, TopicPattern,
        broker::{BrokerStanding, EventBroker, EventSource},
        check_topic,
    },
    redis::ChannelPattern,
};
use postern_system::random;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;

use super::{
    config::RedisChannelsConfig,
    connection::{Pushes, RedisConnection, Request, SubscriptionChange},
    counts::count,
    node_pool::Choice,
    routing::{Repeat, Route, Routing},
};
use crate::pool::backoff;

/// The channels of one store. Whoever publishes to a channel that it has subscribed to gets back what it
/// has published.
#[derive(Clone)]
pub struct RedisChannels {
    shared: Arc<SharedChannels>,
    config: RedisChannelsConfig,
    /// Runs from the first subscription on, and as long as anybody has the channels.
    subscriber: Arc<Mutex<Option<AbortOnDropHandle<()>>>>,
}

struct SharedChannels {
    routing: Arc<Routing>,
    /// Whose events those are that come from here: none of them is sent back.
    peer: Arc<Peer>,
    sources: Mutex<Sources>,
    /// Somebody has subscribed or left.
    changed: Notify,
    /// Up to which change the server has been asked; none while there is no connection.
    asked: watch::Sender<Option<u64>>,
}

#[derive(Default)]
struct Sources {
    next_id: u64,
    n_changes: u64,
    by_id: BTreeMap<u64, Source>,
    /// Events that mailboxes of sources that have ended had no room for.
    n_dropped: u64,
}

struct Source {
    /// What stands before topics in the names of its channels.
    prefix: String,
    patterns: Vec<(TopicPattern, ChannelPattern)>,
    mailbox: Arc<Mailbox>,
}

impl RedisChannels {
    pub(super) fn new(routing: Arc<Routing>) -> Self {
        let config = routing.config().channels.clone();
        let name = &routing.config().name;
        let peer = Peer::default().with_session(format!("store {name}"));
        Self {
            shared: Arc::new(SharedChannels {
                routing,
                peer: Arc::new(peer),
                sources: Mutex::default(),
                changed: Notify::new(),
                asked: watch::Sender::new(None),
            }),
            config,
            subscriber: Arc::default(),
        }
    }

    /// The same with other prefixes.
    #[must_use]
    pub fn with_prefixes(&self, config: RedisChannelsConfig) -> Self {
        Self {
            config,
            ..self.clone()
        }
    }

    /// Publishes to a channel by its whole name. What is published first arrives first.
    ///
    /// # Errors
    /// `unavailable`; unless it says `Retry::Elsewhere`, the message may have arrived.
    pub async fn publish_to(&self, channel: &str, payload: &[u8]) -> Result<(), Error> {
        self.shared.publish(channel, payload).await
    }

    /// Whether `event` has come from here: it is not to be sent back.
    #[must_use]
    pub fn is_from_here(&self, event: &Event) -> bool {
        Arc::ptr_eq(&event.publisher.peer, &self.shared.peer)
    }

    fn start(&self) {
        let mut subscriber = self.subscriber.lock();
        if subscriber.is_none() {
            let running = Arc::clone(&self.shared).run();
            *subscriber = Some(AbortOnDropHandle::new(tokio::spawn(running)));
        }
    }
}

impl fmt::Debug for RedisChannels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.shared.routing.config().name;
        f.debug_struct("RedisChannels")
            .field("store", name)
            .finish_non_exhaustive()
    }
}

impl EventBroker for RedisChannels {
    fn protocol(&self) -> &'static str {
        "redis"
    }

    fn publish(&self, event: Event) -> BoxFuture<Result<(), Error>> {
        let channel = format!("{}{}", self.config.out_prefix, event.topic);
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { shared.publish(&channel, &event.payload).await })
    }

    fn subscribe(
        &self,
        patterns: Vec<TopicPattern>,
    ) -> BoxFuture<Result<Box<dyn EventSource>, Error>> {
        self.start();
        let source = SharedChannels::add(&self.shared, &self.config.in_prefix, patterns);
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let source = source?;
            shared.asked_for(source.change).await?;
            Ok(Box::new(source) as Box<dyn EventSource>)
        })
    }

    fn call(&self, _: Call) -> BoxFuture<Result<Reply, Error>> {
        let message =
            "channels of Redis have no requests; write them to a service of the peer's convention";
        let error = Error::new(Kind::Unimplemented, Blame::Client, message);
        Box::pin(async move { Err(error) })
    }

    /// The server does; it is known and dropped.
    fn gives_back(&self) -> bool {
        false
    }

    fn standing(&self) -> BrokerStanding {
        let snapshot = self.shared.routing.snapshot();
        let sources = self.shared.sources.lock();
        let counts = sources.by_id.values().map(|source| source.mailbox.counts());
        let (n_queued, n_dropped) = counts
            .fold((0, sources.n_dropped), |(queued, dropped), one| {
                (queued + one.queued, dropped + one.dropped)
            });
        BrokerStanding {
            is_connected: snapshot.standing.is_connected,
            since: snapshot.standing.since,
            fault: snapshot.standing.fault,
            n_connects: snapshot.counts.connects,
            n_queued,
            n_dropped,
        }
    }
}

impl SharedChannels {
    async fn publish(&self, channel: &str, payload: &[u8]) -> Result<(), Error> {
        let mut command = redis::cmd("PUBLISH");
        command.arg(channel).arg(payload);
        let request = Request::One(command);
        let asking = self
            .routing
            .ask_by(Choice::Same, Route::Any, &request, Repeat::Never);
        asking.await?;
        count(&self.routing.counters.published);
        Ok(())
    }

    fn add(
        self: &Arc<Self>,
        prefix: &str,
        patterns: Vec<TopicPattern>,
    ) -> Result<ChannelSource, Error> {
        if patterns.is_empty() || patterns.len() > PATTERNS_MAX {
            let n_patterns = patterns.len();
            let message = format!("{n_patterns} patterns are not within 1 to {PATTERNS_MAX}");
            return Err(Error::invalid_argument(message));
        }
        let pairs = patterns.into_iter().map(|pattern| {
            let channels = ChannelPattern::new(prefix, &pattern);
            (pattern, channels)
        });
        let mailbox = Arc::new(Mailbox::new(QueueBounds::default()));
        let source = Source {
            prefix: prefix.to_owned(),
            patterns: pairs.collect(),
            mailbox: Arc::clone(&mailbox),
        };
        let mut sources = self.sources.lock();
        if sources.by_id.len() >= SOURCES_MAX {
            let message = format!("{SOURCES_MAX} subscribe to the channels of one store already");
            return Err(Error::new(Kind::ResourceExhausted, Blame::Gateway, message));
        }
        let id = sources.next_id;
        sources.next_id += 1;
        sources.n_changes += 1;
        let change = sources.n_changes;
        sources.by_id.insert(id, source);
        drop(sources);
        self.changed.notify_one();
        Ok(ChannelSource {
            shared: Arc::clone(self),
            id,
            change,
            mailbox,
        })
    }

    /// Waits until the server has been asked for what `change` brought.
    async fn asked_for(&self, change: u64) -> Result<(), Error> {
        let mut asked = self.asked.subscribe();
        let waiting = asked.wait_for(|asked| asked.is_some_and(|asked| asked >= change));
        let most = self.routing.config().operation_max();
        let is_asked = matches!(tokio::time::timeout(most, waiting).await, Ok(Ok(_)));
        if is_asked {
            return Ok(());
        }
        let name = &self.routing.config().name;
        let fault = self.routing.standing.read().fault;
        let reason = fault.unwrap_or_else(|| Text::from("no connection for subscriptions"));
        let message = format!("store {name}: {reason}");
        Err(Error::unavailable(Blame::Upstream, message))
    }

    /// Keeps the connection of subscriptions up, for ever.
    async fn run(self: Arc<Self>) {
        let mut n_failures = 0;
        loop {
            let pushes: Pushes = {
                let shared = Arc::downgrade(&self);
                Arc::new(move |push| {
                    if let Some(shared) = shared.upgrade() {
                        shared.on_push(push);
                    }
                })
            };
            match self.routing.connect_alone(Route::Any, Some(pushes)).await {
                Ok(connection) => {
                    n_failures = 0;
                    let reason = self.follow(&connection).await;
                    tracing::debug!(reason, "the connection of subscriptions ended");
                }
                Err(error) => {
                    n_failures += 1;
                    tracing::debug!(%error, "no connection for subscriptions");
                }
            }
            self.asked.send_replace(None);
            let config = self.routing.config();
            let (min, max) = (config.reconnect_min, config.reconnect_max);
            tokio::time::sleep(backoff::pause(min, max, n_failures, random::even())).await;
        }
    }

    /// Asks for what is wanted, and again when that changes, until the connection is of no more use.
    async fn follow(&self, connection: &RedisConnection) -> String {
        let most = self.routing.config().response_timeout;
        let mut asked = BTreeSet::new();
        loop {
            let (wanted, change) = self.wanted();
            if let Err(reason) = self.ask_for(connection, &asked, &wanted).await {
                return reason;
            }
            asked = wanted;
            self.asked.send_replace(Some(change));
            loop {
                let changed = self.changed.notified();
                if tokio::time::timeout(PING_INTERVAL, changed).await.is_ok() {
                    break;
                }
                // A peer that vanished says nothing.
                let ping = Request::One(redis::cmd("PING"));
                if let Err(failure) = connection.ask(&ping, most).await {
                    return failure.to_string();
                }
            }
            if connection.is_closed() {
                return "the connection has broken".to_owned();
            }
        }
    }

    fn wanted(&self) -> (BTreeSet<ChannelPattern>, u64) {
        let sources = self.sources.lock();
        let patterns = sources.by_id.values().flat_map(|source| &source.patterns);
        let wanted = patterns.map(|(_, channels)| channels.clone()).collect();
        (wanted, sources.n_changes)
    }

    async fn ask_for(
        &self,
        connection: &RedisConnection,
        asked: &BTreeSet<ChannelPattern>,
        wanted: &BTreeSet<ChannelPattern>,
    ) -> Result<(), String> {
        use ChannelPattern::{Channel, Glob};
        let most = self.routing.config().response_timeout;
        let (more, less) = (wanted.difference(asked), asked.difference(wanted));
        let (mut channels, mut globs) = (Vec::new(), Vec::new());
        for pattern in more {
            match pattern {
                Channel(name) => channels.push(name.as_str()),
                Glob(name) => globs.push(name.as_str()),
            }
        }
        let (mut no_channels, mut no_globs) = (Vec::new(), Vec::new());
        for pattern in less {
            match pattern {
                Channel(name) => no_channels.push(name.as_str()),
                Glob(name) => no_globs.push(name.as_str()),
            }
        }
        for (change, names) in [
            (SubscriptionChange::Channels, channels),
            (SubscriptionChange::Globs, globs),
            (SubscriptionChange::NoChannels, no_channels),
            (SubscriptionChange::NoGlobs, no_globs),
        ] {
            for names in names.chunks(NAMES_MAX) {
                let changed = connection.subscribe(change, names, most).await;
                changed.map_err(|failure| failure.to_string())?;
            }
        }
        Ok(())
    }

    /// Runs on the task that reads the connection: it puts events into mailboxes and waits for nobody.
    fn on_push(&self, push: PushInfo) {
        let PushInfo { kind, data } = push;
        if kind == PushKind::Disconnection {
            // It is seen that the connection has broken.
            self.changed.notify_one();
        }
        let is_glob = kind == PushKind::PMessage;
        if !is_glob && kind != PushKind::Message {
            return;
        }
        if self.on_message(is_glob, data).is_none() {
            count(&self.routing.counters.ignored);
        }
    }

    /// `None` for what is not for anybody here.
    fn on_message(&self, is_glob: bool, data: Vec<Value>) -> Option<()> {
        let mut data = data.into_iter().map(octets);
        let mut text = || String::from_utf8(data.next()??).ok();
        let (asked, channel) = if is_glob {
            (ChannelPattern::Glob(text()?), text()?)
        } else {
            let channel = text()?;
            (ChannelPattern::Channel(channel.clone()), channel)
        };
        let payload = Bytes::from(data.next()??);
        let wanting = self.wanting(&asked, &channel);
        let is_wanted = !wanting.is_empty();
        for (topic, mailbox) in wanting {
            count(&self.routing.counters.received);
            let event = Event {
                topic,
                headers: Headers::new(),
                payload: payload.clone(),
                publisher: Publisher::of(Arc::clone(&self.peer)),
            };
            mailbox.push(Delivery {
                event,
                missed: 0,
                subscription: Text::default(),
            });
        }
        is_wanted.then_some(())
    }

    /// A server sends a message once for each of its subscriptions that match. Of each source the first
    /// pattern that matches the topic counts, so that it gets one of them.
    fn wanting(&self, asked: &ChannelPattern, channel: &str) -> Vec<(Text, Arc<Mailbox>)> {
        let wants = |source: &Source| {
            let topic = channel.strip_prefix(source.prefix.as_str())?;
            let mut patterns = source.patterns.iter();
            let (_, channels) = patterns.find(|(pattern, _)| pattern.matches(topic))?;
            let is_topic = channels == asked && check_topic(topic).is_ok();
            is_topic.then(|| (Text::from(topic), Arc::clone(&source.mailbox)))
        };
        let sources = self.sources.lock();
        sources.by_id.values().filter_map(wants).collect()
    }
}

fn octets(value: Value) -> Option<Vec<u8>> {
    let Value::BulkString(octets) = value else {
        return None;
    };
    Some(octets)
}

impl fmt::Debug for SharedChannels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedChannels").finish_non_exhaustive()
    }
}

/// One subscriber's end.
#[derive(Debug)]
struct ChannelSource {
    shared: Arc<SharedChannels>,
    id: u64,
    change: u64,
    mailbox: Arc<Mailbox>,
}

impl EventSource for ChannelSource {
    fn next(&mut self) -> BoxFuture<Option<Event>> {
        let mailbox = Arc::clone(&self.mailbox);
        Box::pin(async move {
            let taken = future::poll_fn(|cx| mailbox.poll_take(cx)).await;
            taken.map(|delivery| delivery.event)
        })
    }
}

impl Drop for ChannelSource {
    fn drop(&mut self) {
        let mut sources = self.shared.sources.lock();
        if let Some(source) = sources.by_id.remove(&self.id) {
            sources.n_dropped += source.mailbox.counts().dropped;
        }
        sources.n_changes += 1;
        drop(sources);
        self.shared.changed.notify_one();
    }
}

/// Patterns of one subscriber.
const PATTERNS_MAX: usize = 1024;
/// Subscribers of one store.
const SOURCES_MAX: usize = 10_000;
/// Channels in one command.
const NAMES_MAX: usize = 256;
/// From one sign of life to the next.
const PING_INTERVAL: Duration = Duration::from_secs(5);
