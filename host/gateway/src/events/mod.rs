//! The built-in service `events`: it publishes, and subscribes sessions, streams and plugins.
//!
//! | method | message | answer |
//! |---|---|---|
//! | `publish` | an event as JSON (document.rs), or, with header `event-type`, its payload as it is | `{"subscribers":2}` |
//! | `subscribe` | `{"topics":["user.*"]}` | on a session `{"subscription":"7"}`, and event frames from then on; elsewhere, and as a streaming call, a stream of events |
//! |  | `{"topics":["user.*"],"durable":"NAME","start":"first"}` | the same out of the logs of durable topics, each event with the header `delivery` until it is acknowledged |
//! | `acknowledge` | `{"deliveries":["7-0-12"]}` | `{"acknowledged":1}`, once it is on disk |
//! | `refuse` | `{"delivery":"7-0-12","reason":"no stock","redelivery":"back-off"}` (or `released`, `never`) | `{}` |
//! | `unsubscribe` | `{"subscription":"7"}` | `{}` |

mod consumer_defaults;
mod consuming;
mod document;
mod durable_subscription;
mod listener;
mod named_logs;
mod publisher;
mod request;
mod store;
mod stream;
#[cfg(test)]
mod tests;
mod topics;
mod view;

use std::{
    path::Path,
    sync::{Arc, Weak, atomic::Ordering::Relaxed},
};

use bytes::Bytes;
use parking_lot::Mutex;
use postern_core::{
    Blame, Body, BodyStream, BoxFuture, Call, Context, Error, Handler, Headers, Kind, Peer, Reply,
    Text, Transport,
    event::{
        Event, EventCounts, Hub, HubConfig, HubTotals, QueueBounds, Subscription, TopicPattern,
        durable::{ConsumerStart, Redelivery},
    },
    extension::EventHandler,
    service::{MethodInfo, ServiceInfo},
};
use serde::de::DeserializeOwned;

pub(crate) use self::document::write as to_line;
pub(crate) use self::{
    consumer_defaults::ConsumerDefaults,
    listener::EventListener,
    named_logs::NamedLogs,
    publisher::{EventPublisher, EventRelay},
    store::{DeadLetterSink, EventStore, EventStoreError},
    topics::{DurableTopics, store_file},
};
use self::{
    durable_subscription::{DurableSubscriptions, DurableWish, consumer_name},
    listener::ListenerInfo,
    request::{Acknowledging, Ending, RedeliveryWord, Refusing, Start, Wanted},
    stream::Lines,
};

/// What the service says of itself.
pub(crate) fn info() -> ServiceInfo {
    let method =
        |name, summary| MethodInfo::unary(Text::from_static(name), false).with_summary(summary);
    // Over HTTP its reply streams the events.
    let subscribe = MethodInfo::new("subscribe", false);
    ServiceInfo {
        name: Text::from_static("events"),
        summary: Text::from_static("Events by topic."),
        methods: vec![
            method(
                "publish",
                "Hands an event to every subscriber of its topic.",
            ),
            subscribe.with_summary("Asks for the events of topics."),
            method("unsubscribe", "Asks for them no more."),
            method(
                "acknowledge",
                "Says that deliveries of a durable subscription were handled.",
            ),
            method(
                "refuse",
                "Says that a delivery of a durable subscription was not handled.",
            ),
        ],
        ..ServiceInfo::default()
    }
}

/// The service `events`. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct EventService {
    hub: Hub,
    topics: Arc<DurableTopics>,
    publisher: EventPublisher,
    durable: Arc<DurableSubscriptions>,
    listeners: Arc<Mutex<Vec<Weak<ListenerInfo>>>>,
}

/// For the exporter. Sessions are summed up: labels never come from callers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EventNumbers {
    pub totals: HubTotals,
    /// By plugin.
    pub plugins: Vec<(Text, ListenerNumbers)>,
}

/// Events of one plugin's handler.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ListenerNumbers {
    pub counts: EventCounts,
    /// Of those delivered, events that the handler answered with an error.
    pub failed: u64,
}

impl EventService {
    /// No topic is durable until `topics().apply`. Events that are kept lie below `data_dir`.
    #[must_use]
    pub(crate) fn new(config: HubConfig, data_dir: &Path) -> Self {
        let hub = Hub::new(config);
        let topics = DurableTopics::new(hub.clone(), store_file(data_dir));
        Self {
            publisher: EventPublisher::new(hub.clone(), Arc::clone(&topics)),
            hub,
            topics,
            durable: Arc::default(),
            listeners: Arc::default(),
        }
    }

    /// Who listens.
    #[must_use]
    pub(crate) const fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Whose events are kept.
    #[must_use]
    pub(crate) const fn topics(&self) -> &Arc<DurableTopics> {
        &self.topics
    }

    /// Where events are published.
    #[must_use]
    pub(crate) const fn publisher(&self) -> &EventPublisher {
        &self.publisher
    }

    /// Tells `handler` of every event whose topic one of `patterns` matches, one after the other, for
    /// as long as the listener is kept. `queue` bounds what waits; none takes the configured bounds.
    ///
    /// # Errors
    /// As `Hub::subscribe`.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn subscribe_handler(
        &self,
        name: &Text,
        patterns: Vec<TopicPattern>,
        handler: Arc<dyn EventHandler>,
        queue: Option<QueueBounds>,
    ) -> Result<EventListener, Error> {
        let owner = Text::from(format!("plugin {name}"));
        let subscription = self.hub.subscribe(&owner, patterns.clone(), queue)?;
        let wanted = (subscription, patterns);
        let listener = EventListener::start(name, wanted, handler, &self.topics);
        let mut listeners = self.listeners.lock();
        listeners.retain(|known| known.strong_count() > 0);
        listeners.push(Arc::downgrade(&listener.info));
        drop(listeners);
        Ok(listener)
    }

    /// Ends every subscription: streams of events end, so that draining need not wait for them.
    pub(crate) fn end_all(&self) {
        self.hub.end_all();
    }

    #[must_use]
    pub(crate) fn numbers(&self) -> EventNumbers {
        let infos = self.hub.subscriptions();
        let listeners: Vec<_> = self
            .listeners
            .lock()
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        let numbers = |listener: Arc<ListenerInfo>| {
            let info = infos.iter().find(|info| info.id == listener.id);
            let numbers = ListenerNumbers {
                counts: info.map_or_else(EventCounts::default, |info| info.counts),
                failed: listener.failed.load(Relaxed),
            };
            (listener.name.clone(), numbers)
        };
        EventNumbers {
            totals: self.hub.totals(),
            plugins: listeners.into_iter().map(numbers).collect(),
        }
    }

    async fn answer(self, call: Call) -> Result<Reply, Error> {
        match call.method.as_str() {
            "publish" => self.publish(call).await,
            "subscribe" => self.subscribe(call).await,
            "unsubscribe" => self.unsubscribe(call).await,
            "acknowledge" => self.acknowledge(call).await,
            "refuse" => self.refuse(call).await,
            method => {
                let message = format!("service events has no method {}", method.escape_debug());
                Err(Error::new(Kind::Unimplemented, Blame::Client, message))
            }
        }
    }

    async fn publish(self, call: Call) -> Result<Reply, Error> {
        let Call {
            headers,
            body,
            context,
            ..
        } = call;
        let body = body.into_one(PUBLISHED_BYTES_MAX).await?;
        let event = match headers.get_bytes(b"event-type") {
            Some(topic) => Event {
                topic: Text::from_utf8(topic).map_err(|error| {
                    Error::invalid_argument("header event-type is not UTF-8").with_source(error)
                })?,
                headers,
                payload: body,
                publisher: context.into(),
            },
            None => of_document(&headers, &body, context)?,
        };
        let n_told = self.publisher.publish_stored(event).await?;
        Ok(json(format!("{{\"subscribers\":{n_told}}}")))
    }

    async fn subscribe(self, call: Call) -> Result<Reply, Error> {
        let Call { body, context, .. } = call;
        if context.peer.transport == Transport::Plugin {
            let message =
                "plugins get events by their role event-handler and the manifest's topics";
            return Err(Error::new(Kind::FailedPrecondition, Blame::Guest, message));
        }
        let is_stream = body.is_stream();
        let Wanted {
            topics,
            durable,
            start,
        } = read(&first(body).await?)?;
        let mut patterns = Vec::new();
        for topic in topics {
            let pattern =
                TopicPattern::new(&topic).map_err(|error| error.refuse("topic", &topic))?;
            patterns.push(pattern);
        }
        let is_stream = is_stream || !context.outbox.is_open();
        let own = context.outbox.queue_max().filter(|_| !is_stream);
        if let Some(name) = durable {
            let wish = DurableWish {
                owner: owner(&context.peer),
                name: consumer_name(&name, context.principal.as_deref())?,
                patterns,
                start: start.map_or(ConsumerStart::New, Start::to_consumer),
                queue_max: own,
            };
            let subscription = self.durable.subscribe(&self.hub, &self.topics, wish);
            return attach(subscription.await?, &context, is_stream);
        }
        if start.is_some() {
            let message = "only a subscription with a durable name has a start";
            return Err(Error::invalid_argument(message));
        }
        let queue = own.map(|events_max| {
            let queue = self.hub.queue();
            QueueBounds {
                events_max: events_max.min(queue.events_max),
                ..queue
            }
        });
        let subscription = self.hub.subscribe(&owner(&context.peer), patterns, queue)?;
        attach(subscription, &context, is_stream)
    }

    async fn acknowledge(self, call: Call) -> Result<Reply, Error> {
        let Acknowledging { deliveries } = read(&first(call.body).await?)?;
        let owner = owner(&call.context.peer);
        let n = self.durable.acknowledge(&owner, &deliveries).await?;
        Ok(json(format!("{{\"acknowledged\":{n}}}")))
    }

    async fn refuse(self, call: Call) -> Result<Reply, Error> {
        let Refusing {
            delivery,
            reason,
            redelivery,
        } = read(&first(call.body).await?)?;
        let owner = owner(&call.context.peer);
        let reason = Text::from(reason.unwrap_or_default());
        let redelivery = redelivery.map_or(Redelivery::BackOff, RedeliveryWord::to_redelivery);
        self.durable
            .refuse(&owner, &delivery, redelivery, reason)
            .await?;
        Ok(json("{}".to_owned()))
    }

    async fn unsubscribe(self, call: Call) -> Result<Reply, Error> {
        let Ending { subscription } = read(&first(call.body).await?)?;
        let owner = owner(&call.context.peer);
        if !self.hub.unsubscribe(&owner, &subscription) {
            let shown: String = subscription.escape_debug().take(ID_CHARS_MAX).collect();
            let message = format!("this session has no subscription {shown}");
            return Err(Error::not_found(message));
        }
        Ok(json("{}".to_owned()))
    }
}

impl Handler for EventService {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        Box::pin(self.clone().answer(call))
    }
}

/// Of a stranger's text, shown back to it.
const ID_CHARS_MAX: usize = 64;
/// Largest message of `subscribe` and `unsubscribe` that comes in pieces, in octets: 64 topics of 255
/// with quotes and commas are less than a third of it.
const DOCUMENT_BYTES_MAX: usize = 64 * 1024;
/// Largest message of `publish`, in octets: the hub refuses events over 1 MiB, whose document in
/// base64 and quotes is far smaller than this.
const PUBLISHED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The event that the document of a call describes. The call's own `content-type` is about the
/// document.
fn of_document(headers: &Headers, body: &Bytes, context: Context) -> Result<Event, Error> {
    let published = document::read(body)?;
    let mut headers = headers.without(|key| key == b"content-type");
    headers
        .push("content-type", published.content_type)
        .map_err(|error| {
            Error::invalid_argument("the event's headers are too long").with_source(error)
        })?;
    Ok(Event {
        topic: published.topic.into(),
        headers,
        payload: published.payload,
        publisher: context.into(),
    })
}

/// Gives a subscription to who asked for it: as the stream of the reply, or to its session.
fn attach(subscription: Subscription, context: &Context, is_stream: bool) -> Result<Reply, Error> {
    if is_stream {
        return Ok(streamed(subscription, context));
    }
    // Digits need no quoting.
    let reply = json(format!("{{\"subscription\":\"{}\"}}", subscription.id()));
    context.outbox.attach(subscription)?;
    Ok(reply)
}

fn streamed(subscription: Subscription, context: &Context) -> Reply {
    let mut headers = Headers::new();
    // Twenty digits at most.
    let _ = headers.push("subscription", subscription.id().as_bytes());
    let end = context.deadline.filter(|_| !context.is_deadline_of_head);
    let lines = Lines::new(subscription, end);
    Reply::new(headers, Body::Messages(BodyStream::new(lines)))
}

/// Whose subscription it is: the session's, or, where there is none, the address's.
fn owner(peer: &Peer) -> Text {
    if !peer.session.is_empty() {
        return peer.session.clone();
    }
    let transport = peer.transport.name();
    Text::from(match peer.origin.host() {
        Some(host) => format!("{transport} {host}"),
        None => transport.to_owned(),
    })
}

/// The message, or the first of a stream whose rest does not matter.
async fn first(body: Body) -> Result<Bytes, Error> {
    let mut messages = body.into_messages(DOCUMENT_BYTES_MAX);
    Ok(messages.next().await.transpose()?.unwrap_or_default())
}

fn read<T: DeserializeOwned>(message: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(message).map_err(|error| {
        Error::invalid_argument(format!("the message is not what the method takes: {error}"))
            .with_source(error)
    })
}

fn json(document: String) -> Reply {
    let mut headers = Headers::new();
    // Two dozen octets fit.
    let _ = headers.push("content-type", "application/json");
    Reply {
        headers,
        ..Reply::one(document)
    }
}
