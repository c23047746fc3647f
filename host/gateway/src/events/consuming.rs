//! Event handlers of plugins, as durable consumers: what is returned is acknowledged, what fails comes
//! again. Events of different keys are handled at the same time, those of one key one after the other.

use std::{
    collections::HashMap,
    future::pending,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _, future::join_all, stream::FuturesUnordered};
use postern_core::{
    Error, Retry, Text,
    event::{
        Event, TopicPattern,
        durable::{ConsumerStart, EventConsumer, Position, Redelivery, StoredEvent},
    },
    extension::EventHandler,
};

use super::{
    listener::ListenerInfo,
    topics::{DurableTopic, DurableTopics},
};

/// A handler and which topics it is to be told of.
pub(super) struct Consuming {
    topics: Arc<DurableTopics>,
    patterns: Vec<TopicPattern>,
    handler: Arc<dyn EventHandler>,
    info: Arc<ListenerInfo>,
    /// Where it begins in each log that there was when it came, unless it has been there before.
    starts: HashMap<TopicPattern, ConsumerStart>,
}

/// What became of an event.
enum Handled {
    Done,
    Failed(Error),
    /// Nobody has begun with it.
    NotBegun(Error),
}

impl Consuming {
    /// What is stored from here on is for it.
    pub(super) fn new(
        topics: &Arc<DurableTopics>,
        patterns: Vec<TopicPattern>,
        handler: Arc<dyn EventHandler>,
        info: Arc<ListenerInfo>,
    ) -> Self {
        let durable = topics.matching(&patterns).into_iter();
        let starts = durable.map(|topic| {
            // A store that must be waited for begins when it answers.
            let log = topic.log.info().now_or_never().and_then(Result::ok);
            let start = log.map_or(ConsumerStart::New, |log| ConsumerStart::After(log.last));
            (topic.pattern, start)
        });
        Self {
            starts: starts.collect(),
            topics: Arc::clone(topics),
            patterns,
            handler,
            info,
        }
    }

    /// Tells the handler of what is kept for it, for as long as this is polled.
    pub(super) async fn run(self) {
        let mut changes = self.topics.changes();
        loop {
            changes.borrow_and_update();
            let durable = self.topics.matching(&self.patterns);
            let consuming = async {
                join_all(durable.iter().map(|topic| self.consume(topic))).await;
                // None is durable.
                pending::<()>().await;
            };
            tokio::select! {
                () = consuming => {}
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn consume(&self, topic: &DurableTopic) {
        let plugin = &self.info.name;
        let mut pause = PAUSE_MIN;
        loop {
            let name = Text::from(format!("plugin {plugin}"));
            let patterns = self.patterns.clone();
            let start = self.starts.get(&topic.pattern).copied();
            // A topic that has become durable since then has nothing older.
            let start = start.unwrap_or(ConsumerStart::First);
            let settings = topic.consumers.settings(name, patterns, start);
            let error = match topic.log.consumer(settings).await {
                Ok(consumer) => {
                    pause = PAUSE_MIN;
                    self.tell_from(&*consumer, topic.consumers.in_flight_max)
                        .await
                }
                Err(error) => error,
            };
            let log = &topic.pattern;
            tracing::warn!(%plugin, %log, %error, "no events out of the log, it is asked again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Says why there are no more events.
    async fn tell_from(&self, consumer: &dyn EventConsumer, under_way_max: usize) -> Error {
        let mut under_way = FuturesUnordered::new();
        loop {
            let room = under_way_max.saturating_sub(under_way.len());
            tokio::select! {
                Some((position, topic, handled)) = under_way.next(), if !under_way.is_empty() => {
                    self.settle(consumer, position, &topic, handled);
                }
                taken = consumer.take(room), if room > 0 => match taken {
                    Ok(events) => under_way.extend(events.into_iter().map(|event| self.tell(event))),
                    Err(error) => return error,
                },
            }
        }
    }

    async fn tell(&self, stored: StoredEvent) -> (Position, Text, Handled) {
        let position = stored.position;
        let event = told(stored, None);
        let topic = event.topic.clone();
        let handled = match self.handler.on_event(event).await {
            Ok(()) => Handled::Done,
            Err(error) if error.retry == Retry::Elsewhere => {
                // Its plugin is being replaced, or has no instance free.
                tokio::time::sleep(PAUSE_MIN).await;
                Handled::NotBegun(error)
            }
            Err(error) => Handled::Failed(error),
        };
        (position, topic, handled)
    }

    /// What is not waited for is on disk a moment later; should that fail, the event comes again.
    fn settle(
        &self,
        consumer: &dyn EventConsumer,
        position: Position,
        topic: &Text,
        handled: Handled,
    ) {
        let plugin = &self.info.name;
        match handled {
            Handled::Done => drop(consumer.acknowledge(vec![position])),
            Handled::Failed(error) => {
                self.info.failed.fetch_add(1, Relaxed);
                tracing::warn!(%plugin, %topic, %position, %error, "event not handled, it comes again");
                let reason = Text::from(error.message.as_ref());
                drop(consumer.refuse(position, Redelivery::BackOff, reason));
            }
            Handled::NotBegun(error) => {
                tracing::debug!(%plugin, %topic, %position, %error, "event not taken yet");
                drop(consumer.refuse(position, Redelivery::Released, Text::default()));
            }
        }
    }
}

/// The event as a consumer is told of it. `delivery` is what it is acknowledged by, where that is not by
/// returning.
///
/// | header | says |
/// |---|---|
/// | `delivery` | what `acknowledge` and `refuse` take |
/// | `position` | where it lies in its log |
/// | `deliveries` | how often it was given out, this time included |
pub(super) fn told(stored: StoredEvent, delivery: Option<String>) -> Event {
    let mut event = stored.event;
    let numbers = [
        ("delivery", delivery),
        ("position", Some(stored.position.to_string())),
        ("deliveries", Some(stored.n_deliveries.to_string())),
    ];
    for (key, value) in numbers {
        if let Some(value) = value {
            // Headers that are full already say less.
            let _ = event.headers.push(key, value);
        }
    }
    event
}

/// Before a log is asked again, or an event is tried again that nobody has begun with.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
