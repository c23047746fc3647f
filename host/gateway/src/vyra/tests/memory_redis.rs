//! Channels and keys of a Redis, in memory.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use postern_core::{
    BoxFuture, Error, Headers,
    event::{Event, Publisher, broker::EventSource},
};
use tokio::sync::mpsc;

use crate::vyra::VyraRedis;

/// Channels and keys.
#[derive(Debug, Default)]
pub(super) struct MemoryRedis {
    channels: Mutex<HashMap<String, Vec<mpsc::UnboundedSender<Event>>>>,
    keys: Mutex<HashMap<String, Bytes>>,
}

#[derive(Debug)]
struct MemorySource(Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<Event>>>);

impl EventSource for MemorySource {
    fn next(&mut self) -> BoxFuture<Option<Event>> {
        let receiver = Arc::clone(&self.0);
        Box::pin(async move { receiver.lock().await.recv().await })
    }
}

impl MemoryRedis {
    pub(super) fn listen(&self, channels: &[&str]) -> mpsc::UnboundedReceiver<Event> {
        let (sender, receiver) = mpsc::unbounded_channel();
        for channel in channels {
            let mut known = self.channels.lock();
            known
                .entry((*channel).to_owned())
                .or_default()
                .push(sender.clone());
        }
        receiver
    }

    pub(super) fn say(&self, channel: &str, payload: impl Into<Bytes>) {
        let event = Event {
            topic: channel.into(),
            headers: Headers::new(),
            payload: payload.into(),
            publisher: Publisher::default(),
        };
        let mut channels = self.channels.lock();
        if let Some(listening) = channels.get_mut(channel) {
            listening.retain(|sender| sender.send(event.clone()).is_ok());
        }
    }

    pub(super) fn key(&self, key: &str) -> Option<String> {
        let value = self.keys.lock().get(key).cloned()?;
        Some(String::from_utf8(value.to_vec()).expect("text"))
    }
}

impl VyraRedis for MemoryRedis {
    fn publish(&self, channel: String, payload: Bytes) -> BoxFuture<Result<(), Error>> {
        self.say(&channel, payload);
        Box::pin(std::future::ready(Ok(())))
    }

    fn subscribe(&self, channels: Vec<String>) -> BoxFuture<Result<Box<dyn EventSource>, Error>> {
        let channels: Vec<_> = channels.iter().map(String::as_str).collect();
        let receiver = self.listen(&channels);
        let source = MemorySource(Arc::new(tokio::sync::Mutex::new(receiver)));
        Box::pin(std::future::ready(Ok(
            Box::new(source) as Box<dyn EventSource>
        )))
    }

    fn set(&self, key: String, value: Bytes, expiry: Duration) -> BoxFuture<Result<(), Error>> {
        assert_eq!(expiry, Duration::from_secs(3600));
        self.keys.lock().insert(key, value);
        Box::pin(std::future::ready(Ok(())))
    }

    fn get(&self, key: String) -> BoxFuture<Result<Option<Bytes>, Error>> {
        let value = self.keys.lock().get(&key).cloned();
        Box::pin(std::future::ready(Ok(value)))
    }

    fn identity(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}
