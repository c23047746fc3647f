//! `$SYS`: the broker's numbers as retained messages, named as mosquitto names them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use postern_core::mqtt::{Publication, Qos, TopicFilter, TopicName};
use postern_system::clock;
use tokio::time::sleep;

use super::{Broker, BrokerNumbers};

/// When they were published last.
pub(super) struct SysTopics {
    published_at: Instant,
}

impl SysTopics {
    pub(super) const fn new(now: Instant) -> Self {
        Self { published_at: now }
    }

    /// Waits until they are to be published; for ever where there is no interval.
    pub(super) async fn tick(&self, interval: Option<Duration>) {
        match interval {
            Some(interval) => sleep(interval.saturating_sub(clock::since(self.published_at))).await,
            None => std::future::pending().await,
        }
    }

    pub(super) fn publish(&mut self, broker: &Broker) {
        self.published_at = clock::now();
        for publication in publications(&broker.numbers()) {
            broker.deliver(&publication);
        }
    }
}

/// Those that `filter` wants.
pub(super) fn retained(broker: &Broker, filter: &TopicFilter) -> Vec<Arc<Publication>> {
    let is_told = broker.shared.config.read().sys_interval.is_some();
    if !is_told || !filter.as_str().starts_with('$') {
        return Vec::new();
    }
    let mut all = publications(&broker.numbers());
    all.retain(|publication| filter.matches(&publication.topic.name));
    all
}

fn publications(numbers: &BrokerNumbers) -> Vec<Arc<Publication>> {
    let away = numbers.sessions.saturating_sub(numbers.clients_connected);
    let values = [
        ("clients/connected", numbers.clients_connected),
        ("clients/disconnected", away),
        ("clients/total", numbers.sessions),
        ("subscriptions/count", numbers.subscriptions),
        ("retained messages/count", numbers.retained),
        ("messages/received", numbers.received),
        ("messages/sent", numbers.sent),
        ("publish/messages/dropped", numbers.dropped),
        ("store/messages/count", numbers.queued),
        ("bytes/received", numbers.bytes_received),
        ("bytes/sent", numbers.bytes_sent),
    ];
    let values = values.map(|(name, value)| (name, value.to_string()));
    let version = ("version", format!("postern {}", env!("CARGO_PKG_VERSION")));
    let uptime = ("uptime", format!("{} seconds", numbers.uptime.as_secs()));
    let all = values.into_iter().chain([version, uptime]);
    all.filter_map(|(name, value)| {
        let topic = TopicName::new(&format!("$SYS/broker/{name}")).ok()?;
        let mut publication = Publication::new(topic, Bytes::from(value), Qos::AtMostOnce);
        publication.is_retained = true;
        Some(Arc::new(publication))
    })
    .collect()
}
