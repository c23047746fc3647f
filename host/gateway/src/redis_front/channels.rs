//! Topics as channels: publishing, and being told of events.

use std::sync::Arc;

use bytes::Bytes;
use postern_core::{
    Body, Call, Context, Error, Headers, Kind, Text,
    event::{Event, EventSink as _, Published, Publisher, QueueBounds, SERVICE},
    resp::{ChannelKind, RespCommand, RespError, RespRequest, RespValue, Subscribed},
};
use postern_net::resp::RespAnswer;

use super::{client::RedisClient, failure::told};

impl RedisClient {
    /// `is_clear` says whether nothing stands between the client and the topic.
    pub(super) fn publish(&self, request: &RespRequest, is_clear: bool) -> RespAnswer {
        let (topic, payload) = (request.bytes(1), request.bytes(2));
        let Ok(topic) = Text::from_utf8(topic) else {
            return RespAnswer::Now(RespError::fixed("ERR the channel is not UTF-8").into());
        };
        if !is_clear {
            return self.publish_as_call(topic, payload);
        }
        let event = Event {
            topic,
            headers: Headers::new(),
            payload,
            publisher: Publisher::of(Arc::clone(&self.peer)),
        };
        match self.listener.front.events.publisher().publish(event) {
            Ok(Published::Told(n_told)) => RespAnswer::Now(published(Ok(n_told))),
            Err(error) => RespAnswer::Now(published(Err(error))),
            Ok(Published::Storing(storing)) => {
                RespAnswer::Later(Box::pin(async move { published(storing.await) }))
            }
        }
    }

    /// Through whatever stands between callers and the service for events.
    fn publish_as_call(&self, topic: Text, payload: Bytes) -> RespAnswer {
        let mut headers = self.headers();
        if let Err(error) = headers.push("event-type", topic.as_bytes()) {
            let error = Error::invalid_argument(error.to_string());
            return RespAnswer::Now(told(&error));
        }
        let call = Call {
            headers,
            body: Body::One(payload),
            context: Context::of(Arc::clone(&self.peer)),
            ..Call::unary(SERVICE, "publish", "")
        };
        let calling = self.listener.handler.call(call);
        RespAnswer::Later(Box::pin(async move {
            let reply = match calling.await {
                Ok(reply) => reply.body.into_one(REPLY_BYTES_MAX).await,
                Err(error) => Err(error),
            };
            match reply {
                Ok(reply) => RespValue::Integer(n_subscribers(&reply)),
                Err(error) => told(&error),
            }
        }))
    }

    /// Subscribes to each name that can be subscribed to, and says so of each.
    pub(super) fn subscribe(
        &mut self,
        request: RespRequest,
        row: &'static RespCommand,
    ) -> RespAnswer {
        if self.listener.is_clear() {
            return RespAnswer::Now(self.subscribe_now(&request, row));
        }
        let permission = self.permission(row);
        let judging = async move { permission.await.map(|_| ()) };
        RespAnswer::Judged(Box::pin(judging), request)
    }

    pub(super) fn subscribe_now(&mut self, request: &RespRequest, row: &RespCommand) -> RespValue {
        let kind = kind_of(row);
        let mut said = Vec::with_capacity(request.len() - 1);
        for name in request.rest(1) {
            said.push(match self.subscribe_to(kind, name) {
                Ok(()) => {
                    let name = Bytes::copy_from_slice(name);
                    kind.confirmation(true, Some(name), self.subscriptions.len())
                }
                Err(error) => told(&error),
            });
        }
        RespValue::Each(said)
    }

    fn subscribe_to(&mut self, kind: ChannelKind, name: &[u8]) -> Result<(), Error> {
        if self.subscriptions.contains(kind, name) {
            return Ok(());
        }
        let rules = self.rules();
        let limit = rules.redis.subscriptions_max;
        if self.subscriptions.len() >= limit {
            let message = format!("the client has {limit} subscriptions, which is the limit");
            return Err(Error::new(
                Kind::ResourceExhausted,
                postern_core::Blame::Client,
                message,
            ));
        }
        let events = match &self.events {
            Some(events) => events,
            None => {
                let queue = QueueBounds {
                    events_max: usize::MAX,
                    bytes_max: rules.redis.output_bytes_max.octets(),
                };
                let owner = Text::from(format!("redis client {}", self.id));
                let events = self
                    .listener
                    .front
                    .events
                    .hub()
                    .subscribe_changing(&owner, queue)?;
                self.events.insert(events)
            }
        };
        match kind {
            ChannelKind::Channel => {
                let topic = Text::from_utf8(Bytes::copy_from_slice(name));
                let topic = topic.map_err(|error| {
                    Error::invalid_argument("the channel is not UTF-8").with_source(error)
                })?;
                events.add_topic(&topic)?;
            }
            ChannelKind::Pattern => events.add_glob(name)?,
        }
        if self.subscriptions.insert(kind, name) == Subscribed::Changed {
            let name = Bytes::copy_from_slice(name);
            self.listener.front.channels.add(kind, &name);
        }
        Ok(())
    }

    pub(super) fn unsubscribe(&mut self, request: &RespRequest, row: &RespCommand) -> RespValue {
        let kind = kind_of(row);
        let names: Vec<_> = match request.len() {
            1 => self.subscriptions.names(kind),
            _ => request.rest(1).map(Bytes::copy_from_slice).collect(),
        };
        if names.is_empty() {
            return kind.confirmation(false, None, self.subscriptions.len());
        }
        let confirm = |name: Bytes| {
            self.unsubscribe_from(kind, &name);
            kind.confirmation(false, Some(name), self.subscriptions.len())
        };
        RespValue::Each(names.into_iter().map(confirm).collect())
    }

    fn unsubscribe_from(&mut self, kind: ChannelKind, name: &Bytes) {
        if self.subscriptions.remove(kind, name) == Subscribed::Same {
            return;
        }
        self.listener.front.channels.remove(kind, name);
        if let Some(events) = &self.events {
            match (kind, Text::from_utf8(name.clone())) {
                (ChannelKind::Channel, Ok(topic)) => events.remove_topic(&topic),
                (ChannelKind::Channel, Err(_)) => {}
                (ChannelKind::Pattern, _) => events.remove_glob(name),
            }
        }
        if self.subscriptions.is_empty() {
            self.events = None;
        }
    }

    pub(super) fn unsubscribe_all(&mut self) {
        for kind in [ChannelKind::Channel, ChannelKind::Pattern] {
            for name in self.subscriptions.names(kind) {
                self.unsubscribe_from(kind, &name);
            }
        }
    }

    pub(super) fn pubsub(&self, request: &RespRequest, row: &RespCommand) -> RespValue {
        let counts = &self.listener.front.channels;
        match row.name {
            "pubsub|channels" => {
                let channels = counts.channels(request.try_octets(2));
                RespValue::Array(channels.into_iter().map(RespValue::Bulk).collect())
            }
            "pubsub|numpat" => RespValue::count(counts.n_patterns()),
            _ => {
                let counted = request.rest(2).flat_map(|name| {
                    let name_again = RespValue::Bulk(Bytes::copy_from_slice(name));
                    [name_again, RespValue::count(counts.count(name))]
                });
                RespValue::Array(counted.collect())
            }
        }
    }
}

fn kind_of(row: &RespCommand) -> ChannelKind {
    match row.name {
        "psubscribe" | "punsubscribe" => ChannelKind::Pattern,
        _ => ChannelKind::Channel,
    }
}

fn published(told_to: Result<u32, Error>) -> RespValue {
    match told_to {
        Ok(n_told) => RespValue::Integer(n_told.into()),
        Err(error) => told(&error),
    }
}

/// What the service for events says: `{"subscribers":2}`.
fn n_subscribers(reply: &[u8]) -> i64 {
    #[derive(serde::Deserialize)]
    struct Told {
        subscribers: i64,
    }
    let told: Result<Told, _> = serde_json::from_slice(reply);
    told.map_or(0, |told| told.subscribers)
}

/// The reply of the service for events is short.
const REPLY_BYTES_MAX: usize = 64 * 1024;
