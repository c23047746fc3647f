//! What comes in over a channel. All brokers are subscribed to, whichever of them carries: what a peer
//! publishes before it has changed over, or after, is not lost. What comes twice is known by its id.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use postern_core::{
    Error,
    channel::{EVENT_CHANNEL, EVENT_ID},
    event::{Event, OWN_TOPICS},
};
use postern_system::clock;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use super::{
    channel::{ChannelCounts, ChannelEvents, EventChannel},
    member::Member,
};

/// A task for each broker. Must be called on a runtime.
pub(super) fn start(
    channel: &Arc<EventChannel>,
    events: &Arc<dyn ChannelEvents>,
) -> Vec<AbortOnDropHandle<()>> {
    let tasks = (0..channel.members.len()).map(|member| {
        let receiving = receive(Arc::clone(channel), member, Arc::clone(events));
        AbortOnDropHandle::new(tokio::spawn(receiving))
    });
    tasks.collect()
}

async fn receive(channel: Arc<EventChannel>, member: usize, events: Arc<dyn ChannelEvents>) {
    let Some(member) = channel.members.get(member) else {
        return;
    };
    let mut fault = String::new();
    loop {
        match member.broker.subscribe(channel.patterns.clone()).await {
            Ok(mut source) => {
                fault.clear();
                debug!(channel = %channel.name, broker = %member.label, "subscribed");
                while let Some(event) = source.next().await {
                    channel.on_received(member, event, events.as_ref()).await;
                }
            }
            Err(error) => {
                let reason = error.to_string();
                // A broker that is away says so itself.
                let is_away = error.kind == postern_core::Kind::Unavailable;
                if reason != fault && !is_away {
                    warn!(channel = %channel.name, broker = %member.label, %error, "not subscribed");
                    fault = reason;
                }
            }
        }
        tokio::time::sleep(SUBSCRIBE_PAUSE).await;
    }
}

impl EventChannel {
    async fn on_received(&self, member: &Member, event: Event, events: &dyn ChannelEvents) {
        // Wildcards of a broker may match more than ours, and nobody else says what is the gateway's own.
        if !self.carries(&event.topic) || event.topic.as_str().starts_with(OWN_TOPICS) {
            return;
        }
        member.n_received.fetch_add(1, Relaxed);
        // Both are asked: an event that is known by its id is expected back by its content as well.
        let is_echo = self.settings.goes_out() && member.is_echo(&event);
        if self.is_known(&event) || is_echo {
            ChannelCounts::add(&self.counts.duplicates);
            return;
        }
        ChannelCounts::add(&self.counts.received);
        let topic = event.topic.clone();
        let published = self.mark(event).map(|event| events.publish(event));
        let published = match published {
            Ok(publishing) => publishing.await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = published {
            ChannelCounts::add(&self.counts.refused);
            warn!(channel = %self.name, %topic, %error, "an event that came in is not taken");
        }
    }

    /// Whether an event of this id has come in before, or was sent from here.
    fn is_known(&self, event: &Event) -> bool {
        let Some(id) = event.headers.get_str(EVENT_ID) else {
            return false;
        };
        !self.received.lock().insert(clock::now(), &id)
    }

    /// Marks an event as one that came in here.
    fn mark(&self, mut event: Event) -> Result<Event, Error> {
        event.headers = event.headers.without_key(EVENT_CHANNEL.as_bytes());
        let marked = event.headers.push(EVENT_CHANNEL, self.name.as_bytes());
        marked.map_err(|error| Error::invalid_argument(format!("the event's headers: {error}")))?;
        Ok(event)
    }
}

/// Between two tries to subscribe.
const SUBSCRIBE_PAUSE: Duration = Duration::from_millis(100);
