//! What VYRA's peers use of Redis: four commands and subscriptions.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use postern_core::{
    BoxFuture, Error, Headers, Kind,
    event::{
        Event, Publisher, TopicPattern,
        broker::{EventBroker, EventSource},
    },
};
use postern_net::redis::{RedisChannels, RedisChannelsConfig, RedisKeyValues, RedisStore};

/// A Redis that peers speak over. Keys and channels have the names that are given.
pub(crate) trait VyraRedis: Send + Sync + fmt::Debug {
    /// `PUBLISH`.
    fn publish(&self, channel: String, payload: Bytes) -> BoxFuture<Result<(), Error>>;

    /// `SUBSCRIBE`. It is in force when this resolves. Each event's topic is its channel.
    fn subscribe(&self, channels: Vec<String>) -> BoxFuture<Result<Box<dyn EventSource>, Error>>;

    /// `SET … EX`.
    fn set(&self, key: String, value: Bytes, expiry: Duration) -> BoxFuture<Result<(), Error>>;

    /// `TYPE`, then `GET` where it is a string.
    fn get(&self, key: String) -> BoxFuture<Result<Option<Bytes>, Error>>;

    /// The same for two that are one Redis, and for no others while both are there.
    fn identity(&self) -> usize;
}

/// A store of the configuration as peers use it.
#[derive(Debug)]
pub(crate) struct StoreRedis {
    store: Arc<RedisStore>,
    keys: RedisKeyValues,
    /// By their whole names, whatever prefixes events of the store have.
    channels: RedisChannels,
}

impl StoreRedis {
    pub(crate) fn new(store: Arc<RedisStore>) -> Self {
        Self {
            keys: store.key_values(),
            channels: store
                .channels()
                .with_prefixes(RedisChannelsConfig::default()),
            store,
        }
    }
}

impl VyraRedis for StoreRedis {
    fn publish(&self, channel: String, payload: Bytes) -> BoxFuture<Result<(), Error>> {
        self.channels.publish(Event {
            topic: channel.into(),
            headers: Headers::new(),
            payload,
            publisher: Publisher::default(),
        })
    }

    fn subscribe(&self, channels: Vec<String>) -> BoxFuture<Result<Box<dyn EventSource>, Error>> {
        let patterns = channels.iter().map(|channel| {
            TopicPattern::new(channel).map_err(|error| error.refuse("channel", channel))
        });
        match patterns.collect::<Result<Vec<_>, _>>() {
            Ok(patterns) => self.channels.subscribe(patterns),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn set(&self, key: String, value: Bytes, expiry: Duration) -> BoxFuture<Result<(), Error>> {
        let keys = self.keys.clone();
        Box::pin(async move { keys.set_plain(&key, value.to_vec(), Some(expiry)).await })
    }

    fn get(&self, key: String) -> BoxFuture<Result<Option<Bytes>, Error>> {
        let keys = self.keys.clone();
        Box::pin(async move {
            match keys.get_plain(&key).await {
                Ok(value) => Ok(value.map(Bytes::from)),
                // A key that is no string: its readers look at the type first and pass it over.
                Err(error) if error.kind == Kind::FailedPrecondition => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    fn identity(&self) -> usize {
        Arc::as_ptr(&self.store).addr()
    }
}
