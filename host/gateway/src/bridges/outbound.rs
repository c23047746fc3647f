//! Events of this gateway as messages of a broker.
//!
//! ```text
//! durable topic ─▶ log ─▶ consumer `bridge NAME` ─▶ broker ─▶ acknowledged ─▶ consumer acknowledges
//! other topic ─▶ subscription ─▶ queue in memory, bounded ─▶ broker
//! ```
//! What the broker refuses of a durable topic goes to the dead letters.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use postern_core::{
    Error, Kind, Text,
    event::{
        Event, QueueBounds,
        durable::{
            ConsumerSettings, ConsumerStart, EventConsumer, EventLog, Position, Redelivery,
            StoredEvent,
        },
    },
    mqtt::{Qos, from_event},
};
use postern_net::mqtt_client::{BrokerClient, BrokerMessage, message_of};
use postern_system::clock;
use tracing::warn;

use super::{counts::BridgeCounts, inbound::BridgeShared, route::TopicRule, via::VIA};
use crate::config::bridges::RetainSetting;

/// The side that events leave by.
#[derive(Debug, Clone)]
pub(super) struct Outbound {
    pub(super) shared: Arc<BridgeShared>,
    pub(super) client: BrokerClient,
    pub(super) queue: QueueBounds,
    /// Of a durable consumer.
    pub(super) in_flight_max: usize,
}

impl Outbound {
    /// Hands events over for ever.
    pub(super) async fn run(self) {
        if self.shared.rules.patterns().is_empty() {
            return std::future::pending().await;
        }
        tokio::join!(self.follow_hub(), self.follow_logs());
    }

    /// Events of durable topics, whichever are durable at present.
    async fn follow_logs(&self) {
        let patterns = self.shared.rules.patterns();
        let mut changes = self.shared.events.changes();
        loop {
            let logs = self.shared.events.logs(&patterns);
            let names: Vec<_> = logs.keys().cloned().collect();
            let followed = logs.into_values().map(|log| self.follow_log(log));
            let mut followed: FuturesUnordered<_> = followed.collect();
            let following = async { while followed.next().await.is_some() {} };
            let others = async {
                // Other settings of the same topics change nothing here.
                while self.shared.events.logs(&patterns).keys().eq(&names) {
                    if changes.changed().await.is_err() {
                        return std::future::pending().await;
                    }
                }
            };
            tokio::select! {
                // Where there is no log, there is nothing to follow.
                () = async { following.await; std::future::pending().await } => {}
                () = others => {}
            }
        }
    }

    /// Events that no log keeps.
    async fn follow_hub(&self) {
        let owner = self.consumer_name();
        let patterns = self.shared.rules.patterns();
        let subscribed = self.shared.events.subscribe(&owner, patterns, self.queue);
        let mut subscription = match subscribed {
            Ok(subscription) => subscription,
            Err(error) => {
                warn!(bridge = %self.shared.name, %error, "nothing goes out over the bridge");
                return;
            }
        };
        while let Some(delivery) = subscription.next().await {
            if delivery.missed > 0 {
                let missed = delivery.missed;
                BridgeCounts::count(&self.shared.counts.missed, missed);
                warn!(bridge = %self.shared.name, missed, "events lost on the way to the bridge");
            }
            if self.shared.events.is_durable(&delivery.event.topic) {
                continue;
            }
            let mut n_dropped = 0;
            for message in self.messages(&delivery.event, Qos::AtMostOnce) {
                self.remember(&message);
                n_dropped += self.client.enqueue(message);
            }
            if n_dropped > 0 {
                warn!(bridge = %self.shared.name, n_dropped, "the queue of the bridge is full");
            }
        }
    }

    /// Events of one log, as its consumer, for ever.
    async fn follow_log(&self, log: Arc<dyn EventLog>) {
        loop {
            let opened = log.consumer(self.consumer_settings()).await;
            let ended = match opened {
                Ok(consumer) => self.consume(consumer.as_ref()).await,
                Err(error) => error,
            };
            warn!(bridge = %self.shared.name, error = %ended, "the log of a durable topic is not followed");
            tokio::time::sleep(LOG_PAUSE).await;
        }
    }

    /// Says why it cannot go on.
    async fn consume(&self, consumer: &dyn EventConsumer) -> Error {
        let mut delivering = FuturesUnordered::new();
        loop {
            let room = self.in_flight_max.saturating_sub(delivering.len());
            tokio::select! {
                taken = consumer.take(room), if room > 0 => match taken {
                    Ok(stored) => delivering.extend(stored.into_iter().map(|one| self.deliver(one))),
                    Err(error) => return error,
                },
                Some(first) = delivering.next(), if !delivering.is_empty() => {
                    let mut settled = vec![first];
                    while let Some(Some(more)) = delivering.next().now_or_never() {
                        settled.push(more);
                    }
                    if let Err(error) = settle(consumer, settled).await {
                        return error;
                    }
                }
            }
        }
    }

    /// Delivers a stored event wherever it goes.
    async fn deliver(&self, stored: StoredEvent) -> (Position, Result<(), Error>) {
        // What is kept until it is acknowledged has to be acknowledged.
        for message in self.messages(&stored.event, Qos::AtLeastOnce) {
            self.remember(&message);
            if let Err(error) = self.client.deliver(message).await {
                return (stored.position, Err(error));
            }
        }
        (stored.position, Ok(()))
    }

    /// What goes to the broker of an event, with `qos_min` at least.
    fn messages(&self, event: &Event, qos_min: Qos) -> Vec<BrokerMessage> {
        let shared = &self.shared;
        if shared.mark.has_brought(&event.headers) {
            return Vec::new();
        }
        let via = event.headers.get_str(VIA);
        let via: Text = shared.mark.added_to(via.as_deref()).into();
        let name = from_event(&event.topic);
        let message = |(topic, rule): (Text, &TopicRule)| {
            let mut message = message_of(event, topic, clock::now(), rule.qos.max(qos_min));
            message.is_retained = match rule.retain {
                RetainSetting::Keep => message.is_retained,
                RetainSetting::Always => true,
                RetainSetting::Never => false,
            };
            let user = &mut message.properties.user;
            user.retain(|(key, _)| key != VIA);
            user.push((VIA.into(), via.clone()));
            message
        };
        let found = shared.rules.to_remote(&name).into_iter();
        found.map(message).collect()
    }

    /// What may come back without a mark is known again by what it is.
    fn remember(&self, message: &BrokerMessage) {
        if let Some(sent) = &self.shared.sent
            && !self.client.suppresses_echo()
        {
            let now = clock::now();
            sent.lock().on_sent(now, &message.topic, &message.payload);
        }
    }

    fn consumer_name(&self) -> Text {
        format!("bridge {}", self.shared.name).into()
    }

    fn consumer_settings(&self) -> ConsumerSettings {
        ConsumerSettings {
            name: self.consumer_name(),
            patterns: self.shared.rules.patterns(),
            start: ConsumerStart::New,
            ack_wait: Duration::ZERO,
            back_off: vec![Duration::from_secs(1), Duration::from_secs(10)],
            deliveries_max: 0,
            in_flight_max: self.in_flight_max,
            is_ordered: true,
        }
    }
}

/// Tells the log what has become of events, those that arrived in one go.
async fn settle(
    consumer: &dyn EventConsumer,
    settled: Vec<(Position, Result<(), Error>)>,
) -> Result<(), Error> {
    let mut acknowledged = Vec::new();
    for (position, outcome) in settled {
        let Err(error) = outcome else {
            acknowledged.push(position);
            continue;
        };
        let redelivery = match error.kind == Kind::Unavailable {
            true => Redelivery::Released,
            false => Redelivery::Never,
        };
        let reason = Text::from(error.to_string());
        consumer.refuse(position, redelivery, reason).await?;
    }
    if !acknowledged.is_empty() {
        consumer.acknowledge(acknowledged).await?;
    }
    Ok(())
}

/// Before a log that cannot be read is tried again.
const LOG_PAUSE: Duration = Duration::from_secs(1);
