//! Event handlers of plugins, as subscribers: one event at a time, each at most once. Those of durable
//! topics come out of the log instead (consuming.rs).

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use postern_core::{
    Text,
    event::{Subscription, TopicPattern},
    extension::EventHandler,
};
use tokio_util::task::AbortOnDropHandle;

use super::{consuming::Consuming, topics::DurableTopics};

/// A handler that is told of events until this is dropped.
#[derive(Debug)]
pub(crate) struct EventListener {
    pub(super) info: Arc<ListenerInfo>,
    _telling: AbortOnDropHandle<()>,
    _consuming: AbortOnDropHandle<()>,
}

/// What is known of a listener beside its subscription.
#[derive(Debug)]
pub(super) struct ListenerInfo {
    /// Of the plugin.
    pub name: Text,
    pub id: Text,
    /// Events that the handler refused.
    pub failed: AtomicU64,
}

impl EventListener {
    /// Must be called on a runtime, whose task tells `handler`.
    pub(super) fn start(
        name: &Text,
        (subscription, patterns): (Subscription, Vec<TopicPattern>),
        handler: Arc<dyn EventHandler>,
        topics: &Arc<DurableTopics>,
    ) -> Self {
        let info = Arc::new(ListenerInfo {
            name: name.clone(),
            id: subscription.id().clone(),
            failed: AtomicU64::new(0),
        });
        let consuming = Consuming::new(topics, patterns, Arc::clone(&handler), Arc::clone(&info));
        let telling = tell(subscription, handler, Arc::clone(&info), Arc::clone(topics));
        Self {
            info,
            _telling: AbortOnDropHandle::new(tokio::spawn(telling)),
            _consuming: AbortOnDropHandle::new(tokio::spawn(consuming.run())),
        }
    }
}

async fn tell(
    mut subscription: Subscription,
    handler: Arc<dyn EventHandler>,
    info: Arc<ListenerInfo>,
    topics: Arc<DurableTopics>,
) {
    let plugin = &info.name;
    while let Some(delivery) = subscription.next().await {
        if delivery.missed > 0 {
            let missed = delivery.missed;
            tracing::warn!(%plugin, missed, "events dropped: the plugin handles them too slowly");
        }
        let topic = delivery.event.topic.clone();
        if topics.is_durable(&topic) {
            continue;
        }
        if let Err(error) = handler.on_event(delivery.event).await {
            info.failed.fetch_add(1, Relaxed);
            tracing::warn!(%plugin, %topic, %error, "event not handled");
        }
    }
}
