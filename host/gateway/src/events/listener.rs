//! Event handlers of plugins, as subscribers: one event at a time, each at most once.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use postern_core::{Text, event::Subscription, extension::EventHandler};
use tokio_util::task::AbortOnDropHandle;

/// A handler that is told of events until this is dropped.
#[derive(Debug)]
pub(crate) struct EventListener {
    pub(super) info: Arc<ListenerInfo>,
    _task: AbortOnDropHandle<()>,
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
        subscription: Subscription,
        handler: Arc<dyn EventHandler>,
    ) -> Self {
        let info = Arc::new(ListenerInfo {
            name: name.clone(),
            id: subscription.id().clone(),
            failed: AtomicU64::new(0),
        });
        let telling = tell(subscription, handler, Arc::clone(&info));
        Self {
            info,
            _task: AbortOnDropHandle::new(tokio::spawn(telling)),
        }
    }
}

async fn tell(
    mut subscription: Subscription,
    handler: Arc<dyn EventHandler>,
    info: Arc<ListenerInfo>,
) {
    let plugin = &info.name;
    while let Some(delivery) = subscription.next().await {
        if delivery.missed > 0 {
            let missed = delivery.missed;
            tracing::warn!(%plugin, missed, "events dropped: the plugin handles them too slowly");
        }
        let topic = delivery.event.topic.clone();
        if let Err(error) = handler.on_event(delivery.event).await {
            info.failed.fetch_add(1, Relaxed);
            tracing::warn!(%plugin, %topic, %error, "event not handled");
        }
    }
}
