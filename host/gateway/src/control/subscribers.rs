//! Plugins that take events, as subscribers of their topics.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;

use parking_lot::Mutex;
use postern_core::{
    BoxFuture, Error, Text,
    event::{Event, TopicPattern},
    extension::EventHandler,
};
use tracing::warn;

use super::slot::PluginSlot;
use crate::{
    config::Topics,
    events::{EventListener, EventService},
};

/// The subscriptions of plugins. They follow the set of plugins and their manifests.
pub(super) struct Subscribers {
    events: EventService,
    listeners: Mutex<BTreeMap<String, Subscriber>>,
}

/// A plugin that is subscribed to topics.
struct Subscriber {
    topics: Vec<Topics>,
    handler: Arc<CurrentHandler>,
    _listener: EventListener,
}

/// The handler of the version that takes the plugin's calls.
struct CurrentHandler(ArcSwap<Arc<dyn EventHandler>>);

impl EventHandler for CurrentHandler {
    fn on_event(&self, event: Event) -> BoxFuture<Result<(), Error>> {
        self.0.load().on_event(event)
    }
}

impl Subscribers {
    pub(super) fn new(events: EventService) -> Self {
        Self {
            events,
            listeners: Mutex::default(),
        }
    }

    pub(super) const fn events(&self) -> &EventService {
        &self.events
    }

    /// Every plugin in the role with topics is subscribed to them, and nobody else. A plugin whose
    /// topics stay keeps its queue, whatever version and generation of it is in service.
    pub(super) fn follow(&self, slots: &BTreeMap<String, Arc<PluginSlot>>) {
        let mut listeners = self.listeners.lock();
        let mut before = std::mem::take(&mut *listeners);
        for (name, slot) in slots {
            let Some(handler) = slot.plugin.event_handler() else {
                continue;
            };
            let topics = slot.shown().current.map(|current| current.written.topics);
            let Some(topics) = topics.filter(|topics| !topics.is_empty()) else {
                continue;
            };
            if let Some(known) = before.remove(name).filter(|known| known.topics == topics) {
                known.handler.0.store(Arc::new(handler));
                listeners.insert(name.clone(), known);
                continue;
            }
            let patterns: Vec<TopicPattern> = topics.iter().map(|topic| topic.0.clone()).collect();
            let plugin = Text::from(name.as_str());
            let handler = Arc::new(CurrentHandler(ArcSwap::from_pointee(handler)));
            let current = Arc::clone(&handler) as Arc<dyn EventHandler>;
            match self
                .events
                .subscribe_handler(&plugin, patterns, current, None)
            {
                Ok(listener) => {
                    let subscriber = Subscriber {
                        topics,
                        handler,
                        _listener: listener,
                    };
                    listeners.insert(name.clone(), subscriber);
                }
                Err(error) => warn!(plugin = name, %error, "plugin gets no events"),
            }
        }
    }

    /// No plugin gets events any more.
    pub(super) fn end(&self) {
        self.listeners.lock().clear();
    }
}
