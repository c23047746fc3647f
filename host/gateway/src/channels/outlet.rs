//! Where the events of a channel come from.
//!
//! | delivery | topic | from | who waits |
//! | --- | --- | --- | --- |
//! | at-most-once | any | the hub, as its subscribers | nobody |
//! | at-least-once | not durable | the publisher (`EventChannel::publish`) | the publisher |
//! | at-least-once | durable | the log, as consumer `channel.NAME` | the log, for as long as it takes |
//!
//! An event that came in over the channel does not go out over it again: its header `event-channel` says so.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use postern_core::{
    Blame, Error, Text,
    channel::{EVENT_ID, SendFailure},
    event::{
        Event,
        durable::{
            ConsumerSettings, ConsumerStart, EventConsumer, EventLog, Position, Redelivery,
            StoredEvent,
        },
    },
};
use postern_system::clock;
use tokio::{sync::oneshot, task::JoinSet};
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use super::channel::{ChannelCounts, ChannelEvents, EventChannel, Outbound, failure_of};
use crate::config::ChannelDeliveryWord;

/// Takes the events of one channel from where they are.
pub(super) struct Outlet {
    channel: Arc<EventChannel>,
    events: Arc<dyn ChannelEvents>,
}

impl Outlet {
    pub(super) fn new(channel: &Arc<EventChannel>, events: &Arc<dyn ChannelEvents>) -> Self {
        Self {
            channel: Arc::clone(channel),
            events: Arc::clone(events),
        }
    }

    /// Must be called on a runtime.
    pub(super) fn start(self) -> Vec<AbortOnDropHandle<()>> {
        let spawn = |task| AbortOnDropHandle::new(tokio::spawn(task));
        match self.channel.settings.delivery {
            ChannelDeliveryWord::AtMostOnce => vec![spawn(Box::pin(self.follow_hub()) as Task)],
            ChannelDeliveryWord::AtLeastOnce => vec![spawn(Box::pin(self.follow_logs()) as Task)],
        }
    }

    /// Follows each log that has events for the channel, for ever.
    async fn follow_logs(self) {
        let mut changes = self.events.changes();
        let mut following = BTreeMap::new();
        loop {
            let logs = self.events.logs(&self.channel.patterns);
            following.retain(|name, _| logs.iter().any(|(known, _)| known == name));
            for (name, log) in logs {
                following.entry(name).or_insert_with(|| {
                    let task = follow_log(Arc::clone(&self.channel), log);
                    AbortOnDropHandle::new(tokio::spawn(task))
                });
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    async fn follow_hub(self) {
        let owner = Text::from(format!("channel {}", self.channel.name));
        let patterns = self.channel.patterns.clone();
        let mut subscription = match self.events.hub().subscribe(&owner, patterns, None) {
            Ok(subscription) => subscription,
            Err(error) => {
                warn!(channel = %self.channel.name, %error, "the channel gets no events to send");
                return;
            }
        };
        while let Some(delivery) = subscription.next().await {
            let counts = &self.channel.counts;
            if delivery.missed > 0 {
                let missed = delivery.missed;
                counts.lost.fetch_add(missed, Relaxed);
                warn!(channel = %self.channel.name, missed, "events lost: the channel sends them too slowly");
            }
            if self.channel.came_in(&delivery.event) {
                continue;
            }
            let outbound = Outbound {
                event: delivery.event,
                done: None,
                deadline: None,
            };
            // While there is no room the hub's queue holds them, and loses the oldest.
            if self.channel.outbound.send(outbound).await.is_err() {
                return;
            }
        }
    }
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

impl EventChannel {
    /// Whether a publisher of `event` is to wait until this channel has it acknowledged.
    pub(super) fn acknowledges(&self, event: &Event) -> bool {
        self.settings.delivery == ChannelDeliveryWord::AtLeastOnce
            && self.settings.goes_out()
            && self.carries(&event.topic)
            && !self.came_in(event)
    }

    /// Sends an event; resolves when a broker has acknowledged it.
    ///
    /// # Errors
    /// `resource-exhausted` when too many wait, `unavailable` when none took it in time, and what a broker
    /// says of the event itself.
    pub(crate) async fn publish(&self, event: Event) -> Result<(), Error> {
        let (done, outcome) = oneshot::channel();
        let outbound = Outbound {
            event,
            done: Some(done),
            deadline: clock::now().checked_add(self.settings.publish_timeout),
        };
        let pushed = self.outbound.try_send(outbound);
        pushed.map_err(|_| {
            ChannelCounts::add(&self.counts.refused);
            self.full()
        })?;
        outcome.await.unwrap_or_else(|_| {
            let message = format!("channel {} has ended", self.name);
            Err(Error::unavailable(Blame::Gateway, message))
        })
    }
}

/// Sends what a log has for the channel, for ever.
async fn follow_log(channel: Arc<EventChannel>, log: Arc<dyn EventLog>) {
    loop {
        match consume(&channel, log.as_ref()).await {
            Ok(()) => return,
            Err(error) => {
                warn!(channel = %channel.name, %error, "the log of the channel's topics cannot be read");
                tokio::time::sleep(LOG_PAUSE).await;
            }
        }
    }
}

async fn consume(channel: &Arc<EventChannel>, log: &dyn EventLog) -> Result<(), Error> {
    let settings = ConsumerSettings {
        name: format!("channel.{}", channel.name).into(),
        patterns: channel.patterns.clone(),
        start: ConsumerStart::New,
        // The channel gives nothing up, so nothing comes again by time.
        ack_wait: Duration::ZERO,
        back_off: vec![LOG_PAUSE],
        deliveries_max: 0,
        in_flight_max: channel.settings.in_flight_max.saturating_mul(2),
        is_ordered: false,
    };
    let consumer: Arc<dyn EventConsumer> = log.consumer(settings).await?.into();
    // As many as the consumer has given out, which it bounds.
    let mut settling = JoinSet::new();
    loop {
        while settling.try_join_next().is_some() {}
        for stored in consumer.take(channel.settings.in_flight_max).await? {
            if channel.came_in(&stored.event) {
                consumer.acknowledge(vec![stored.position]).await?;
                continue;
            }
            let (done, outcome) = oneshot::channel();
            let position = stored.position;
            let outbound = Outbound {
                event: identified(stored),
                done: Some(done),
                deadline: None,
            };
            if channel.outbound.send(outbound).await.is_err() {
                return Ok(());
            }
            let consumer = Arc::clone(&consumer);
            let channel = Arc::clone(channel);
            settling.spawn(async move {
                if let Ok(outcome) = outcome.await {
                    settle(&channel.name, consumer.as_ref(), position, outcome).await;
                }
                // Otherwise the channel has ended: whoever comes next gets it.
            });
        }
    }
}

/// Tells the log what became of an event.
async fn settle(
    channel: &Text,
    consumer: &dyn EventConsumer,
    position: Position,
    outcome: Result<(), Error>,
) {
    let settled = match outcome {
        Ok(()) => consumer.acknowledge(vec![position]).await.map(drop),
        Err(error) => {
            let redelivery = match failure_of(&error) {
                SendFailure::Refused => Redelivery::Never,
                SendFailure::NotSent | SendFailure::Unknown => Redelivery::BackOff,
            };
            let reason = Text::from(error.to_string());
            consumer.refuse(position, redelivery, reason).await
        }
    };
    if let Err(error) = settled {
        warn!(%channel, %error, "an event that was sent will be sent again");
    }
}

/// The event under an id that it has again when the gateway has been restarted in between.
fn identified(stored: StoredEvent) -> Event {
    let mut event = stored.event;
    if event.headers.get(EVENT_ID.as_bytes()).is_none() {
        let id = format!("{:x}-{:x}", stored.stored_at_ms, stored.position.0);
        // An event whose headers are full goes without.
        let _ = event.headers.push(EVENT_ID, id);
    }
    event
}

/// Between two tries to read a log.
const LOG_PAUSE: Duration = Duration::from_secs(1);
